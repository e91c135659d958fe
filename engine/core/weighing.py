"""Whether the evidence for a candidate is enough, and how much more it would take. Pure."""

from __future__ import annotations

from surefoot.engine.core.rules import (
    FIRST,
    LEAST_SAMPLES,
    SampleSource,
    StepRules,
    estimate,
    most_votes,
)
from surefoot.engine.core.state import Candidate, RunState, StepState
from surefoot.reflection.evidence import ROUNDING, Posterior, more, posterior, wald
from surefoot.reflection.trust import EXACT, NOTHING, Support
from surefoot.reflection.verifier import Verifier
from surefoot.storage.records import Basis


def unchecked(candidate: Candidate, checks: tuple[Verifier, ...]) -> tuple[Verifier, ...]:
    return tuple(check for check in checks if check.name not in candidate.verdicts)


def accepted(candidate: Candidate, checks: tuple[Verifier, ...], rules: StepRules) -> bool:
    """Every check passed; of those that were measured, evidence is all that counts."""
    if not rules.verify:
        return True
    said = (candidate.verdicts[check.name] for check in checks if check.name in candidate.verdicts)
    return all(one.ruling == "pass" or (one.ruling == "fail" and one.nats is not None) for one in said)


def proved(candidate: Candidate, checks: tuple[Verifier, ...]) -> bool:
    verdicts = candidate.verdicts
    return any(check.exact and check.name in verdicts and verdicts[check.name].ruling == "pass" for check in checks)


def enough(state: RunState, step: StepState, best: Candidate, checks: tuple[Verifier, ...], rules: StepRules) -> bool:
    if not (rules.verify and rules.sampled):
        return step.lead(best) >= 1
    if rules.votes is not None:
        return step.lead(best) >= rules.votes
    if proved(best, checks):
        return True
    if step.lead(best) < _least(step, rules):
        return False
    return not _short(step, best, rules, rules.error(state, step))


def _short(step: StepState, best: Candidate, rules: StepRules, error: float) -> bool:
    """Whether evidence is missing: by votes, or for a promise, where truth of the class makes one possible."""
    stands = _posterior(step, best, rules)
    if stands.agreed > error * ROUNDING:
        return True
    return stands.doubt > error * ROUNDING and bool(_promising(step, rules, best.key, error))


def _promising(step: StepState, rules: StepRules, key: str, error: float) -> int | None:
    """Further votes that make a promise of what votes would only agree on; None where no number does."""
    source = rules.source(step.source or "")
    if source.belief.votes is None or source.belief.basis != "measured" or error <= 0:
        return None
    left = LEAST_SAMPLES - step.drawn(source.name)
    return more(step.ballots(), rules.beliefs(), key, step.nats(), source.name, error, left)


def _least(step: StepState, rules: StepRules) -> int:
    """Two samples at least must agree where nothing was measured: what is only stated is no evidence by itself."""
    return 1 if rules.source(step.source or "").belief.basis == "measured" else 2


def _posterior(step: StepState, best: Candidate, rules: StepRules, *, bounded: bool = False) -> Posterior:
    return posterior(step.ballots(), rules.beliefs(), best.key, step.nats(), bounded=bounded)


def support(
    state: RunState, step: StepState, best: Candidate, checks: tuple[Verifier, ...], rules: StepRules
) -> Support:
    if not rules.sampled or proved(best, checks):
        return EXACT
    if not rules.verify:
        return NOTHING
    stands = _posterior(step, best, rules, bounded=True)
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


def _basis(step: StepState, best: Candidate, rules: StepRules) -> Basis:
    """Measured, where the rates of everything that voted for it were; weighed checks say themselves what they are."""
    weak = any(rules.source(name).belief.basis != "measured" for name in best.sources())
    stated = any(one.nats and (one.evidence or {}).get("basis") == "prior" for one in best.verdicts.values())
    return "prior" if weak or stated else "measured"


def votes_wanted(
    step: StepState, rules: StepRules, best: Candidate | None, source: SampleSource, error: float
) -> int | None:
    """Further votes for the leader that would be enough; None where no number is."""
    if not (rules.verify and rules.sampled):
        return 1
    if rules.votes is not None:
        return max(1, rules.votes - (step.lead(best) if best is not None else 0))
    key = best.key if best is not None else FIRST
    most = most_votes(source.belief)
    said = step.nats() if best is not None or not rules.check_nats else {**(step.nats() or {}), FIRST: rules.check_nats}
    if error <= 0:
        return None
    votes = more(step.ballots(), rules.beliefs(), key, said, source.name, error, most, by_votes=True)
    if votes is not None and (promise := _promising(step, rules, key, error)) is not None:
        votes = promise
    lead = step.lead(best) if best is not None else 0
    return None if votes is None else max(1, votes, _least(step, rules) - lead)
