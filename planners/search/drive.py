"""Searches are generators that yield what they need to know; `drive` asks for all of them together.

So a search itself is plain code without a wait in it, and leaves are batched across searches first: every search that
can go on without the value function does so before it is called, once, for all of them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from surefoot.planners.search.space import Budget, Found, Offer, Space, State
from surefoot.planners.search.value import Value
from surefoot.storage.errors import SetupError

BREATH = 0.05
"""Seconds after which other tasks of the event loop get a turn, though nothing here had to wait."""


@dataclass(slots=True)
class Problem:
    """One search: where it begins, and what it may spend."""

    space: Space
    start: State
    budget: Budget
    rng: Random
    price: int = 0
    """Tokens of the value function's word on one state."""
    ranked: bool = False
    """No rule says what is solved: final states are ranked by the value function, within the budget."""
    batch: int = 1
    """Leaves of one tree, or attempts, at a time; a beam and a halving have batches of their own."""


@dataclass(slots=True)
class Ask:
    """Wanted: offers for states, `counts` of each. Answered by one sequence of offers a state."""

    states: Sequence[State]
    counts: Sequence[int]


@dataclass(slots=True)
class Judge:
    """Wanted: values of states. Answered by one number a state."""

    states: Sequence[State]


Search = Generator[Ask | Judge, Any, Found]


def ask(problem: Problem, states: Sequence[State], counts: Sequence[int]) -> Generator[Ask, Any, list[Sequence[Offer]]]:
    """Offers for states, paid for."""
    offered: list[Sequence[Offer]] = yield Ask(states, counts)
    for offers in offered:
        for one in offers:
            if one.tokens > problem.space.tokens:
                raise SetupError(f"an offer cost {one.tokens} tokens; its space says at most {problem.space.tokens}")
            problem.budget.spent += one.tokens
    return offered


def judge(problem: Problem, states: Sequence[State]) -> Generator[Judge, Any, Sequence[float]]:
    """Values of states, paid for."""
    said: Sequence[float] = yield Judge(states)
    problem.budget.spent += problem.price * len(states)
    return said


async def drive(space: Space, value: Value, searches: Sequence[tuple[Problem, Search]]) -> list[Found]:
    """Runs searches of one space to their ends; what each finds is the same in whatever company it is run.

    Raises SetupError where the space or the value function does not keep its promises, and what these two raise.
    """
    found: dict[int, Found] = {}
    wanted: dict[int, Ask | Judge] = {}
    breathed = time.monotonic()

    def go_on(place: int, answer: Any) -> None:
        try:
            wanted[place] = searches[place][1].send(answer)
        except StopIteration as end:
            wanted.pop(place, None)
            found[place] = end.value

    for place in range(len(searches)):
        go_on(place, None)
    while wanted:
        asks = [(place, one) for place, one in wanted.items() if isinstance(one, Ask)]
        judges = [(place, one) for place, one in wanted.items() if isinstance(one, Judge)]
        answers = (
            await _offers(space, [(searches[place][0].rng, one) for place, one in asks])
            if asks
            else await _values(value, [one for _, one in judges])
        )
        for (place, _), answer in zip(asks or judges, answers, strict=True):
            go_on(place, answer)
        if time.monotonic() - breathed > BREATH:
            await asyncio.sleep(0)
            breathed = time.monotonic()
    return [found[place] for place in range(len(searches))]


async def _offers(space: Space, asks: Sequence[tuple[Random, Ask]]) -> list[list[Sequence[Offer]]]:
    """One call for all states of which equally many offers are wanted."""
    answers: list[list[Sequence[Offer]]] = [[()] * len(one.states) for _, one in asks]
    groups: dict[int, list[tuple[int, int, State, int]]] = {}
    for place, (rng, one) in enumerate(asks):
        for at, (state, count) in enumerate(zip(one.states, one.counts, strict=True)):
            groups.setdefault(count, []).append((place, at, state, rng.getrandbits(31)))
    for count, group in groups.items():
        offered = await space.propose([state for _, _, state, _ in group], count, [seed for *_, seed in group])
        _counted(offered, group, "the space", "sequences of offers")
        for (place, at, _, _), offers in zip(group, offered, strict=True):
            if len(offers) > count:
                raise SetupError(f"the space made {len(offers)} offers for a state where {count} were asked for")
            answers[place][at] = offers
    return answers


async def _values(value: Value, judges: Sequence[Judge]) -> list[Sequence[float]]:
    """One call for all states."""
    states = [state for one in judges for state in one.states]
    said = await value(states)
    _counted(said, states, f"the value function {value.name}", "values")
    if wrong := [one for one in said if not 0 <= one <= 1]:  # not a number is wrong too
        raise SetupError(f"the value function {value.name} returned {wrong[0]}; a chance is between 0 and 1")
    rest = iter(said)
    return [[next(rest) for _ in one.states] for one in judges]


def _counted(answer: Sequence[object], states: Sequence[object], who: str, what: str) -> None:
    if len(answer) != len(states):
        raise SetupError(f"{who} returned {len(answer)} {what} for {len(states)} states; it must be one each")
