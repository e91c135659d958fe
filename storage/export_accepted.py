"""Which attempts stood at the end of a run: accepted, and not undone by what was found later."""

from __future__ import annotations

from collections.abc import Iterator

from surefoot.storage.records import Event, PlannedStep
from surefoot.storage.store import Store


class Standing:
    """Tells of each record of a run's plan whether it accepted an attempt that still stood at the end.

    An acceptance falls with its step, and a step with the plan that it is part of. Only what was undone is kept,
    so memory does not grow with the run.
    """

    def __init__(self, store: Store, run_id: str) -> None:
        self._undone: dict[int, int] = {}
        """By step, seq of the last event that undid what was accepted for it before."""
        for event in store.records(run_id, kinds=(Event,)):
            if isinstance(event, Event) and event.kind == "rolled_back" and event.step is not None:
                # Without steps it is the plan of the event's own step that was given up.
                for step in event.data["steps"] or [event.step]:
                    self._undone[step] = event.seq

    def accepts(self, record: PlannedStep | Event) -> int | None:
        """seq of the attempt; None where there is none. Wants every record of these two kinds, in order of seq."""
        if isinstance(record, PlannedStep):
            fall = self._undone.get(record.parent or 0, 0)
            if fall > record.seq:
                self._undone[record.seq] = fall
        elif record.kind in ("committed", "planned") and record.seq > self._undone.get(record.step or 0, 0):
            return record.attempt
        return None


def accepted(store: Store, run_id: str) -> Iterator[int]:
    """seqs of the attempts that stood at the end, in the order of their acceptance."""
    standing = Standing(store, run_id)
    for record in store.records(run_id, kinds=(PlannedStep, Event)):
        if isinstance(record, (PlannedStep, Event)) and (attempt := standing.accepts(record)) is not None:
            yield attempt
