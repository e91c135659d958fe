"""Countdown: reach a number from four others, each used once. A search finds the way; the engine carries it out.

    python examples/countdown_search.py [TARGET NUMBER NUMBER ...]

A rough guess of how near a state is guides the search, and an exact rule says when the target is reached. What is found
becomes a plan of calculator steps, each of which the engine verifies on its own. Where nothing is found, it says so.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

from surefoot.engine import Engine
from surefoot.models import ScriptedModel
from surefoot.planners.search import Offer, SearchPlanner
from surefoot.reflection import verifier
from surefoot.storage import Plan, Step, ref

State = tuple[int, tuple[int, ...]]  # the target, and the numbers that are left, the largest first
Action = tuple[int, str, int, int]  # two of them with the sign between, and the result


def actions(numbers: Sequence[int]) -> Iterator[Action]:
    """What the rules of Countdown allow: no negative numbers, no nought, no fractions."""
    for i, a in enumerate(numbers):
        for b in numbers[i + 1 :]:
            yield from ((a, "+", b, a + b), (a, "*", b, a * b))
            if a > b:
                yield a, "-", b, a - b
            if a % b == 0:
                yield a, "/", b, a // b


class Countdown:
    """Countdown as a search over steps."""

    tokens = 12  # what a model would take to propose one step

    def __init__(self, target: int, numbers: Sequence[int]) -> None:
        self.first: State = (target, tuple(sorted(numbers, reverse=True)))

    def start(self) -> State:
        return self.first

    async def propose(self, states: Sequence[State], n: int, seeds: Sequence[int]) -> list[list[Offer]]:
        """A stand-in for a model: prefers results of about the target's size, and knows no more than that."""
        return [self.offers(*state, n, Random(seed)) for state, seed in zip(states, seeds, strict=True)]

    def offers(self, target: int, numbers: Sequence[int], n: int, rng: Random) -> list[Offer]:
        ways = list(actions(numbers))
        weights = [math.exp(-abs(math.log(made / target)) / 2) for *_, made in ways]
        return [Offer(way, tokens=self.tokens) for way in rng.choices(ways, weights, k=n)] if ways else []

    def apply(self, state: State, action: Action) -> State:
        left = list(state[1])
        left.remove(action[0])
        left.remove(action[2])
        return state[0], tuple(sorted([*left, action[3]], reverse=True))

    def key(self, state: State) -> State:
        return state

    def solved(self, state: State) -> bool:
        return state[1] == (state[0],)

    def dead(self, state: State) -> bool:
        return len(state[1]) == 1 and not self.solved(state)

    def plan(self, actions: Sequence[Action]) -> Plan:
        """Calculator steps. A number that an earlier step made is a reference to that step."""
        steps: list[Step] = []
        made: dict[int, list[Any]] = {}
        for place, (a, sign, b, result) in enumerate(actions):
            values = {name: made[one].pop() if made.get(one) else one for name, one in (("a", a), ("b", b))}
            steps.append(Step(f"s{place}", tool="calculator", args={"expression": f"a {sign} b", "values": values}))
            made.setdefault(result, []).append(ref(f"s{place}"))
        return Plan(tuple(steps), ref(steps[-1].id))


class Nearness:
    """A guess: how near to the target is the nearest of the numbers that are left, or of two of them together?"""

    name = "nearness"
    tokens = 6

    async def __call__(self, states: Sequence[State]) -> list[float]:
        return [math.exp(-8 * self.distance(*state) / state[0]) for state in states]

    def distance(self, target: int, numbers: Sequence[int]) -> int:
        return min(abs(one - target) for one in (*numbers, *(made for *_, made in actions(numbers))))


def main() -> None:
    target, *numbers = [int(word) for word in sys.argv[1:]] or [308, 23, 18, 16, 5]

    @verifier(exact=True)
    def reached(candidate: float) -> bool:
        return candidate == target

    search = SearchPlanner(lambda request: Countdown(**request.inputs), Nearness(), strategy="puct")
    model = ScriptedModel([])  # no step asks a model
    with TemporaryDirectory() as folder:
        store = f"{folder}/runs.db"
        with Engine(model, planner=search, tools=["calculator"], verifiers=[reached], store=store) as engine:
            result = engine.run(f"Reach {target} from {numbers}.", inputs={"target": target, "numbers": numbers})
            for step in result.steps[1:]:
                print(f"{step.id}: {step.calls[0].arguments} = {step.output}")
    print(f"{result.outcome}: {result.output if result else result.reason}")


if __name__ == "__main__":
    main()
