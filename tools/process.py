"""Running a command in a process of its own, within limits. Isolation against accidents; no security boundary."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from surefoot.storage.errors import ToolError
from surefoot.storage.fork import Forked, watch
from surefoot.tools.thread import in_thread

KEPT = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ")
"""Variables that a command gets of the engine's environment; everything else, keys and tokens too, stays behind."""

_WARDEN = Path(__file__).with_name("warden.py")
_GRACE = 4.0
"""Seconds past its deadline after which the warden itself is taken for dead: a command may have stopped it."""
_DRAIN = 64


@dataclass(frozen=True, slots=True)
class Limits:
    """What one command may use. Memory, CPU and file size are limits of each of its processes."""

    seconds: float = 30.0
    """Wall-clock time of the whole command."""
    cpu: int | None = None
    """Seconds of CPU time; None is the wall-clock limit and one more."""
    memory: int = 2 * 1024**3
    """Bytes of address space."""
    file: int = 64 * 1024**2
    """Bytes of one file written."""
    files: int = 256
    """Open files."""
    processes: int = 64
    """Processes at once."""
    output: int = 50_000
    """Bytes kept of each of stdout and stderr: the first and the last half of them."""


@dataclass(frozen=True, slots=True)
class Finished:
    """How a command ended."""

    stdout: str
    stderr: str
    exit_code: int
    """As the command gave it; -n where signal n killed it, -9 where the limits did."""
    timed_out: bool
    seconds: float


async def run(
    argv: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: str | bytes = b"",
    limits: Limits = Limits(),
) -> Finished:
    """Run a command without a shell and wait until it and everything that it started is gone.

    It gets the variables in `KEPT`, HOME set to its folder, and those of `env`; `stdin` and then its end; no other
    open file; a session of its own; `limits`. A watching process kills the command when its time is up, when the
    call is cancelled, and when this process dies; on Linux also what it left behind, daemons included. `cwd`: an
    empty folder that is removed afterwards, unless given.

    Not covered: the command runs as the same user, with the network, and can read what that user can read (other
    processes' environments too). One that kills the watcher on purpose can leave a daemon behind. The limits do not
    add up memory or disk over several processes or files. Off Linux only the process group is killed.

    Raises ToolError where the command cannot be started.
    """
    if os.name != "posix":
        raise ToolError("commands need a POSIX system (Linux, macOS); on Windows run surefoot inside WSL")
    job = _Job([str(part) for part in argv], env or {}, stdin.encode() if isinstance(stdin, str) else stdin, limits)
    work = asyncio.ensure_future(in_thread(lambda: job.run(cwd)))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        job.stop()
        # The caller may remove the folder next, so nothing may be running in it any more.
        await asyncio.wait({work})
        if not work.cancelled():
            # Read, so that asyncio does not report it as forgotten: a cancelled call has no result.
            work.exception()
        raise


@dataclass(eq=False)
class _Job(Forked):
    """One command, run to its end by a thread that does nothing else."""

    argv: list[str]
    env: Mapping[str, str]
    stdin: bytes
    limits: Limits
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stopped: bool = False
    _control: int | None = None
    """Write end of the pipe that keeps the command alive; None before it starts and after it ended."""

    def __post_init__(self) -> None:
        watch(self)

    def renew(self) -> None:
        """The command is to end with the process that started it, however long a child of that lives."""
        if self._control is not None:
            os.close(self._control)
            self._control = None

    def stop(self) -> None:
        """Have everything killed, or not started. May be called at any time, from any thread."""
        with self._lock:
            self._stopped = True
            if self._control is not None:
                os.write(self._control, b"x")

    @contextlib.contextmanager
    def _controlled(self) -> Iterator[int]:
        """The read end of the control pipe, while the command may run."""
        read, write = os.pipe()
        try:
            with self._lock:
                if self._stopped:
                    raise ToolError(f"{self.argv[0]} was cancelled before it started")
                self._control = write
            yield read
        finally:
            # Under the lock: once closed, the number may be another file's.
            with self._lock:
                self._control = None
                os.close(write)
            os.close(read)

    def run(self, cwd: Path | None) -> Finished:
        with contextlib.ExitStack() as stack:
            control = stack.enter_context(self._controlled())
            if cwd is None:
                cwd = Path(tempfile.mkdtemp(prefix="surefoot-"))
                stack.callback(_remove, cwd)
            cwd.mkdir(parents=True, exist_ok=True)
            source = stack.enter_context(tempfile.TemporaryFile())
            source.write(self.stdin)
            source.seek(0)
            status, tell = os.pipe()
            stack.callback(os.close, status)
            try:
                warden = self._start(cwd, source, control, tell)
            finally:
                os.close(tell)
            return self._follow(stack.enter_context(warden), status)

    def _start(self, cwd: Path, source: Any, control: int, tell: int) -> subprocess.Popen[bytes]:
        spec = {
            "argv": self.argv,
            "seconds": self.limits.seconds,
            "processes": self.limits.processes,
            "limits": _rlimits(self.limits),
            "control": control,
            "status": tell,
        }
        kept = {name: os.environ[name] for name in KEPT if name in os.environ}
        try:
            return subprocess.Popen(
                [sys.executable, "-I", "-S", str(_WARDEN), json.dumps(spec)],
                stdin=source,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=cwd,
                env={**kept, "HOME": str(cwd), **self.env},
                pass_fds=(control, tell),
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise ToolError(f"{self.argv[0]} cannot be started: {error}") from error

    def _follow(self, warden: subprocess.Popen[bytes], status: int) -> Finished:
        began = time.monotonic()
        assert warden.stdout and warden.stderr
        out, err, news = _Capture(self.limits.output), _Capture(self.limits.output), _Capture(10_000)
        streams = {warden.stdout.fileno(): out, warden.stderr.fileno(): err, status: news}
        _read(streams, status, began + self.limits.seconds + _GRACE)
        said = _reports(news.text())
        if "code" not in said:
            _kill(warden, said.get("pid"))
        warden.wait()
        if said.get("reason") == "start":
            raise ToolError(f"{self.argv[0]} cannot be started: {said['error']}")
        reason = said.get("reason", "lost")
        code = said.get("code")
        return Finished(
            stdout=out.text(),
            stderr=err.text() + self._note(reason, said.get("left", 0)),
            exit_code=-signal.SIGKILL if code is None else code,
            timed_out=reason == "time" or (reason == "lost" and time.monotonic() > began + self.limits.seconds),
            seconds=time.monotonic() - began,
        )

    def _note(self, reason: str, left: int) -> str:
        notes = {
            "time": f"[killed after {self.limits.seconds:g} s]",
            "processes": f"[killed: it had more than {self.limits.processes} processes at once]",
            "stopped": "[killed: the call was cancelled]",
            "lost": "[killed: it interfered with the process that watches it]",
        }
        text = f"\n{notes[reason]}" if reason in notes else ""
        return f"{text}\n[{left} of its processes could not be killed]" if left else text


class _Capture:
    """The first and the last half of what a stream says; memory does not grow with the stream."""

    def __init__(self, limit: int) -> None:
        self._half = max(limit // 2, 1)
        self._head = bytearray()
        self._tail = bytearray()
        self._total = 0

    def add(self, data: bytes) -> None:
        self._total += len(data)
        room = self._half - len(self._head)
        self._head += data[:room]
        self._tail += data[room:] if room < len(data) else b""
        if len(self._tail) > 4 * self._half:
            del self._tail[: -self._half]

    def text(self) -> str:
        """UTF-8, with a mark for what is not and for NUL, which databases refuse; a note where some is left out."""
        tail = self._tail[-self._half :]
        left_out = self._total - len(self._head) - len(tail)
        note = f"\n[... {left_out} bytes left out ...]\n".encode() if left_out else b""
        return (self._head + note + tail).decode("utf-8", "replace").replace("\0", "\ufffd")


def _read(streams: Mapping[int, _Capture], status: int, deadline: float) -> None:
    """Read all streams until `status` ends, which is after every process is gone, or until the deadline.

    What the other pipes hold then is read as well, but not waited for: a process that got away may hold one open.
    """
    with selectors.DefaultSelector() as selector:
        for fd in streams:
            os.set_blocking(fd, False)
            selector.register(fd, selectors.EVENT_READ)
        while status in selector.get_map() and (left := deadline - time.monotonic()) > 0:
            for key, _ in selector.select(left):
                if not _take(key.fd, streams[key.fd]):
                    selector.unregister(key.fd)
    for fd, capture in streams.items():
        for _ in range(_DRAIN):
            if not _take(fd, capture):
                break


def _take(fd: int, capture: _Capture) -> bool:
    """Read what is there; False at the end of the stream, or where nothing is there."""
    try:
        data = os.read(fd, 1 << 16)
    except BlockingIOError:
        return False
    capture.add(data)
    return bool(data)


def _reports(text: str) -> dict[str, Any]:
    """What the warden said, later words over earlier ones. A command cannot write here: it does not have the pipe."""
    said: dict[str, Any] = {}
    for line in text.splitlines():
        with contextlib.suppress(ValueError):
            for key, value in json.loads(line).items():
                said.setdefault(key, value)
    return said


def _remove(folder: Path) -> None:
    """Remove a folder in which anything may be; what the command made unremovable stays for the system to clean."""
    try:
        shutil.rmtree(folder, ignore_errors=True)
    except RecursionError:
        # Folders nested a thousand deep; rm does not mind.
        subprocess.run(["rm", "-rf", "--", folder], stdin=subprocess.DEVNULL, capture_output=True, check=False)


def _kill(warden: subprocess.Popen[bytes], child: int | None) -> None:
    """The warden is gone or stands still. Its death kills the command, the process group most of the rest."""
    warden.kill()
    if child:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child, signal.SIGKILL)


def _rlimits(limits: Limits) -> dict[str, int]:
    cpu = limits.cpu if limits.cpu is not None else int(limits.seconds) + 1
    return {
        "CORE": 0,
        "CPU": cpu,
        "AS": limits.memory,
        "FSIZE": limits.file,
        "NOFILE": limits.files,
        "NPROC": limits.processes,
    }
