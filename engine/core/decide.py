"""What to do next with one step. Pure: reads the state and the rules, returns an action or None.

The ladder of a step: propose a candidate; put it before its checks; gather votes where no exact check speaks
for it; try again with the critique; ask in another way, another model, another planner; roll back what a later check
contradicts; plan anew; give up. Nothing that did not pass is ever committed, and a plurality is never enough.
"""

from __future__ import annotations

from collections.abc import Iterator

from surefoot.engine.core.actions import (
    Accept,
    Action,
    Check,
    Commit,
    Continue,
    Deliver,
    Escalate,
    Expand,
    GiveUp,
    Propose,
    Replan,
    RollBack,
)
from surefoot.engine.core.reasons import disagreement, missing_evidence, undecided
from surefoot.engine.core.rules import (
    LOOK,
    StepRules,
)
from surefoot.engine.core.state import UNKNOWN, Candidate, RunState, StepState
from surefoot.engine.core.weighing import accepted, enough, support, unchecked, votes_wanted
from surefoot.reflection.evidence import pace
from surefoot.reflection.trust import EXACT
from surefoot.reflection.verifier import Verifier
from surefoot.storage.records import Verdict


def decide(state: RunState, step: StepState, rules: StepRules) -> Action | None:
    """The next action for a step; None while it has to wait for its children or for a person."""
    if not step.open:
        return None
    if step.paused is not None and (answered := step.answered):
        return Continue(tuple(answered))
    if step.asked is not None:
        return None
    if step.given is not None:
        given = "output" in step.given
        return Accept(step.given["output"]) if given else GiveUp("a person was asked, and gave no output")
    if step.status == "expanded" and not (step.more and step.broken is None and not step.open_children):
        return _finish_plan(state, step, rules)
    if step.adopted:  # taken over from the last plan, but not committed yet
        return Propose(1)
    checks = rules.plan_checks if rules.mode == "plan" else rules.checks
    return _weigh(state, step, rules, checks)


def _weigh(state: RunState, step: StepState, rules: StepRules, checks: tuple[Verifier, ...]) -> Action:
    """Candidates, checks and votes of a step (or of a plan for it)."""
    best = _leader(step)
    if best is not None and best.key == UNKNOWN:
        if enough(state, step, best, (), rules):
            reason = step.critique or "the model does not know tasks of this kind"
            return _stuck(state, step, rules, reason, out_of_scope=True)
    elif best is not None:
        waiting = unchecked(best, checks) if rules.verify else ()
        if musts := tuple(one for one in waiting if one.name not in rules.soft_checks):
            return Check(best, musts)
        if not accepted(best, checks, rules):
            return _again(state, step, rules, checks, best)
        if waiting and not enough(state, step, best, checks, rules) and (next_ := _worth(waiting, rules, step)):
            return Check(best, (next_,))
        if enough(state, step, best, checks, rules):
            backing = support(state, step, best, checks, rules)
            return Expand(best, backing) if rules.mode == "plan" else Commit(best, backing)
    return _again(state, step, rules, checks, best)


def _worth(waiting: tuple[Verifier, ...], rules: StepRules, step: StepState) -> Verifier | None:
    """The measured check that gives more nats per unit of cost than another vote, if one does."""
    best = max(waiting, key=lambda one: rules.soft_checks[one.name])
    return best if rules.soft_checks[best.name] >= pace(rules.source(step.source or "").belief) else None


def _leader(step: StepState) -> Candidate | None:
    """The candidate with the most votes and the best checks, ties included: a check may settle what votes do not."""
    if len(step.candidates) == 1:
        only = next(iter(step.candidates.values()))
        return None if only.refuted else only
    return max((one for one in step.candidates.values() if not one.refuted), key=_rank, default=None)


def _rank(candidate: Candidate) -> float:
    return candidate.votes + candidate.nats


# --- another try ------------------------------------------------------------------------------------------------


def _again(
    state: RunState, step: StepState, rules: StepRules, checks: tuple[Verifier, ...], best: Candidate | None
) -> Action:
    refuted = sum(one.refuted for one in step.candidates.values()) - step.excused
    error = rules.error(state, step)
    source = rules.first(state, step, error) if step.source is None else rules.source(step.source)
    if step.errors >= rules.tries or refuted >= rules.patience(source, error):
        return _stuck(
            state,
            step,
            rules,
            step.critique or "no attempt gave a usable answer",
            infrastructure_error=step.infrastructure_error and not refuted,
        )
    if min(step.cut, step.errors) >= CUT:
        return _stuck(state, step, rules, f"{step.critique}; or give the model more: its option max_tokens")
    if refuted > 0 and not rules.sampled:
        return GiveUp(step.critique or "its result did not pass its checks")
    if best is not None and any(verdict.ruling == "abstain" for verdict in best.verdicts.values()):
        return GiveUp("a check could not decide: " + undecided(best))
    if source.lesson and rules.proved and step.attempts:
        source = rules.sources[0]  # it did not help, and a critique of its own attempt is at hand now
    left = rules.cap(source, error) - step.drawn(source.name)
    if left <= 0:
        weighed = unchecked(best, checks) if best is not None else ()
        return Check(best, weighed[:1]) if weighed and best else _stuck(state, step, rules, disagreement(step), best)
    settled = rules.votes is None and any(check.exact for check in checks)
    wanted = 1 if refuted > 0 or settled else votes_wanted(step, rules, best, source, error)
    if source.belief.votes is not None and rules.votes is None and (wanted is None or wanted > left):
        looks = LOOK - sum(name == source.name for name, *_ in step.samples or ())
        wanted = looks if looks > 0 and source.belief.basis != "measured" else None
    if wanted is None or (wanted > left and not step.attempts and rules.votes is None):
        missing = "" if best is not None else missing_evidence(state, step, rules, None)
        return _stuck(
            state,
            step,
            rules,
            f"more samples cannot give enough evidence for this step's share of the target{missing}",
            best,
        )
    return Propose(min(wanted, left), source.name)


CUT = 2
"""Attempts in a row, cut off with the usual limit and with twice as much, after which the next would be too."""


def _stuck(
    state: RunState,
    step: StepState,
    rules: StepRules,
    reason: str,
    best: Candidate | None = None,
    *,
    out_of_scope: bool = False,
    infrastructure_error: bool = False,
) -> Action:
    """The next fallback that has not been tried, else to give up and to say what was missing."""
    if rules.verify and rules.sampled:
        for fallback, source, to in _fallbacks(rules, step):
            if (source or to) not in step.tried_fallbacks:
                return Escalate(fallback, reason, source, to)
    if best is not None and rules.votes is None and not infrastructure_error:
        reason += missing_evidence(state, step, rules, best)
    return GiveUp(reason, out_of_scope, infrastructure_error)


def _fallbacks(rules: StepRules, step: StepState) -> Iterator[tuple[str, str, str]]:
    """What is left to a step, in order: the fallback, and the source that it brings, or whom it hands the step to."""
    ways = [(one.fallback, one.name, "") for one in rules.sources if one.fallback and one.name != step.source]
    ways += [(fallback, "", to) for fallback, to in rules.handovers]
    for fallback in rules.fallbacks:
        yield from (way for way in ways if way[0] == fallback)


# --- plans ------------------------------------------------------------------------------------------------------


def _finish_plan(state: RunState, step: StepState, rules: StepRules) -> Action | None:
    """An expanded step: wait, deliver its output, or mend its plan."""
    if step.broken is not None:
        broken = state.steps[step.broken]
        # Where the child failed for one of its own, that one's reason says it all.
        reason = broken.reason if broken.broken is not None else f"step {broken.step.id} failed: {broken.reason}"
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
    waiting = unchecked(result, rules.checks) if rules.verify else ()
    if waiting:
        return Check(result, waiting)
    if accepted(result, rules.checks, rules):
        return Commit(result, EXACT)
    return GiveUp("a check could not decide: " + undecided(result))


def _mend(step: StepState, rules: StepRules, reason: str, broken: StepState | None = None) -> Action:
    if rules.sampled and rules.verify and step.replans < rules.replans:
        return Replan(reason)
    return GiveUp(
        reason, broken is not None and broken.out_of_scope, broken is not None and broken.infrastructure_error
    )


def _suspects(state: RunState, step: StepState) -> tuple[int, ...]:
    """The committed child that a failed check blames, else the one with the weakest support, and all that read it.

    A sub-plan is as weak as all that was committed under it. Where all are exact, the checks proved less than the
    result needs: then the first that a model answered is asked anew.
    """
    blamed = next((verdict.blame for verdict in _fails(step) if verdict.blame in step.children), None)
    weak = {one.seq: one.below.reliability().predicted or 0 for one in state.children(step) if one.below is not None}
    asked = (one.seq for one in state.children(step) if one.step.tool is None and one.step.planner is None)
    weakest = min(weak, key=lambda seq: weak[seq]) if weak else next(asked, None)
    first = step.children[blamed] if blamed else weakest
    if first is None:
        return ()
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
