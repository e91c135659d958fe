"""What to do next with one step. Pure: reads the state and the rules, returns an action or None.

The ladder of a step: propose a candidate; put it before its checks; gather votes where no exact check speaks
for it; try again with the critique; roll back what a later check contradicts; plan anew; give up. Nothing that
did not pass is ever committed, and a plurality is never enough.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

from surefoot.engine.state import UNKNOWN, Candidate, RunState, StepState
from surefoot.reflection.trust import EXACT, NOTHING, PRIOR, Support, support
from surefoot.reflection.verifier import Verifier
from surefoot.reflection.votes import step_error, votes_needed
from surefoot.storage.records import Basis, Verdict, record

Mode = Literal["plan", "tool", "arguments", "answer"]


@record
class Prior:
    """What is believed of one sample of a model before any evidence: its chance to be right, and why."""

    p: float = PRIOR
    basis: Basis = "prior"
    low: float | None = None
    """Lower quantile of a measured rate."""
    ceiling: float = 1.0
    """Measured rate at which answers that were accepted by votes are right. Samples of one model err together, so
    no number of votes may claim more."""
    ceiling_low: float = 1.0
    """Lower quantile of that rate."""


@record
class Rules:
    """What it takes to commit a step; fixed for the step's life."""

    mode: Mode
    sampled: bool
    """Another try may propose another candidate, so votes mean something."""
    checks: tuple[Verifier, ...]
    """Of the output. Every one must pass."""
    plan_checks: tuple[Verifier, ...] = ()
    votes: int | None = None
    """Lead that a candidate needs where no exact check passed it; None derives it from the target."""
    prior: Prior = Prior()
    target: float | None = None
    tries: int = 4
    """Attempts in a row without any candidate, and rounds of retry after a refuted one."""
    samples: int = 12
    """Attempts in all."""
    replans: int = 2
    verify: bool = True

    def lead(self, expected: int) -> int:
        """Votes ahead of the runner-up, when the target is shared over `expected` sampled steps."""
        if not self.verify or not self.sampled:
            return 1
        if self.votes is not None:
            return self.votes
        if self.target is None:
            return 2
        # Half of the error budget for plans, half for the steps; the next plan cannot know how many will follow.
        share = step_error(math.sqrt(self.target), 1 if self.mode == "plan" else max(1, expected))
        return votes_needed(self.prior.p, share) or self.samples + 1


@record
class Propose:
    """Sample, call the tool, or ask the planner, `n` times."""

    n: int


@record
class Check:
    candidate: Candidate
    verifiers: tuple[Verifier, ...]


@record
class Expand:
    """Accept a candidate plan."""

    candidate: Candidate
    support: Support


@record
class Deliver:
    """All steps of the plan are committed: form the plan's output as a candidate."""


@record
class Commit:
    candidate: Candidate
    support: Support


@record
class RollBack:
    children: tuple[int, ...]


@record
class Replan:
    """The plan itself is at fault: ask for another; what is committed may be used again."""

    reason: str


@record
class GiveUp:
    reason: str
    beyond: bool = False
    """The model does not know tasks of this kind."""
    fault: bool = False
    """A model or tool failed; it is not evidence that is missing."""


Action = Propose | Check | Expand | Deliver | Commit | RollBack | Replan | GiveUp


def decide(state: RunState, step: StepState, rules: Rules) -> Action | None:
    """The next action for a step; None while it has to wait for its children or for a person."""
    if not step.open or step.asked is not None:
        return None
    if step.status == "expanded" and not (step.more and step.broken is None and not step.open_children):
        return _finish_plan(state, step, rules)
    checks = rules.plan_checks if rules.mode == "plan" else rules.checks
    return _weigh(state, step, rules, checks)


def _weigh(state: RunState, step: StepState, rules: Rules, checks: tuple[Verifier, ...]) -> Action:
    """Candidates, checks and votes of a step (or of a plan for it)."""
    best = _leader(step)
    if best is not None and best.key == UNKNOWN:
        if step.lead(best) >= rules.lead(state.expected):
            return GiveUp(step.critique or "the model does not know tasks of this kind", beyond=True)
    elif best is not None:
        waiting = _unchecked(best, checks) if rules.verify else ()
        if waiting:
            return Check(best, waiting)
        if _accepted(best, checks, rules) and _enough(state, step, best, checks, rules):
            backing = _support(step, best, checks, rules)
            return Expand(best, backing) if rules.mode == "plan" else Commit(best, backing)
    return _again(state, step, rules, checks, best)


def _leader(step: StepState) -> Candidate | None:
    """The candidate with the most votes, ties included: a check may settle what votes do not."""
    if len(step.candidates) == 1:
        only = next(iter(step.candidates.values()))
        return None if only.refuted else only
    return max((one for one in step.candidates.values() if not one.refuted), key=_votes, default=None)


def _votes(candidate: Candidate) -> int:
    return candidate.votes


def _unchecked(candidate: Candidate, checks: tuple[Verifier, ...]) -> tuple[Verifier, ...]:
    return tuple(check for check in checks if check.name not in candidate.verdicts)


def _accepted(candidate: Candidate, checks: tuple[Verifier, ...], rules: Rules) -> bool:
    return not rules.verify or all(candidate.verdicts[check.name].ruling == "pass" for check in checks)


def _exact(candidate: Candidate, checks: tuple[Verifier, ...]) -> bool:
    verdicts = candidate.verdicts
    return any(check.exact and check.name in verdicts and verdicts[check.name].ruling == "pass" for check in checks)


def _enough(state: RunState, step: StepState, best: Candidate, checks: tuple[Verifier, ...], rules: Rules) -> bool:
    if rules.verify and rules.votes is None and _exact(best, checks):
        return True
    return step.lead(best) >= rules.lead(state.expected)


def _support(step: StepState, best: Candidate, checks: tuple[Verifier, ...], rules: Rules) -> Support:
    if not rules.sampled or _exact(best, checks):
        return EXACT
    if not rules.verify:
        return NOTHING
    prior = rules.prior
    backing = support(False, step.lead(best), prior.p, prior.basis, prior.low)
    error = max(backing.bound, 1 - prior.ceiling_low)
    return Support(min(backing.p, prior.ceiling), error, backing.basis)


def _again(
    state: RunState, step: StepState, rules: Rules, checks: tuple[Verifier, ...], best: Candidate | None
) -> Action:
    refuted = sum(one.refuted for one in step.candidates.values())
    if step.errors >= rules.tries or refuted >= rules.tries:
        return GiveUp(step.critique or "no attempt gave a usable answer", fault=step.fault and not refuted)
    if refuted and not rules.sampled:
        return GiveUp(step.critique or "its result did not pass its checks")
    if best is not None and any(verdict.ruling == "abstain" for verdict in best.verdicts.values()):
        return GiveUp("a check could not decide: " + _undecided(best))
    if step.attempts >= rules.samples:
        return GiveUp(_split(step))
    lead = step.lead(best) if best is not None else 0
    settled = rules.votes is None and any(check.exact for check in checks)
    wanted = 1 if refuted or settled else max(1, rules.lead(state.expected) - lead)
    return Propose(min(wanted, rules.samples - step.attempts))


def _undecided(candidate: Candidate) -> str:
    return "; ".join(
        f"{one.verifier}: {one.critique or 'no reason given'}"
        for one in candidate.verdicts.values()
        if one.ruling == "abstain"
    )


def _split(step: StepState) -> str:
    ballot = sorted(step.ballot().values(), reverse=True)
    if len(ballot) > 1:
        return f"the samples disagree: {ballot[0]} votes against {ballot[1]} after {step.attempts} attempts"
    return f"too little evidence after {step.attempts} attempts" + (f": {step.critique}" if step.critique else "")


def _finish_plan(state: RunState, step: StepState, rules: Rules) -> Action | None:
    """An expanded step: wait, deliver its output, or mend its plan."""
    if step.broken is not None:
        broken = state.steps[step.broken]
        reason = f"step {broken.step.id} failed: {broken.reason}"
        return _mend(step, rules, reason, broken)
    if step.open_children:
        return None
    result = next((one for one in step.candidates.values() if not one.refuted), None)
    if result is None:
        if not step.candidates and step.errors == 0:
            return Deliver()
        if step.candidates and rules.verify and step.rollbacks < rules.replans and (undo := _suspects(state, step)):
            return RollBack(undo)
        return _mend(step, rules, step.critique or "the result did not pass its checks")
    waiting = _unchecked(result, rules.checks) if rules.verify else ()
    if waiting:
        return Check(result, waiting)
    if _accepted(result, rules.checks, rules):
        return Commit(result, EXACT)
    return GiveUp("a check could not decide: " + _undecided(result))


def _mend(step: StepState, rules: Rules, reason: str, broken: StepState | None = None) -> Action:
    if rules.sampled and rules.verify and step.replans < rules.replans:
        return Replan(reason)
    return GiveUp(reason, broken is not None and broken.beyond, broken is not None and broken.fault)


def _suspects(state: RunState, step: StepState) -> tuple[int, ...]:
    """The committed child that a failed check blames, else the one with the weakest support, and all that read it.

    A sub-plan is as weak as all that was committed under it.
    """
    blamed = next((verdict.blame for verdict in _fails(step) if verdict.blame in step.children), None)
    weak = {one.seq: one.below.reliability().predicted or 0 for one in state.children(step) if one.below is not None}
    if blamed is None and not weak:
        return ()
    first = step.children[blamed] if blamed else min(weak, key=lambda seq: weak[seq])
    readers: dict[int, list[int]] = {}
    for child in state.children(step):
        for need in child.needs:
            readers.setdefault(need, []).append(child.seq)
    undone: set[int] = set()
    todo = [first]
    while todo:  # a plan may list a reader before what it reads
        if (seq := todo.pop()) not in undone:
            undone.add(seq)
            todo += readers.get(seq, ())
    return tuple(sorted(undone))


def _fails(step: StepState) -> Iterator[Verdict]:
    return (
        verdict for one in step.candidates.values() for verdict in one.verdicts.values() if verdict.ruling == "fail"
    )
