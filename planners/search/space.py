"""What is searched: states, the steps that a policy proposes in them, and exact rules that say when it is over.

Search is over steps of a plan, never over tokens. A state and an action are values; a `Space` says what they mean.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from surefoot.storage.records import Plan

State = Any
Action = Any


@dataclass(frozen=True, slots=True)
class Offer:
    """A step that the policy proposes in a state."""

    action: Action
    prior: float = 1.0
    """How likely the policy thinks it. Offers that lead to the same state add up, so that of samples, which have 1
    each, the counts are the prior."""
    tokens: int = 0
    """What it cost; never more than `Space.tokens`."""


@runtime_checkable
class Space(Protocol):
    """A task as a search problem."""

    tokens: int
    """The most that one offer costs. A search pays that much before it asks, or does not ask."""

    def start(self) -> State: ...

    async def propose(self, states: Sequence[State], n: int, seeds: Sequence[int]) -> Sequence[Sequence[Offer]]:
        """Up to `n` offers for each state, sampled or listed; none where nothing (more) can be done.

        All states are asked together, with one seed each: what comes back for a state may not depend on the others.
        """
        ...

    def apply(self, state: State, action: Action) -> State: ...

    def key(self, state: State) -> Hashable:
        """Equal for states that are the same: they become one node, however they were reached."""
        ...

    def solved(self, state: State) -> bool:
        """An exact rule: the task is done here. False everywhere, where there is no such rule."""
        ...

    def dead(self, state: State) -> bool:
        """An exact rule: no way on from here leads to a solved state."""
        ...

    def plan(self, actions: Sequence[Action]) -> Plan:
        """The plan that these actions make up; the engine carries it out and verifies it step by step."""
        ...


@dataclass(slots=True)
class Budget:
    """What a search may spend. It is looked at before anything is asked for, and never passed."""

    tokens: float = 20_000
    """For offers, and for the value function's word on states."""
    simulations: float = 10_000
    """Whole attempts of best-of-n, states that a beam keeps, walks down a tree."""
    spent: int = 0
    made: int = 0
    """Simulations so far."""

    def room(self, each: int, most: int, kept: int = 0) -> int:
        """How many things at `each` tokens can be paid, `most` at most, when `kept` tokens are to be left."""
        left = self.tokens - self.spent - kept
        return most if each * most <= left else max(0, int(left // each))

    def left(self, each: int) -> float:
        """Simulations that are left, at `each` tokens."""
        simulations = max(self.simulations - self.made, 0)
        return min(simulations, max(self.tokens - self.spent, 0) // each) if each else simulations


@dataclass(frozen=True, slots=True)
class End:
    """A final state: it is solved, or the policy has no way on from it."""

    actions: tuple[Action, ...]
    state: State
    score: float = 0.0
    """The value function's word on it; 1 where an exact rule says that it is solved."""
    support: float = 0.0
    """What speaks for it beside the score: how many attempts ended there, or the value of the state before."""


@dataclass(frozen=True, slots=True)
class Found:
    """How a search ended."""

    best: End | None
    """The solved state; else, where final states are ranked, the one with the best score and support."""
    solved: bool
    """An exact rule says so."""
    exhausted: bool
    """Everything that the policy offers was tried."""
    tokens: int
    simulations: int
    states: int
    """Distinct states that were seen."""
    ends: tuple[End, ...] = ()
    """The final states, where they are ranked."""
