"""The command line as a person or a program meets it: in this process, in one of its own, and on a terminal."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

SUREFOOT = Path(sys.executable).with_name("surefoot")


@dataclass(frozen=True)
class Said:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def rows(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


class Shell:
    """Runs commands in this process, which is quick, in the folder and environment of one test."""

    def __init__(self, capture: pytest.CaptureFixture[str]) -> None:
        self._capture = capture

    def __call__(self, *words: str) -> Said:
        from surefoot.service.cli.app import app

        self._capture.readouterr()
        handler = signal.getsignal(signal.SIGTERM)
        with pytest.raises(SystemExit) as ending:
            app(list(words), prog_name="surefoot")
        signal.signal(signal.SIGTERM, handler)
        said = self._capture.readouterr()
        return Said(int(ending.value.code or 0), said.out, said.err)


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONUNBUFFERED": "1", **more}


def start(*words: str, cwd: Path, **env: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [SUREFOOT, *words],
        cwd=cwd,
        env=environment(**env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end(process: subprocess.Popen[str], timeout: float = 60) -> Said:
    out, err = process.communicate(timeout=timeout)
    return Said(process.returncode, out, err)


def on_a_terminal(
    *words: str, cwd: Path, keys: Mapping[str, str] | None = None, columns: int = 100, **env: str
) -> tuple[int, str]:
    """Exit code, and everything that the terminal got. `keys` are typed once the text before them appears."""
    child, terminal = pty.fork()
    if child == 0:
        try:
            os.chdir(cwd)
            os.execve(SUREFOOT, ["surefoot", *words], environment(**{"TERM": "xterm-256color"} | env))
        finally:
            os._exit(127)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
    waiting = dict(keys or {})
    got = b""
    until = time.monotonic() + 90
    with contextlib.suppress(OSError):  # reading fails with EIO once the other side is closed
        while time.monotonic() < until:
            if not select.select([terminal], [], [], 1)[0]:
                continue
            if not (more := os.read(terminal, 65536)):
                break
            got += more
            for text in [text for text in waiting if text.encode() in got]:
                os.write(terminal, waiting.pop(text).encode())
    os.close(terminal)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), got.decode()
