"""Runs as lines of JSON: whole trajectories, and rows that trainers take as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TextIO

from surefoot.storage.errors import SetupError
from surefoot.storage.records import Outcome
from surefoot.storage.run import RunInfo
from surefoot.storage.run_store import RunStore
from surefoot.trajectories.exports import jsonl as export_trajectory
from surefoot.trajectories.exports import sft as export_sft

FORMATS: Mapping[str, Callable[[RunStore, RunInfo, TextIO], int]] = {
    "jsonl": export_trajectory.write,
    "trl-sft": export_sft.write,
}
"""Each writes one run and returns the number of its lines."""

ACCEPTED: Mapping[str, Outcome] = {"trl-sft": Outcome.VERIFIED}
"""Outcome of the runs that a format takes where none is asked for; a format that is not here takes all runs."""


def export(
    store: RunStore,
    format: str,
    out: TextIO,
    *,
    outcome: Outcome | None = None,
    runs: Sequence[str] | None = None,
) -> int:
    """Write runs as lines of JSON and return the number of lines. Memory does not grow with the runs.

    format: `jsonl`, a whole trajectory a line (`export_trajectory`); or `trl-sft`, a conversation that led to an
        accepted output a line (`export_sft`).
    outcome: runs that ended so. None is every run for `jsonl`, and verified ones for `trl-sft`.
    runs: names of runs as `RunStore.resolve` takes them, written in this order; None is all of the store, oldest first.

    Raises SetupError for a format that does not exist, and StoreError where the store cannot be read or does not
    know a run; lines written before that stay written.
    """
    if format not in FORMATS:
        raise SetupError(f"there is no format {format!r}; there are: {', '.join(FORMATS)}")
    wanted = outcome if outcome is not None else ACCEPTED.get(format)
    written = 0
    for run_id in _all(store, wanted) if runs is None else [store.resolve(run) for run in runs]:
        info = store.run(run_id)
        if wanted is None or info.outcome is wanted:
            written += FORMATS[format](store, info, out)
    return written


def _all(store: RunStore, outcome: Outcome | None) -> Iterator[str]:
    """Oldest first. The store lists the newest first, so the names (and nothing else) are held meanwhile."""
    names: list[str] = []
    while page := store.runs(1000, before=names[-1] if names else None, outcome=outcome):
        names += (info.run_id for info in page)
    return reversed(names)
