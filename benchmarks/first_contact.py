"""Models that nobody measured: what is accepted, under which name, and how much of it is wrong.

    python -m benchmarks.first_contact [--quick] [--json] [--seed S] [--policies 100] [--jobs N] [--votes FILE ...]
    python -m benchmarks.first_contact --model openai/NAME [--questions 200] [--review 20]

`docs/benchmarks.md` says what is measured, and what is fair in it.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections import Counter
from collections.abc import Callable
from itertools import islice, product
from pathlib import Path
from random import Random

from benchmarks import sums
from benchmarks.harness import Row, command, every, finish, machine, note, numbers
from benchmarks.peers import trustgate
from benchmarks.questions import questions, right
from benchmarks.strangers import KINDS, Prompt, drawn, prompts, recorded
from benchmarks.sums import chain
from surefoot.engine import Engine
from surefoot.engine.calibrate import Labelled, calibrate
from surefoot.engine.labels import backfill_labels
from surefoot.engine.probe import SAMPLES as PROBED
from surefoot.engine.probe import questions as probed
from surefoot.engine.result import Result
from surefoot.engine.review import answer, queue
from surefoot.models import ScriptedModel
from surefoot.models.question import Question
from surefoot.planners import planner
from surefoot.reflection.calibration import Calibration
from surefoot.reflection.canonical import canonical
from surefoot.reflection.rates import Beta
from surefoot.storage import Contract, Plan, Step, ref
from surefoot.storage.records import Json

TARGETS = (0.9, 0.95, 0.99)
LABELS = (0, 10, 30, 100)
QUICK = "few policies and tasks, under two minutes"
CAP = 12
"""Samples of a prompt that a rival draws at the most."""


@planner
def one(prompt: int, kind: str) -> Plan:
    return Plan((Step("s", "Answer.", args={"prompt": prompt}, kind=kind),), output=ref("s"))


# --- one cell -------------------------------------------------------------------------------------------------


class Tallied:
    """What became of the tasks of one cell."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.predicted = self.by_votes = 0.0
        self.samples = 0

    def add(self, result: Result, right: bool) -> None:
        outcome = result.outcome.value
        self.counts[outcome] += 1
        self.counts["tasks"] += 1
        self.samples += result.usage.samples
        if result.outcome.means.accepted:
            self.counts[f"{outcome}_right"] += right
            p = result.reliability.predicted or 0.0
            votes = result.reliability.by_votes
            self.predicted += 1 - p
            self.by_votes += 1 - (p if votes is None else votes)
            self.counts["verified_wrong_predicted_e6"] += round(1e6 * (1 - p)) if outcome == "verified" else 0

    def row(self) -> Row:
        count = self.counts
        return {
            **{name: count[name] for name in SUMS[:5]},
            "predicted_wrong": round(self.predicted, 4),
            "by_votes_wrong": round(self.by_votes, 4),
            "verified_predicted_wrong": round(count["verified_wrong_predicted_e6"] / 1e6, 4),
            "abstained": count["abstained"],
            "samples": round(self.samples / max(count["tasks"], 1), 3),
            "probe_tokens": 0,
        }


async def play(asked: list[Prompt], target: float, before: int, labels: int, seed: str) -> Row:
    """`before` prompts without a label, `labels` with one, and the rest are what is counted.

    seed: of the samples; another for each policy and cell, so that chance does not strike all policies alike.
    """
    rng = Random(seed)

    def script(question: Question, index: int) -> Json:
        return asked[question.inputs["prompt"]].draw(rng)

    model = ScriptedModel(script, name="stranger")
    model.card = {}
    tasks = [({"prompt": number, "kind": prompt.kind}, prompt.answer) for number, prompt in enumerate(asked)]
    with tempfile.TemporaryDirectory() as folder, Engine(model, planner=one, store=Path(folder) / "runs.db") as engine:
        return await _played(engine, tasks, target, before, labels)


async def network(name: str, target: float, before: int, labels: int, tasks: int, seed: int) -> Row:
    """The same for a packaged network that adds two numbers, with what its card says of it hidden."""
    sums_ = [chain(f"first contact {seed} {place}", 1) for place in range(before + labels + tasks)]
    asked = [({"first": one.first, "added": list(one.added)}, one.answer) for one in sums_]
    with tempfile.TemporaryDirectory() as folder, hidden(name, Path(folder) / "runs.db") as engine:
        return await _played(engine, asked, target, before, labels)


def hidden(name: str, store: Path) -> Engine:
    """An engine with a packaged network that nobody measured."""
    model = sums.model(name)
    measured = ("sample", "sampling", "accepted")
    model.card = {field: value for field, value in model.card.items() if field not in measured}
    return Engine(model, planner=sums.chain_planner(), store=store)


async def _played(engine: Engine, tasks: list[tuple[Row, Json]], target: float, before: int, labels: int) -> Row:
    found = Tallied()
    for number, (inputs, truth) in enumerate(tasks):
        result = await engine.arun("Answer.", inputs=inputs, target=target, seed=number)
        if number >= before + labels:
            found.add(result, canonical(result.output) == canonical(truth))
        elif number >= before:
            _label(engine, result, truth)
    return found.row()


def _label(engine: Engine, result: Result, answer: Json) -> None:
    """What a person would say of the leading answer of the run's only step, accepted or not."""
    step = next(one for one in result.steps if one.parent is not None)
    votes = Counter(one.key for one in step.attempts if one.status == "proposed")
    if votes:
        leader = votes.most_common(1)[0][0]
        backfill_labels(engine.store, result.run_id, leader == canonical(answer), step.seq)


def policy(seed: int, number: int, tasks: int, before: int, labels: list[int], targets: list[float]) -> list[Row]:
    """All cells of one policy."""
    made = drawn(seed, number)
    rows = []
    for target in targets:
        for known in labels:
            asked = list(islice(prompts(made, hash_of(target, known)), before + known + tasks))
            row = asyncio.run(play(asked, target, before, known, f"{made['policy']} {target} {known}"))
            head = {"policy": made["policy"], "kind": made["kind"], "p": round(made["p"], 4), "target": target}
            rows.append(head | {"runs_before": before, "labels": known} | row)
            if known and trustgate.installed():
                rng = Random(f"trustgate {made['policy']} {target} {known}")
                answers = [([prompt.draw(rng) for _ in range(trustgate.K)], prompt.answer) for prompt in asked[before:]]
                row = trustgate.accepted(answers, known, target)
                rows.append(head | {"runs_before": before, "labels": known} | row | {"system": "trustgate"})
        rivals = list(islice(prompts(made, hash_of(target, -1)), tasks))
        rows += [
            head | {"runs_before": 0, "labels": 0} | rival(rivals, name, f"{made['policy']} {target}")
            for name in RIVALS
        ]
    return rows


def packaged(seed: int, name: str, tasks: int, before: int, labels: list[int], targets: list[float]) -> list[Row]:
    """All cells of one packaged network."""
    rows = []
    for target, known in product(targets, labels):
        row = asyncio.run(network(name, target, before, known, tasks, seed))
        head = {"policy": f"running-sums/{name}", "kind": "network", "p": int(name[1:]) / 100, "target": target}
        rows.append(head | {"runs_before": before, "labels": known} | row)
    return rows


def hash_of(target: float, labels: int) -> int:
    return round(1000 * target) * 1000 + labels


# --- rivals ---------------------------------------------------------------------------------------------------

RIVALS = ("first sample", "three votes ahead")


def rival(asked: list[Prompt], name: str, seed: str) -> Row:
    """The first sample as it is, or the first form that is three votes ahead; they predict nothing."""
    rng = Random(seed)
    right = accepted = samples = 0
    for prompt in asked:
        votes: Counter[str] = Counter()
        while sum(votes.values()) < CAP:
            votes[prompt.draw(rng)] += 1
            samples += 1
            (leader, most), *rest = votes.most_common(2)
            if most - (rest[0][1] if rest else 0) >= (1 if name == "first sample" else 3):
                accepted += 1
                right += leader == prompt.answer
                break
    found = {"tasks": len(asked), "verified": 0, "verified_right": 0, "agreed": accepted, "agreed_right": right}
    found |= {"predicted_wrong": None, "by_votes_wrong": None, "verified_predicted_wrong": None}
    return found | {"abstained": len(asked) - accepted, "samples": round(samples / len(asked), 3), "system": name}


# --- a real model over the wire -------------------------------------------------------------------------------

AT_ONCE = 4
"""Questions that wait for a real model at the same time."""


@planner
def plain(question: str, kind: str, gives: Json) -> Plan:
    return Plan((Step("s", question, contract=Contract(gives=gives), kind=kind),), output=ref("s"))


def real(model: str, target: float, count: int, reviewed: int, seed: int) -> list[Row]:
    """A real model on an empty store; then after a probe and `reviewed` labels, on as many other questions.

    Labels are given to the steps that `surefoot review` would ask about, by the known answers.
    """
    rows = []
    with tempfile.TemporaryDirectory() as folder, Engine(model, planner=plain, store=Path(folder) / "x.db") as engine:
        rows += _asked(engine, questions(count, seed), target, 0, 0)
        probe = calibrate(engine, probed(seed), samples=PROBED, seed=seed)
        answers = {one.goal: one.answer for one in questions(count, seed)}
        for asked in queue(engine.store, reviewed, seed):
            answer(engine.store, asked, right(asked.candidates[0].output, answers[asked.goal]), by="benchmark")
        rows += _asked(engine, questions(count, seed + 1), target, reviewed, probe.usage.tokens)
    return [{"policy": model, "p": None, "target": target} | row for row in rows]


def _asked(engine: Engine, asked: list[Labelled], target: float, labels: int, probe: int) -> list[Row]:
    """A row for each kind of question, and one for all.

    With how often samples are right: as it is believed before, and as it is.
    """
    found: dict[str, Tallied] = {kind: Tallied() for kind in (*dict.fromkeys(one.kind for one in asked), "all")}
    sampled: dict[str, Counter[bool]] = {kind: Counter() for kind in found}
    known = Calibration(engine.store.learned())
    believed = {kind: known.votes(kind, policy, source).interval() for kind, policy, source in known.classes()}

    async def put(one: Labelled, turn: asyncio.Semaphore) -> None:
        inputs = {"question": one.goal, "kind": one.kind, "gives": one.gives}
        async with turn:
            result = await engine.arun(one.goal, inputs=inputs, target=target)
        note(f"{result.outcome.value}: {one.goal} {result.output!r} {result.reason}")
        for kind in (one.kind, "all"):
            found[kind].add(result, right(result.output, one.answer))
            said = (attempt for step in result.steps if step.parent for attempt in step.attempts)
            sampled[kind].update(right(each.output, one.answer) for each in said if each.status == "proposed")

    async def every() -> None:
        turn = asyncio.Semaphore(AT_ONCE)
        await asyncio.gather(*(put(one, turn) for one in asked))

    asyncio.run(every())
    before = 0 if labels == 0 else len(asked)
    head = {"runs_before": before, "labels": labels}
    rows = []
    for kind, one in found.items():
        low, high = believed.get(kind, (None, None))
        samples = {"believed_low": low, "believed_high": high, "samples_right": sampled[kind][True]}
        counts = samples | {"samples_all": sampled[kind].total()}
        rows.append({"kind": kind} | head | one.row() | {"probe_tokens": probe} | counts)
    return rows


# --- what it comes to -----------------------------------------------------------------------------------------

WHO: dict[str, Callable[[Row], bool]] = {
    "all": lambda row: row["kind"] != "network",
    "p >= .95": lambda row: row["p"] >= 0.95 and row["kind"] in KINDS[:3],
    ".8 to .9": lambda row: 0.8 <= row["p"] < 0.9 and row["kind"] != "network",
    "p <= .5": lambda row: row["p"] <= 0.5,
    "systematic": lambda row: row["kind"] == "systematic",
    "networks": lambda row: row["kind"] == "network",
}


def summed(rows: list[Row]) -> list[Row]:
    """One row for each target, number of labels, group of policies and system."""
    places = sorted(set(map(_cell, rows)), key=str)
    found = []
    for system, target, labels in places:
        here = [row for row in rows if _cell(row) == (system, target, labels)]
        for who, meant in WHO.items():
            if some := [row for row in here if meant(row)]:
                found.append({"system": system, "target": target, "labels": labels, "who": who} | _sum(some))
    return found


def _cell(row: Row) -> tuple[str, float, int]:
    return row.get("system", "surefoot"), row["target"], row["labels"]


def _sum(rows: list[Row]) -> Row:
    total = {name: sum(row[name] or 0 for row in rows) for name in SUMS}
    tasks, accepted = total["tasks"], total["verified"] + total["agreed"]
    wrong = accepted - total["verified_right"] - total["agreed_right"]
    low, high = Beta(wrong, tasks - wrong).interval()
    return {
        "tasks": tasks,
        "verified": round(total["verified"] / tasks, 3),
        "agreed": round(total["agreed"] / tasks, 3),
        "wrong": round(wrong / tasks, 4),
        "wrong_low": round(low, 4),
        "wrong_high": round(high, 4),
        "all_in": round(total["predicted_wrong"] / tasks, 4),
        "by_votes": round(total["by_votes_wrong"] / tasks, 4),
        "verified_wrong": round((total["verified"] - total["verified_right"]) / tasks, 4),
        "verified_all_in": round(total["verified_predicted_wrong"] / tasks, 4),
        "samples": round(sum(row["samples"] * row["tasks"] for row in rows) / tasks, 2),
    }


SUMS = (
    "tasks", "verified", "verified_right", "agreed", "agreed_right",
    "predicted_wrong", "by_votes_wrong", "verified_predicted_wrong",
)  # fmt: skip


def votes(path: str, targets: list[float], labels: list[int], orders: int) -> list[Row]:
    """Recorded votes of a real model, kind by kind, in one form and in two where the file has them."""
    rows = []
    kinds = sorted({prompt.kind for prompt in recorded(path, 0, 1)})
    two = any("s2" in row for row in json.loads(Path(path).read_text()))
    for forms, target, known, kind in product((1, 2) if two else (1,), targets, labels, (*kinds, "mixed")):
        parts = []
        for order in range(orders):
            asked = recorded(path, order, forms)
            if kind == "mixed":
                asked = [Prompt(prompt.draw, prompt.answer) for prompt in asked]
            else:
                asked = [prompt for prompt in asked if prompt.kind == kind]
            if known < len(asked) // 2 + 1:
                parts.append(asyncio.run(play(asked, target, 0, known, str(order))))
        if parts:
            head = {"file": Path(path).stem, "forms": forms, "target": target}
            rows.append(head | {"labels": known, "kind": kind} | _sum(parts))
    return rows


def main() -> None:
    said = command("first_contact", __doc__, "of policies, tasks and samples", QUICK)
    said.add_argument("--policies", type=int, default=102)
    said.add_argument("--tasks", type=int, default=40, help="counted tasks of each policy in each cell")
    said.add_argument("--before", type=int, default=0, help="runs without a label before they are counted")
    said.add_argument("--labels", type=numbers(0), default=list(LABELS))
    said.add_argument("--targets", type=lambda text: [float(one) for one in text.split(",")], default=list(TARGETS))
    said.add_argument("--jobs", type=int, default=2, help="policies measured at once")
    said.add_argument("--votes", action="append", default=[], help="a file of recorded votes instead of policies")
    said.add_argument("--orders", type=int, default=4, help="orders in which recorded prompts are asked")
    said.add_argument("--model", help="a real model instead of policies; SUREFOOT_BASE_URL names its server")
    said.add_argument("--questions", type=int, default=200, help="put to a real model cold, and again with labels")
    said.add_argument("--review", type=int, default=20, help="labels that a real model gets in between")
    options = said.parse_args()
    if options.quick:
        options.policies, options.tasks = min(options.policies, 12), min(options.tasks, 20)
        options.labels, options.targets, options.orders = options.labels[:2], options.targets[1:2], 1
    note(machine())
    targets, labels = options.targets, options.labels
    if options.model:
        asked = (options.questions, options.review, options.seed)
        shown = rows = [row for target in targets for row in real(options.model, target, *asked)]
    elif options.votes:
        shown = rows = [row for path in options.votes for row in votes(path, targets, labels, options.orders)]
    else:
        common = {name: getattr(options, name) for name in ("seed", "tasks", "before", "labels", "targets")}
        cells = [("benchmarks.first_contact:policy", common | {"number": one}) for one in range(options.policies)]
        cells += [("benchmarks.first_contact:packaged", common | {"name": one}) for one in sums.POLICIES]
        rows = [row for found in every(options.jobs, cells) for row in found]
        shown = summed(rows)
    finish(rows, options.json, (shown, "Models that nobody measured"))


if __name__ == "__main__":
    main()
