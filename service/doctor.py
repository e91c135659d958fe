"""`surefoot doctor`: what is installed, configured and writable, and what to do where it is not."""

from __future__ import annotations

from surefoot.service import options as o
from surefoot.service.command import FAILED, OK, command
from surefoot.service.terminal import emit, stdout, tell


@command
def doctor(
    model: o.Model = None,
    plan_model: o.PlanModel = None,
    act_model: o.ActModel = None,
    judge_model: o.JudgeModel = None,
    base_url: o.BaseUrl = None,
    option: o.Option = None,
    options: o.OptionsFile = None,
    store: o.StoreUrl = None,
    json: o.AsJson = False,
) -> int:
    """Check the installation, the store, the models and their options.

    No value of a secret is printed, and nothing is sent.
    """
    from rich.text import Text

    from surefoot.service.health import examine

    marks = {"ok": ("✓", "green"), "missing": ("·", "dim"), "broken": ("✗", "bold red")}
    broken = False
    models = o.models_of(model, plan_model, act_model, judge_model, base_url, option, options)
    for found in examine(models, store):
        broken = broken or found.status == "broken"
        if json:
            emit({"check": found.check, "status": found.status, "detail": found.detail})
            continue
        mark, style = marks[found.status]
        console = stdout()
        line = Text(f"{mark} ", style).append(f"{found.check:<13} ", "bold").append(found.detail)
        console.print(line, soft_wrap=True)
    if not json:
        tell("next   " + ("mend what is marked with ✗" if broken else "surefoot demo"))
    return FAILED if broken else OK
