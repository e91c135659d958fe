"""How each step of a run stands, read off its records: what is accepted, what was undone or replaced, what is asked.

The engine has a state of its own (`engine/core/state.py`), since it has to know more. Everybody else reads this.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Literal

from surefoot.storage.events import Answered, Asked, Failed, Finished, Planned, RolledBack
from surefoot.storage.outcome import Outcome
from surefoot.storage.records import Event, JournalRecord, Json, PlannedStep

Status = Literal["open", "asked", "committed", "failed", "undone", "replaced"]
"""undone: what was accepted for the step was taken back, and it is done again; replaced: the plan that it is part of
does not stand any more."""


def asking(questions: Iterable[Json]) -> str:
    """What a person is asked, in one line."""
    counts = Counter(str(one.get("question", "")) for one in questions)
    return "; ".join(text + (f" ({many} times)" if many > 1 else "") for text, many in counts.items())


class Standing:
    """The steps of a run after the records that were added; wants every PlannedStep and Event, in order of seq.

    An acceptance falls with its step, and a step with the plan that it is part of. What is committed and never fell is
    not kept, so memory follows the open part of the plan and what fell.
    """

    def __init__(self, records: Iterable[JournalRecord] = ()) -> None:
        self._status: dict[int, Status] = {}
        """A step that is not in it is committed."""
        self._fell: dict[int, int] = {}
        """By step, the last seq at which what was accepted for it before, and its plan, fell."""
        self._drafts: dict[int, list[int]] = {}
        """Steps of plans that are not accepted yet, by the step that they are for."""
        self._questions: dict[int, dict[str, Asked]] = {}
        self._faults: set[int] = set()
        self._over = False
        for record in records:
            self.add(record)

    def add(self, record: JournalRecord) -> None:
        if isinstance(record, PlannedStep):
            self._status[record.seq] = "open"
            if record.parent is not None:
                self._drafts.setdefault(record.parent, []).append(record.seq)
        elif isinstance(record, Event):
            self._event(record)

    def status(self, step: int, parent: int | None) -> Status:
        """How a step stands; ask for its parent first."""
        if parent is not None and (fall := self._fell.get(parent, 0)) > step:
            self._fell[step], self._status[step] = max(fall, self._fell.get(step, 0)), "replaced"
        found = self._status.get(step, "committed")
        return "open" if found == "asked" and self._over else found

    def questions(self, step: int) -> list[dict[str, Json]]:
        """What a person has yet to answer for a step, in the order in which it was asked."""
        return [dict(one) for one in self._questions.get(step, {}).values()]

    def fell(self, event: Event) -> tuple[int, ...] | None:
        """Steps that an event takes back; none where it is the plan of its own step; None where nothing falls."""
        if event.kind != "rolled_back":
            return None
        data: RolledBack = event.data
        return tuple(data["steps"])

    def accepts(self, record: PlannedStep | Event) -> int | None:
        """seq of the attempt that a record accepted and that stands; None where there is none.

        Wants the same records as `add` once more, after the last was added.
        """
        if isinstance(record, PlannedStep):
            self.status(record.seq, record.parent)
        elif record.kind in ("committed", "planned") and record.seq > self._fell.get(record.step or 0, 0):
            return record.attempt
        return None

    def _event(self, event: Event) -> None:
        if event.kind == "resumed":
            self._over = False
            self._status |= {step: "open" for step in self._faults if self._status.get(step) == "failed"}
            self._faults = set()
        elif event.kind == "finished":
            finished: Finished = event.data
            self._over = not Outcome(finished["outcome"]).means.asks
        elif event.step is not None:
            self._change(event, event.step)

    def _change(self, event: Event, step: int) -> None:
        if event.kind == "committed":
            self._status.pop(step, None)
        elif event.kind == "failed":
            self._status[step] = "failed"
            failed: Failed = event.data
            if failed.get("fault"):
                self._faults.add(step)
        elif event.kind == "planned":
            self._planned(event, step, event.data or {})
        elif event.kind == "asked":
            question: Asked = event.data
            self._questions.setdefault(step, {})[question["key"]] = question
            self._status[step] = "asked"
        elif event.kind == "answered":
            asked = self._questions.get(step, {})
            answered: Answered = event.data
            asked.pop(answered["key"], None)
            if not asked:
                self._questions.pop(step, None)
                if self._status.get(step) == "asked":
                    self._status[step] = "open"
        elif (fell := self.fell(event)) is not None:
            self._status |= dict.fromkeys(fell, "undone")
            self._fell |= dict.fromkeys(fell or [step], event.seq)

    def _planned(self, event: Event, step: int, data: Planned) -> None:
        """A plan was accepted: the last of the drafted steps are its own; a kill had cut off those before."""
        drafted = self._drafts.pop(step, [])
        first = len(drafted) - data.get("size", len(drafted))
        self._status |= dict.fromkeys(drafted[:first], "replaced")
        if not data.get("extend") and data.get("version", 1) > 1:
            before = drafted[first] if drafted[first:] else event.seq
            self._fell[step] = max(self._fell.get(step, 0), before - 1)
