"""The demo itself: four scenes. Each says what it shows, runs, and says what was seen."""

from __future__ import annotations

import asyncio
import io
import json
import secrets
import textwrap
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import resources

from surefoot.engine import Engine, Result
from surefoot.engine.calibrate import acalibrate
from surefoot.engine.review import ToLabel, answer, asked_of
from surefoot.service.cli.command import OK, drive
from surefoot.service.cli.options import Setup, models_of, where
from surefoot.service.cli.rows import TaskRow, row
from surefoot.service.cli.scoring import same
from surefoot.service.cli.solve import KEPT, watch
from surefoot.service.cli.tally import Tally, hundred, table, tally
from surefoot.service.demo.sums import SPLIT, Chain, chain, chain_planner, labelled, model
from surefoot.service.display.clean import one_line
from surefoot.service.display.receipt import BASIS, probability, short
from surefoot.service.display.terminal import busy, dumps, emit, shown, stderr, stdout, tell, watched
from surefoot.service.display.tree import RunTree
from surefoot.service.display.view import lines
from surefoot.service.display.view import tally as counted
from surefoot.storage.learned import Sampling
from surefoot.storage.records import Json
from surefoot.storage.run_store import RunStore
from surefoot.storage.sql.database import address
from surefoot.trajectories.exports.formats import export

POCKET = "pocket"
FILE = "problems.jsonl"
FILE_SEED = 424_242
"""What `problems.jsonl` was made from; the pocket model was trained and calibrated on other seeds."""

WIDTH = 78
STEPS = 10
TARGET = 0.95
LABELLED, EACH = 400, 4
"""Sums with known answers that a network is measured on, and how often it is asked each."""
WEAK_CHAINS = 10


@dataclass(frozen=True, slots=True)
class Policy:
    """A network of the pocket models, and how hot it is sampled."""

    name: str
    temperature: float


STRONG = Policy("p95", 0.9)
"""About 95 of 100 sums of a chain are right."""
WEAK = Policy("p80", 1.5)
"""Far from what its card was measured at: nothing is known of it."""


def tour(seed: int | None, chains: int, store: str | None, json: bool) -> int:
    """Raises Stopped where a signal came, MissingExtra where the model cannot be loaded."""
    seed = secrets.randbelow(1_000_000) if seed is None else seed
    say("Four scenes on small neural networks that come with surefoot: no API key, no internet, under a minute.")
    say(f"All tasks and answers are drawn from seed {seed}. To see the same again: surefoot demo --seed {seed}")
    with Setup(models=models_of(POCKET, POCKET, POCKET, POCKET), settings={"seed": seed}).engine(store) as engine:
        first, problem = _problem(engine, seed)
        found = {"seed": seed, "problem": problem, "sums": _sums(engine.store, chains, seed, json)}
        weak, runs = _weak(engine.store, min(chains, WEAK_CHAINS), seed, json)
        found |= {"weak": weak, "label": _label(engine.store, runs, store)}
    if json:
        emit(found)
    option = where(store)
    tell()
    tell(f"next   surefoot show {short(first.run_id)}{option}   (the word problem)")
    tell(f"       surefoot show {short(runs[0].run_id)}{option}   (sums that it abstained from)")
    tell("       surefoot doctor --model openai/gpt-5.1   (a model of yours)")
    return OK


def say(text: str) -> None:
    """A paragraph for people."""
    tell(textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False))


def scene(number: int, text: str) -> None:
    """What a scene shows, said before it runs."""
    tell()
    say(f"{number}. {text}")
    tell()


# --- 1: a word problem ----------------------------------------------------------------------------------------


def packaged() -> list[TaskRow]:
    """The problems that ship with surefoot, so that the demo needs nothing else."""
    text = resources.files("surefoot.service.demo").joinpath(FILE).read_bytes()
    rows = [row(number, line) for number, line in enumerate(text.splitlines(), start=1)]
    return [one for one in rows if isinstance(one, TaskRow)]


def _problem(engine: Engine, seed: int) -> tuple[Result, Json]:
    scene(
        1, "One word problem. A network writes a plan; each step is executed, and checked before another one uses it."
    )
    problems = packaged()
    problem = problems[seed % len(problems)]
    say(problem.task)
    tell()
    tree = RunTree(KEPT)
    began = time.monotonic()
    result = watch(engine, lambda add: engine.arun(problem.task, source="demo", on_record=add), tree, live=True)
    if not watched():
        for one in lines(tree, min(stderr().width, WIDTH)):
            stderr().print(one)
        tell(counted(tree, time.monotonic() - began))
    tell()
    right = None if result.output is None else same(result.output, problem.answer)
    say(f"Seen: {_answered(result, right)}")
    return result, {"run_id": result.run_id, "outcome": result.outcome, "output": result.output, "right": right}


def _answered(result: Result, right: bool | None) -> str:
    if right is None:
        return f"it abstained rather than guess: {result.reason}"
    told = f"the answer is {shown(result.output)}, which is {'right' if right else 'WRONG'}."
    predicted = result.reliability.predicted
    if predicted is None:
        return told
    basis = BASIS[result.reliability.basis]
    return f"{told} The engine itself had put the chance that it is right at {probability(predicted)} ({basis})."


# --- 2 and 3: sums in a row -----------------------------------------------------------------------------------


def _sums(store: RunStore, count: int, seed: int, json: bool) -> Json:
    scene(
        2,
        f"{STEPS} sums in a row, {count} times, each sum needing the one before it, by a network that makes "
        "mistakes: first with its first answer to each sum used as it is, then verified.",
    )
    with _engine(STRONG, store, seed) as engine:
        p = _measured(engine, seed)
        say(
            f"Measured a moment ago, on {LABELLED} sums with known answers, {EACH} times each: the network is right in "
            f"{hundred(p)} of 100. {STEPS} in a row should then be right in {hundred(p**STEPS)} of 100 "
            f"({p:.3f}^{STEPS})."
        )
        say(
            "No calculator checks the sums, since few tasks have one. Verified means: the network is asked again, for "
            "another sum with the same result (for 13 + 29 it may be 20 + 22), until the chance of any error in the "
            f"{STEPS} sums is at most {100 * (1 - TARGET):.0f} in 100."
        )
        without, verified, _ = _both(engine, [_chain(seed, "sums", place) for place in range(count)], p**STEPS)
    _show(without, verified, json)
    say(
        f"Seen: unverified, {without.right} of {count} were right, and {without.wrong} wrong without a warning. "
        f"Verified, {verified.right} were right, {verified.wrong} wrong, and "
        f"{count - verified.right - verified.wrong} without an answer that the engine vouches for. "
        f"It took {verified.samples / max(without.samples, 1):.1f} times as many samples."
    )
    said = {"policy": asdict(STRONG), "steps": STEPS, "target": TARGET, "p": p}
    return said | {"without": without.as_json(), "with": verified.as_json()}


def _weak(store: RunStore, count: int, seed: int, json: bool) -> tuple[Json, list[Result]]:
    """The scene, and its verified runs, the abstained ones first."""
    scene(
        3,
        f"The same kind of task, {count} times, by a network that is too weak. Nobody has measured it, and the "
        "engine does not know the answers. Does it notice?",
    )
    tasks = [_chain(seed, "weak", place) for place in range(count)]
    with _engine(WEAK, store, seed) as engine:
        without, verified, runs = _both(engine, tasks)
    _show(without, verified, json)
    runs.sort(key=lambda one: one.outcome != "abstained")
    if runs[0].reason:
        say(f"The reason that it gave for one of them: {runs[0].reason}.")
    say(
        f"Seen: unverified, {without.wrong} of {count} were wrong without a warning. Verified, {verified.wrong} "
        f"were: the network's answers to a sum disagree, so the engine abstained {verified.abstained} times."
    )
    said = {"policy": asdict(WEAK), "steps": STEPS, "target": TARGET, "reason": runs[0].reason}
    return said | {"without": without.as_json(), "with": verified.as_json()}, runs


def _engine(policy: Policy, store: RunStore, seed: int) -> Engine:
    with busy("loading the network"):
        return Engine(
            model(policy.name),
            planner=chain_planner(),
            representations=[SPLIT] if policy is STRONG else [],
            store=store,
            temperature=policy.temperature,
            target=TARGET,
            seed=seed,
        )


def _measured(engine: Engine, seed: int) -> float:
    """Share of right answers among single samples, the prior of one right and one wrong left out."""
    with busy(f"measuring the network on {LABELLED} sums"):
        found = drive(acalibrate(engine, labelled(f"{seed} demo", LABELLED, [STEPS]), samples=EACH, seed=seed))
    plain = next(one for one in found.counts if isinstance(one, Sampling) and not one.source)
    return plain.right / (plain.right + plain.wrong)


def _chain(seed: int, purpose: str, place: int) -> Chain:
    return chain(f"{seed} demo {purpose} {place}", STEPS)


def _both(engine: Engine, tasks: Sequence[Chain], alone: float | None = None) -> tuple[Tally, Tally, list[Result]]:
    """Counts of the tasks without and with verification, and the runs with it. alone: what is predicted without."""
    answers = [one.answer for one in tasks]
    first, verified = (_runs(engine, tasks, verify=verify) for verify in (False, True))
    return tally(first, answers, alone), tally(verified, answers), verified


def _runs(engine: Engine, tasks: Sequence[Chain], *, verify: bool) -> list[Result]:
    async def work() -> list[Result]:
        asked = (
            engine.arun(
                f"Add {STEPS} numbers to {one.first}, one after the other.",
                inputs={"first": one.first, "added": list(one.added)},
                verify=verify,
                source="demo",
            )
            for one in tasks
        )
        return await asyncio.gather(*asked)

    with busy(f"{len(tasks)} chains, {'' if verify else 'not '}verified"):
        return drive(work())


def _show(without: Tally, verified: Tally, json: bool) -> None:
    if not json:
        stdout().print(table(without, verified))
        stdout().file.flush()


# --- 4: the record, and a label -------------------------------------------------------------------------------


def _label(store: RunStore, runs: Sequence[Result], given: str | None) -> Json:
    scene(4, "Everything is kept: one of these runs as a row of training data. Then one label, and what it changes.")
    run, asked = _to_label(store, runs)
    place = address(given)
    kept = place.database if place.drivername == "sqlite" else place.render_as_string(hide_password=True)
    tell(f"Every plan, vote, rejected attempt and token is in {kept}")
    tell(f"$ surefoot export --run {short(run.run_id)}{where(given)}   (one line of JSON; here shortened)")
    for name, value in _row(store, run).items():
        tell("  " + _part(name, value))
    tell()
    if asked is None:
        say("Seen: no step of these runs was left to votes, so there is nothing to label.")
        return None
    return _taught(store, run, asked, given)


def _to_label(store: RunStore, runs: Sequence[Result]) -> tuple[Result, ToLabel | None]:
    """The last step of a run that can be labelled; one whose leading answer is wrong, where there is one."""
    last = [(run, steps[-1]) for run in runs if (steps := asked_of(store, run.run_id))]
    wrong = [(run, asked) for run, asked in last if asked.candidates[0].output != _sum(asked)]
    return next(iter([*wrong, *last]), (runs[0], None))


def _sum(asked: ToLabel) -> int:
    total, add = (int(asked.inputs[name]) for name in ("total", "add"))
    return total + add


def _row(store: RunStore, run: Result) -> dict[str, Json]:
    """The run as `surefoot export` writes it."""
    line = io.StringIO()
    export(store, "jsonl", line, runs=[run.run_id])
    return dict(json.loads(line.getvalue()))


def _part(name: str, value: Json) -> str:
    """A part of the row in one line: its first element, as far as the line goes, and how many there are."""
    more = f"   {len(value)} in all" if isinstance(value, list) and len(value) > 1 else ""
    first = value[:1] if isinstance(value, list) else value
    head = f'"{name}": '
    return head + one_line(dumps(first), WIDTH - len(head) - len(more) - 2) + more


def _taught(store: RunStore, run: Result, asked: ToLabel, given: str | None) -> Json:
    """Labels the step, as a person would who knows the sum."""
    said, correct = asked.candidates[0], _sum(asked)
    right = said.output == correct
    say(
        f"One of its steps was {asked.inputs['total']} + {asked.inputs['add']}: {said.votes} of "
        f"{sum(one.votes for one in asked.candidates)} answers said {shown(said.output)}, "
        f"which is {'right' if right else f'wrong (it is {correct})'}. A person who knows that can "
        "say so. The demo now does it:"
    )
    correction = "" if right else f" --correction {correct}"
    tell(f"$ surefoot feedback {short(run.run_id)}{where(given)} --step {asked.step} --score {int(right)}{correction}")
    before, after = answer(store, asked, right, correct=None if right else correct, by="demo")
    low, high = (" to ".join(f"{100 * bound:.1f}" for bound in one.interval()) for one in (before, after))
    now = "the same to a tenth" if low == high else high
    votes = 0 if right else sum(one.votes for one in asked.candidates if one.output == correct)
    too = f", since the right sum was among its answers ({votes} of them)" if votes else ""
    say(
        f"Seen: the engine put the network at {low} right answers of 100; with this label ({after.truths:.0f} in all) "
        f"at {now}{too}. From about 20 labels on it can vouch for what such answers agree on. The row's "
        '"feedback" holds the label from now on.'
    )
    label: Json = {"run_id": run.run_id, "step": asked.step, "right": right, "feedback": _row(store, run)["feedback"]}
    return label | {"before": list(before.interval()), "after": list(after.interval())}
