"""Running sums, as the demo has them, with what benchmarks add: policies by accuracy, and checks that prove nothing."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import Row, mean, observed
from surefoot.engine import Engine, Result
from surefoot.reflection import verifier
from surefoot.reflection.verifier import Verifier
from surefoot.service.demo.sums import GOAL, SPLIT, Chain, chain, chain_planner, labelled, model

__all__ = ["GOAL", "Chain", "chain", "chain_planner", "labelled", "model"]

POLICIES = ("p80", "p90", "p95", "p99")


def casting_out(modulus: int, name: str = "") -> Verifier:
    """A check that proves nothing: the sum leaves the same remainder as the numbers. No right sum fails it."""

    @verifier(name=name or f"cast{modulus}", version="1", inline=True)
    def cast(candidate: int, inputs: dict[str, Any]) -> bool:
        return remainder_fits(modulus, inputs["total"], inputs["add"], candidate)

    return cast


def remainder_fits(modulus: int, total: int, add: int, said: int) -> bool:
    return (total + add - said) % modulus == 0


def engine(policy: str, store: Path, *, spread: bool = True, checks: Sequence[Verifier] = (), **options: Any) -> Engine:
    """An engine for chains whose sums are put before `checks`; `spread` lets it ask each sum in other forms."""
    planner = chain_planner([one.name for one in checks])
    forms = [SPLIT] if spread else []
    return Engine(model(policy), planner=planner, store=store, representations=forms, checks=checks, **options)


async def runs(engine: Engine, tasks: Sequence[Chain], seed: int) -> list[Row]:
    """How chains end that are runs of the engine, all at once, so that samples share batches."""
    asked = (
        engine.arun("add", inputs={"first": one.first, "added": list(one.added)}, seed=seed * 100_003 + place)
        for place, one in enumerate(tasks)
    )
    return [_ended(result, task) for result, task in zip(await asyncio.gather(*asked), tasks, strict=True)]


async def measured_runs(policy: str, measured: Path, tasks: Sequence[Chain], seed: int, **options: Any) -> list[Row]:
    """The same for an engine of their own, whose store begins as a copy of what was measured."""
    with tempfile.TemporaryDirectory() as folder:
        store = Path(shutil.copy(measured, Path(folder) / "runs.db"))
        with engine(policy, store, **options) as made:
            return await runs(made, tasks, seed)


def _ended(result: Result, task: Chain) -> Row:
    return {
        "accepted": bool(result),
        "right": result.output == task.answer,
        "predicted": result.reliability.predicted,
        "bound": result.reliability.silent_error_bound,
        "samples": result.usage.samples,
        # The root is a step too; a run that abstained was on its way in one more.
        "steps": max(result.committed - 1, 0) if result else result.committed + 1,
        "basis": result.reliability.basis,
    }


def scored(ends: Sequence[Row]) -> Row:
    """What came out, against the truth. right: of those accepted."""
    accepted = [one for one in ends if one["accepted"]]
    right = sum(one["right"] for one in accepted)
    return {
        "runs": len(ends),
        "accepted": len(accepted),
        "right": right,
        "predicted": mean((one["predicted"] for one in accepted), 5),
        **observed(right, len(accepted)),
        "samples_per_step": round(sum(one["samples"] for one in ends) / sum(one["steps"] for one in ends), 3),
    }


Taken = tuple[int | None, int]
"""The sum that was taken for a step, None where none was, and the samples that it took."""


async def lockstep(tasks: Sequence[Chain], rule: Callable[[int, int, str], Awaitable[Taken]]) -> list[Row]:
    """How chains end that go on side by side, each step decided by `rule`, from the two numbers to add and a name of
    the step that no other has.

    A chain that has taken a wrong sum is not carried on: its result is wrong, and its samples so far count.
    """
    fresh: Row = {"accepted": True, "right": True, "predicted": None, "bound": None, "basis": "none"}
    rows = [{**fresh, "samples": 0, "steps": 0} for _ in tasks]
    totals = [one.first for one in tasks]
    for place in range(len(tasks[0].added)):
        open_ = [run for run, row in enumerate(rows) if row["accepted"] and row["right"]]
        decided = (rule(totals[run], tasks[run].added[place], f"{run} {place}") for run in open_)
        for run, (said, samples) in zip(open_, await asyncio.gather(*decided), strict=True):
            rows[run]["steps"] += 1
            rows[run]["samples"] += samples
            rows[run]["accepted"] = said is not None
            rows[run]["right"] = said == totals[run] + tasks[run].added[place]
            totals[run] = said or 0
    return rows
