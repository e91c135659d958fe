"""Why a step was given up, in words: what was missing, and what would have been enough."""

from __future__ import annotations

from math import ceil, exp, floor, log1p, log10

from surefoot.engine.core.rules import (
    FIRST,
    SampleSource,
    StepRules,
    most_votes,
)
from surefoot.engine.core.state import Candidate, RunState, StepState
from surefoot.engine.core.weighing import votes_wanted
from surefoot.reflection.evidence import posterior
from surefoot.reflection.vote_belief import EXCUSED


def missing_evidence(state: RunState, step: StepState, rules: StepRules, best: Candidate | None) -> str:
    """What would have been enough, and about what it costs."""
    source = rules.source(step.source or "")
    votes = votes_wanted(step, rules, best, source, rules.error(state, step))
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


def _reachable(
    state: RunState, step: StepState, rules: StepRules, best: Candidate | None, source: SampleSource
) -> float:
    """The target at which the most votes that are looked at, all for the leader, would be enough for this step."""
    key = best.key if best is not None else FIRST
    ballots = {name: dict(ballot) for name, ballot in step.ballots().items()}
    cast = ballots.setdefault(source.name, {})
    cast[key] = cast.get(key, 0) + most_votes(source.belief)
    said = step.nats() if best is not None else {FIRST: rules.check_nats}
    doubt = posterior(ballots, rules.beliefs(), key, said).agreed
    return exp(-state.trust.spent + log1p(-min(doubt, LOST)) * rules.share(state, step))


LOST = 0.999999
"""A doubt so large that it makes no difference any more."""


def _promise(target: float) -> str:
    """Rounded down, so that two digits of what is missing to 1 are given."""
    if target < 0.5 or target >= 1:
        return ""
    digits = 1 - floor(log10(1 - target))
    return f"; a target of at most {1 - ceil((1 - target) * 10**digits) / 10**digits:.{digits}f} can be met here"


def undecided(candidate: Candidate) -> str:
    return "; ".join(
        f"{one.verifier}: {one.critique or 'no reason given'}"
        for one in candidate.verdicts.values()
        if one.ruling == "abstain"
    )


def disagreement(step: StepState) -> str:
    ballot = sorted(step.ballot().values(), reverse=True)
    if len(ballot) > 1:
        return f"the samples disagree: {ballot[0]} votes against {ballot[1]} after {step.attempts} attempts"
    return f"too little evidence after {step.attempts} attempts" + (f": {step.critique}" if step.critique else "")
