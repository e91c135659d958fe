"""`surefoot show`: what a run did."""

from __future__ import annotations

from typing import Annotated

import typer

from surefoot.service.cli import options as o
from surefoot.service.cli.command import OK, command

StepName = Annotated[str | None, o.option("--step", help="One step in full, by its id or number.")]
Limit = Annotated[int, typer.Option("--limit", "-n", help="At most so many lines of steps.", min=4)]


@command
def show(
    run: o.Run, step: StepName = None, limit: Limit = 200, store: o.StoreUrl = None, json: o.AsJson = False
) -> int:
    """Show a run: its steps, attempts, verdicts and votes, and what they cost.

    With --json one object with everything: the messages of every model call included.
    """
    from surefoot.service.display.record import write_json
    from surefoot.service.display.sight import show_run, show_step

    with o.open_store(store) as opened:
        run_id = opened.resolve(run)
        seq = None if step is None else opened.step(run_id, step)
        if json:
            write_json(opened, run_id, seq)
        elif seq is not None:
            show_step(opened, run_id, seq, o.where(store))
        else:
            show_run(opened, run_id, limit, o.where(store))
    return OK
