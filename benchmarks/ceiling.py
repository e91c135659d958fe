"""Where reliability ends: checks that let errors pass, samples that err together, and copies of one check.

    python -m benchmarks.ceiling [--quick] [--json] [--seed S] [--jobs N] [--parts checks,votes,copies]

`docs/benchmarks.md` says what is measured, and what is fair in it.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from scipy.special import roots_jacobi

from benchmarks import sums
from benchmarks.formulas import Retried, again, ceiling, common_cause, shared_cause, vote_reliability
from benchmarks.harness import Row, command, every, finish, machine, note, words
from benchmarks.sums import Chain, Taken, chain, remainder_fits
from surefoot.engine.calibrate import calibrate
from surefoot.engine.core.observations import add as summed
from surefoot.models.local.model import LocalModel
from surefoot.models.question import Question
from surefoot.reflection.calibration import belief_of, tally
from surefoot.reflection.evidence import Belief
from surefoot.reflection.rates import Beta
from surefoot.reflection.votes import ahead
from surefoot.storage.learned import Sampling

PARTS = ("checks", "votes", "copies")
POLICIES = ("p80", "p95")
STEPS = (10, 100)
TARGET = 0.99
MODULI: tuple[int, ...] = (9, 99, 999)
TEMPERATURES: tuple[float, ...] = (1.0, 0.6, 0.3, 0.0)
COPIES: tuple[tuple[int, int], ...] = ((9, 9), (9, 99), (9, 11))
"""A check and itself under another name; one that implies the other; two that have nothing in common."""
LEAD, MOST = 6, 60
"""Of the vote that is to show what many samples can do: the lead, and the samples after which the plurality counts."""
PATIENCE = 50
"""Attempts after which a retry gives up."""
SAMPLES = 8
"""Of each labelled step."""


Lengths = Mapping[str, int]
"""Chains of each number of steps; JSON has no numbers as names."""


def lengths(options: argparse.Namespace) -> Lengths:
    return {"10": 60} if options.quick else {one: 300 if int(one) <= 10 else 100 for one in options.steps}


# --- what is measured on labelled steps, by counting ------------------------------------------------------------------


async def drawn(model: LocalModel, total: int, add: int, seed: int, n: int, heat: float) -> list[int]:
    """The well-formed sums of n samples."""
    question = Question("act", sums.GOAL, inputs={"total": total, "add": add}, seed=seed, temperature=heat)
    return [one.parsed for one in await model.ask(question, n) if one.parsed is not None]


async def sampled(policy: str, seed: int, prompts: int, heat: float) -> list[tuple[int, int, list[int]]]:
    """Labelled steps (total, add) with what the policy says of them."""
    model = sums.model(policy)
    known = [(one.inputs["total"], one.inputs["add"]) for one in sums.labelled(f"{seed} ceiling", prompts, STEPS)]
    asked = (drawn(model, *pair, seed * 1_000_003 + place, SAMPLES, heat) for place, pair in enumerate(known))
    return [(*pair, said) for pair, said in zip(known, await asyncio.gather(*asked), strict=True)]


def false_accept(found: Iterable[tuple[int, int, list[int]]], moduli: Sequence[int]) -> Beta:
    """How often a wrong sample passes all of these checks."""
    passed = failed = 0
    for total, add, said in found:
        for one in said:
            if one != total + add:
                fits = all(remainder_fits(modulus, total, add, one) for modulus in moduli)
                passed, failed = passed + fits, failed + (not fits)
    return Beta(passed, failed)


# --- cells, each in a process of its own ------------------------------------------------------------------------------


def checks(policy: str, modulus: int, chains: Lengths, seed: int, prompts: int) -> list[Row]:
    """One imperfect check: retried until it accepts, and as evidence of the engine."""
    found = asyncio.run(sampled(policy, seed, prompts, 1.0))
    rate = false_accept(found, [modulus])
    belief = belief_of(_counts(found), Belief())
    theory = Retried(belief.p, 1.0, rate.mean)
    uneven = spread(belief.p, belief.concentration, rate.mean)
    low, high = rate.interval()
    rows: list[Row] = []
    for steps, tasks, ours in _engine(policy, chains, seed, prompts, [modulus]):
        told = {
            "part": "checks", "policy": policy, "p": round(belief.p, 4), "check": f"cast{modulus}", "steps": steps,
            "false_accept": round(rate.mean, 5), "false_accept_low": round(low, 5),
            "false_accept_high": round(high, 5), "ceiling": round(theory.right**steps, 5),
            "uneven": round(uneven**steps, 5),
        }  # fmt: skip
        retried = asyncio.run(sums.lockstep(tasks, partial(_retry, sums.model(policy), modulus, seed)))
        rows.append({**told, "method": "retry", "target": None, **scored(retried)})
        rows.append({**told, "method": "surefoot", "target": TARGET, **scored(ours)})
    return rows


def votes(policy: str, temperature: float, chains: Lengths, seed: int, prompts: int) -> list[Row]:
    """Samples that err together, the more the colder they are drawn; asked in one form only."""
    found = asyncio.run(sampled(policy, seed, prompts, temperature))
    belief = belief_of(_counts(found), Belief())
    rows: list[Row] = []
    for steps, tasks, ours in _engine(policy, chains, seed, prompts, (), spread=False, temperature=temperature):
        told = {
            "part": "votes", "policy": policy, "temperature": temperature, "p": round(belief.p, 4), "steps": steps,
            "wrong_again": round(again(belief.p, belief.concentration), 4),
            "concentration": round(min(belief.concentration, 1e6), 3), "same": round(belief.same, 3),
            "promise": round(vote_reliability(belief.p, LEAD) ** steps, 5),
            "ceiling": round(ceiling(belief.p, belief.concentration, steps), 5),
        }  # fmt: skip
        voted = asyncio.run(sums.lockstep(tasks, partial(_plurality, sums.model(policy), temperature, seed)))
        rows.append({**told, "method": "votes", "target": None, **scored(voted)})
        rows.append({**told, "method": "surefoot", "target": TARGET, **scored(ours)})
    return rows


def copies(policy: str, moduli: Sequence[int], chains: Lengths, seed: int, prompts: int) -> list[Row]:
    """Two checks of one step: what multiplying their rates claims, what the engine takes, and what is so."""
    found = asyncio.run(sampled(policy, seed, prompts, 1.0))
    one, other, both = false_accept(found, moduli[:1]), false_accept(found, moduli[1:]), false_accept(found, moduli)
    shared = shared_cause(both.mean, (one.mean * other.mean) ** 0.5)
    rows: list[Row] = []
    for steps, _, ours in _engine(policy, chains, seed, prompts, moduli):
        told = {
            "part": "copies", "policy": policy, "check": "+".join(map(str, moduli)), "steps": steps,
            "false_accept": round(one.mean, 5), "other": round(other.mean, 5),
            "multiplied": round(one.mean * other.mean, 5), "together": round(both.mean, 5),
            "shared_cause": round(shared, 3),
            "common_cause": round(common_cause((one.mean * other.mean) ** 0.5, shared, 2), 5),
        }  # fmt: skip
        rows.append({**told, "method": "surefoot", "target": TARGET, **scored(ours)})
    return rows


def _counts(found: Iterable[tuple[int, int, list[int]]]) -> Sampling:
    counts = Sampling("", "")
    for total, add, said in found:
        known = [(str(one), one == total + add) for one in said]
        counts = summed(counts, tally("", "", "", known, complete=True))
    return counts


def spread(p: float, concentration: float, false_accept: float) -> float:
    """pi of a retry on average over prompts whose accuracies are Beta distributed: hard ones are retried most."""
    if concentration > 1e3:
        return Retried(p, 1.0, false_accept).right
    places, weights = roots_jacobi(100, (1 - p) * concentration - 1, p * concentration - 1)
    rates = (places + 1) / 2
    return float((weights * rates / (rates + (1 - rates) * false_accept)).sum() / weights.sum())


def _engine(
    policy: str, chains: Lengths, seed: int, prompts: int, moduli: Sequence[int], **options: Any
) -> Iterator[tuple[int, list[Chain], list[Row]]]:
    """Chains of each length, each a run of an engine that was calibrated once on labelled steps, its checks too."""
    names = [f"cast{modulus}" + "-again" * (modulus in moduli[:place]) for place, modulus in enumerate(moduli)]
    verifiers = [sums.casting_out(modulus, name) for modulus, name in zip(moduli, names, strict=True)]

    with tempfile.TemporaryDirectory() as folder:
        measured = Path(folder) / "measured.db"
        with sums.engine(policy, measured, checks=verifiers, **options) as engine:
            calibrate(engine, sums.labelled(str(seed), prompts, STEPS), seed=seed)
        for steps, count in chains.items():
            tasks = [chain(f"{seed} ceiling {place}", int(steps)) for place in range(count)]
            ran = sums.measured_runs(policy, measured, tasks, seed, checks=verifiers, target=TARGET, **options)
            yield int(steps), tasks, asyncio.run(ran)


def scored(ends: Sequence[Row]) -> Row:
    """What came out, against the truth."""
    found = sums.scored(ends)
    del found["right"]
    return found | {"basis": " ".join(sorted({one["basis"] for one in ends if one["accepted"]})) or None}


# --- other rules on the same network ----------------------------------------------------------------------------------


async def _retry(model: LocalModel, modulus: int, seed: int, total: int, add: int, place: str) -> Taken:
    """The first sample that the check accepts."""
    first = Random(f"{seed} {place}").randrange(2**31)
    for attempt in range(PATIENCE):
        for said in await drawn(model, total, add, (first + attempt) % 2**31, 1, 1.0):
            if remainder_fits(modulus, total, add, said):
                return said, attempt + 1
    return None, PATIENCE


async def _plurality(model: LocalModel, heat: float, seed: int, total: int, add: int, place: str) -> Taken:
    """The first form that is so many votes ahead, else the plurality."""
    first = Random(f"{seed} {place}").randrange(2**31)
    ballot: Counter[str] = Counter()
    taken = 0
    while taken < MOST and ahead(ballot)[1] < LEAD:
        ballot.update(map(str, await drawn(model, total, add, (first + taken) % 2**31, LEAD, heat)))
        taken += LEAD
    return int(ballot.most_common(1)[0][0]) if ballot else None, taken


# --- the whole --------------------------------------------------------------------------------------------------------


def parser() -> argparse.ArgumentParser:
    said = command("ceiling", __doc__, "of tasks and samples", "few short chains, under two minutes")
    said.add_argument("--jobs", type=int, default=2, help="cells measured at once")
    said.add_argument("--parts", type=words, default=list(PARTS), help="parted by commas")
    said.add_argument("--policies", type=words, default=list(POLICIES))
    said.add_argument("--steps", type=words, default=[str(one) for one in STEPS])
    said.add_argument("--prompts", type=int, help="labelled steps to measure on")
    return said


def cells(options: argparse.Namespace) -> list[tuple[str, Row]]:
    found: list[tuple[str, Row]] = []
    moduli, heats, pairs = MODULI, TEMPERATURES, COPIES
    if options.quick:
        moduli, heats, pairs = MODULI[:1], TEMPERATURES[::2], COPIES[:1]
    for policy in options.policies:
        said = {"policy": policy, "chains": lengths(options)}
        found += [("checks", {**said, "modulus": one}) for one in moduli]
        found += [("votes", {**said, "temperature": one}) for one in heats]
        found += [("copies", {**said, "moduli": one}) for one in pairs]
    return [(part, cell) for part, cell in found if part in options.parts]


def main() -> None:
    options = parser().parse_args()
    if options.quick:
        options.policies = ["p80"]
    note(machine())
    prompts = options.prompts or (500 if options.quick else 3_000)

    common = {"seed": options.seed, "prompts": prompts}
    asked = ((f"benchmarks.ceiling:{part}", common | arguments) for part, arguments in cells(options))
    rows = [row for found in every(options.jobs, asked) for row in found]
    finish(rows, options.json, *(([row for row in rows if row["part"] == part], part) for part in options.parts))


if __name__ == "__main__":
    main()
