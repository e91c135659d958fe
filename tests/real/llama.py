"""A server with a real model as a process of its own, which can be killed and started again at the same address."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import URLError
from urllib.request import urlopen

HOME = Path(__file__).parents[2] / "build" / "real"
"""The virtual environment that `make real` makes."""
SERVER = Path(__file__).with_name("server.py")
PATIENCE = 120.0
"""Seconds that a server may take to load its model, and for what is waited for to happen."""


class Counted(NamedTuple):
    """Tokens by the server's own counters, since it started."""

    prompt_tokens: int
    completion_tokens: int


class Llama:
    """llama.cpp's server. `window`: tokens that a prompt and its reply may have together."""

    def __init__(self, model: str, log: Path, window: int = 2048) -> None:
        self.model, self.log, self.window = model, log, window
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.host, self.port = free.getsockname()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}/v1"

    def start(self) -> None:
        """Returns when the server answers."""
        assert self._process is None
        command = [HOME / "bin" / "python", SERVER, self.model, str(self.port), str(self.window)]
        with self.log.open("ab") as log:
            # It ends with its standard input, so also when the tests are killed.
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log)
        until(self._ready, f"the server did not come up; see {self.log}")

    def kill(self) -> None:
        """kill -9, whatever it is doing."""
        assert self._process is not None and self._process.stdin is not None
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process = None

    def __enter__(self) -> Llama:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._process is not None:
            self.kill()

    @property
    def counted(self) -> Counted:
        found = dict(line.split() for line in self._get("metrics").splitlines() if not line.startswith("#"))
        prompt = float(found["llamacpp:prompt_tokens_total"]) + float(found["llamacpp:prompt_tokens_cached_total"])
        return Counted(int(prompt), int(float(found["llamacpp:tokens_predicted_total"])))

    @property
    def busy(self) -> int:
        """Slots that generate at the moment."""
        slots: list[dict[str, Any]] = json.loads(self._get("slots"))
        return sum(slot["is_processing"] for slot in slots)

    @property
    def decoded(self) -> int:
        """Tokens of the longest reply that is being generated."""
        slots: list[dict[str, Any]] = json.loads(self._get("slots"))
        return max(slot["next_token"][0]["n_decoded"] if slot["is_processing"] else 0 for slot in slots)

    def _get(self, page: str) -> str:
        with urlopen(f"http://{self.host}:{self.port}/{page}", timeout=PATIENCE) as response:
            return str(response.read().decode())

    def _ready(self) -> bool:
        assert self._process is not None and self._process.poll() is None, f"the server ended; see {self.log}"
        try:
            self._get("health")
        except (URLError, ConnectionError):  # 503 while it loads
            return False
        return True


def until(holds: Callable[[], object], otherwise: str, patience: float = PATIENCE, every: float = 0.1) -> None:
    """Returns when `holds()` does; asks every so many seconds."""
    deadline = time.monotonic() + patience
    while not holds():
        assert time.monotonic() < deadline, otherwise
        time.sleep(every)
