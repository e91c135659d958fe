"""The two streams: data goes to stdout, everything else to stderr."""

from __future__ import annotations

import json
import os
import sys
from contextlib import AbstractContextManager, nullcontext
from typing import IO, TYPE_CHECKING

from surefoot.service.display.clean import clean, one_line, safe_json

if TYPE_CHECKING:
    from rich.console import Console
    from rich.status import Status

    from surefoot.storage.records import Json

WIDE = 160
"""Columns of a table that no terminal shows, so that nothing in it is cut off early."""


def stdout() -> Console:
    return _console(sys.stdout)


def stderr() -> Console:
    return _console(sys.stderr)


def _console(stream: IO[str]) -> Console:
    """A console that takes text as it is: no markup, no emoji codes, no colouring of numbers. NO_COLOR is rich's."""
    from rich.console import Console

    width = None if stream.isatty() or "COLUMNS" in os.environ else WIDE
    return Console(file=stream, markup=False, emoji=False, highlight=False, width=width)


def tell(text: str = "") -> None:
    """A line for people, on stderr."""
    sys.stderr.write(clean(text) + "\n")


def put(text: str) -> None:
    """A line of data, on stdout."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def emit(value: Json) -> None:
    """One line of NDJSON on stdout."""
    put(dumps(value))


def dumps(value: Json) -> str:
    """One line of JSON; what is no JSON value becomes one as in the store."""
    from surefoot.storage.jsonable import to_json

    return safe_json(json.dumps(to_json(value), ensure_ascii=False, allow_nan=False))


def shown(value: Json) -> str:
    """A value as people read it: text as it is, anything else as JSON."""
    return clean(value) if isinstance(value, str) else dumps(value)


def value(output: Json, most: int = 2000) -> str:
    """A value in one line of so many characters."""
    return one_line(shown(output), most)


def watched() -> bool:
    """Whether somebody looks at stderr on a terminal that can draw."""
    return sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def asked() -> bool:
    """Whether somebody can be asked."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()


def busy(what: str, *, draw: bool = True) -> AbstractContextManager[Status | None]:
    """A spinner for as long as the context lasts, where somebody looks: else None."""
    return stderr().status(what, spinner="dots") if draw and watched() else nullcontext()
