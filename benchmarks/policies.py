"""Predicted against observed for policies drawn at random: any accuracy, and errors that are alike in any degree.

    python -m benchmarks.policies [--quick] [--json] [--seed S] [--policies 50] [--runs 100] [--jobs N]

`docs/benchmarks.md` says what is measured, and what is fair in it.
"""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from random import Random

from benchmarks.harness import Row, command, every, finish, machine, mean, note
from surefoot.engine import Engine, Outcome
from surefoot.engine.calibrate import Labelled, acalibrate
from surefoot.models import ScriptedModel
from surefoot.models.question import Question
from surefoot.planners import planner
from surefoot.reflection.rates import Beta
from surefoot.storage import Contract, Plan, Step, ref
from surefoot.storage.records import Json

GOAL = "Add the two numbers."
NUMBER = Contract(gives={"type": "integer"})
LARGEST = 10**6
NEAR = 0.01
"""A prediction as near as this to what was observed is right, wherever the interval ends."""


@planner
def sums(pairs: list[list[int]]) -> Plan:
    """Sums that do not need each other; all must be right."""
    ids = [f"s{place}" for place in range(len(pairs))]
    steps = [
        Step(name, GOAL, args={"a": a, "b": b}, contract=NUMBER, kind="sum")
        for name, (a, b) in zip(ids, pairs, strict=True)
    ]
    return Plan(tuple(steps), output=[ref(name) for name in ids])


def policy(name: str, p: float, alike: float | None, forms: int, spread: float) -> ScriptedModel:
    """Adds, and is right on a prompt at a rate drawn from Beta(p c, (1-p) c), c being `alike` (None: at rate p).

    forms, spread: its wrong answers are of so many forms, the k-th of them in proportion to k^-spread.
    """

    @cache
    def rate(a: int, b: int) -> float:
        return p if alike is None else Random(f"{name} {a} {b}").betavariate(p * alike, (1 - p) * alike)

    def script(question: Question, index: int) -> Json:
        a, b = question.inputs["a"], question.inputs["b"]
        rng = Random(hashlib.sha256(f"{name} {a} {b} {question.seed} {index}".encode()).digest())
        if rng.random() < rate(a, b):
            return str(a + b)
        weights = [(form + 1) ** -spread for form in range(forms)]
        return str(a + b + 1 + rng.choices(range(forms), weights)[0])

    return ScriptedModel(script, name=name)


def drawn(seed: int, number: int) -> Row:
    """What a policy is like, what it is asked, and on how many labelled steps it was measured before."""
    rng = Random(f"policies {seed} {number}")
    return {
        "policy": f"{seed}-{number}",
        "p": rng.choice((0.6, 0.7, 0.8, 0.9, 0.95, 0.99)),
        "alike": rng.choice((None, 50, 20, 8, 3)),
        "forms": rng.choice((1, 2, 5, 50)),
        "spread": rng.choice((0, 1, 2)),
        "measured_on": rng.choice((100, 400, 1500)),
        "steps": rng.choice((3, 10, 30)),
        "target": rng.choice((0.8, 0.9, 0.95, 0.99)),
    }


def pairs(rng: Random, count: int) -> Iterator[list[int]]:
    for _ in range(count):
        yield [rng.randrange(LARGEST), rng.randrange(LARGEST)]


def cell(seed: int, number: int, runs: int) -> Row:
    """One policy: measured on labelled steps, then put to fresh tasks."""
    return asyncio.run(_cell(drawn(seed, number), runs))


async def _cell(row: Row, runs: int) -> Row:
    rng = Random(f"tasks of {row['policy']}")
    model = policy(row["policy"], row["p"], row["alike"], row["forms"], row["spread"])
    with tempfile.TemporaryDirectory() as folder, Engine(model, planner=sums, store=Path(folder) / "runs.db") as engine:
        labelled = (
            Labelled(a + b, {"a": a, "b": b}, GOAL, "sum", NUMBER.gives) for a, b in pairs(rng, row["measured_on"])
        )
        await acalibrate(engine, labelled)
        samples, predicted, abstention, right = 0, [], [], 0
        for number in range(runs):
            task = list(pairs(rng, row["steps"]))
            result = await engine.arun("Add.", inputs={"pairs": task}, target=row["target"], seed=number)
            samples += result.usage.samples
            if result.outcome is Outcome.VERIFIED:
                right += result.output == [a + b for a, b in task]
                predicted.append(result.reliability.predicted or 0.0)
                abstention.append(result.reliability.abstention or 0.0)
    accepted = len(predicted)
    low, high = Beta(right, accepted - right).interval()
    return row | {
        "runs": runs,
        "accepted": accepted,
        "predicted": mean(predicted, 5),
        "observed": round(right / accepted, 5) if accepted else None,
        "observed_low": round(low, 5),
        "observed_high": round(high, 5),
        "silent_errors": accepted - right,
        "abstention_predicted": mean(abstention, 4),
        "samples_per_step": round(samples / runs / row["steps"], 3),
    }


def sound(row: Row) -> bool:
    """Whether the prediction is what was observed, and the target was met, as far as these runs can tell."""
    near = abs(row["predicted"] - row["observed"]) <= NEAR
    inside = row["observed_low"] <= row["predicted"] <= row["observed_high"]
    return bool((inside or near) and row["observed_high"] >= row["target"])


def told(rows: list[Row]) -> str:
    """All policies in one line."""
    known = [row for row in rows if row["accepted"]]
    accepted, wrong = sum(row["accepted"] for row in known), sum(row["silent_errors"] for row in known)
    expected = sum(row["accepted"] * (1 - row["predicted"]) for row in known)
    return (
        f"{len(known)} of {len(rows)} policies had runs accepted; {sum(map(sound, known))} of these as predicted, and "
        f"at their target. Of {accepted} accepted runs {expected:.1f} were predicted to be wrong, and {wrong} were."
    )


def main() -> None:
    said = command("policies", __doc__, "of policies, tasks and samples", "few policies, under two minutes")
    said.add_argument("--policies", type=int, default=50)
    said.add_argument("--runs", type=int, default=100, help="fresh tasks for each policy")
    said.add_argument("--jobs", type=int, default=2, help="policies measured at once")
    options = said.parse_args()
    if options.quick:
        options.policies, options.runs = min(options.policies, 8), min(options.runs, 40)
    note(machine())

    asked = ({"seed": options.seed, "number": number, "runs": options.runs} for number in range(options.policies))
    rows: list[Row] = every(options.jobs, (("benchmarks.policies:cell", one) for one in asked))
    note(told(rows))
    finish(rows, options.json, (rows, "Policies drawn at random"))


if __name__ == "__main__":
    main()
