"""The ledger of a step: how likely each candidate is right, given its votes and its checks.

One currency, nats of log-odds. Votes count under a Beta mixture: a source of samples is right with probability p_i on
prompt i, and p_i ~ Beta(p c, (1-p) c) over prompts. An infinite c is the textbook case of independent samples; with a
small one, samples of one prompt err together, and many votes are worth little more than a few. The hypotheses are "this
candidate is right", one for each form that was seen, and "none of them is". Given that h is right, the votes
of one source have the likelihood

    B(a + n_h, b + n - n_h) * product over j != h with n_j >= 2 of agree(n_j),        a = p c, b = (1-p) c

where B is the Beta function and agree(n) the probability that n wrong samples of a prompt agree: a hypothesis under
which wrong answers must have coincided is the less likely for it. `same` is agree(2), measured on pairs. Wrong forms
with shares q_j, sum q_j^2 = same, have q_j <= sqrt(same), so that agree(n) = sum q_j^n <= same^(n/2): that is what
decisions take. What is predicted takes same * held^(n-2), with `held` measured on triples. Sources multiply, and checks
add their nats to the candidate. With c infinite, same = 1 and two forms this is first-to-ahead-by-k voting:
(n_1 - n_2) logit p.

The *bound* is the worst case, in which all wrong samples agree (same = 1), at the careful quantiles of p and c: leader
against runner-up, as in Meyerson et al., arXiv 2511.09030.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import exp, inf, lgamma, log, log1p, log2
from typing import Literal

from surefoot.reflection.vote_belief import EXCUSED, VoteBelief
from surefoot.reflection.votes import logit, sigmoid
from surefoot.storage.records import Basis

PRIOR = 0.95
"""Probability that a model's sample is right, where nothing was measured. Stated, not known."""

PRIOR_CONCENTRATION = 30.0
"""How alike prompts are, where nothing was measured: samples are not taken to err independently. Stated, not known."""

Ballot = Mapping[str, int]
"""Votes by candidate's key."""

FEWEST = 1e-9
"""Beliefs are kept this far from 0 and 1, where log-odds would be infinite."""


@dataclass(frozen=True, slots=True)
class Belief:
    """What is believed of the samples of one source, and on what that rests."""

    p: float = PRIOR
    """Mean probability that a sample is right."""
    basis: Basis = "prior"
    concentration: float = PRIOR_CONCENTRATION
    """c of the Beta mixture over prompts: how alike prompts are. Infinite: samples err independently."""
    same: float = 1.0
    """Probability that two wrong samples of one prompt agree."""
    low: float | None = None
    """Lower quantile of p; None takes p."""
    low_concentration: float | None = None
    """Lower quantile of the concentration; None takes the concentration."""
    high_same: float | None = None
    """Upper quantile of `same`; None takes `same`."""
    held: float | None = None
    """Probability that a wrong sample agrees with two that agree already. None: the most that `same` allows."""
    ceiling: float = 1.0
    """Measured rate at which answers that were accepted by votes are right: no number of votes may claim more."""
    ceiling_low: float = 1.0
    """Lower quantile of that rate."""
    cost: float = 1.0
    """Of one sample, relative to others."""
    votes: VoteBelief | None = None
    """What is learnt from the counts of all prompts: then it decides, and p, concentration and same are its means."""

    @property
    def careful(self) -> Belief:
        """The belief that planning takes: quantiles in place of means."""
        return _careful(self)


@lru_cache(maxsize=256)
def _careful(one: Belief) -> Belief:
    p = one.p if one.low is None else min(one.low, one.p)
    c = one.concentration if one.low_concentration is None else min(one.low_concentration, one.concentration)
    same = one.same if one.high_same is None else max(one.high_same, one.same)
    ceiling = min(one.ceiling, one.ceiling_low)
    return Belief(p, one.basis, c, same, ceiling=ceiling, ceiling_low=ceiling, cost=one.cost, votes=one.votes)


@dataclass(frozen=True, slots=True)
class Posterior:
    """Where a candidate stands."""

    p: float
    """Probability that it is right."""
    doubt: float
    """Probability that it is wrong, at the careful quantiles: what decisions go by. Exact far below 1e-16."""
    bound: float
    """Upper bound of the probability that it is wrong: all wrong samples agree, at the careful quantiles."""
    by_votes: float | None = None
    """Probability that it is right if no question was misconceived, which votes cannot show; else None."""

    @property
    def agreed(self) -> float:
        """Probability that it is wrong, as far as votes can tell: misconceptions are left out as long as they are only
        what is believed of models in general, and no further where labels showed more of them."""
        return self.doubt if self.by_votes is None else max(1 - self.by_votes, self.doubt - EXCUSED)


def posterior(
    ballots: Mapping[str, Ballot],
    beliefs: Mapping[str, Belief],
    candidate: str,
    checks: Mapping[str, float] | None = None,
    *,
    bounded: bool = True,
) -> Posterior:
    """Where `candidate` stands after the votes of each source, and the nats that checks gave each candidate.

    bounded: False where nobody looks at the bound, which takes longer than the rest where votes are learnt from.
    """
    ledger = _Ledger(ballots, beliefs, checks or {})
    if any(beliefs[source].votes is not None for source in ballots):
        return ledger.learnt(candidate, bounded)
    if len(ballots) == 1 and not checks:
        (source, ballot) = next(iter(ballots.items()))
        others = tuple(sorted((votes for key, votes in ballot.items() if key != candidate), reverse=True))
        return _alone(beliefs[source], ballot.get(candidate, 0), others)
    careful = _Ledger(ballots, {source: belief.careful for source, belief in beliefs.items()}, ledger.checks)
    ceiling = max((beliefs[source].ceiling for source in ballots), default=1.0)
    lowest = max((beliefs[source].ceiling_low for source in ballots), default=1.0)
    bound = max(careful.bound(candidate), 1 - lowest)
    return Posterior(min(1 - ledger.doubt(candidate), ceiling), max(careful.doubt(candidate), 1 - lowest), bound)


@dataclass(slots=True)
class _Ledger:
    """What was cast and said at one step."""

    ballots: Mapping[str, Ballot]
    beliefs: Mapping[str, Belief]
    checks: Mapping[str, float]

    def learnt(self, candidate: str, bounded: bool) -> Posterior:
        """Where a source is believed by what votes taught: two numbers, and the bound of the source that says most."""
        all_in, by_votes = 1 - self.doubt(candidate), 1 - self.doubt(candidate, by_votes=True)
        bounds = [1.0]
        for source, ballot in self.ballots.items():
            keys, counts = _cast(ballot)
            if bounded and (votes := self.beliefs[source].votes) is not None and candidate in keys:
                bounds.append(votes.bound(counts, keys.index(candidate)))
        return Posterior(all_in, 1 - all_in, max(min(bounds), 1 - all_in), max(by_votes, all_in))

    def doubt(self, candidate: str, *, by_votes: bool = False) -> float:
        """Probability that `candidate` is not the right one, where another seen form may be, or none of them."""
        keys = {key for ballot in self.ballots.values() for key in ballot} | {candidate}
        mine = self._support(candidate, by_votes) + self.checks.get(candidate, 0.0)
        against = [self._support(key, by_votes) + self.checks.get(key, 0.0) for key in keys if key != candidate]
        against.append(self._support(None, by_votes))
        odds = sum(exp(min(one - mine, 700.0)) for one in against)
        return odds / (1 + odds)

    def _support(self, right: str | None, by_votes: bool) -> float:
        """Log-likelihood of all votes, given which form is right."""
        total = 0.0
        for source, ballot in self.ballots.items():
            belief = self.beliefs[source]
            if belief.votes is not None:
                keys, counts = _cast(ballot)
                place = keys.index(right) if right is not None and right in keys else -1
                total += belief.votes.supports(counts)[place][by_votes]
                continue
            cast = sum(ballot.values())
            mine = ballot.get(right, 0) if right is not None else 0
            total += _votes(belief.p, belief.concentration, mine, cast - mine)
            total += sum(_agreed(belief, votes) for key, votes in ballot.items() if votes > 1 and key != right)
        return total

    def bound(self, candidate: str) -> float:
        """Probability of being wrong where whoever is not right agrees with the strongest rival."""
        seen = {key for ballot in self.ballots.values() for key in ballot if key != candidate}
        rivals: set[str | None] = {*seen} if seen else {None}
        return sigmoid(-min(self._lead(candidate, rival) for rival in rivals))

    def _lead(self, candidate: str, rival: str | None) -> float:
        nats = self.checks.get(candidate, 0.0) - (self.checks.get(rival, 0.0) if rival is not None else 0.0)
        for source, ballot in self.ballots.items():
            belief = self.beliefs[source]
            mine, theirs = ballot.get(candidate, 0), ballot.get(rival, 0) if rival is not None else 0
            nats += _votes(belief.p, belief.concentration, mine, theirs)
            nats -= _votes(belief.p, belief.concentration, theirs, mine)
        return nats


def _cast(ballot: Ballot) -> tuple[list[str], tuple[int, ...]]:
    """Candidates that have votes, and how many."""
    cast = {key: votes for key, votes in ballot.items() if votes}
    return list(cast), tuple(cast.values())


@lru_cache(maxsize=65536)
def _alone(belief: Belief, votes: int, others: tuple[int, ...]) -> Posterior:
    """One source and no weighed checks: what most steps are."""
    ballot = {"": votes, **{str(place): count for place, count in enumerate(others)}}
    mean = _Ledger({"": ballot}, {"": belief}, {}).doubt("")
    careful = _Ledger({"": ballot}, {"": belief.careful}, {})
    doubt, bound = careful.doubt(""), max(careful.bound(""), 1 - belief.ceiling_low)
    return Posterior(min(1 - mean, belief.ceiling), max(doubt, 1 - belief.ceiling_low), bound)


def _agreed(belief: Belief, votes: int) -> float:
    """Log of the chance that so many wrong samples agree."""
    if belief.held is None:
        return votes / 2 * log(max(belief.same, FEWEST))
    return log(max(belief.same, FEWEST)) + (votes - 2) * log(max(belief.held, FEWEST))


@lru_cache(maxsize=65536)
def _votes(p: float, c: float, right: int, wrong: int) -> float:
    """Log-likelihood of so many right and wrong samples of one prompt, up to what all hypotheses share."""
    p = min(max(p, FEWEST), 1 - FEWEST)
    if c == inf:
        return right * log(p) + wrong * log1p(-p)
    a, b = p * c, (1 - p) * c
    return lgamma(a + right) - lgamma(a) + lgamma(b + wrong) - lgamma(b)


# --- how many votes it takes ------------------------------------------------------------------------------------


def more(
    ballots: Mapping[str, Ballot],
    beliefs: Mapping[str, Belief],
    candidate: str,
    checks: Mapping[str, float] | None,
    source: str,
    error: float,
    most: int,
    *,
    by_votes: bool = False,
) -> int | None:
    """The fewest further votes of `source`, all for `candidate`, that bring its chance of error to `error`.

    by_votes: as far as votes can tell. None where `most` are not enough.
    """
    for extra in range(most + 1):
        cast = dict(ballots.get(source, {}))
        cast[candidate] = cast.get(candidate, 0) + extra
        stands = posterior({**ballots, source: cast}, beliefs, candidate, checks, bounded=False)
        if (stands.agreed if by_votes else stands.doubt) <= error * ROUNDING:
            return extra
    return None


ROUNDING = 1 + 1e-9
"""p = .99 reaches an error of .01 with one vote, although 1 - .99 is a little more in binary."""


@dataclass(frozen=True, slots=True)
class Race:
    """What votes of one source come to, on average over prompts."""

    samples: float
    """Samples drawn."""
    undecided: float
    """Share of prompts on which nobody has won after the most samples: abstentions."""
    wrong: float
    """Share of prompts on which a wrong form won."""


PRUNED = 1e-7
"""Chance below which a course of a race is not followed any further."""

LIMIT = 150
"""Votes beyond which a race is not looked at."""


def coarse(belief: Belief) -> Belief:
    """A belief near this one, of few: estimates of races are kept for each, and beliefs change with every run."""

    def odds(p: float | None) -> float | None:
        return None if p is None else sigmoid(round(4 * logit(min(max(p, FEWEST), 1 - FEWEST))) / 4)

    def alike(c: float | None) -> float | None:
        return c if c is None or c == inf else 2.0 ** (round(2 * log2(c)) / 2)

    def tenth(share: float | None) -> float | None:
        return None if share is None else round(share, 1)

    return Belief(
        odds(belief.p) or 0.0,
        belief.basis,
        alike(belief.concentration) or 0.0,
        tenth(belief.same) or 0.0,
        odds(belief.low),
        alike(belief.low_concentration),
        tenth(belief.high_same),
        ceiling=belief.ceiling,
        ceiling_low=belief.ceiling_low,
    )


@lru_cache(maxsize=4096)
def race(belief: Belief, error: float, most: int) -> Race:
    """First to a chance of error of at most `error`, with `most` samples: exact, by the chain of (votes, votes).

    Wrong samples agree with the strongest rival with probability sqrt(same), and else with nobody. Those count for
    nothing here, so that rates are a little high where wrong answers differ.
    """
    agree = max(belief.same, 0.0) ** 0.5
    open_: dict[tuple[int, int, int], float] = {(0, 0, 0): 1.0}
    samples = wrong = 0.0
    for _ in range(min(most, LIMIT)):
        coming: dict[tuple[int, int, int], float] = {}
        for (right, rival, odd), chance in open_.items():
            samples += chance
            p = _next(belief, right, rival + odd)
            for place, odds in (
                ((right + 1, rival, odd), p),
                ((right, rival + 1, odd), (1 - p) * agree),
                ((right, rival, odd + 1), (1 - p) * (1 - agree)),
            ):
                if odds <= 0:
                    continue
                winner = _won(belief, place, error)
                if winner == "wrong":
                    wrong += chance * odds
                elif winner is None and chance * odds > PRUNED:
                    coming[place] = coming.get(place, 0.0) + chance * odds
        open_ = coming
    return Race(samples, sum(open_.values()), wrong)


def _next(belief: Belief, right: int, wrong: int) -> float:
    """Chance that the next sample is right, given those before it."""
    if belief.concentration == inf:
        return belief.p
    return (belief.p * belief.concentration + right) / (belief.concentration + right + wrong)


def _won(belief: Belief, place: tuple[int, int, int], error: float) -> Literal["right", "wrong"] | None:
    right, rival, odd = place
    if right == rival:
        return None
    best, second = max(right, rival), min(right, rival)
    others = tuple(sorted((*((second,) if second else ()), *((1,) * odd)), reverse=True))
    if _alone(belief, best, others).doubt > error * ROUNDING:
        return None
    return "right" if right > rival else "wrong"


def pace(belief: Belief) -> float:
    """Nats that one vote gives for a right candidate, per unit of cost: (2p - 1) logit p / cost; 0 where p <= 1/2."""
    p = min(belief.careful.p, 1 - FEWEST)
    return (2 * p - 1) * logit(p) / belief.cost if p > 0.5 else 0.0


def wald(p: float, error: float) -> float:
    """The fewest samples on average with which any test can tell a right candidate from a wrong one.

    Wald and Wolfowitz (1948): (1 - 2 error) logit(1 - error) / ((2p - 1) logit p), for samples that are right with
    probability p, and an error of each kind of at most `error`. At least one sample; infinite where p <= 1/2.
    """
    if p <= 0.5:
        return inf
    if error >= 0.5:
        return 1.0
    return max(1.0, (1 - 2 * error) * -logit(error) / ((2 * p - 1) * logit(min(p, 1 - FEWEST))))
