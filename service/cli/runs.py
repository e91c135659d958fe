"""`surefoot list`: the runs of a store, newest first."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from surefoot.service.cli import options as o
from surefoot.service.cli.command import OK, Ending, command
from surefoot.service.display.terminal import emit, shown, stdout, tell

if TYPE_CHECKING:
    from surefoot.storage.run import RunInfo

Limit = Annotated[int, typer.Option("--limit", "-n", help="At most so many runs.", min=1)]
Wide = Annotated[bool, typer.Option("--wide", help="Whole tasks, over several lines where they are long.")]
Which = Annotated[Ending | None, o.option("--outcome", help="Only runs that ended so.")]


@command
def runs(
    limit: Limit = 20, outcome: Which = None, wide: Wide = False, store: o.StoreUrl = None, json: o.AsJson = False
) -> int:
    """List runs, the newest first."""
    from surefoot.service.display.record import row
    from surefoot.storage.records import Outcome

    wanted: Outcome | Literal["running"] | None = None
    if outcome is not None:
        wanted = "running" if outcome == "running" else Outcome(outcome)
    with o.open_store(store) as opened:
        found = opened.runs(limit, outcome=wanted)
    if json:
        for info in found:
            emit(row(info))
        return OK
    if not found:
        tell(f"no such run yet\nnext   surefoot run '{o.TRY}'")
        return OK
    _table(found, wide)
    tell(f"next   surefoot show RUN{o.where(store)}")
    return OK


def _table(found: list[RunInfo], wide: bool) -> None:
    from rich.text import Text

    from surefoot.service.display.clean import one_line
    from surefoot.service.display.receipt import ending, short

    console = stdout()
    whole = wide or not console.is_terminal
    console.print(Text(f"{'RUN':<8}  {'BEGAN':<16}  {'OUTCOME':<14}  TASK", "dim"))
    for info in found:
        how, style = ending(info.outcome)
        began = time.strftime("%Y-%m-%d %H:%M", time.localtime(info.created_at))
        line = Text.assemble(
            (short(info.run_id), "bold"), "  ", (began, "dim"), "  ", no_wrap=True, overflow="ellipsis"
        )
        line.append(f"{how:<14}  ", style)
        answer = Text() if info.output is None else Text(f"  = {one_line(shown(info.output), 40)}", "bold")
        goal = Text(one_line(info.goal, 1000))
        if not whole:
            goal.truncate(max(16, console.width - line.cell_len - answer.cell_len), overflow="ellipsis")
        console.print(line.append_text(goal).append_text(answer), soft_wrap=whole)
