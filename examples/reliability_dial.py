"""Reliability is a dial: the same sums, twenty in a row, at three targets, and what each of them costs.

A small network adds digit by digit and is right about 19 times in 20. No step is checked: the engine measures the
network on sums whose answers are known, and then takes as many samples of each step as the target asks for.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path
from random import Random

from surefoot.engine import Engine
from surefoot.engine.calibrate import Labelled, acalibrate
from surefoot.engine.result import Result
from surefoot.models.packaged import PocketModel
from surefoot.models.pocket.digits import split
from surefoot.models.representation import Representation
from surefoot.planners import planner
from surefoot.storage import Plan, Step, ref

GOAL = "Add the two numbers."
STEPS = 20


@planner
def chain(first: int, added: list[int]) -> Plan:
    """Each step adds a number to what the step before it made."""
    steps = []
    for place, add in enumerate(added):
        total = ref(f"s{place - 1}") if place else first
        steps.append(Step(f"s{place}", GOAL, args={"total": total, "add": add}, kind="sum"))
    return Plan(tuple(steps), output=ref(steps[-1].id))


def task(rng: Random) -> tuple[int, list[int]]:
    return rng.randrange(100_000, 300_000), [rng.randrange(1, 30_000) for _ in range(STEPS)]


def labelled(rng: Random, count: int) -> Iterator[Labelled]:
    """Sums with their answers: what a step of this kind is like."""
    for _ in range(count):
        total, add = rng.randrange(100_000, 900_000), rng.randrange(1, 30_000)
        yield Labelled(total + add, {"total": total, "add": add}, GOAL, "sum")


async def show(engine: Engine, tasks: list[tuple[int, list[int]]], target: float | None) -> None:
    """Runs all tasks, and prints a row of the table."""
    asked = (
        engine.arun("Add them all.", inputs={"first": first, "added": added}, target=target, verify=target is not None)
        for first, added in tasks
    )
    results: list[Result] = await asyncio.gather(*asked)
    accepted = [
        (one, first + sum(added))
        for one, (first, added) in zip(results, tasks, strict=True)
        if one.outcome in ("verified", "unverified")
    ]
    right = sum(one.output == answer for one, answer in accepted)
    samples = sum(one.usage.samples for one in results) / (STEPS * len(results))
    said = [one.reliability.predicted for one, _ in accepted if one.reliability.predicted]
    predicted = f"{sum(said) / len(said):.4f}" if said else "–"
    dial = "as it is" if target is None else str(target)
    print(f"{dial:>8}  {predicted:>9}  {right:5} of {len(accepted):2}  {samples:13.2f}")


async def dial(runs: int, seed: int) -> None:
    rng = Random(seed)
    tasks = [task(rng) for _ in range(runs)]
    model = PocketModel("running-sums/p95", max_batch=512, prompt_logprobs=False)
    forms = [Representation("split", "sum", split)]  # the same sum of two other numbers: errors are less alike
    with tempfile.TemporaryDirectory() as folder:
        options = {"planner": chain, "representations": forms, "store": Path(folder) / "runs.db", "seed": seed}
        with Engine(model, **options) as engine:
            await acalibrate(engine, labelled(rng, 1_000), seed=seed)
            print("  target  predicted     right   samples a step")
            for target in (None, 0.9, 0.99, 0.999):
                await show(engine, tasks, target)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20, help="tasks at each target")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    asyncio.run(dial(given.runs, given.seed))


if __name__ == "__main__":
    main()
