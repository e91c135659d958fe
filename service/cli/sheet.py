"""A batch as it is shown: NDJSON for programs, a table for people."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table
from rich.text import Text

from surefoot.engine import Engine
from surefoot.service.cli.batch import Done, Summary, run_rows
from surefoot.service.cli.command import FAILED, INTERRUPTED, OK, USAGE, Stopped, drive
from surefoot.service.cli.options import Setup, where
from surefoot.service.cli.rows import Broken, TaskRow, read
from surefoot.service.display.clean import one_line
from surefoot.service.display.receipt import ending, short
from surefoot.service.display.terminal import busy, emit, shown, stdout, tell
from surefoot.storage.records import Json


@dataclass
class Sheet:
    """Where the rows of a batch go as they end."""

    json: bool
    quiet: bool
    summary: Summary

    def add(self, row: Done | Broken) -> None:
        if isinstance(row, Broken):
            tell(f"line {row.line}: {row.error}; the other rows are run")
            if self.json:
                named: dict[str, Json] = {} if row.id is None else {"id": row.id}
                emit(named | {"line": row.line, "error": row.error})
        elif self.json:
            emit(row.as_json())
        else:
            stdout().print(line(row), soft_wrap=True)

    def end(self) -> None:
        if self.json:
            emit({"summary": self.summary.as_json()})
        elif not self.quiet:
            stdout().print(total(self.summary))

    @property
    def code(self) -> int:
        if self.summary.broken:
            return USAGE
        return FAILED if self.summary.outcomes["failed"] else OK


def fill(setup: Setup, store: str | None, path: Path, sheet: Sheet) -> int:
    """Runs the tasks of a file. Raises SetupError where none could run."""
    name = "stdin" if str(path) == "-" else path.name
    with setup.engine(store, draw=not sheet.quiet) as engine:
        try:
            drive(batch(engine, read(path), sheet, name))
        except Stopped:
            ended = sheet.summary.tasks
            tell(f"interrupted; {ended} tasks had ended, those under way are kept")
            tell(f"next   surefoot list --outcome canceled{where(store)}")
            return INTERRUPTED
    sheet.end()
    if not sheet.quiet:
        tell(f"next   surefoot list{where(store)}   (then: surefoot show RUN)")
    return sheet.code


async def batch(engine: Engine, rows: Iterable[TaskRow | Broken], sheet: Sheet, source: str) -> None:
    """Runs rows and puts each on the sheet as it ends, with a count on the terminal meanwhile."""
    with busy("0 tasks", draw=not sheet.quiet) as count:
        set_up = engine.parts.settings
        found = run_rows(
            engine, rows, sheet.summary, concurrency=set_up.concurrency, verify=set_up.verify, source=source
        )
        async with aclosing(found) as ended:
            async for row in ended:
                sheet.add(row)
                if count is not None:
                    count.update(Text(f"{sheet.summary.tasks} tasks: {sheet.summary.counts()}"))


def line(done: Done) -> Text:
    """One row of the table for people."""
    text = Text(no_wrap=True)
    text.append(f"{one_line(done.id, 16):<16}  ")
    how, style = ending(done.outcome)
    text.append(f"{how:<14}  ", style)
    if done.correct is not None:
        text.append("right  " if done.correct else "WRONG  ", "green" if done.correct else "bold red")
    if done.result is None:
        return text.append(one_line(f"{type(done.error).__name__}: {done.error}", 100), "red")
    if done.result.output is not None:
        text.append(one_line(shown(done.result.output), 60), "bold")
    elif done.result.reason:
        text.append(one_line(done.result.reason, 100), "dim")
    return text.append(f"  {short(done.result.run_id)}", "dim")


def total(summary: Summary) -> Table:
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0), title_justify="left")
    table.add_column(style="dim")
    table.add_column()
    table.add_row("tasks", f"{summary.tasks}" + (f": {summary.counts()}" if summary.outcomes else ""))
    if summary.broken:
        table.add_row("broken rows", str(summary.broken))
    table.add_row("coverage", f"{share(summary.coverage)}, {summary.accepted} accepted")
    if summary.agreed:
        right = f", {summary.right_agreed} of them right" if summary.scored else ""
        table.add_row("agreed", f"{summary.agreed} by votes alone, which is no promise{right}")
    if summary.scored:
        table.add_row("precision", f"{share(summary.precision)}, {summary.right} right of {summary.judged} accepted")
    table.add_row("work", f"{summary.steps} steps, {summary.rejected} rejected attempts, {summary.samples} samples")
    table.add_row("spent", f"{summary.tokens:,} tokens, {summary.seconds:.1f} s")
    return table


def share(part: float | None) -> str:
    """A percentage; None, which is no zero, says so."""
    return "none" if part is None else f"{100 * part:.1f} %"
