"""A whole run as one JSON object, written as it is read: memory does not grow with the run."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from typing import Any

from surefoot.service.display.terminal import dumps
from surefoot.storage.records import (
    Attempt,
    Event,
    JournalRecord,
    Json,
    Message,
    ModelCall,
    PlannedStep,
    Reward,
    ToolCall,
    Verdict,
)
from surefoot.storage.run import RunInfo
from surefoot.storage.run_store import RunStore
from surefoot.trajectories.standing import Standing
from surefoot.trajectories.tokens import numbers

SECTIONS: dict[str, type] = {
    "attempts": Attempt,
    "verdicts": Verdict,
    "calls": ModelCall,
    "tool_calls": ToolCall,
    "messages": Message,
    "events": Event,
    "rewards": Reward,
}


def row(info: RunInfo) -> dict[str, Json]:
    """A run's row; `outcome` is null while it has none."""
    found = asdict(info)
    del found["task"]  # a key of the tables
    return found


def write_json(store: RunStore, run_id: str, step: int | None = None) -> None:
    """The run on stdout; with `step` only what belongs to that step, and the feedback on it."""
    write = sys.stdout.write
    write('{"run": ' + dumps(row(store.run(run_id))))
    steps = None if step is None else {step}
    write(', "plan": [')
    _items(write, _plan(store, run_id, steps))
    write("]")
    for name, kind in SECTIONS.items():
        write(f', "{name}": [')
        _items(write, map(_plain, store.records(run_id, kinds=[kind], steps=steps)))
        write("]")
    said = [asdict(one) for one in store.feedbacks(run_id) if step is None or one.step == step]
    write(f', "feedback": {dumps(said)}}}\n')
    sys.stdout.flush()


def _items(write: Callable[[str], object], items: Iterable[Json]) -> None:
    for index, item in enumerate(items):
        write((",\n" if index else "\n") + dumps(item))


def _plan(store: RunStore, run_id: str, wanted: set[int] | None) -> Iterator[dict[str, Json]]:
    """Steps with how they stand at last; that of one may hang on those above it."""
    standing = Standing(store.records(run_id, kinds=[PlannedStep, Event]))
    for record in store.records(run_id, kinds=[PlannedStep]):
        if isinstance(record, PlannedStep):
            status = standing.status(record.seq, record.parent)
            if wanted is None or record.seq in wanted:
                yield _step(record, status)


def _plain(record: JournalRecord) -> dict[str, Json]:
    found: dict[str, Any] = asdict(record)
    if isinstance(record, Message):
        for name, code in (("token_ids", "i"), ("mask", "B"), ("logprobs", "f")):
            found[name] = None if found[name] is None else numbers(code, found[name]).tolist()
    return found


def _step(record: PlannedStep, status: str) -> dict[str, Json]:
    """A step with its place in the plan; `needs` are numbers of steps, those that its arguments refer to included."""
    found: dict[str, Json] = {"seq": record.seq, "parent": record.parent, "ordinal": record.ordinal}
    found |= {"version": record.version, "status": status}
    return found | asdict(record.step) | {"needs": list(record.needs)}
