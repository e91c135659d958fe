"""Rates from counts: Beta posteriors, and what a verifier's rates make of its word.

Sources: Beta posteriors with Jeffreys' prior, as in Brown, Cai, DasGupta, "Interval estimation for a binomial
proportion" (2001); Rogan and Gladen, "Estimating prevalence from the results of a screening test" (1978).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import log

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
        return (self.lower(tail) if self.successes else 0.0, self.upper(tail) if self.failures else 1.0)


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
