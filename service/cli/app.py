"""The command line: `surefoot`. What costs time to import is imported inside the commands."""

from __future__ import annotations

import signal
import sys
from importlib import import_module, metadata
from typing import Annotated

import typer

COMMANDS = ("run", "resume", "runs", "show", "feedback", "review", "export", "calibrate", "report", "doctor", "demo")
"""Modules in the order of the help; the function of a module's name is a command."""

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


for place in COMMANDS:
    app.command("list" if place == "runs" else place)(getattr(import_module(f"surefoot.service.cli.{place}"), place))


def main() -> None:
    """The program. SIGTERM is treated as Ctrl-C is: a clean stop, and the command that goes on."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a character that the terminal cannot show is no reason to fail
            stream.reconfigure(errors="backslashreplace")
    app(prog_name="surefoot")
