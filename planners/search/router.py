"""Whether to search at all: a tree that is led by a poor judge does worse than whole attempts that are re-ranked.

With discriminators below about 90 % accuracy tree search loses to re-ranking at equal cost (Chen et al., "When is tree
search useful for LLM planning? It depends on the discriminator", arXiv 2402.10890).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from surefoot.planners.search.space import State, Value
from surefoot.reflection.rates import Beta

WORTH = 0.9
"""Accuracy from which on a value function may lead a tree search."""


@dataclass(frozen=True, slots=True)
class Router:
    """Chooses a strategy by what the value function was measured at."""

    accuracy: Beta = Beta()
    """Of the value function's word, above or below one half, on states whose truth is known."""
    worth: float = WORTH

    def choose(self, simulations: int | None = None) -> str:
        """`best-of-n` where it is not known to be good enough, at the lower 5 % quantile; else a tree search."""
        if self.accuracy.lower() < self.worth:
            return "best-of-n"
        return "gumbel" if simulations is not None and simulations < 64 else "puct"


async def measure(value: Value, labelled: Iterable[tuple[State, bool]]) -> Beta:
    """How often a value function is right about states whose truth is known."""
    known: Sequence[tuple[State, bool]] = list(labelled)
    said = await value([state for state, _ in known])
    right = sum((one > 0.5) == truth for one, (_, truth) in zip(said, known, strict=True))
    return Beta(right, len(known) - right)
