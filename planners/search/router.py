"""Whether to search at all: a tree that is led by a poor judge does no better than whole attempts that are re-ranked.

With discriminators below about 90 % accuracy tree search does not pay (Chen et al., "When is tree search useful for LLM
planning? It depends on the discriminator", arXiv 2402.10890).
"""

from __future__ import annotations

from dataclasses import dataclass

from surefoot.reflection.rates import Beta

WORTH = 0.9
"""Accuracy from which on a value function may lead a tree search."""


@dataclass(frozen=True, slots=True)
class Router:
    """Chooses a strategy by what the value function was measured at."""

    accuracy: Beta = Beta()
    """Of the value function's word, above or below one half, on states whose truth is known; `measure` counts it."""
    worth: float = WORTH
    tail: float = 0.05
    """The quantile of the accuracy that must reach it."""
    few: float = 0.0
    """Simulations below which Gumbel is taken in place of PUCT. Its guarantees are for few simulations; but as measured
    in docs/search.md, PUCT did better or as well with 8, 16 and 33."""

    @property
    def searches(self) -> bool:
        """Whether the value function is known to be good enough. One that was not measured is not."""
        return self.accuracy.lower(self.tail) >= self.worth

    def choose(self, simulations: float) -> str:
        """`best-of-n` where a tree search would not pay; else a tree search."""
        if not self.searches:
            return "best-of-n"
        return "gumbel" if simulations < self.few else "puct"

    def why(self) -> str:
        """For people: what the choice rests on."""
        seen = self.accuracy.successes + self.accuracy.failures
        if not seen:
            return "the value function was not measured"
        said = f"the value function is right {self.accuracy.mean:.0%} of the time, on {seen:g} states"
        return f"{said}; at least {self.accuracy.lower(self.tail):.0%} is sure, {self.worth:.0%} is wanted"
