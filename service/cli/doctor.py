"""`surefoot doctor`: what is installed, configured and writable, and what to do where it is not."""

from __future__ import annotations

from surefoot.service.cli import options as o
from surefoot.service.cli.command import FAILED, OK, command
from surefoot.service.display.terminal import emit, stdout, tell


@command
def doctor(models: o.Models = None, store: o.StoreUrl = None, json: o.AsJson = False) -> int:
    """Check the installation, the store, the models and their options.

    No value of a secret is printed, and nothing is sent.
    """
    from rich.text import Text

    from surefoot.service.cli.health import examine

    marks = {"ok": ("✓", "green"), "missing": ("·", "dim"), "broken": ("✗", "bold red")}
    broken = False
    for found in examine(models, store):
        broken = broken or found.status == "broken"
        if json:
            emit({"check": found.check, "status": found.status, "detail": found.detail})
            continue
        mark, style = marks[found.status]
        line = Text(f"{mark} ", style).append(f"{found.check:<13} ", "bold").append(found.detail)
        stdout().print(line, soft_wrap=True)
    if not json:
        tell("next   " + ("mend what is marked with ✗" if broken else "surefoot demo"))
    return FAILED if broken else OK
