"""Value functions: how promising a state is. They guide a search, and never accept what it finds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, runtime_checkable

from surefoot.planners.search.space import State
from surefoot.reflection.rates import Beta
from surefoot.reflection.verifier import Case, Verifier


@runtime_checkable
class Value(Protocol):
    """Guesses how promising states are, by a rule, a model or a learned function."""

    name: str
    """No verifier of this name may accept what the search finds."""
    tokens: int
    """What one state costs."""

    async def __call__(self, states: Sequence[State]) -> Sequence[float]:
        """For each state the chance that it can still be solved, 0 to 1. Leaves of all trees come in one call."""
        ...


class Guide:
    """A verifier of states as a value function: 1 for pass, 0 for fail, 1/2 for abstain."""

    def __init__(self, verifier: Verifier, case: Callable[[State], Case], tokens: int = 0) -> None:
        """case: puts a state before the verifier."""
        self.verifier = verifier
        self.case = case
        self.name = verifier.name
        self.tokens = tokens

    async def __call__(self, states: Sequence[State]) -> list[float]:
        worth = {"pass": 1.0, "fail": 0.0}
        return [worth.get((await self.verifier.verify(self.case(state))).ruling, 0.5) for state in states]


async def measure(value: Value, labelled: Iterable[tuple[State, bool]]) -> Beta:
    """How often a value function is right, above or below one half, about states whose truth is known.

    Of states that can be solved and of those that cannot, the counts are those that it knows worse: most states can
    not be solved, so that one which always says no would be right about most of them.
    """
    known = list(labelled)
    said = await value([state for state, _ in known])
    sides = []
    for side in (True, False):
        right = [(one > 0.5) == side for one, (_, truth) in zip(said, known, strict=True) if truth == side]
        sides.append(Beta(sum(right), len(right) - sum(right)))
    return min(sides, key=Beta.lower)
