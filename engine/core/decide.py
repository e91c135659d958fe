"""What to do next with one step. Pure: reads the state and the rules, returns an action or None.

The ladder of a step: propose a candidate; put it before its checks; gather votes where no exact check speaks
for it; try again with the critique; ask in another way, another model, another planner; roll back what a later check
contradicts; plan anew; give up. Nothing that did not pass is ever committed, and a plurality is never enough.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil, exp, floor, log1p, log10

from surefoot.engine.core.rules import FIRST, LEAST_SAMPLES, LOOK, Rules, Rung, Source, estimate, most_votes
from surefoot.engine.core.state import UNKNOWN, Candidate, RunState, StepState
from surefoot.reflection.evidence import ROUNDING, Standing, more, pace, standing, wald
from surefoot.reflection.trust import EXACT, NOTHING, Support
from surefoot.reflection.verifier import Verifier
from surefoot.reflection.vote_belief import EXCUSED
from surefoot.storage.records import Basis, Json, Verdict, record


@record
class Propose:
    """Sample, call the tool, or ask the planner, `n` times."""

    n: int
    source: str = ""


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
class Escalate:
    """Go on with the next rung: samples of another source, another planner, or a person."""

    rung: Rung
    reason: str
    source: str = ""
    planner: str = ""


@record
class GiveUp:
    reason: str
    beyond: bool = False
    """The model does not know tasks of this kind."""
    fault: bool = False
    """A model or tool failed; it is not evidence that is missing."""


@record
class Accept:
    """A person gave the step's output."""

    output: Json


@record
class Continue:
    """Go on with samples that waited for a person, now that there is an answer."""

    samples: tuple[int, ...]


Action = Propose | Check | Expand | Deliver | Commit | RollBack | Replan | Escalate | Continue | Accept | GiveUp


def decide(state: RunState, step: StepState, rules: Rules) -> Action | None:
    """The next action for a step; None while it has to wait for its children or for a person."""
    if not step.open:
        return None
    if step.paused is not None and (answered := step.answered):
        return Continue(tuple(answered))
    if step.asked is not None:
        return None
    if step.told is not None:
        given = "output" in step.told
        return Accept(step.told["output"]) if given else GiveUp("a person was asked, and gave no output")
    if step.status == "expanded" and not (step.more and step.broken is None and not step.open_children):
        return _finish_plan(state, step, rules)
    if step.adopted:  # taken over from the last plan, but not committed yet
        return Propose(1)
    checks = rules.plan_checks if rules.mode == "plan" else rules.checks
    return _weigh(state, step, rules, checks)


def _weigh(state: RunState, step: StepState, rules: Rules, checks: tuple[Verifier, ...]) -> Action:
    """Candidates, checks and votes of a step (or of a plan for it)."""
    best = _leader(step)
    if best is not None and best.key == UNKNOWN:
        if _enough(state, step, best, (), rules):
            reason = step.critique or "the model does not know tasks of this kind"
            return _stuck(state, step, rules, reason, beyond=True)
    elif best is not None:
        waiting = _unchecked(best, checks) if rules.verify else ()
        if musts := tuple(one for one in waiting if one.name not in rules.gauges):
            return Check(best, musts)
        if not _accepted(best, checks, rules):
            return _again(state, step, rules, checks, best)
        if waiting and not _enough(state, step, best, checks, rules) and (next_ := _worth(waiting, rules, step)):
            return Check(best, (next_,))
        if _enough(state, step, best, checks, rules):
            backing = _support(state, step, best, checks, rules)
            return Expand(best, backing) if rules.mode == "plan" else Commit(best, backing)
    return _again(state, step, rules, checks, best)


def _worth(waiting: tuple[Verifier, ...], rules: Rules, step: StepState) -> Verifier | None:
    """The measured check that gives more nats per unit of cost than another vote, if one does."""
    best = max(waiting, key=lambda one: rules.gauges[one.name])
    return best if rules.gauges[best.name] >= pace(rules.source(step.source or "").belief) else None


def _leader(step: StepState) -> Candidate | None:
    """The candidate with the most votes and the best checks, ties included: a check may settle what votes do not."""
    if len(step.candidates) == 1:
        only = next(iter(step.candidates.values()))
        return None if only.refuted else only
    return max((one for one in step.candidates.values() if not one.refuted), key=_rank, default=None)


def _rank(candidate: Candidate) -> float:
    return candidate.votes + candidate.nats


def _unchecked(candidate: Candidate, checks: tuple[Verifier, ...]) -> tuple[Verifier, ...]:
    return tuple(check for check in checks if check.name not in candidate.verdicts)


def _accepted(candidate: Candidate, checks: tuple[Verifier, ...], rules: Rules) -> bool:
    """Every check passed; of those that were measured, evidence is all that counts."""
    if not rules.verify:
        return True
    said = (candidate.verdicts[check.name] for check in checks if check.name in candidate.verdicts)
    return all(one.ruling == "pass" or (one.ruling == "fail" and one.nats is not None) for one in said)


def _exact(candidate: Candidate, checks: tuple[Verifier, ...]) -> bool:
    verdicts = candidate.verdicts
    return any(check.exact and check.name in verdicts and verdicts[check.name].ruling == "pass" for check in checks)


def _enough(state: RunState, step: StepState, best: Candidate, checks: tuple[Verifier, ...], rules: Rules) -> bool:
    if not (rules.verify and rules.sampled):
        return step.lead(best) >= 1
    if rules.votes is not None:
        return step.lead(best) >= rules.votes
    if _exact(best, checks):
        return True
    if step.lead(best) < _least(step, rules):
        return False
    return not _short(step, best, rules, rules.error(state, step))


def _short(step: StepState, best: Candidate, rules: Rules, error: float) -> bool:
    """Whether evidence is missing: by votes, or for a promise, where truth of the class makes one possible."""
    stands = _standing(step, best, rules)
    if stands.agreed > error * ROUNDING:
        return True
    return stands.doubt > error * ROUNDING and bool(_promising(step, rules, best.key, error))


def _promising(step: StepState, rules: Rules, key: str, error: float) -> int | None:
    """Further votes that make a promise of what votes would only agree on; None where no number does."""
    source = rules.source(step.source or "")
    if source.belief.votes is None or source.belief.basis != "measured" or error <= 0:
        return None
    left = LEAST_SAMPLES - step.drawn(source.name)
    return more(step.ballots(), rules.beliefs(), key, step.nats(), source.name, error, left)


def _least(step: StepState, rules: Rules) -> int:
    """Two samples at least must agree where nothing was measured: what is only stated is no evidence by itself."""
    return 1 if rules.source(step.source or "").belief.basis == "measured" else 2


def _standing(step: StepState, best: Candidate, rules: Rules, *, bounded: bool = False) -> Standing:
    return standing(step.ballots(), rules.beliefs(), best.key, step.nats(), bounded=bounded)


def _support(state: RunState, step: StepState, best: Candidate, checks: tuple[Verifier, ...], rules: Rules) -> Support:
    if not rules.sampled or _exact(best, checks):
        return EXACT
    if not rules.verify:
        return NOTHING
    stands = _standing(step, best, rules, bounded=True)
    belief = rules.source(step.source or "").belief
    error = max(rules.error(state, step), 1e-12)
    abstain = 0.0
    if rules.votes is None:
        cap = rules.cap(rules.source(step.source or ""), error)
        abstain = estimate(belief, rules.eased(error), cap).undecided
    least = wald(belief.p, 1 - stands.p if rules.votes is not None else rules.eased(error))
    basis = _basis(step, best, rules)
    if stands.by_votes is None:
        return Support(stands.p, stands.bound, basis, abstain, step.attempts, least, stands.doubt)
    if basis == "measured" and stands.doubt <= error * ROUNDING:
        return Support(stands.p, stands.bound, basis, abstain, step.attempts, least, stands.doubt, stands.by_votes)
    return Support(stands.p, stands.bound, "prior", abstain, step.attempts, least, stands.agreed, stands.by_votes)


def _basis(step: StepState, best: Candidate, rules: Rules) -> Basis:
    """Measured, where the rates of everything that voted for it were; weighed checks say themselves what they are."""
    weak = any(rules.source(name).belief.basis != "measured" for name in best.sources())
    stated = any(one.nats and (one.evidence or {}).get("basis") == "prior" for one in best.verdicts.values())
    return "prior" if weak or stated else "measured"


# --- another try ------------------------------------------------------------------------------------------------


def _again(
    state: RunState, step: StepState, rules: Rules, checks: tuple[Verifier, ...], best: Candidate | None
) -> Action:
    refuted = sum(one.refuted for one in step.candidates.values()) - step.excused
    error = rules.error(state, step)
    source = rules.first(state, step, error) if step.source is None else rules.source(step.source)
    tries = rules.tries if "critique" in rules.ladder else 1
    if step.errors >= tries or refuted >= rules.patience(source, error):
        return _stuck(
            state, step, rules, step.critique or "no attempt gave a usable answer", fault=step.fault and not refuted
        )
    if min(step.cut, step.errors) >= CUT:
        return _stuck(state, step, rules, f"{step.critique}; or give the model more: its option max_tokens")
    if refuted > 0 and not rules.sampled:
        return GiveUp(step.critique or "its result did not pass its checks")
    if best is not None and any(verdict.ruling == "abstain" for verdict in best.verdicts.values()):
        return GiveUp("a check could not decide: " + _undecided(best))
    if source.lesson and rules.proved and step.attempts:
        source = rules.sources[0]  # it did not help, and a critique of its own attempt is at hand now
    left = rules.cap(source, error) - step.drawn(source.name)
    if left <= 0:
        weighed = _unchecked(best, checks) if best is not None else ()
        return Check(best, weighed[:1]) if weighed and best else _stuck(state, step, rules, _split(step), best)
    settled = rules.votes is None and any(check.exact for check in checks)
    wanted = 1 if refuted > 0 or settled else _wanted(step, rules, best, source, error)
    if source.belief.votes is not None and rules.votes is None and (wanted is None or wanted > left):
        looks = LOOK - sum(name == source.name for name, *_ in step.samples or ())
        wanted = looks if looks > 0 and source.belief.basis != "measured" else None
    if wanted is None or (wanted > left and not step.attempts and rules.votes is None):
        missing = "" if best is not None else _missing(state, step, rules, None)
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


def _wanted(step: StepState, rules: Rules, best: Candidate | None, source: Source, error: float) -> int | None:
    """Further votes for the leader that would be enough; None where no number is."""
    if not (rules.verify and rules.sampled):
        return 1
    if rules.votes is not None:
        return max(1, rules.votes - (step.lead(best) if best is not None else 0))
    key = best.key if best is not None else FIRST
    most = most_votes(source.belief)
    said = step.nats() if best is not None or not rules.gain else {**(step.nats() or {}), FIRST: rules.gain}
    if error <= 0:
        return None
    votes = more(step.ballots(), rules.beliefs(), key, said, source.name, error, most, by_votes=True)
    if votes is not None and (promise := _promising(step, rules, key, error)) is not None:
        votes = promise
    lead = step.lead(best) if best is not None else 0
    return None if votes is None else max(1, votes, _least(step, rules) - lead)


def _stuck(
    state: RunState,
    step: StepState,
    rules: Rules,
    reason: str,
    best: Candidate | None = None,
    *,
    beyond: bool = False,
    fault: bool = False,
) -> Action:
    """The next rung that has not been tried, else to give up and to say what was missing."""
    if rules.verify and rules.sampled:
        for name, rung, planner in _rungs(rules, step):
            if rung in rules.ladder and (name or planner) not in step.climbed:
                return Escalate(rung, reason, name, planner)
    if best is not None and rules.votes is None and not fault:
        reason += _missing(state, step, rules, best)
    return GiveUp(reason, beyond, fault)


def _rungs(rules: Rules, step: StepState) -> Iterator[tuple[str, Rung, str]]:
    """Source, rung and planner of every strategy that is left to a step, in the ladder's order."""
    ways = [(one.name, one.rung, "") for one in rules.sources if one.rung is not None]
    ways += [("", rung, planner) for rung, planner in rules.planners]
    if "ask" in rules.ladder:
        ways.append(("", "ask", "person"))
    order = {rung: place for place, rung in enumerate(rules.ladder)}
    for name, rung, planner in sorted(ways, key=lambda way: order.get(way[1], len(order))):
        if name != step.source or planner:
            yield name, rung, planner


def _missing(state: RunState, step: StepState, rules: Rules, best: Candidate | None) -> str:
    """What would have been enough, and about what it costs."""
    source = rules.source(step.source or "")
    votes = _wanted(step, rules, best, source, rules.error(state, step))
    reach = _promise(_reachable(state, step, rules, best, source)) if votes is None else ""
    if votes is None and (learnt := source.belief.votes) is not None:
        low, high = learnt.interval()
        if learnt.prompts < 1 and not learnt.hinted:
            return "; nothing is known of this model yet: run `surefoot calibrate --probe` once, or some more tasks"
        turned = ""
        if learnt.truths and learnt.misconceived > 1.5 * EXCUSED:
            share = f"about {100 * learnt.misconceived:.0f} % of such questions"
            turned = f"; by its labels this model gets {share} wrong in the same way each time"
        if source.ratio is not None and source.ratio < HANGS:
            share = f"asked in two forms, its answers agree {source.ratio:.2f} times as often as in one"
            turned += f"; what this model says hangs on the form of the question: {share}"
        if source.at_most is not None and source.at_most < low:
            most = f"at most {source.at_most:.2f} of the time, whatever its errors are like"
            turned += f"; its first two answers agree so seldom that it is right {most}: its votes mislead"
        return (
            f"{turned}; by its votes this model is right {low:.2f} to {high:.2f} of the time on steps like this "
            f"({learnt.prompts:.0f} seen, {learnt.truths:.0f} of them with a known answer): use another model, another "
            f"form of the question or an exact check, or label ten answers{reach}"
        )
    if votes is None:
        stated = " as long as nothing is measured: run `surefoot calibrate`" if source.belief.basis == "prior" else ""
        why = stated or ", because such samples err together, or too often"
        return f"; no number of votes is enough{why}{reach}"
    spent = state.spent.usage
    price = f", about {votes * spent.usd / spent.samples:.2g} dollars" if spent.usd and spent.samples else ""
    return f"; missing: {votes} more vote{'s' if votes > 1 else ''} for the leading answer{price}"


HANGS = 0.8
"""Agreement across forms, divided by that within one, below which a reason says so."""


def _reachable(state: RunState, step: StepState, rules: Rules, best: Candidate | None, source: Source) -> float:
    """The target at which the most votes that are looked at, all for the leader, would be enough for this step."""
    key = best.key if best is not None else FIRST
    ballots = {name: dict(ballot) for name, ballot in step.ballots().items()}
    cast = ballots.setdefault(source.name, {})
    cast[key] = cast.get(key, 0) + most_votes(source.belief)
    said = step.nats() if best is not None else {FIRST: rules.gain}
    doubt = standing(ballots, rules.beliefs(), key, said).agreed
    return exp(-state.trust.spent + log1p(-min(doubt, LOST)) * rules.share(state, step))


LOST = 0.999999
"""A doubt so large that it makes no difference any more."""


def _promise(target: float) -> str:
    """Rounded down, so that two digits of what is missing to 1 are given."""
    if target < 0.5 or target >= 1:
        return ""
    digits = 1 - floor(log10(1 - target))
    return f"; a target of at most {1 - ceil((1 - target) * 10**digits) / 10**digits:.{digits}f} can be met here"


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


# --- plans ------------------------------------------------------------------------------------------------------


def _finish_plan(state: RunState, step: StepState, rules: Rules) -> Action | None:
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
