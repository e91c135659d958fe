"""The command line: `surefoot`. What costs time to import is imported inside the commands."""

from __future__ import annotations

import signal
import sys
from importlib import metadata
from typing import Annotated

import typer

from surefoot.service.cli.calibrate import calibrate
from surefoot.service.cli.demo import demo
from surefoot.service.cli.doctor import doctor
from surefoot.service.cli.export import export
from surefoot.service.cli.feedback import feedback
from surefoot.service.cli.report import report
from surefoot.service.cli.resume import resume
from surefoot.service.cli.review import review
from surefoot.service.cli.run import run
from surefoot.service.cli.runs import list_runs
from surefoot.service.cli.show import show

app = typer.Typer(
    name="surefoot",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Data goes to stdout, everything else to stderr. Begin with: surefoot demo",
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"surefoot {metadata.version('surefoot')}")
        raise typer.Exit


@app.callback()
def surefoot(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Completes tasks: plans them, executes them step by step, verifies every step, and keeps the record."""


for name, function in (
    ("run", run),
    ("resume", resume),
    ("list", list_runs),
    ("show", show),
    ("feedback", feedback),
    ("review", review),
    ("export", export),
    ("calibrate", calibrate),
    ("report", report),
    ("doctor", doctor),
    ("demo", demo),
):
    app.command(name)(function)


def main() -> None:
    """The program. SIGTERM is treated as Ctrl-C is: a clean stop, and the command that goes on."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a character that the terminal cannot show is no reason to fail
            stream.reconfigure(errors="backslashreplace")
    app(prog_name="surefoot")
