"""Countdown: reach a number from four others, each used once. A search finds the way; the engine carries it out.

    python examples/countdown_search.py [TARGET N N N N]

The search is guided by a rough guess of how near a state is, and an exact rule says when the target is reached. What it
finds is a plan of calculator steps, and the engine verifies each of them on its own. Without a way it abstains.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Hashable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

from surefoot.engine import Engine
from surefoot.planners.search.planner import SearchPlanner
from surefoot.planners.search.space import Offer
from surefoot.reflection import verifier
from surefoot.storage import Plan, Step, ref

SIGNS = "+-*/"

Numbers = tuple[Fraction, ...]
State = tuple[int, Numbers]
"""The target, and the numbers that are left, the largest first."""
Action = tuple[Fraction, str, Fraction]


def combine(a: Fraction, sign: str, b: Fraction) -> Fraction | None:
    """Countdown's rules: no negative numbers, no fractions."""
    made = {"+": a + b, "-": a - b, "*": a * b, "/": a / b if b else Fraction(-1)}[sign]
    return made if made > 0 and made.denominator == 1 else None


class Countdown:
    """Countdown as a search over steps."""

    tokens = 12
    """What one proposed step would cost a model."""

    def start(self, inputs: Mapping[str, Any]) -> State:
        return int(inputs["target"]), _sorted(Fraction(one) for one in inputs["numbers"])

    async def propose(self, states: Sequence[State], n: int, rng: Random) -> list[list[Offer]]:
        return [self.offers(state, n, rng) for state in states]

    def offers(self, state: State, n: int, rng: Random) -> list[Offer]:
        """A stand-in for a model: prefers results that look useful for the target, and knows no more than that."""
        target, numbers = state
        moves = [
            (a, sign, b)
            for i, a in enumerate(numbers)
            for b in numbers[i + 1 :]
            for sign in SIGNS
            if combine(a, sign, b) is not None
        ]
        weights = [math.exp(-abs(math.log(float(combine(*move) or 1) / target)) / 2) for move in moves]
        return [Offer(move, 1.0, self.tokens) for move in rng.choices(moves, weights, k=n)] if moves else []

    def apply(self, state: State, action: Action) -> State:
        target, numbers = state
        left = list(numbers)
        left.remove(action[0])
        left.remove(action[2])
        return target, _sorted([*left, combine(*action) or Fraction(0)])

    def key(self, state: State) -> Hashable:
        return state

    def solved(self, state: State) -> bool:
        return state[1] == (state[0],)

    def dead(self, state: State) -> bool:
        return len(state[1]) == 1

    def plan(self, inputs: Mapping[str, Any], actions: Sequence[Action]) -> Plan:
        """Calculator steps; a number that an earlier step made is that step's result."""
        made: list[tuple[Fraction, str]] = []
        steps = []
        for place, (a, sign, b) in enumerate(actions):
            args: dict[str, Any] = {"expression": f"a {sign} b", "values": {"a": _take(made, a), "b": _take(made, b)}}
            steps.append(Step(f"s{place}", tool="calculator", args=args))
            made.append((combine(a, sign, b) or Fraction(0), f"s{place}"))
        return Plan(tuple(steps), ref(steps[-1].id))


def _sorted(numbers: Any) -> Numbers:
    return tuple(sorted(numbers, reverse=True))


def _take(made: list[tuple[Fraction, str]], wanted: Fraction) -> Any:
    for one in made:
        if one[0] == wanted:
            made.remove(one)
            return ref(one[1])
    return int(wanted)


class Nearness:
    """A guess from the state alone: is one of its numbers, or two of them together, near the target?"""

    name = "nearness"
    tokens = 6

    async def __call__(self, states: Sequence[State]) -> list[float]:
        return [self.guess(*state) for state in states]

    def guess(self, target: int, numbers: Numbers) -> float:
        reach = [*numbers]
        for i, a in enumerate(numbers):
            reach += [one for b in numbers[i + 1 :] for sign in SIGNS if (one := combine(a, sign, b)) is not None]
        return math.exp(-float(min(abs(one - target) for one in reach)) / max(target, 1) * 8)


def main() -> None:
    given = [int(word) for word in sys.argv[1:]] or [24, 3, 8, 9, 1]
    target, numbers = given[0], given[1:]

    @verifier(exact=True)
    def reached(candidate: float) -> bool:
        """The result is the target."""
        return candidate == target

    space = Countdown()
    with TemporaryDirectory() as folder:
        search = SearchPlanner(space, Nearness(), strategy="puct")
        with Engine(planner=search, verifiers=[reached], store=Path(folder) / "runs.db") as engine:
            result = engine.run(f"Reach {target} from {numbers}.", inputs={"target": target, "numbers": numbers})
            for step in result.steps[1:]:
                call = step.calls[0].arguments  # type: ignore[union-attr]
                print(f"  {step.id}: {call['expression']} with {call['values']} = {step.output}")
    print(f"{result.outcome.value}: {result.output if result else result.reason}")


if __name__ == "__main__":
    main()
