"""A search problem for tests: find a word, letter by letter. Its policy and its value function keep their own books."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from surefoot.planners.search.drive import Problem, drive
from surefoot.planners.search.space import Budget, Found, Offer
from surefoot.planners.search.strategies import STRATEGIES
from surefoot.storage.records import Plan, Step, ref


class Words:
    """Words of as many letters as the goal, written with 1 to 4."""

    def __init__(self, goal: str, *, offer: int = 3, price: int = 2, truth: bool = True) -> None:
        self.goal = goal
        self.offer = offer
        self.tokens = offer
        self.price = price
        """Of the value function's word on a state, which is the truth, or its opposite."""
        self.truth = truth
        self.paid = 0
        """Tokens that offers and values really cost."""
        self.asked: list[int] = []

    def start(self) -> str:
        return ""

    async def propose(self, states: Sequence[str], n: int, seeds: Sequence[int]) -> list[list[Offer]]:
        self.asked.append(len(states))
        return [self._offers(n, Random(seed)) for seed in seeds]

    def _offers(self, n: int, rng: Random) -> list[Offer]:
        found = [Offer(rng.choice("1234"), tokens=rng.randint(0, self.offer)) for _ in range(n)]
        self.paid += sum(one.tokens for one in found)
        return found

    def apply(self, state: str, action: str) -> str:
        return state + action

    def key(self, state: str) -> str:
        return state

    def solved(self, state: str) -> bool:
        return state == self.goal

    def dead(self, state: str) -> bool:
        return len(state) >= len(self.goal) and state != self.goal

    def plan(self, actions: Sequence[str]) -> Plan:
        return Plan((Step("s", tool="calculator", args={"expression": f"{''.join(actions)} + 0"}),), ref("s"))


class Letters:
    """The value function of words."""

    def __init__(self, words: Words, name: str = "letters") -> None:
        self.words = words
        self.name = name
        self.tokens = words.price
        self.calls: list[list[str]] = []

    async def __call__(self, states: Sequence[str]) -> list[float]:
        self.calls.append(list(states))
        self.words.paid += self.tokens * len(states)
        return [float(self.words.goal.startswith(state) == self.words.truth) for state in states]


class Open(Words):
    """Words where no rule says which is right: those of full length are final."""

    def solved(self, state: str) -> bool:
        return False

    dead = solved

    async def propose(self, states: Sequence[str], n: int, seeds: Sequence[int]) -> list[list[Offer]]:
        return [
            self._offers(n, Random(seed)) if len(state) < len(self.goal) else []
            for state, seed in zip(states, seeds, strict=True)
        ]


async def find(
    words: Words, strategy: str, tokens: float, seed: int = 0, batch: int = 1, **limits: Any
) -> tuple[Found, Budget]:
    budget = Budget(tokens, **limits)
    problem = Problem(words, "", budget, Random(seed), words.price, isinstance(words, Open), batch)
    (found,) = await drive(words, Letters(words), [(problem, STRATEGIES[strategy](problem))])
    return found, budget
