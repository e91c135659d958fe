"""What many small runs at once cost in one process: processor time, throughput, the event loop's longest gap, memory.

    python -m benchmarks.runs [--runs 1000,10000] [--latency 0,50] [--quick] [--json] [--repeat N] [--seed S]

`docs/benchmarks.md` says what is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import product
from pathlib import Path

from benchmarks.harness import Row, command, expect, finish, fresh, machine, medians, note, numbers, peak_mb
from benchmarks.systems import ZeroLatency
from surefoot.engine import Engine, Outcome
from surefoot.models.chat import messages
from surefoot.models.question import Question, Reply
from surefoot.reflection import verifier
from surefoot.storage.records import Contract, Plan, Policy, Step, given, ref

RUNS = (1000, 10_000)
LATENCIES = (0, 50)
STEPS = 3
WARM = 2
"""Runs before the measured ones, in another store: what is imported on first use is no run's cost."""

TICK = 0.002
"""Seconds that the timer sleeps; what it sleeps beyond them, the loop was held."""


class Late(ZeroLatency):
    """A model that answers after a while and keeps nothing: one more than the number that it is asked about."""

    name = "late"
    policy = Policy("late", "1")

    def __init__(self, latency: float) -> None:
        """latency: of each request, in seconds."""
        self.latency = latency

    async def ask(self, question: Question, n: int = 1) -> Sequence[Reply]:
        if self.latency:
            await asyncio.sleep(self.latency)
        text = json.dumps(question.inputs["n"] + 1)
        return [Reply(text, messages(question), usage=self.cost, usage_source="counted", model=self.name)] * n


@verifier(inline=True, exact=True)
def one_more(candidate: int, inputs: dict[str, int]) -> bool:
    """The output is one more than the number that the step was given."""
    return candidate == inputs["n"] + 1


def plan() -> Plan:
    """Sampled steps, each of which needs the one before it and has an exact check."""
    number = Contract(gives={"type": "integer"})
    before = [given("n"), *(ref(f"s_{i}") for i in range(STEPS - 1))]
    steps = [
        Step(f"s_{i}", "Add one.", args={"n": before[i]}, contract=number, checks=("one_more",)) for i in range(STEPS)
    ]
    return Plan(tuple(steps), ref(steps[-1].id))


# --- one measurement ----------------------------------------------------------------------------------------


class Timer:
    """How long the event loop was held at the longest, in seconds, seen by a task that only sleeps."""

    def __init__(self) -> None:
        self.longest = 0.0

    async def run(self) -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(TICK)
            self.longest = max(self.longest, time.perf_counter() - before - TICK)


async def together(engine: Engine, runs: int, seed: int) -> float:
    """Begins that many runs at once and waits for all; how long the loop was held at the longest, in seconds."""
    timer = Timer()
    ticking = asyncio.create_task(timer.run())
    await asyncio.sleep(2 * TICK)
    results = await asyncio.gather(*(engine.arun("count", inputs={"n": n}, seed=seed) for n in range(runs)))
    await asyncio.sleep(2 * TICK)
    ticking.cancel()
    for n, result in enumerate(results):
        expect((result.outcome, result.output), (Outcome.VERIFIED, n + STEPS), f"run {n} ({result.reason})")
    return timer.longest


def measure(runs: int, latency: float, seed: int) -> Row:
    """The figures of that many runs at once, in the process that they have to themselves; latency in milliseconds.

    The clock starts after imports and the opening of the store, and stops when the store is closed. Raises
    WrongResult where a run did not end as it must, or the reopened store does not know every run.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        with _engine(folder / "warm.db", 0) as engine:
            asyncio.run(together(engine, WARM, seed))
        engine = _engine(folder / "surefoot.db", latency)
        expect(engine.store.runs(), [], "runs of an empty store")
        gc.collect()
        gc.freeze()  # as a server should, says docs/embedding.md: the collector walks through no imported library
        before = peak_mb()
        wall, cpu = time.perf_counter(), time.process_time()
        with engine:
            held = asyncio.run(together(engine, runs, seed))
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        peak = peak_mb()
        with _engine(folder / "surefoot.db", 0) as engine:
            expect(len(engine.store.runs(runs + 1, outcome=Outcome.VERIFIED)), runs, "runs that the store knows")
    ideal = max(STEPS * latency / 1000, cpu)
    return {
        "cpu_ms": cpu / runs * 1000,
        "seconds": wall,
        "runs_per_s": runs / wall,
        "times_ideal": wall / ideal,
        "gap_ms": held * 1000,
        "grown_mb": peak - before,
        "rss_mb": peak,
    }


def _engine(store: Path, latency: float) -> Engine:
    return Engine(Late(latency / 1000), checks=[one_more], planner=plan(), store=store)


# --- all of them --------------------------------------------------------------------------------------------


def collect(options: argparse.Namespace) -> tuple[list[Row], bool]:
    """The median row of each number of runs and latency, and whether every measurement succeeded."""
    rows: list[Row] = []
    sound = True
    for runs, latency in product(options.runs, options.latency):
        samples: list[Row] = []
        for _ in range(options.repeat):
            try:
                found = fresh("benchmarks.runs:measure", runs=runs, latency=latency, seed=options.seed)
            except subprocess.CalledProcessError as error:
                note(f"{runs:,} runs, {latency} ms: failed with exit code {error.returncode}")
                sound = False
                continue
            samples.append(found)
            note(f"{runs:,} runs, {latency} ms: {found['seconds']:.2f} s, longest gap {found['gap_ms']:.0f} ms")
        if samples:
            rows.append({"runs": runs, "latency_ms": latency, **medians(samples, 2)})
    return rows, sound


def parser() -> argparse.ArgumentParser:
    said = command("runs", __doc__, "of the runs", "once each, the smallest number of runs")
    said.add_argument("--runs", type=numbers(1), default=list(RUNS), help="runs at once, parted by commas")
    said.add_argument("--latency", type=numbers(0), default=list(LATENCIES), help="of the model, in milliseconds")
    said.add_argument("--repeat", type=int, default=3, help="measurements of each kind; rows hold the median")
    return said


def main() -> int:
    options = parser().parse_args()
    if options.quick:
        options.runs, options.repeat = options.runs[:1], 1
    note(machine())
    rows, sound = collect(options)
    title = f"Runs of {STEPS} sampled steps, all at once in one process: median of {options.repeat}"
    finish(rows, options.json, (rows, title))
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main())
