"""`surefoot run`: one task, or a file of them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from surefoot.service.cli import options as o
from surefoot.service.cli.command import command, usage

if TYPE_CHECKING:
    from surefoot.storage.records import Json

TaskText = Annotated[str | None, typer.Argument(metavar="TASK", help="What is to be done; - reads it from stdin.")]
TaskFile = Annotated[
    Path | None,
    o.option(
        "--file", "-f", help='Many tasks, a JSON object a line: {"id"?, "task", "inputs"?, "answer"?}; - reads stdin.'
    ),
]
Score = Annotated[
    bool, typer.Option("--score", help="With --file: compare outputs with the rows' answers, once a run has ended.")
]


@command
def run(
    task: TaskText = None,
    file: TaskFile = None,
    score: Score = False,
    models: o.Models = None,
    tools: o.Tools = "calculator",
    approve: o.Approve = False,
    plan: o.PlanFile = None,
    input: o.Input = None,
    workspace: o.Workspace = None,
    target: o.Target = None,
    limits: o.Limits = None,
    votes: o.Votes = None,
    seed: o.Seed = 0,
    concurrency: o.Concurrency = 32,
    strict: o.Strict = False,
    no_verify: o.NoVerify = False,
    store: o.StoreUrl = None,
    json: o.AsJson = False,
    quiet: o.Quiet = False,
) -> int:
    """Complete a task: plan it, execute it step by step, verify every step.

    The answer goes to stdout; what it rests on, to stderr.

    Exit codes: {endings}; 2 usage. Agreed is accepted by votes alone: no promise.
    With --file: 0 when every row was run, whatever came of it; 1 when a run failed; 2 when a row was broken.
    """
    if (task is None) == (file is None):
        return usage(f"give one task, or --file with many: surefoot run '{o.TRY}'")
    if sys.stdin is None and "-" in (task, str(file)):
        return usage("stdin is closed: nothing can be read from -")
    names = o.tools_of(tools)
    setup = o.Setup(
        models=models,
        tools=names,
        approve=approve,
        plan=_plan(plan),
        workspace=o.workspace_of(workspace, names),
        settings={
            "votes": votes, "seed": seed, "concurrency": concurrency, "verify": not no_verify, "strict": strict,
            "target": target, "budget": o.budget_of(limits),
        },
    )  # fmt: skip
    if task is not None:
        return usage("--score is for --file") if score else _one(setup, store, task, input or [], json, quiet)
    if input:
        return usage('--input is for one task; the rows of a --file have "inputs" of their own')
    from surefoot.service.cli.batch import Summary
    from surefoot.service.cli.sheet import Sheet, fill

    return fill(setup, store, file or Path("-"), Sheet(json, quiet, Summary(scored=score)))


def _one(setup: o.Setup, store: str | None, task: str, pairs: list[str], json: bool, quiet: bool) -> int:
    goal = sys.stdin.read() if task == "-" else task
    if not goal.strip():
        return usage("the task is empty: say what is to be done")
    inputs = o.inputs_of(pairs)
    from surefoot.service.cli.solve import solve

    with setup.engine(store, draw=not json and not quiet) as engine:
        return solve(
            engine,
            lambda add: engine.arun(goal, inputs=inputs, on_record=add),
            json=json,
            quiet=quiet,
            where=o.where(store),
        )


def _plan(path: Path | None) -> Json:
    if path is None:
        return None
    from surefoot.planners.document import load_plan, plan_to

    return plan_to(load_plan(path))
