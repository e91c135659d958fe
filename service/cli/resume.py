"""`surefoot resume`: go on with a run that was stopped, asked something, or ran out of budget."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from surefoot.service.cli import options as o
from surefoot.service.cli.command import command, usage
from surefoot.service.display.terminal import tell

if TYPE_CHECKING:
    from surefoot.storage.records import Json

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Agree to everything that the run asks.")]
No = Annotated[bool, typer.Option("--no", "-n", help="Decline everything that the run asks.")]
Answer = Annotated[
    str | None,
    o.option(
        help='JSON: true, false, {"approve": ..., "arguments": ..., "output": ..., "comment": ...}, or such an answer '
        "by each question's key."
    ),
]


@command
def resume(
    run: o.Run,
    yes: Yes = False,
    no: No = False,
    answer: Answer = None,
    limits: o.Limits = None,
    models: o.Models = None,
    store: o.StoreUrl = None,
    json: o.AsJson = False,
    quiet: o.Quiet = False,
) -> int:
    """Go on with a run: what is committed stands, and is not done again.

    A run that waits for a person asks on a terminal, one question after another; elsewhere it prints all questions
    and how to answer each. What is not answered is asked again the next time. A run that ran out of
    budget needs a larger one. A run that has ended is printed as it ended. Keys and headers are not kept with a run:
    give them again. Exit codes are those of `run`.
    """
    if yes + no + (answer is not None) > 1:
        return usage("give one of --yes, --no and --answer")
    answers: Json = True if yes else False if no else None
    if answer is not None:
        answers = o.json_of(answer, "--answer")
    from surefoot.engine.result import stored
    from surefoot.service.cli.solve import KEPT, finish, solve
    from surefoot.service.display.tree import RunTree

    with o.open_store(store) as opened:
        run_id = opened.resolve(run)
        info = opened.run(run_id)
        tree = RunTree(KEPT)
        for record in opened.records(run_id):
            tree.add(record)
        if info.over:
            tell(f"the run {run_id} has ended")
            return finish(stored(info), tree, json=json, quiet=quiet, where=o.where(store))
        budget = o.budget_of(limits, opened.task(run_id).budget)
        with o.noted(info, models).engine(opened, draw=not json and not quiet) as engine:
            return solve(
                engine,
                lambda add: engine.aresume(run_id, answers, budget=budget, on_record=add),
                json=json,
                quiet=quiet,
                tree=tree,
                where=o.where(store),
            )
