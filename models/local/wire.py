"""What a sampler in a process of its own and those that ask it send each other: a few columns for many samples.

A message is a tuple whose first part says what it is. Connections are Unix sockets in a folder of the user's own.

    ("add", [(number, prompt bytes, seed, count, max_tokens, temperature), ...])    asked
    ("drop", [number, ...])                                                        asked
    ("holds", {...})                              told once, when a connection begins: `Holds`
    ("refused", error, text)                      told in its place, where the weights cannot be used
    ("drawn", columns)                            told: `columns`
    ("failed", error, text)                       told: the network failed, and nothing is under way any more
"""

from __future__ import annotations

import hashlib
import os
import socket
import sys
import tempfile
from array import array
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypedDict

from surefoot.models.local.sampler import Drawn, Request
from surefoot.storage.errors import SetupError

Columns = tuple[Any, ...]


class Holds(TypedDict):
    """What a worker holds."""

    pid: int
    folder: str
    window: int
    """The most tokens, prompt and reply together."""
    parameters: int
    device: str
    dtype: str
    rows: int
    """The most samples that are drawn at once."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The worker that is wanted: those who want the same share one."""

    folder: str
    device: str | None
    dtype: str | None
    rows: int
    prompt_logprobs: bool
    threads: int | None

    def place(self) -> Path:
        """Of its socket. Other files in the folder of weights, another Python or surefoot are another place."""
        files = sorted(Path(self.folder).iterdir())
        stamps = [(one.name, one.stat().st_size, one.stat().st_mtime_ns) for one in files if one.is_file()]
        told = repr((self, stamps, sys.executable, metadata.version("surefoot"))).encode()
        return _home() / f"{hashlib.blake2b(told, digest_size=10).hexdigest()}.sock"


def _home() -> Path:
    """The folder of the user's workers, which nobody else may enter. Raises SetupError where somebody else has it."""
    above = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())
    if not above.is_dir():  # as in sessions that took the variable over from another user
        above = Path(tempfile.gettempdir())
    home = above / f"surefoot-{os.getuid()}"
    home.mkdir(mode=0o700, exist_ok=True)
    found = home.stat()
    if found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise SetupError(f"{home} is open to other users: remove it, or set XDG_RUNTIME_DIR to a folder of your own")
    return home


def workers() -> list[Holds]:
    """What the workers hold that this user has on this machine."""
    if sys.platform == "win32":
        return []
    found = []
    for place in sorted(_home().glob("*.sock")):
        with suppress(OSError, EOFError), dialed(place) as connection:  # one that is gone, or on its way
            if connection.poll(2.0) and (said := connection.recv())[0] == "holds":
                found.append(said[1])
    return found


def dialed(place: Path) -> Connection:
    """Raises OSError where nobody listens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as made:
        made.connect(str(place))
        return Connection(made.detach())


def requests(asked: Iterable[tuple[int, Request]]) -> list[tuple[int, bytes, int, int, int, float]]:
    return [
        (number, one.prompt.tobytes(), one.seed, one.count, one.max_tokens, one.temperature) for number, one in asked
    ]


def request(seen: tuple[int, bytes, int, int, int, float]) -> tuple[int, Request]:
    number, prompt, seed, count, max_tokens, temperature = seen
    return number, Request(array("i", prompt), seed, count, max_tokens, temperature)


def columns(drawn: Sequence[tuple[int, Drawn]], told: set[int]) -> Columns:
    """Samples with the numbers that whoever asked gave their requests. told: numbers whose prompts' log-probabilities
    were sent; those of the others are, and are added."""
    prompts: dict[int, bytes] = {}
    for number, one in drawn:
        if number not in told and one.prompt_logprobs is not None:
            prompts[number] = one.prompt_logprobs.tobytes()
            told.add(number)
    return (
        [number for number, _ in drawn],
        [one.index for _, one in drawn],
        [len(one.ids) for _, one in drawn],
        b"".join(one.ids.tobytes() for _, one in drawn),
        b"".join(one.logprobs.tobytes() for _, one in drawn),
        bytes(one.finish_reason == "stop" for _, one in drawn),
        [one.cached for _, one in drawn],
        prompts,
    )


def drawn(seen: Columns, prompts: dict[int, array[float]]) -> list[Drawn]:
    """The samples of columns. prompts: log-probabilities of prompts by number, which grow by what comes along."""
    numbers, indexes, counts, ids, logprobs, stops, cached, more = seen
    for number, one in more.items():
        prompts[number] = array("f", one)
    found, at = [], 0
    for row, number in enumerate(numbers):
        end = at + 4 * counts[row]
        found.append(
            Drawn(
                number,
                indexes[row],
                array("i", ids[at:end]),
                array("f", logprobs[at:end]),
                "stop" if stops[row] else "length",
                prompts.get(number),
                cached[row],
            )
        )
        at = end
    return found
