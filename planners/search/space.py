"""What is searched: states, the steps that a policy proposes in them, and exact rules that say when it is over.

Search is over steps of a plan, never over tokens. A state and an action are values; a `Space` says what they mean.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Protocol, runtime_checkable

from surefoot.storage.records import Json, Plan

State = Any
Action = Any


@dataclass(frozen=True, slots=True)
class Offer:
    """A step that the policy proposes in a state."""

    action: Action
    prior: float = 1.0
    """How likely the policy thinks it; offers of one state are normalised, and equal ones add up."""
    tokens: int = 0


@runtime_checkable
class Space(Protocol):
    """A task as a search problem."""

    def start(self, inputs: Mapping[str, Json]) -> State:
        """The state that a step's arguments describe."""
        ...

    async def propose(self, states: Sequence[State], n: int, rng: Random) -> Sequence[Sequence[Offer]]:
        """`n` offers for each state, all states asked together. Repeated ones say how likely an action is."""
        ...

    def apply(self, state: State, action: Action) -> State: ...

    def key(self, state: State) -> Hashable:
        """Equal for states that are the same: they become one node, however they were reached."""
        ...

    def solved(self, state: State) -> bool:
        """An exact rule: the task is done here."""
        ...

    def dead(self, state: State) -> bool:
        """An exact rule: nothing leads on from here."""
        ...

    def plan(self, inputs: Mapping[str, Json], actions: Sequence[Action]) -> Plan:
        """The plan that these actions make up; the engine carries it out and verifies it step by step."""
        ...


@runtime_checkable
class Value(Protocol):
    """Guesses how promising states are. It guides the search, and never accepts a result."""

    name: str
    tokens: int
    """What one state costs."""

    async def __call__(self, states: Sequence[State]) -> Sequence[float]:
        """For each state the chance that it can still be solved, 0 to 1."""
        ...


@dataclass(slots=True)
class Budget:
    """What a search may spend. Checked before anything is asked for, so that it is never passed."""

    tokens: float = float("inf")
    nodes: float = float("inf")
    spent: int = 0
    made: int = 0

    def affords(self, tokens: int) -> bool:
        return self.spent + tokens <= self.tokens and self.made < self.nodes


@dataclass(frozen=True, slots=True)
class Found:
    """How a search ended."""

    actions: tuple[Action, ...] | None
    """The way to a solved state; None where none was found."""
    state: State = None
    score: float = 0.0
    """The value function's word on the final state; 1 where an exact rule says that it is solved."""
    tokens: int = 0
    nodes: int = 0
    ends: tuple[tuple[tuple[Action, ...], State], ...] = field(default=(), repr=False)
    """Every final state that was reached, with the way there where it is kept: for re-ranking."""
