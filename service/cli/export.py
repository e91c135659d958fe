"""`surefoot export`: trajectories as training data."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TextIO

import typer

from surefoot.service.cli import options as o
from surefoot.service.cli.command import OK, command
from surefoot.service.cli.runs import Which
from surefoot.service.display.terminal import tell
from surefoot.trajectories.exports.formats import FORMATS
from surefoot.trajectories.exports.formats import export as write

if TYPE_CHECKING:
    Name = str
else:
    Name = Literal[*FORMATS]

Format = Annotated[
    Name, typer.Option("--format", help="; ".join(f"{name}: {one.told}" for name, one in FORMATS.items()) + ".")
]
Out = Annotated[Path, typer.Option("--out", "-o", help="File to write; - is stdout.")]
Runs = Annotated[list[str] | None, o.option("--run", help="Only this run. Repeatable.")]


@command
def export(
    format: Format = "jsonl", out: Out = Path("-"), outcome: Which = None, run: Runs = None, store: o.StoreUrl = None
) -> int:
    """Write trajectories as training data, rejected attempts included."""
    from surefoot.storage.errors import SetupError
    from surefoot.storage.records import Outcome

    if outcome == "running":
        raise SetupError("--outcome running: a run is exported once it has ended")
    with o.open_store(store) as opened:
        runs = None if not run else [opened.resolve(name) for name in run]
        with _file(out) as stream:
            rows = write(opened, format, stream, outcome=Outcome(outcome) if outcome else None, runs=runs)
    tell(f"{rows} rows" + ("" if str(out) == "-" else f" in {out}"))
    if not rows:
        tell(f"next   surefoot list{o.where(store)}   (which runs are there, and how did they end?)")
    elif reader := FORMATS[format].reader:
        tell(f"next   {reader}")
    else:
        tell(f"next   surefoot export --format trl-sft --outcome verified --out sft.jsonl{o.where(store)}")
    return OK


@contextmanager
def _file(path: Path) -> Iterator[TextIO]:
    """The stream to write to. A file appears under its name only once it is whole; devices and FIFOs stay in place."""
    if str(path) == "-":
        yield sys.stdout
        return
    if _in_place(path):
        with _opened(path, path) as stream:
            yield stream
        return
    target = Path(os.path.realpath(path))  # a link stays, and what it names is replaced
    part = target.with_name(target.name + ".part")
    stream = _opened(part, path)
    try:
        with stream:
            yield stream
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _in_place(path: Path) -> bool:
    """Whether something stands there that a file must not take the place of; opening it says what is wrong with it."""
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except FileNotFoundError:
        return False
    except OSError:
        return True


def _opened(path: Path, asked: Path) -> TextIO:
    """Raises SetupError, about the path that was asked for, where it cannot be written."""
    from surefoot.storage.errors import SetupError

    try:
        return path.open("w", encoding="utf-8", newline="\n")
    except OSError as error:
        raise SetupError(f"cannot write {asked}: {error.strerror}; give another --out") from None
