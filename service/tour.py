"""The demo itself: one problem on a live tree, then a file of them, without and with verification."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from contextlib import aclosing
from importlib import import_module, resources
from importlib.util import find_spec
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table

from surefoot.service.batch import Summary, run_rows
from surefoot.service.command import OK, drive
from surefoot.service.options import TRY, Setup, models_of, where
from surefoot.service.report import short, trust
from surefoot.service.rows import TaskRow, row
from surefoot.service.scoring import same
from surefoot.service.sheet import Count, share
from surefoot.service.solve import KEPT, watch
from surefoot.service.terminal import emit, shown, stderr, stdout, tell, watched
from surefoot.service.tree import RunTree
from surefoot.service.view import lines, tally
from surefoot.storage.database import address
from surefoot.storage.errors import MissingExtra, SetupError

if TYPE_CHECKING:
    from surefoot.engine import Engine, Result
    from surefoot.storage.records import Json

POCKET = "pocket"
FILE = "problems.jsonl"
FILE_SEED = 424_242
"""What `problems.jsonl` was made from; the pocket model was trained and calibrated on other seeds."""


def tour(seed: int | None, size: int, store: str | None, json: bool) -> int:
    """Raises Stopped where a signal came, MissingExtra where the problems or the model cannot be had."""
    problems = packaged(size) if seed is None else generated(seed, size)
    fresh = secrets.randbelow(1_000_000)
    tell("The pocket model: 4 MB of weights, no key, no network. It errs; see what verification makes of that.\n")
    with Setup(models=models_of(POCKET, POCKET, POCKET, POCKET), seed=fresh).engine(store) as engine:
        first = _first(engine, problems[fresh % len(problems)], fresh)
        made_from = FILE_SEED if seed is None else seed
        tell(f"\n2. {len(problems)} problems of reasoning-gym's gsm_symbolic (seed {made_from}),")
        tell("   once accepting the first sample, once verifying\n")
        without, verified = (_pass(engine, problems, verify=verify) for verify in (False, True))
    if json:
        emit({"seed": fresh, "problems": len(problems), "without": _numbers(without), "with": _numbers(verified)})
    else:
        stdout().print(table(without, verified))
    place, option = address(store), where(store)
    kept = place.database if place.drivername == "sqlite" else place.render_as_string(hide_password=True)
    tell(f"\nEvery plan, vote and rejected attempt is kept in {kept}")
    tell(f"next   surefoot show {short(first.run_id)}{option}   (the problem above)")
    tell(f"       surefoot run '{TRY}'")
    tell("       surefoot run --model openai/gpt-5.1 '...'   (for tasks that are beyond the pocket model)")
    return OK


def packaged(size: int) -> list[TaskRow]:
    """The problems that ship with surefoot, so that the demo needs nothing else."""
    text = resources.files("surefoot.service").joinpath(FILE).read_bytes()
    rows = [row(number, line) for number, line in enumerate(text.splitlines(), start=1)]
    found = [one for one in rows if isinstance(one, TaskRow)]
    if size > len(found):
        raise SetupError(f"{len(found)} problems ship with surefoot: for {size}, make them with --seed N")
    return found[:size]


def generated(seed: int, size: int) -> list[TaskRow]:
    """Problems that nobody has seen. Raises MissingExtra without reasoning-gym."""
    if find_spec("reasoning_gym") is None:
        raise MissingExtra("train", "making problems from a seed")
    tell(f"making {size} problems from seed {seed}")
    made = import_module("reasoning_gym").create_dataset("gsm_symbolic", size=size, seed=seed)
    return [TaskRow(id=f"p{i}", task=one["question"], answer=one["answer"]) for i, one in enumerate(made, start=1)]


def _first(engine: Engine, problem: TaskRow, seed: int) -> Result:
    """One problem, under the visitor's eyes."""
    tell(f"1. One word problem, planned, executed and verified (seed {seed})\n")
    tell(f"{problem.task}\n")
    tree = RunTree(KEPT)
    began = time.monotonic()
    result = watch(engine, lambda add: engine.arun(problem.task, source="demo", on_record=add), tree, live=True)
    if not watched():
        for one in lines(tree, stderr().width):
            stderr().print(one)
        tell(tally(tree, time.monotonic() - began))
    if result.output is None:
        tell(f"\nIt abstained rather than guess: {result.reason}")
    else:
        right = "right" if same(result.output, problem.answer) else "WRONG"
        tell(f"\nIts answer is {shown(result.output)}, which is {right}. {trust(result.reliability)}".rstrip())
    return result


def _pass(engine: Engine, problems: list[TaskRow], *, verify: bool) -> Summary:
    summary = Summary(scored=True)

    async def work() -> None:
        with Count(len(problems), label="with verification" if verify else "without verification") as count:
            found = run_rows(engine, problems, summary, concurrency=len(problems), verify=verify, source="demo")
            async with aclosing(found) as ended:
                async for _ in ended:
                    count.show(summary)

    drive(work())
    return summary


def accuracy(summary: Summary) -> float:
    """Share of all problems that were answered rightly."""
    return summary.right / summary.tasks


def _numbers(summary: Summary) -> dict[str, Json]:
    return summary.as_json() | {"accuracy": accuracy(summary)}


def table(without: Summary, verified: Summary) -> Table:
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    made.add_column("")
    made.add_column("first sample", justify="right")
    made.add_column("verified", justify="right", style="bold")
    rows: list[tuple[str, Callable[[Summary], str]]] = [
        ("right answers", lambda one: str(one.right)),
        ("wrong answers, silently", lambda one: str(one.judged - one.right)),
        ("no answer: abstained", lambda one: str(one.tasks - one.accepted)),
        ("precision: right when it answers", lambda one: share(one.precision)),
        ("coverage: how often it answers", lambda one: share(one.coverage)),
        ("accuracy: right of all", lambda one: share(accuracy(one))),
        ("steps", lambda one: str(one.steps)),
        ("samples", lambda one: str(one.samples)),
        ("seconds", lambda one: f"{one.seconds:.1f}"),
    ]
    for name, figure in rows:
        made.add_row(name, figure(without), figure(verified))
    return made
