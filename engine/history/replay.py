"""Going through a run's record again: was every decision in it the one that the rules demand?

Models, tools and verifiers are not asked; what they said is in the record. What is done again is the deciding.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from surefoot.engine.core import fold
from surefoot.engine.core.actions import Action, Commit, Escalate, Expand, GiveUp, Replan, RollBack
from surefoot.engine.core.decide import decide
from surefoot.engine.core.rules import PERSON
from surefoot.engine.core.state import RunState, StepState
from surefoot.engine.setup.context import RunContext
from surefoot.storage.events import Escalated, Failed, RolledBack
from surefoot.storage.records import Attempt, Event, JournalRecord


@dataclass(frozen=True, slots=True)
class Divergence:
    """A decision of the record that the rules would not take."""

    seq: int
    step: str
    recorded: str
    decided: str


@dataclass(slots=True)
class Replay:
    """What came of going through a record."""

    run_id: str
    decisions: int = 0
    divergences: list[Divergence] = field(default_factory=list)
    state: RunState = field(default_factory=RunState, repr=False)

    def __bool__(self) -> bool:
        return not self.divergences


def replay(run_id: str, records: Iterable[JournalRecord], context: RunContext) -> Replay:
    """Folds the records, deciding anew before each recorded decision.

    With another context (a higher target, another verifier's version of the rules) the divergences say which steps
    would have needed more.
    """
    result = Replay(run_id)
    state = result.state
    reused: set[int] = set()
    for record in records:
        if isinstance(record, Attempt) and record.role == "reused":
            reused.add(record.seq)
        if isinstance(record, Event) and record.step in state.steps and record.attempt not in reused:
            _compare(result, state.steps[record.step], record, context)
        fold.replay(state, record)
    return result


def _compare(result: Replay, step: StepState, event: Event, context: RunContext) -> None:
    if not _decided(event):
        return
    result.decisions += 1
    action = decide(result.state, step, context.rules(step.step, result.state.observed))
    if not _same(event, action):
        said = type(action).__name__.lower() if action is not None else "wait"
        result.divergences.append(Divergence(event.seq, step.step.id, event.kind, said))


def _decided(event: Event) -> bool:
    """Whether the rules decided it: not a fixed plan's expansion, a failure that an error forced, or what came after a
    person had been asked."""
    if event.kind == "failed":
        failed: Failed = event.data
        return not failed.get("fault")
    if event.kind == "escalated":
        escalated: Escalated = event.data
        return escalated.get("planner") != PERSON
    return event.kind == "rolled_back" or (event.kind in ("committed", "planned") and event.attempt is not None)


def _same(event: Event, action: Action | None) -> bool:
    if event.kind == "failed":
        return isinstance(action, GiveUp)
    if event.kind == "escalated":
        to: Escalated = event.data
        return isinstance(action, Escalate) and (action.source or action.planner) == to.get("source", to.get("planner"))
    if event.kind == "rolled_back":
        back: RolledBack = event.data
        return isinstance(action, RollBack | Replan) and getattr(action, "children", ()) == tuple(back["steps"])
    wanted = Commit if event.kind == "committed" else Expand
    return isinstance(action, wanted) and action.candidate.attempt == event.attempt
