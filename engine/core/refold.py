"""Taking up a run again: its journal, folded, is where it stood."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from surefoot.engine.core.fold import replay
from surefoot.engine.core.fold_plans import drop
from surefoot.engine.core.rules import RulesOf
from surefoot.engine.core.state import RunState, StepState
from surefoot.storage.records import Attempt, Event, JournalRecord, ModelCall, PlannedStep, ToolCall, Verdict

FOLDED = (PlannedStep, Attempt, Verdict, ModelCall, ToolCall, Event)
"""What the state depends on; messages are only for reading."""


def refold(records: Iterable[JournalRecord], rules_of: RulesOf) -> RunState:
    """The state that the records lead to, with everything on `ready` that can be driven.

    Memory stays with the open part of the plan, however long the journal is.
    """
    state = RunState()
    for record in records:
        replay(state, record)
    for step in list(state.steps.values()):
        if state.steps.get(step.seq) is step:
            _mend(state, step, rules_of)
    state.ready = [step.seq for step in sorted(state.steps.values(), key=_turn, reverse=True) if _driven(state, step)]
    return state


def _mend(state: RunState, step: StepState, rules_of: RulesOf) -> None:
    """Lets go of what the kill cut in half.

    A plan whose `planned` event is missing was never accepted. A candidate that a model's reply is needed to
    check cannot be checked any more, since the reply died with the process: it is proposed again.
    """
    drop(state, step.drafted)
    step.drafted = []
    rules = rules_of(step.step, None)
    checks = (*rules.checks, *rules.plan_checks)
    for key, candidate in list(step.candidates.items()):
        if any(check.kind == "model" and check.name not in candidate.verdicts for check in checks):
            state.judged.pop(candidate.attempt, None)
            del step.candidates[key]


def _turn(step: StepState) -> int:
    return step.seq


def _driven(state: RunState, step: StepState) -> bool:
    if step.seq == state.root or not step.open or step.waits:
        return False
    return step.status == "ready" or not step.open_children or step.broken is not None


def before_step(records: Iterable[JournalRecord], step: int) -> Iterator[JournalRecord]:
    """The records before the first attempt at a step, by its seq."""
    # Records of steps that ran beside it stay; its own conversation is what the fork makes anew.
    for record in records:
        mine = getattr(record, "step", None) == step
        if isinstance(record, Attempt) and mine:
            return
        yield record
