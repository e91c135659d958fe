"""The `python` tool: code in a process of its own."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from surefoot.storage.records import Effect
from surefoot.tools.function import FunctionTool, tool
from surefoot.tools.process import Limits, run
from surefoot.tools.tool import ToolContext

# Reads the code from stdin, so that its size has no limit and it leaves no file. An error's traceback then shows the
# code's own lines, without this frame. The folder comes last in the path: its modules hide nothing of the library.
_START = """
import os, sys, linecache
_code = sys.stdin.buffer.read().decode()
sys.stdin = open(os.devnull); os.dup2(sys.stdin.fileno(), 0); sys.stdin = open(0, closefd=False)
sys.path.append(os.getcwd()); sys.argv = ["code.py"]
linecache.cache["code.py"] = (len(_code), None, _code.splitlines(True), "code.py")
def _hook(kind, error, trace):
    import traceback
    while trace and trace.tb_frame.f_code.co_filename == "<string>":
        trace = trace.tb_next
    traceback.print_exception(kind, error, trace)
sys.excepthook = _hook
del _hook
_code = compile(_code, "code.py", "exec")
del os, sys, linecache
exec(globals().pop("_code"))
"""

_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Execution:
    """What came of running code."""

    stdout: str
    stderr: str
    exit_code: int
    timed_out: bool


def python_tool(
    *, effect: Effect | str = Effect.IDEMPOTENT, limits: Limits = _LIMITS, approval: bool = False, name: str = "python"
) -> FunctionTool[[str, ToolContext], object]:
    """The `python` tool with other limits, or with another effect.

    Its effect is `idempotent`: code that computes, and reads and writes the run's own folder, may run again after
    a crash and once a vote. Nothing holds it to that, so say `once` where code is to reach the world outside.
    """

    async def python(code: str, context: ToolContext) -> Execution:
        """Run Python code and return what it printed, its exit code, and whether it ran out of time.

        Print the results; nothing is kept between calls except files in the current folder. The code reads no
        input. The processes, memory, time and output that it may use are limited; the middle of a long output is
        left out. It runs in a process of its own, which guards against accidents and is no security boundary.
        """
        argv = [sys.executable, "-I", "-B", "-X", "utf8", "-c", _START]
        done = await run(argv, cwd=context.workspace, stdin=code, limits=limits)
        return Execution(done.stdout, done.stderr, done.exit_code, done.timed_out)

    return tool(effect=effect, timeout=None, approval=approval, name=name, output_limit=None)(python)


python = python_tool()
