"""The program between `process.run` and its command: sets the limits, keeps the time, leaves nobody behind.

Run as a script by `process.py`, with the standard library only, because it must start fast:

    python -I -S warden.py '{"argv": [...], "seconds": 30, "control": 5, "status": 6, ...}'

`control` is the read end of a pipe that the engine holds open: when it closes, because the run was cancelled or the
engine died, everything is killed. On `status` go two lines of JSON: the command's pid, then how it ended.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import select
import signal
import sys
import time
from pathlib import Path
from typing import Any

_TICK = 0.02
"""Seconds between two counts of the processes: a fork bomb as root, whom RLIMIT_NPROC spares, grows for so long."""
_PATIENCE = 2.0
"""Seconds that killed processes have to disappear; one that hangs in the kernel may take for ever."""
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 1, 36, 38
_LINUX = sys.platform.startswith("linux")


def main(spec: dict[str, Any]) -> None:
    """Run the command of `spec` to its end, or to that of its time; then kill whatever it started."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    child = os.fork()
    if child == 0:
        _become(spec)
    _tell(spec["status"], {"pid": child})
    _let_go()
    code, reason = _watch(child, spec)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    left = _kill_all()
    _tell(spec["status"], {"code": code, "reason": reason, "left": left})


def _become(spec: dict[str, Any]) -> None:
    """In the child: a session of its own, the limits, and then the command."""
    try:
        os.setsid()
        # Killed with the warden; the process group and the engine's own deadline cover the rest.
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        _prctl(_PR_SET_NO_NEW_PRIVS, 1)
        for number in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        _limit(spec["limits"])
        os.execvp(spec["argv"][0], spec["argv"])
    except Exception as error:
        _tell(spec["status"], {"code": 127, "reason": "start", "left": 0, "error": str(error)})
    os._exit(127)


def _limit(limits: dict[str, int]) -> None:
    for name, value in limits.items():
        kind = getattr(resource, f"RLIMIT_{name}", None)
        if kind is None:
            continue
        if name == "NPROC":
            value += _tasks_of_user()
        _, hard = resource.getrlimit(kind)
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        # macOS knows RLIMIT_AS and refuses to set it; a limit that cannot be had must not keep the rest away.
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(kind, (value, value))


def _tasks_of_user() -> int:
    """Threads that the user runs already: RLIMIT_NPROC counts them all, not only those of this command."""
    total, me = 0, os.getuid()
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if entry.stat().st_uid == me:
                total += sum(1 for _ in (entry / "task").iterdir())
    return total


def _watch(child: int, spec: dict[str, Any]) -> tuple[int | None, str]:
    """Wait for the command; returns its exit code (None where it has to be killed) and why the waiting ended."""
    end = time.monotonic() + spec["seconds"]
    poll = select.poll()
    poll.register(spec["control"], select.POLLIN | select.POLLHUP)
    with contextlib.suppress(AttributeError, OSError):
        poll.register(os.pidfd_open(child), select.POLLIN)
    while True:
        ready = poll.poll(_TICK * 1000)
        code = _reap(child)
        if code is not None:
            return code, ""
        if any(fd == spec["control"] for fd, _ in ready):
            return None, "stopped"
        if time.monotonic() >= end:
            return None, "time"
        if len(_descendants()) > spec["processes"]:
            return None, "processes"


def _reap(child: int | None = None) -> int | None:
    """Collect every process that has ended; returns the exit code of `child` where it is among them."""
    code = None
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            if pid == child:
                code = os.waitstatus_to_exitcode(status)
    return code


def _kill_all() -> int:
    """Kill what is left, daemons that made sessions of their own included; returns how many would not go."""
    end = time.monotonic() + _PATIENCE
    while True:
        _reap()
        left = _descendants()
        if not left or time.monotonic() >= end:
            return len(left)
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.001)


def _descendants() -> list[int]:
    """All living or unreaped processes below this one. As a subreaper it inherits every orphan, so none is missed."""
    if not _LINUX:
        return []
    children = _children if Path(f"/proc/self/task/{os.getpid()}/children").exists() else _children_by_stat()
    found: list[int] = []
    todo = children(os.getpid())
    while todo:
        pid = todo.pop()
        found.append(pid)
        todo += children(pid)
    return found


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found


def _children_by_stat() -> Any:
    """For kernels without CONFIG_PROC_CHILDREN: one pass over all processes."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = entry.read_text(errors="replace").rpartition(")")[2].split()
            parents.setdefault(int(fields[1]), []).append(int(entry.parent.name))
    return lambda pid: list(parents.get(pid, ()))


def _prctl(option: int, value: int) -> None:
    if _LINUX:
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _let_go() -> None:
    """Give up the command's pipes: whoever reads them must see their end when the last of its processes is gone."""
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)


def _tell(status: int, news: dict[str, Any]) -> None:
    # The engine may be gone; killing what is left matters more than telling it.
    with contextlib.suppress(BrokenPipeError):
        os.write(status, json.dumps(news).encode() + b"\n")


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    for fd in (given["control"], given["status"]):
        os.set_inheritable(fd, False)
    main(given)
