"""The forms in which runs leave the store: a format is a module that writes a run as lines of JSON, and a line here.

The command line lists them before anything is loaded, so this module imports nothing that is slow.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from surefoot.storage.outcome import Outcome
    from surefoot.storage.run_store import RunStore


@dataclass(frozen=True, slots=True)
class Format:
    module: str
    """Of this room; its `write(store, run, out)` writes one run and returns the number of its lines."""
    told: str
    """What it holds."""
    takes: str | None = None
    """Outcome of the runs that it takes where none is asked for; None: all runs."""
    reader: str = ""
    """What reads its lines as they are, where something does."""


FORMATS = {
    "jsonl": Format("jsonl", "whole trajectories"),
    "trl-sft": Format(
        "sft",
        "conversations that TRL's SFTTrainer reads",
        "verified",
        "load_dataset('json', data_files=...) and TRL's SFTTrainer",
    ),
}


def export(
    store: RunStore,
    format: str,
    out: TextIO,
    *,
    outcome: Outcome | None = None,
    runs: Sequence[str] | None = None,
) -> int:
    """Write runs as lines of JSON and return the number of lines. Memory does not grow with the runs.

    format: one of `FORMATS`; its module says what a line is.
    outcome: runs that ended so. None is every run for `jsonl`, and verified ones for `trl-sft`.
    runs: names of runs as `RunStore.resolve` takes them, written in this order; None is all of the store, oldest first.

    Raises SetupError for a format that does not exist, and StoreError where the store cannot be read or does not
    know a run; lines written before that stay written.
    """
    from surefoot.storage.errors import SetupError
    from surefoot.storage.outcome import Outcome

    if (found := FORMATS.get(format)) is None:
        raise SetupError(f"there is no format {format!r}; there are: {', '.join(FORMATS)}")
    write = import_module(f"surefoot.trajectories.exports.{found.module}").write
    wanted = outcome if outcome is not None or found.takes is None else Outcome(found.takes)
    written = 0
    for run_id in _all(store, wanted) if runs is None else [store.resolve(run) for run in runs]:
        info = store.run(run_id)
        if wanted is None or info.outcome is wanted:
            written += write(store, info, out)
    return written


def _all(store: RunStore, outcome: Outcome | None) -> Iterator[str]:
    """Oldest first. The store lists the newest first, so the names (and nothing else) are held meanwhile."""
    names: list[str] = []
    while page := store.runs(1000, before=names[-1] if names else None, outcome=outcome):
        names += (info.run_id for info in page)
    return reversed(names)
