"""Predicted against observed: chains of 10, 100 and 1,000 steps by networks that are right 80 to 99 % of the time.

    python -m benchmarks.reliability [--quick] [--json] [--seed S] [--jobs N] [--policies p80,p95] [--steps 10,100]

`docs/benchmarks.md` says what is measured, and what is fair in it.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections import Counter
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

from benchmarks import sums
from benchmarks.formulas import step_error, votes_needed
from benchmarks.harness import Row, command, every, finish, machine, mean, note, words
from benchmarks.sums import chain
from surefoot.engine.calibrate import calibrate
from surefoot.models.question import Question
from surefoot.reflection.calibration import belief_of
from surefoot.reflection.evidence import Belief, wald
from surefoot.reflection.votes import ahead
from surefoot.storage.learned import Sampling
from surefoot.storage.store import Store

STEPS = (10, 100, 1000)
TARGETS = (0.9, 0.99, 0.999)
METHODS = ("surefoot", "maker", "plurality", "critique", "unverified")
MARGIN, MOST = 3, 50
"""Of first-to-k with a plurality fallback: the lead, and the samples after which the plurality is taken."""
CRITIQUE = (0.9, 0.76)
"""Rates at which a model accepts its own right and wrong answers; drawn, not asked: these networks cannot judge."""
PATIENCE = 400
"""Samples of one step after which a vote without a fallback gives up."""


def runs(steps: int, quick: bool) -> int:
    return (40 if steps <= 10 else 12) if quick else (300 if steps <= 100 else 100)


# --- in a process for each cell ---------------------------------------------------------------------------------


def measure(folder: str, policy: str, seed: int, prompts: int) -> list[Row]:
    """Counts of labelled steps, kept in the store that the cells of this policy begin with."""
    with sums.engine(policy, Path(folder) / f"{policy}.db") as engine:
        found = calibrate(engine, sums.labelled(str(seed), prompts, STEPS), seed=seed)
    rows = [one for one in found.counts if isinstance(one, Sampling)]
    beliefs = [belief_of(one, Belief()) for one in rows]
    return [
        {"source": one.source, "p": belief.p, "concentration": belief.concentration, "same": belief.same}
        for one, belief in zip(rows, beliefs, strict=True)
    ]


def cell(folder: str, method: str, policy: str, steps: int, target: float, count: int, seed: int) -> Row:
    """One method on so many fresh chains."""
    tasks = [chain(f"{seed} run {place}", steps) for place in range(count)]
    with Store.open(Path(folder) / f"{policy}.db") as store:
        counts = {one.source: one for one in store.learned() if isinstance(one, Sampling)}
    plain, spread = belief_of(counts[""], Belief()), belief_of(counts["split"], Belief())
    if method == "surefoot":
        measured = Path(folder) / f"{policy}.db"
        ended = asyncio.run(sums.measured_runs(policy, measured, tasks, seed, target=target))
    else:
        rule = Baseline(method, policy, plain.p, target, steps, seed).decide
        ended = asyncio.run(sums.lockstep(tasks, rule))
    found = sums.scored(ended)
    accepted, right = found["accepted"], found.pop("right")
    return {
        "method": method,
        "policy": policy,
        "policy_p": round(plain.p, 4),
        "steps": steps,
        "target": target,
        "runs": count,
        "accepted": accepted,
        "abstained": count - accepted,
        "correct": right,
        "silent_errors": accepted - right,
        "silent_bound": mean((one["bound"] for one in ended if one["accepted"]), 5),
        "unverified": round(plain.p**steps, 5),
        **found,
        "bound_samples_per_step": round(wald(spread.p, step_error(target, steps)), 3),
        "basis": dict(Counter(one["basis"] for one in ended if one["accepted"])),
    }


class Baseline:
    """Another way to decide a step, on the same network asked as it is. All chains go on in lockstep."""

    def __init__(self, method: str, policy: str, p: float, target: float, steps: int, seed: int) -> None:
        self.method = method
        self.model = sums.model(policy)
        self.rng = Random(f"{method} {policy} {seed}")
        # The lead that the formula asks for, given the measured accuracy and independent samples.
        self.lead = votes_needed(p, step_error(target, steps)) or PATIENCE
        self.seed = seed

    async def decide(self, total: int, add: int, place: str) -> sums.Taken:
        """The sum that the method takes, None where it takes none, and the samples drawn."""
        if self.method == "unverified":
            return (await self.sample(total, add, 1, place, 0))[0], 1
        if self.method == "critique":
            return await self._criticised(total, add, place)
        lead, most = (MARGIN, MOST) if self.method == "plurality" else (self.lead, PATIENCE)
        ballot: Counter[str] = Counter()
        drawn = 0
        while drawn < most:
            wanted = min(max(lead - ahead(ballot)[1], 1), most - drawn)
            ballot.update(str(one) for one in await self.sample(total, add, wanted, place, drawn) if one is not None)
            drawn += wanted
            leader, by = ahead(ballot)
            if leader is not None and by >= lead:
                return int(leader), drawn
        return int(ballot.most_common(1)[0][0]) if self.method == "plurality" and ballot else None, drawn

    async def _criticised(self, total: int, add: int, place: str) -> sums.Taken:
        """Retry until the model accepts its own answer, at most five times; then the last one is taken."""
        said = None
        for attempt in range(5):
            said = (await self.sample(total, add, 1, place, attempt))[0]
            if said is not None and self.rng.random() < CRITIQUE[said != total + add]:
                break
        return said, attempt + 1

    async def sample(self, total: int, add: int, n: int, place: str, drawn: int) -> list[int | None]:
        seed = Random(f"{self.seed} {self.method} {place} {drawn}").randrange(2**31)
        asked = Question("act", sums.GOAL, inputs={"total": total, "add": add}, seed=seed)
        return [one.parsed for one in await self.model.ask(asked, n)]


# --- the whole --------------------------------------------------------------------------------------------------


def parser() -> argparse.ArgumentParser:
    quick = "few runs of the short chains, under two minutes"
    said = command("reliability", __doc__, "of tasks and samples", quick)
    said.add_argument("--jobs", type=int, default=2, help="cells measured at once")
    said.add_argument("--policies", type=words, default=list(sums.POLICIES), help="parted by commas")
    said.add_argument("--steps", type=words, default=[str(one) for one in STEPS])
    said.add_argument("--targets", type=words, default=[str(one) for one in TARGETS])
    said.add_argument("--methods", type=words, default=list(METHODS))
    said.add_argument("--prompts", type=int, help="labelled steps to measure each policy on")
    return said


def cells(options: argparse.Namespace) -> list[dict[str, Any]]:
    found = []
    for method, policy, steps, target in product(options.methods, options.policies, options.steps, options.targets):
        # What takes no notice of a target is measured once.
        if method in ("maker", "surefoot") or target == options.targets[0]:
            count = runs(int(steps), options.quick)
            found.append(
                {"method": method, "policy": policy, "steps": int(steps), "target": float(target), "count": count}
            )
    # The long ones of the engine first: whatever is cut off has every policy in it.
    return sorted(found, key=lambda one: (one["method"] != "surefoot", -one["steps"], one["target"]))


def main() -> None:
    options = parser().parse_args()
    if options.quick:
        options.policies, options.steps, options.targets = ["p80", "p95"], ["10"], ["0.9", "0.99"]
    note(machine())
    prompts = options.prompts or (600 if options.quick else 12_000)
    with tempfile.TemporaryDirectory() as folder:
        common = {"folder": folder, "seed": options.seed}
        measured = ({"policy": policy, "prompts": prompts} | common for policy in options.policies)
        every(options.jobs, (("benchmarks.reliability:measure", one) for one in measured))
        asked = (("benchmarks.reliability:cell", one | common) for one in cells(options))
        rows: list[Row] = every(options.jobs, asked)
    rows.sort(key=lambda row: (METHODS.index(row["method"]), row["policy"], row["steps"], row["target"]))
    shown = [{name: value for name, value in row.items() if name != "basis"} for row in rows]
    finish(rows, options.json, (shown, "Reliability"))


if __name__ == "__main__":
    main()
