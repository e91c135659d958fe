"""Rates from counts: Beta posteriors, and what a verifier's rates make of its word.

Sources: Beta posteriors with Jeffreys' prior, as in Brown, Cai, DasGupta, "Interval estimation for a binomial
proportion" (2001); Rogan and Gladen, "Estimating prevalence from the results of a screening test" (1978).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import ceil, log

from surefoot.reflection.votes import nats


@dataclass(frozen=True, slots=True)
class Beta:
    """Posterior of a rate after so many successes and failures, which need not be whole numbers."""

    successes: float = 0.0
    failures: float = 0.0

    @property
    def mean(self) -> float:
        return (self.successes + 0.5) / (self.successes + self.failures + 1)

    def lower(self, tail: float = 0.05) -> float:
        """The rate is below this with probability `tail`."""
        return _quantile(self.successes, self.failures, tail)

    def upper(self, tail: float = 0.05) -> float:
        """The rate is above this with probability `tail`."""
        return _quantile(self.successes, self.failures, 1 - tail)

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Jeffreys' interval; it reaches 0 or 1 where no success or no failure was seen."""
        tail = (1 - level) / 2
        return (
            self.lower(tail) if self.successes else 0.0,
            self.upper(tail) if self.failures else 1.0,
        )


@lru_cache(maxsize=8192)
def _quantile(successes: float, failures: float, below: float) -> float:
    from scipy.special import betaincinv

    return float(betaincinv(successes + 0.5, failures + 0.5, below))


@dataclass(frozen=True, slots=True)
class Rates:
    """How often a verifier passes right candidates, and how often wrong ones."""

    accept: Beta
    false_accept: Beta

    def passes(self) -> float:
        """Nats that a pass adds: ln(a/b), at the careful ends of both; never less than nothing."""
        return max(0.0, log(self.accept.lower() / self.false_accept.upper()))

    def fails(self) -> float:
        """Nats that a fail adds, at most 0: ln((1-a)/(1-b)), at the careful ends of both."""
        return min(0.0, log((1 - self.accept.lower()) / max(1 - self.false_accept.upper(), 1e-12)))

    def drift(self) -> float:
        """Evidence that one check gives about a right candidate on average, in nats, at the means."""
        a, b = self.accept.mean, self.false_accept.mean
        return nats(a, b) if a > b else 0.0


def rogan_gladen(accepted: float, accept: float, false_accept: float) -> float:
    """The share of right candidates where only the share of accepted ones is seen: (q - b) / (a - b), in 0..1.

    Raises ValueError where the verifier does not pass right candidates more often than wrong ones.
    """
    if accept <= false_accept:
        raise ValueError(
            f"a verifier that passes right candidates at {accept} and wrong ones at {false_accept} tells nothing: "
            "measure it again, or use another one"
        )
    return min(1.0, max(0.0, (accepted - false_accept) / (accept - false_accept)))


def canaries_needed(false_accept: float, confidence: float = 0.95) -> int:
    """Wrong candidates that a verifier must catch without a miss to certify its false accept rate."""
    if not (0 < false_accept < 1 and 0 < confidence < 1):
        raise ValueError("both are between 0 and 1")
    return ceil(log(1 - confidence) / log(1 - false_accept))


def common_cause(false_accept: float, shared: float, copies: int) -> float:
    """Rate at which a wrong candidate passes all copies of one verifier: g b + ((1 - g) b)^m, the beta-factor model.

    shared: g, the part of false accepts that all copies make together. Its floor is g b, however many there are.
    """
    return shared * false_accept + ((1 - shared) * false_accept) ** copies


def shared_cause(both: float, false_accept: float) -> float:
    """g of `common_cause` from the rate at which a wrong candidate passes two copies; in 0..1."""
    from scipy.optimize import brentq

    if false_accept <= 0 or both <= false_accept**2:
        return 0.0
    if both >= false_accept:
        return 1.0
    # On 0..1 the two-copy rate is not monotone at its very beginning; its root above is the one wanted.
    least = max(0.0, (2 * false_accept - 1) / (2 * false_accept))
    return float(brentq(lambda g: common_cause(false_accept, g, 2) - both, least, 1.0))


@dataclass(frozen=True, slots=True)
class Retried:
    """Retry until a check accepts: p of samples right, the check's rates a and b, at most `most` attempts."""

    p: float
    accept: float
    false_accept: float

    @property
    def accepted(self) -> float:
        """Chance that one attempt is accepted."""
        return self.p * self.accept + (1 - self.p) * self.false_accept

    @property
    def right(self) -> float:
        """Chance that what is accepted is right: the ceiling of a step. n steps have its n-th power."""
        return self.p * self.accept / self.accepted

    @property
    def attempts(self) -> float:
        return 1 / self.accepted

    def abstained(self, most: int) -> float:
        """Chance that nothing was accepted after `most` attempts."""
        return (1 - self.accepted) ** most
