"""Running sums: tasks of n additions in a row, done by a small network digit by digit. No step has a check.

A chain is right only if every sum in it is. The network is a policy at one accuracy; what it is worth on these steps
is measured on labelled steps that no chain shares.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

from surefoot.engine.calibrate import Labelled
from surefoot.models.packaged import PocketModel
from surefoot.models.pocket.digits import split
from surefoot.models.representation import Representation
from surefoot.planners.fixed import FunctionPlanner
from surefoot.storage.records import Json, Plan, Step, ref

KIND = "sum"
GOAL = "Add the two numbers."
FIRST = (100_000, 300_000)
"""The total that a chain begins with."""
MOST = 700_000
"""What a chain adds in all at the most, so that every total has six digits."""
ROWS = 1024

SPLIT = Representation("split", KIND, split)


@dataclass(frozen=True)
class Chain:
    """One task."""

    first: int
    added: tuple[int, ...]

    @property
    def answer(self) -> int:
        return self.first + sum(self.added)


def chain(seed: str, steps: int) -> Chain:
    """A task of so many steps; seeds are words, so that tasks of one purpose share none with those of another."""
    rng = Random(f"{seed} {steps}")
    return Chain(rng.randrange(*FIRST), tuple(rng.randrange(1, MOST // steps) for _ in range(steps)))


def labelled(seed: str, count: int, steps: Sequence[int]) -> Iterator[Labelled]:
    """Single steps with their answers, as chains of these lengths have them."""
    rng = Random(f"labelled {seed}")
    for _ in range(count):
        most = MOST // rng.choice(steps)
        total, add = rng.randrange(FIRST[0], FIRST[0] + MOST), rng.randrange(1, most)
        yield Labelled(total + add, {"total": total, "add": add}, GOAL, KIND)


def chain_planner(verifiers: Sequence[str] = ()) -> FunctionPlanner:
    """The plan of a chain: it is given, and nothing in it is the model's."""
    checks = tuple(verifiers)

    def chain(first: int, added: Sequence[int]) -> Plan:
        total: Json = first
        steps = []
        for place, add in enumerate(added):
            steps.append(Step(f"s{place}", GOAL, args={"total": total, "add": add}, checks=checks, kind=KIND))
            total = ref(f"s{place}")
        return Plan(tuple(steps), total)

    return FunctionPlanner(chain)


def model(policy: str) -> PocketModel:
    return PocketModel(f"running-sums/{policy}", max_batch=ROWS, prompt_logprobs=False)
