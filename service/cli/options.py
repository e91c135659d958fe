"""The options that commands share, and the engine that they describe."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping, Sequence
from contextlib import closing
from copy import copy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from surefoot.service.cli.command import Gathered
from surefoot.service.display.terminal import busy

if TYPE_CHECKING:
    from surefoot.engine import Engine
    from surefoot.models.options import Layer
    from surefoot.storage.records import Budget, Json
    from surefoot.storage.run import RunInfo
    from surefoot.storage.run_store import RunStore
    from surefoot.tools import Tool

MODELS, WORK, LIMITS, SHOWN = (
    "What does the work",
    "What it works with",
    "How far to trust, how much to spend",
    "Output",
)


def option(*names: str, help: str, panel: str | None = None, env: str | None = None, **more: Any) -> Any:
    """An option without a default to show: where there is one, its help says so."""
    return typer.Option(*names, help=help, rich_help_panel=panel, envvar=env, show_default=False, **more)


StoreUrl = Annotated[
    str | None, option("--store", help="Path or URL of the store. Default: .surefoot/surefoot.db", env="SUREFOOT_STORE")
]
Run = Annotated[
    str, typer.Argument(help="A run's id, 4 or more characters of either end of it, or 'last'.", metavar="RUN")
]
AsJson = Annotated[bool, option("--json", help="JSON on stdout, one object a line.", panel=SHOWN)]
Quiet = Annotated[bool, option("--quiet", "-q", help="Print the answer and nothing else.", panel=SHOWN)]

Model = Annotated[
    str | None,
    option(
        "--model",
        "-m",
        help="Model by its litellm name (openai/gpt-5.1, ollama/...), 'pocket', or local/<folder>. "
        "Default: SUREFOOT_MODEL, else pocket",
        panel=MODELS,
    ),
]
PlanModel = Annotated[str | None, option("--plan-model", help="Model that makes plans.", panel=MODELS)]
ActModel = Annotated[str | None, option("--act-model", help="Model that carries out steps.", panel=MODELS)]
JudgeModel = Annotated[str | None, option("--judge-model", help="Model that judges.", panel=MODELS)]
BaseUrl = Annotated[
    str | None,
    option("--base-url", help="Base URL of an OpenAI-compatible server. Default: SUREFOOT_BASE_URL", panel=MODELS),
]
Option = Annotated[
    list[str] | None,
    option(
        "--option",
        "-o",
        help="How models are asked: NAME=VALUE or ROLE.NAME=VALUE, as in max_tokens=500 or plan.temperature=0. "
        "Repeatable; `surefoot doctor` lists the names.",
        panel=MODELS,
    ),
]
OptionsFile = Annotated[
    Path | None, option("--options", help="YAML file of such options. Default: SUREFOOT_OPTIONS", panel=MODELS)
]


def models_of(
    model: Model = None,
    plan_model: PlanModel = None,
    act_model: ActModel = None,
    judge_model: JudgeModel = None,
    base_url: BaseUrl = None,
    option: Option = None,
    options: OptionsFile = None,
) -> Any:
    """The layer of what a command says of models; single options go before the file. Raises SetupError."""
    from surefoot.models.options import layer, merge, pairs

    roles = {"plan": plan_model, "act": act_model, "judge": judge_model}
    named = {
        "model": model,
        "base_url": base_url,
        "roles": {role: {"model": one} for role, one in roles.items() if one},
    }
    return merge(layer(options), pairs(option or ()), layer(named))


Models = Annotated[Any, Gathered(models_of)]
"""What a command says of models: one parameter for all of their options."""


Tools = Annotated[
    str,
    option(
        "--tools", help="Tools that steps may use: calculator, python, files, or none. Default: calculator", panel=WORK
    ),
]
Approve = Annotated[
    bool, option("--approve", help="Ask a person before each use of a tool that changes something.", panel=WORK)
]
PlanFile = Annotated[
    Path | None, option("--plan", help="YAML or JSON file with the plan; else the plan model makes one.", panel=WORK)
]
Input = Annotated[
    list[str] | None,
    option("--input", "-i", help="key=value for the task; the value is JSON, else text. Repeatable.", panel=WORK),
]
Workspace = Annotated[
    Path | None,
    option(
        "--workspace",
        help="Folder that tools work in. Default for files: .surefoot/workspace",
        panel=WORK,
        exists=True,
        file_okay=False,
        resolve_path=True,
    ),
]
Target = Annotated[
    float | None, option("--target", help="Wanted probability that an accepted answer is right.", panel=LIMITS)
]
Steps = Annotated[int | None, option("--steps", help="At most so many attempts at steps.", panel=LIMITS, min=1)]
Tokens = Annotated[int | None, option("--tokens", help="At most so many tokens.", panel=LIMITS, min=1)]
Usd = Annotated[float | None, option("--usd", help="At most so many US dollars.", panel=LIMITS, min=0)]
Seconds = Annotated[float | None, option("--seconds", help="At most so many seconds.", panel=LIMITS, min=0)]


def limits_of(steps: Steps = None, tokens: Tokens = None, usd: Usd = None, seconds: Seconds = None) -> dict[str, float]:
    """The limits that a command gives, by their names in a budget."""
    given = {"steps": steps, "tokens": tokens, "usd": usd, "seconds": seconds}
    return {name: limit for name, limit in given.items() if limit is not None}


Limits = Annotated[Any, Gathered(limits_of)]
"""What a command says of its budget."""

Votes = Annotated[
    int | None,
    option("--votes", help="Lead in votes that an unproven answer needs. Default: from --target", panel=LIMITS, min=1),
]
Seed = Annotated[int, option("--seed", help="Seed of every sample. Default: 0", panel=LIMITS)]
Concurrency = Annotated[
    int, option("--concurrency", help="Steps, and tasks of a file, at once. Default: 32", panel=LIMITS, min=1)
]
Strict = Annotated[
    bool, option("--strict", help="Abstain where votes alone would accept (outcome: agreed).", panel=LIMITS)
]
NoVerify = Annotated[bool, option("--no-verify", help="Accept the first sample of everything.", panel=LIMITS)]


WORKSPACE = Path(".surefoot") / "workspace"
TRY = (
    "Mia is required to submit a 120-page thesis. She already finished writing 2/3 of the thesis. "
    "How many pages does she have left to write?"
)
"""A task that the pocket model can do, for those who have no other yet."""


@dataclass(frozen=True, slots=True)
class Setup:
    """An engine, as the command line describes it."""

    models: Layer | None = None
    """Names and options of its models."""
    tools: tuple[str, ...] = ("calculator",)
    approve: bool = False
    """A person must agree to each call of a tool that is not pure."""
    plan: Json = None
    """The plan itself: its file may be gone when the run is resumed."""
    workspace: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What else the engine takes, by its name there."""

    def engine(self, store: RunStore | str | None, *, draw: bool = True) -> Engine:
        """With `draw`, a spinner on the terminal meanwhile. Raises SetupError where something does not fit together."""
        from surefoot.engine import Engine
        from surefoot.planners.document import plan_from
        from surefoot.planners.fixed import FixedPlanner

        with busy("loading the model", draw=draw):
            return Engine(
                options=self.models,
                tools=self._tools(),
                planner=None if self.plan is None else FixedPlanner(plan_from(self.plan)),
                store=store,
                workspace=self.workspace,
                notes={"cli": self._notes()},
                **self.settings,
            )

    def _tools(self) -> list[Tool]:
        from surefoot.storage.records import Effect
        from surefoot.tools.registry import registered

        found = []
        for tool in registered(self.tools).values():
            if self.approve and tool.effect is not Effect.PURE:
                tool = copy(tool)
                tool.approval = True
            found.append(tool)
        return found

    def _notes(self) -> dict[str, Json]:
        """What `noted` needs; the engine keeps the other settings itself."""
        return {
            "models": None if self.models is None else self.models.document,
            "tools": list(self.tools),
            "approve": self.approve,
            "plan": self.plan,
            "workspace": self.workspace,
        }


def noted(run: RunInfo, now: Layer) -> Setup:
    """The setup that a run was made with; of its models what is said `now` counts first, then what the command said
    then, then what the environment says now: an address that was mended there is the one to use.

    Raises SetupError where the run was not made by the command line.
    """
    from surefoot.models.options import environment, layer, merge
    from surefoot.models.registry import POCKET, taken
    from surefoot.storage.errors import SetupError

    config = run.config if isinstance(run.config, Mapping) else {}
    notes = (config.get("notes") or {}).get("cli")
    if notes is None:
        raise SetupError(
            f"the run {run.run_id} was made by a program, not by `surefoot run`: "
            "resume it there, with Engine.resume on an engine that has the same tools and planners"
        )
    kept = {name: notes[name] for name in ("approve", "plan", "workspace")}
    before = layer(config["options"]) if "options" in config else _older(notes)
    said = merge(environment(), layer(notes.get("models")), now)
    roles = {}
    for role, one in before.roles.items():
        name = now.name(role) or one.model or POCKET
        roles[role] = {**taken(name, one), **taken(name, said.options(name, role)), "model": name}
    return Setup(models=layer({"roles": roles}), tools=tuple(notes["tools"]), **kept)


def _older(notes: Mapping[str, Json]) -> Layer:
    """The models of a run that was made before options of models were kept."""
    from surefoot.models.options import ROLES, layer

    return layer({"base_url": notes["base_url"], "roles": {role: {"model": notes[f"{role}_model"]} for role in ROLES}})


def tools_of(text: str) -> tuple[str, ...]:
    """`a,b` as names; 'none' is none."""
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    return () if names == ("none",) else names


def workspace_of(given: Path | None, tools: Sequence[str]) -> str | None:
    """The folder that tools work in: nothing of the user's is within their reach unless it was named.

    Raises SetupError where it cannot be made.
    """
    from surefoot.storage.errors import SetupError

    if given is None and "files" in tools:
        given = WORKSPACE.resolve()
        try:
            given.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            why = f"cannot make {given} ({error.strerror}): give a folder that is there, as in --workspace ."
            raise SetupError(why) from None
    return None if given is None else str(given)


def inputs_of(pairs: Sequence[str]) -> dict[str, Json]:
    """`key=value` pairs; a value that is JSON is that, any other is text. Raises SetupError."""
    from surefoot.storage.errors import SetupError

    found: dict[str, Json] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key.strip():
            raise SetupError(f"--input {pair!r}: write key=value, for example --input units=40")
        if key.strip() in found:
            raise SetupError(f"--input {key.strip()} is given twice")
        found[key.strip()] = json_or_text(value)
    return found


def json_or_text(text: str) -> Json:
    """Raises SetupError for a number that no float can hold."""
    try:
        return _parsed(text)
    except (ValueError, RecursionError):
        return text


def json_of(text: str, option: str) -> Json:
    """Raises SetupError where the text is no JSON."""
    from surefoot.storage.errors import SetupError

    try:
        return _parsed(text)
    except (ValueError, RecursionError) as error:
        raise SetupError(f"{option} {text!r} is no JSON ({error}); text needs quotes: '\"text\"'") from None


def _no_constant(name: str) -> Json:
    raise ValueError(f"{name} is no JSON")


def _parsed(text: str) -> Json:
    """Raises ValueError for what is no JSON, SetupError for a number that no float can hold: it would be infinity."""
    from surefoot.storage.errors import SetupError

    value = json.loads(text, parse_constant=_no_constant)
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        raise SetupError(f"{text}: a number is too large; give one up to 1.7e308, or text in quotes") from None
    return value


def budget_of(limits: Mapping[str, Any], base: Budget | None = None) -> Budget:
    """A budget; what the command does not say is that of `base`."""
    from surefoot.storage.records import Budget

    return replace(base or Budget(), **limits)


def where(store: str | None) -> str:
    """The option that a proposed command needs to find the same store."""
    return "" if store is None or store == os.environ.get("SUREFOOT_STORE") else f" --store {shlex.quote(store)}"


def open_store(url: str | None) -> closing[RunStore]:
    """The store that holds runs already. Raises StoreError where there is none."""
    from surefoot.storage.run_store import open_store

    return closing(open_store(url, create=False))
