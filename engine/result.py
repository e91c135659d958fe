"""What a user gets back: the outcome, the output, and the receipt that says what it rests on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from surefoot.storage.events import Failed
from surefoot.storage.records import (
    Attempt,
    Event,
    JournalRecord,
    Json,
    ModelCall,
    Outcome,
    PlannedStep,
    Reliability,
    ToolCall,
    Usage,
    Verdict,
)
from surefoot.trajectories.standing import Standing, Status, asking

if TYPE_CHECKING:
    from surefoot.engine.core.ending import Ending
    from surefoot.engine.core.state import RunState
    from surefoot.storage.run import RunInfo
    from surefoot.storage.run_store import RunStore


UNKNOWN = Reliability(None, None, None, "none")


@dataclass(slots=True)
class Receipt:
    """How one step came to its output: every attempt, every verdict."""

    seq: int
    id: str
    parent: int | None
    goal: str
    does: str
    """The tool or planner that does it; empty where the model answers."""
    status: Status = "open"
    """`undone` where a later check contradicted it, `replaced` where its plan was given up for another."""
    output: Json = None
    attempts: list[Attempt] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    calls: list[ModelCall | ToolCall] = field(default_factory=list)
    support: Json = None
    """p, bound and basis of the commit; None where an exact check stands behind it."""
    reason: str = ""
    depth: int = 0

    @property
    def rejected(self) -> int:
        """Attempts that were not accepted."""
        return sum(1 for one in self.attempts if one.status != "proposed") + len(self.refuted)

    @property
    def refuted(self) -> set[int]:
        return {one.attempt for one in self.verdicts if one.ruling == "fail"}


@dataclass
class Result:
    """What became of a task. `output` is set only where something was accepted.

    It is true where it was verified, or verification was turned off; what votes alone accepted (`agreed`) is false.
    """

    run_id: str
    outcome: Outcome
    output: Any = None
    reason: str = ""
    """Why there is no output, or what limits the trust in it."""
    reliability: Reliability = UNKNOWN
    usage: Usage = field(default_factory=Usage)
    seconds: float = 0.0
    committed: int = 0
    """Steps committed."""
    questions: list[dict[str, Json]] = field(default_factory=list)
    """What a person must answer (`input_required`): pass the answers to `Engine.resume`, by `key`."""
    store: RunStore | None = field(default=None, repr=False)

    def __bool__(self) -> bool:
        return self.outcome.means.true

    @cached_property
    def steps(self) -> list[Receipt]:
        """Receipts of all steps, in plan order, read from the store when first asked for."""
        if self.store is None:
            return []
        return list(receipts(self.store.records(self.run_id)))


def stored(info: RunInfo, read: Callable[[Json], Any] = lambda value: value, store: RunStore | None = None) -> Result:
    """The result of a run that has ended, from its row; `read` makes the output of it."""
    nothing = Reliability(info.target, None, None, "none")
    return Result(
        info.run_id,
        info.outcome or Outcome.FAILED,
        read(info.output),
        info.reason,
        info.reliability or nothing,
        info.usage or Usage(),
        (info.ended_at or info.created_at) - info.created_at,
        store=store,
    )


def reached(
    run_id: str, state: RunState, end: Ending | None, questions: list[dict[str, Json]], read: Callable[[Json], Any]
) -> Result:
    """The result of a run that has just ended; without an ending it waits for answers."""
    if end is None:
        outcome, reason, reliability, output = Outcome.INPUT_REQUIRED, asking(questions), UNKNOWN, None
    else:
        questions = []
        outcome, reason, reliability, output = end.outcome, end.reason, end.reliability, read(end.output)
    return Result(
        run_id, outcome, output, reason, reliability, state.spent.usage, committed=state.committed, questions=questions
    )


def receipts(records: Iterable[JournalRecord]) -> Iterator[Receipt]:
    """The receipts that a run's records make up."""
    standing = Standing()
    found: dict[int, Receipt] = {}
    of_attempt: dict[int, Receipt] = {}
    for record in records:
        standing.add(record)
        if isinstance(record, PlannedStep):
            step = record.step
            depth = found[record.parent].depth + 1 if record.parent is not None else 0
            does = step.tool or step.planner or ""
            found[record.seq] = Receipt(record.seq, step.id, record.parent, step.goal, does, depth=depth)
        elif isinstance(record, Attempt):
            found[record.step].attempts.append(record)
            of_attempt[record.seq] = found[record.step]
        elif isinstance(record, Verdict):
            of_attempt[record.attempt].verdicts.append(record)
        elif isinstance(record, (ModelCall, ToolCall)):
            found[record.step].calls.append(record)
        elif isinstance(record, Event):
            _note(found, record)
    for receipt in found.values():
        _stand(receipt, standing)
    return _in_order(found)


def _note(found: dict[int, Receipt], event: Event) -> None:
    if event.step is None or event.step not in found:
        return
    receipt = found[event.step]
    if event.kind == "committed":
        receipt.support, receipt.reason = event.data, ""
        receipt.output = next(one.output for one in receipt.attempts if one.seq == event.attempt)
    elif event.kind == "failed":
        failed: Failed = event.data
        receipt.reason = failed["reason"]


def _stand(receipt: Receipt, standing: Standing) -> None:
    receipt.status = standing.status(receipt.seq, receipt.parent)
    if receipt.status != "committed":
        receipt.output = receipt.support = None
    if receipt.status == "asked":
        receipt.reason = asking(standing.questions(receipt.seq))


def _in_order(found: Mapping[int, Receipt]) -> Iterator[Receipt]:
    children: dict[int | None, list[Receipt]] = {}
    for receipt in found.values():
        children.setdefault(receipt.parent, []).append(receipt)
    stack = list(reversed(children.get(None, [])))
    while stack:
        receipt = stack.pop()
        yield receipt
        stack += reversed(children.get(receipt.seq, []))
