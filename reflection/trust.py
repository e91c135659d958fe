"""How far a result can be trusted: the support under each committed step, and all of it together.

exact       a verifier proved the step's output right: it adds no error
measured    rates that were measured on this class of steps stand behind it
prior       its success rate is stated, not measured
none        nobody checked
"""

from __future__ import annotations

from dataclasses import dataclass
from math import expm1, inf, log, log1p

from surefoot.storage.records import Basis, Reliability

_WEAKEST_FIRST: tuple[Basis, ...] = ("none", "prior", "measured", "exact")


@dataclass(frozen=True, slots=True)
class Support:
    """What stands under one committed step."""

    p: float
    """Probability that the step's output is right."""
    bound: float
    """Upper bound of the probability that it is wrong."""
    basis: Basis
    abstain: float = 0.0
    """Chance that such a step ends without enough evidence."""
    samples: int = 0
    """Samples drawn."""
    least: float = 0.0
    """Wald's bound: samples that the best test would have drawn on average."""
    doubt: float | None = None
    """Probability that it is wrong at the careful quantiles: what it takes of the error budget; None: 1 - p."""
    by_votes: float | None = None
    """p, if no question was misconceived, which votes cannot show; None where p counts all that is known."""


EXACT = Support(1.0, 0.0, "exact")
NOTHING = Support(0.0, 1.0, "none")


class Trust:
    """Running totals over the committed steps: `add` and `remove` take constant time and no memory."""

    __slots__ = ("_agreed", "_counts", "_decided", "_least", "_lost", "_right", "_samples", "_sound", "_spent")

    def __init__(self) -> None:
        self._right = 0.0  # sum of ln p
        self._agreed = 0.0  # sum of ln by_votes, or ln p
        self._sound = 0.0  # sum of ln (1 - bound)
        self._spent = 0.0  # of the error budget: sum of -ln (1 - doubt)
        self._decided = 0.0  # sum of ln (1 - abstain)
        self._samples = 0
        self._least = 0.0
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
        self._agreed += sign * other._agreed
        self._sound += sign * other._sound
        self._decided += sign * other._decided
        self._spent += sign * other._spent
        self._samples += sign * other._samples
        self._least += sign * other._least
        self._lost += sign * other._lost
        for basis, count in other._counts.items():
            self._counts[basis] += sign * count

    def _count(self, support: Support, sign: int) -> None:
        self._counts[support.basis] += sign
        if support.basis == "exact":
            return
        self._samples += sign * support.samples
        self._least += sign * support.least
        if support.p <= 0 or support.bound >= 1:
            self._lost += sign
        else:
            self._right += sign * log(support.p)
            self._agreed += sign * log(support.p if support.by_votes is None else support.by_votes)
            self._sound += sign * log1p(-support.bound)
            self._spent -= sign * (log(support.p) if support.doubt is None else log1p(-min(support.doubt, 1 - 1e-12)))
            self._decided += sign * log1p(-min(support.abstain, 1 - 1e-12))

    @property
    def basis(self) -> Basis:
        """The weakest basis under any step; none before the first."""
        return next((basis for basis in _WEAKEST_FIRST if self._counts[basis]), "none")

    @property
    def weighed(self) -> int:
        """Steps that rest on samples."""
        return self._counts["prior"] + self._counts["measured"]

    @property
    def spent(self) -> float:
        """Of the error budget, in nats; infinite where a step has no support."""
        return inf if self._lost else max(self._spent, 0.0)

    def reliability(self, target: float | None = None) -> Reliability:
        """The product of p, and 1 - prod(1 - bound): every step must be right.

        Where a step has no support, nothing is predicted, and the bound says no more than 1.
        """
        if self.basis == "none":
            return Reliability(target, None, 1.0 if self._counts["none"] else None, "none")
        right, sound = (-inf, -inf) if self._lost else (min(self._right, 0.0), min(self._sound, 0.0))
        predicted, bound = 1 + expm1(right), 0.0 - expm1(sound)
        if not self._samples:
            return Reliability(target, predicted, bound, self.basis)
        abstention = 0.0 - expm1(min(self._decided, 0.0))
        by_votes = None if self._agreed <= self._right or self._lost else 1 + expm1(min(self._agreed, 0.0))
        return Reliability(target, predicted, bound, self.basis, abstention, self._samples, self._least, by_votes)
