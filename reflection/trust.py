"""How far a result can be trusted: the support under each committed step, and all of it together.

    exact       a verifier proved the step's output right: it adds no error
    measured    the model's success rate was measured on this class of steps
    prior       the success rate is the stated `PRIOR`, not measured
    none        nobody checked

Judges, schema checks and other verifiers that are not exact add nothing here until their rates of true and
false acceptance are measured: they can reject a candidate, and their pass counts as no evidence.
A lead in votes counts as if samples erred independently; models that err together are not seen from here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import expm1, inf, log, log1p

from surefoot.reflection.votes import vote_error
from surefoot.storage.records import Basis, Reliability

PRIOR = 0.9
"""Probability that a model's sample is right, where nothing was measured. Stated, not known."""

_WEAKEST_FIRST: tuple[Basis, ...] = ("none", "prior", "measured", "exact")


@dataclass(frozen=True, slots=True)
class Support:
    """What stands under one committed step."""

    p: float
    """Probability that the step's output is right."""
    bound: float
    """Upper bound of the probability that it is wrong."""
    basis: Basis


EXACT = Support(1.0, 0.0, "exact")
NOTHING = Support(0.0, 1.0, "none")


def support(
    exact: bool, lead: int = 0, prior: float = PRIOR, basis: Basis = "prior", low: float | None = None
) -> Support:
    """The support of a candidate that was committed with a lead of `lead` votes.

    exact: an exact verifier passed it. Otherwise its votes count: 1 - p is 1/(1 + (prior/(1-prior))^lead), so a
    lead of 1 is as good as one sample. No votes are no support.
    prior: the model's success rate; with `basis` "measured" the posterior mean, and `low` its lower quantile, which
    the bound is computed from.
    """
    if exact:
        return EXACT
    if lead < 1 or basis == "none":
        return NOTHING
    pessimistic = prior if low is None else min(low, prior)
    return Support(1 - vote_error(prior, lead), vote_error(pessimistic, lead), basis)


class Trust:
    """Running totals over the committed steps: `add` and `remove` take constant time and no memory."""

    def __init__(self) -> None:
        self._right = 0.0  # sum of ln p
        self._sound = 0.0  # sum of ln (1 - bound)
        self._lost = 0  # steps whose logarithm is minus infinity, kept out of the sums
        self._counts: dict[Basis, int] = dict.fromkeys(_WEAKEST_FIRST, 0)

    def add(self, support: Support) -> None:
        """Count one committed step."""
        self._count(support, 1)

    def remove(self, support: Support) -> None:
        """Take back a step that was rolled back."""
        if self._counts[support.basis] == 0:
            raise ValueError(f"no step with basis {support.basis!r} was added: remove what add was given")
        self._count(support, -1)

    def take(self, other: Trust, sign: int = 1) -> None:
        """Add all that `other` counts, or with a sign of -1 take it back."""
        self._right += sign * other._right
        self._sound += sign * other._sound
        self._lost += sign * other._lost
        for basis, count in other._counts.items():
            self._counts[basis] += sign * count

    def _count(self, support: Support, sign: int) -> None:
        self._counts[support.basis] += sign
        if support.p <= 0 or support.bound >= 1:
            self._lost += sign
        elif support.bound > 0 or support.p < 1:
            self._right += sign * log(support.p)
            self._sound += sign * log1p(-support.bound)

    @property
    def basis(self) -> Basis:
        """The weakest basis under any step; none before the first."""
        return next((basis for basis in _WEAKEST_FIRST if self._counts[basis]), "none")

    def reliability(self, target: float | None = None) -> Reliability:
        """The product of p, and 1 - prod(1 - bound): every step must be right.

        Where a step has no support, nothing is predicted, and the bound says no more than 1.
        """
        if self.basis == "none":
            return Reliability(target, None, 1.0 if self._counts["none"] else None, "none")
        right, sound = (-inf, -inf) if self._lost else (min(self._right, 0.0), min(self._sound, 0.0))
        return Reliability(target, 1 + expm1(right), 0.0 - expm1(sound), self.basis)


def combine(supports: Iterable[Support], target: float | None = None) -> Reliability:
    """The reliability of a result that stands on all these steps."""
    trust = Trust()
    for one in supports:
        trust.add(one)
    return trust.reliability(target)
