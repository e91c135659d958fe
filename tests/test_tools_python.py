"""Commands and code in processes of their own: what they get, what they may use, and that nothing is left behind."""

# ruff: noqa: ASYNC240 (nothing else waits for a test's loop)
from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from surefoot.storage.errors import SetupError, ToolError
from surefoot.storage.records import Effect
from surefoot.tools import ToolContext, warden
from surefoot.tools.process import Finished, Limits, run
from surefoot.tools.python import python, python_tool

pytestmark = pytest.mark.anyio

LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux's subreaper")


async def execute(code: str, workspace: Path | None = None, **limits: Any) -> dict[str, Any]:
    made = python_tool(limits=Limits(**limits))
    result: dict[str, Any] = await made.call({"code": code}, ToolContext(workspace=workspace))
    return result


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        if not Path("/proc/self/stat").exists():
            return True
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):  # it may go while its state is read
        return False


# --- what code gets -----------------------------------------------------------------------------------------------


async def test_code_prints_and_ends() -> None:
    result = await execute("import sys\nprint('out')\nprint('err', file=sys.stderr)\nsys.exit(3)")
    assert result == {"stdout": "out\n", "stderr": "err\n", "exit_code": 3, "timed_out": False}


async def test_an_error_shows_the_codes_own_lines_only() -> None:
    result = await execute("def f():\n    return 1 / 0\n\nf()\n")
    assert result["exit_code"] == 1
    assert '  File "code.py", line 2, in f\n    return 1 / 0\n' in result["stderr"]
    assert result["stderr"].startswith('Traceback (most recent call last):\n  File "code.py", line 4')
    assert result["stderr"].endswith("ZeroDivisionError: division by zero\n")
    assert "SyntaxError" in (await execute("x = ("))["stderr"]


async def test_code_starts_with_clean_names_and_no_input() -> None:
    code = """
from __future__ import annotations
import sys
print(sorted(n for n in globals() if not n.startswith("__")), __name__, sys.argv)
print(repr(sys.stdin.read()))
try: input()
except EOFError: print("no input")
"""
    assert (await execute(code))["stdout"] == "['annotations', 'sys'] __main__ ['code.py']\n''\nno input\n"


async def test_the_current_folder_is_the_workspace_and_its_modules_can_be_imported(tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text("VALUE = 42\n")
    (tmp_path / "json.py").write_text("raise SystemExit('hid the library')\n")
    code = "import json, os, helper\nopen('made.txt', 'w').write(os.getcwd())\nprint(helper.VALUE, os.environ['HOME'])"
    assert (await execute(code, tmp_path))["stdout"] == f"42 {tmp_path}\n"
    assert (tmp_path / "made.txt").read_text() == str(tmp_path)


async def test_without_a_workspace_the_folder_is_gone_afterwards() -> None:
    folder = Path((await execute("import os; open('x', 'w'); print(os.getcwd())"))["stdout"].strip())
    assert folder.is_absolute() and not folder.exists()


async def test_secrets_in_the_environment_are_not_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_TOKEN", "secret-value")
    monkeypatch.setenv("PYTHONSTARTUP", "/nowhere")
    result = await execute("import os; print(dict(os.environ))")
    assert "secret-value" not in result["stdout"]
    assert set(eval(result["stdout"])) <= {"PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "HOME"}


@LINUX
async def test_open_files_of_the_engine_are_not_passed_on(tmp_path: Path) -> None:
    with (tmp_path / "private").open("w") as private:
        os.set_inheritable(private.fileno(), True)
        result = await execute(
            "import os; print([os.readlink(f'/proc/self/fd/{n}') for n in (0, 1, 2)], os.listdir('/proc/self/fd'))"
        )
    assert "private" not in result["stdout"]
    # 3 is the listing itself.
    assert result["stdout"].endswith("['0', '1', '2', '3']\n")


async def test_a_folder_is_removed_however_deep_it_is() -> None:
    code = "import os\nprint(os.getcwd())\nfor _ in range(500): os.mkdir('d'); os.chdir('d')"
    result = await execute(code)
    assert result["exit_code"] == 0
    assert not Path(result["stdout"].strip()).exists()


async def test_code_of_any_size_runs() -> None:
    assert (await execute("x = '" + "a" * 3_000_000 + "'\nprint(len(x))"))["stdout"] == "3000000\n"


async def test_text_is_utf8_whatever_the_locale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "C")
    assert (await execute("print('größe ✓')"))["stdout"] == "größe ✓\n"


async def test_output_that_is_not_text_is_marked() -> None:
    result = await execute(r"import sys; sys.stdout.buffer.write(b'a\xff\0b')")
    assert result["stdout"] == "a\ufffd\ufffdb"


# --- what code may use --------------------------------------------------------------------------------------------


async def test_an_endless_loop_is_killed_in_time() -> None:
    began = time.monotonic()
    result = await execute("print('started', flush=True)\nwhile True: pass", seconds=1)
    assert result["timed_out"] is True
    assert result["stdout"] == "started\n"
    assert result["exit_code"] == -9
    assert "killed after 1 s" in result["stderr"]
    assert time.monotonic() - began < 5


async def test_code_that_ignores_every_signal_is_killed_in_time() -> None:
    code = """
import signal
for n in range(1, 32):
    try: signal.signal(n, signal.SIG_IGN)
    except OSError: pass
while True: signal.pause()
"""
    assert (await execute(code, seconds=0.5))["timed_out"] is True


async def test_cpu_time_is_limited() -> None:
    result = await execute("while True: pass", seconds=30, cpu=1)
    assert result["timed_out"] is False
    assert result["exit_code"] < 0


async def test_memory_is_limited() -> None:
    result = await execute("x = bytearray(600 << 20)", memory=512 << 20)
    assert result["exit_code"] == 1
    assert "MemoryError" in result["stderr"]


async def test_the_size_of_a_file_is_limited(tmp_path: Path) -> None:
    result = await execute("open('big', 'wb').write(b'x' * (2 << 20))", tmp_path, file=1 << 20)
    assert result["exit_code"] != 0
    assert (tmp_path / "big").stat().st_size <= 1 << 20


async def test_the_number_of_open_files_is_limited() -> None:
    assert "Too many open files" in (await execute("x = [open('f', 'w') for _ in range(99)]", files=50))["stderr"]


async def test_two_hundred_megabytes_of_output_do_not_stay_in_memory() -> None:
    tracemalloc.start()
    try:
        loop = "for _ in range(200): sys.stdout.write('x' * 1_000_000)"
        result = await execute(f"import sys\nsys.stdout.write('begin')\n{loop}\nprint('end')", output=1_000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert result["exit_code"] == 0
    assert result["stdout"].startswith("beginx") and result["stdout"].endswith("xend\n")
    assert f"[... {200_000_009 - 1_000} bytes left out ...]" in result["stdout"]
    assert peak < 8 << 20


@LINUX
async def test_a_fork_bomb_is_stopped_and_leaves_nobody(tmp_path: Path) -> None:
    # Bounded whatever the tool does: it stops by itself at 400 processes, each of which ends after ten seconds.
    code = """
import os, time
end = time.monotonic() + 10
with open("pids", "a") as log:
    while time.monotonic() < end:
        if os.path.getsize("pids") < 400 * 8 and os.fork() == 0:
            os.write(log.fileno(), b"%7d\\n" % os.getpid())
        else:
            time.sleep(0.001)
"""
    result = await execute(code, tmp_path, processes=16, seconds=15)
    assert result["exit_code"] != 0 or "Resource temporarily unavailable" in result["stderr"]
    pids = [int(line) for line in (tmp_path / "pids").read_text().split()]
    assert pids
    assert not [pid for pid in pids if alive(pid)]


# --- nothing is left behind ---------------------------------------------------------------------------------------

DAEMON = """
import os, signal, sys, time
if os.fork() == 0:
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    if os.fork() == 0:
        open("pid.part", "w").write(str(os.getpid()))
        os.rename("pid.part", "pid")
        time.sleep(600)
    os._exit(0)
while not os.path.exists("pid"): time.sleep(0.001)
print("the parent ends")
"""


@LINUX
async def test_a_daemon_that_left_its_session_is_killed_when_the_code_ends(tmp_path: Path) -> None:
    began = time.monotonic()
    result = await execute(DAEMON, tmp_path)
    assert result == {"stdout": "the parent ends\n", "stderr": "", "exit_code": 0, "timed_out": False}
    assert not alive(int((tmp_path / "pid").read_text()))
    assert time.monotonic() - began < 10


@LINUX
async def test_a_daemon_is_killed_when_the_time_is_up(tmp_path: Path) -> None:
    assert (await execute(DAEMON + "time.sleep(600)", tmp_path, seconds=1))["timed_out"] is True
    assert not alive(int((tmp_path / "pid").read_text()))


@LINUX
async def test_a_canceled_call_returns_when_everything_is_gone(tmp_path: Path) -> None:
    call = asyncio.create_task(execute(DAEMON + "time.sleep(600)", tmp_path))
    while not (tmp_path / "pid").exists():  # noqa: ASYNC110 (another process makes it)
        await asyncio.sleep(0.01)
    began = time.monotonic()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert time.monotonic() - began < 5
    assert not alive(int((tmp_path / "pid").read_text()))


async def test_a_call_that_is_canceled_at_once_never_starts(tmp_path: Path) -> None:
    call = asyncio.create_task(execute("open('ran', 'w')\nimport time; time.sleep(60)", tmp_path))
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert not (tmp_path / "ran").exists()


@LINUX
def test_everything_is_killed_when_the_engine_is(tmp_path: Path) -> None:
    script = f"""
import asyncio
from pathlib import Path
from surefoot.tools.process import run
import sys
asyncio.run(run([sys.executable, "-c", {DAEMON + "time.sleep(600)"!r}], cwd=Path({str(tmp_path)!r})))
"""
    engine = subprocess.Popen([sys.executable, "-c", script])
    while not (tmp_path / "pid").exists():
        assert engine.poll() is None
        time.sleep(0.01)
    engine.kill()
    engine.wait()
    pid, end = int((tmp_path / "pid").read_text()), time.monotonic() + 10
    while alive(pid):
        assert time.monotonic() < end
        time.sleep(0.01)


@LINUX
async def test_code_that_kills_its_watcher_is_killed_with_it() -> None:
    result = await execute("import os, signal, time\nos.kill(os.getppid(), signal.SIGKILL)\ntime.sleep(600)")
    assert result["exit_code"] == -9
    assert "interfered" in result["stderr"]


@LINUX
async def test_code_that_stops_its_watcher_is_killed_soon_after_its_time() -> None:
    result = await execute(
        "import os, signal, time\nos.kill(os.getppid(), signal.SIGSTOP)\ntime.sleep(600)", seconds=0.5
    )
    assert result["timed_out"] is True
    assert "interfered" in result["stderr"]


async def test_no_file_stays_open_after_calls() -> None:
    await execute("print(1)")
    before = sorted(Path("/dev/fd").iterdir())
    for code in ("print(1)", "while True: pass"):
        await execute(code, seconds=0.5)
    with pytest.raises(ToolError):
        await run(["no-such-program"])
    with pytest.raises(ToolError):
        await run(["true\0"])
    assert sorted(Path("/dev/fd").iterdir()) == before


# --- commands -----------------------------------------------------------------------------------------------------


async def test_a_command_gets_its_input_environment_and_folder(tmp_path: Path) -> None:
    done = await run(["sh", "-c", 'cat; echo "$NAME"; pwd'], cwd=tmp_path / "new", env={"NAME": "Ann"}, stdin="hello\n")
    assert done.stdout == f"hello\nAnn\n{tmp_path}/new\n"
    assert (done.exit_code, done.stderr, done.timed_out) == (0, "", False)
    assert 0 < done.seconds < 30


async def test_a_command_killed_by_a_signal_says_so() -> None:
    assert (await run(["sh", "-c", "kill -15 $$"])).exit_code == -15


async def test_a_broken_pipe_ends_a_command_as_in_a_shell() -> None:
    done = await run(["sh", "-c", "(yes; echo $? >&2) | head -n 1"])
    assert (done.stdout, done.stderr.strip()) == ("y\n", str(128 + 13))


async def test_a_command_that_cannot_be_started_is_a_tool_error() -> None:
    with pytest.raises(ToolError, match=r"no-such-program cannot be started: .*No such file"):
        await run(["no-such-program"])
    with pytest.raises(ToolError, match="cannot be started"):
        await run(["sh\0"])


async def test_commands_run_at_the_same_time(tmp_path: Path) -> None:
    # Each waits for the file that the other one makes.
    meet = "touch $0; while [ ! -e $1 ]; do sleep 0.01; done"
    both = await asyncio.gather(
        run(["sh", "-c", meet, "a", "b"], cwd=tmp_path), run(["sh", "-c", meet, "b", "a"], cwd=tmp_path)
    )
    assert [done.exit_code for done in both] == [0, 0]


async def test_pytest_runs_on_a_candidate(tmp_path: Path) -> None:
    (tmp_path / "solution.py").write_text("def double(x):\n    return x + x\n")
    (tmp_path / "test_solution.py").write_text(
        "from solution import double\ndef test_it():\n    assert double(2) == 4\n"
    )
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_solution.py"]
    done = await run(argv, cwd=tmp_path, env={"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"})
    assert (done.exit_code, "1 passed" in done.stdout) == (0, True), done


# --- the tool -----------------------------------------------------------------------------------------------------


def test_code_may_run_again_unless_declared_otherwise() -> None:
    assert python.effect is Effect.IDEMPOTENT
    assert python_tool(effect="pure", name="compute", approval=True).effect is Effect.PURE
    with pytest.raises(SetupError):
        python_tool(effect="safe")
    assert "no security boundary" in python.description


# --- the watcher, whose script runs where coverage cannot see it --------------------------------------------------


@LINUX
def test_both_ways_to_find_descendants_agree() -> None:
    with subprocess.Popen(["sh", "-c", "sleep 60 & wait"], stdout=subprocess.PIPE) as shell:
        try:
            while len(warden._children(shell.pid)) != 1:
                time.sleep(0.001)
            below = warden._children(shell.pid)
            assert warden._children_by_stat()(shell.pid) == below
            assert {shell.pid, *below} <= set(warden._descendants())
            assert warden._tasks_of_user() >= 2
        finally:
            for pid in (*below, shell.pid):
                os.kill(pid, 9)


def test_finished_is_plain_data() -> None:
    assert Finished("", "", 0, False, 0.1) == Finished("", "", 0, False, 0.1)
