"""A plan as a document: the JSON or YAML that people and models write, and the records that it becomes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from surefoot.storage.errors import PlanError, meant
from surefoot.storage.jsonable import to_json
from surefoot.storage.records import ANYTHING, Contract, Json, Plan, Step, ref

DEEPEST = 64
"""Levels of lists and objects inside each other in a plan: whoever walks one calls itself once a level."""

MARKER_HELP = 'Use {"$ref": "<step id>"} where a value is the output of an earlier step.'


class StepDocument(BaseModel):
    """One step as it is written."""

    model_config = ConfigDict(extra="forbid")

    id: str = Field(min_length=1, pattern=r"^[A-Za-z_][A-Za-z0-9_-]*$", description="unique name, for references")
    goal: str = Field(default="", description="what this step must find out or do, complete in itself")
    tool: str | None = Field(default=None, description="name of the tool that does it; null: think and answer")
    args: dict[str, Any] | None = Field(default=None, description=f"the tool's arguments, or the inputs. {MARKER_HELP}")
    planner: str | None = Field(default=None, description="name of a planner that expands this step when it is ready")
    needs: list[str] = Field(default_factory=list, description="ids of further steps that must be finished first")
    takes: Any = Field(default=None, description="JSON Schema of args")
    gives: Any = Field(default=None, description="JSON Schema of the output")
    checks: list[str] = Field(default_factory=list, description="names of verifiers that must pass")
    votes: int | None = Field(default=None, ge=1)
    kind: str = ""

    def step(self) -> Step:
        contract = ANYTHING if self.takes is None and self.gives is None else Contract(self.takes, self.gives)
        return Step(
            self.id,
            self.goal,
            self.tool,
            self.args,
            self.planner,
            tuple(self.needs),
            contract,
            tuple(self.checks),
            self.votes,
            self.kind,
        )


class PlanDocument(BaseModel):
    """A plan as it is written."""

    model_config = ConfigDict(extra="forbid")

    steps: list[StepDocument]
    output: Any = Field(default=None, description="the answer, built from steps; null: the last step's output")
    more: bool = False

    def plan(self) -> Plan:
        return whole(Plan(tuple(step.step() for step in self.steps), self.output, self.more))


def whole(plan: Plan) -> Plan:
    """The plan with its output filled in: one that says none delivers what its last step does."""
    if plan.output is None and plan.steps and not plan.more:
        return replace(plan, output=ref(plan.steps[-1].id))
    return plan


def plan_from(value: Json) -> Plan:
    """The plan in a JSON value. Raises PlanError with every defect of form."""
    if _deep(value):
        raise PlanError([f"it is nested more than {DEEPEST} levels deep"])
    try:
        return PlanDocument.model_validate(value).plan()
    except ValidationError as error:
        raise PlanError([_said(one) for one in error.errors()]) from None


def _said(error: Any) -> str:
    """One defect in words; of an unknown field, the nearest one that there is."""
    *above, last = error["loc"] or ("plan",)
    place = ".".join(map(str, error["loc"])) or "plan"
    if error["type"] != "extra_forbidden":
        return f"{place}: {error['msg']}"
    return f"{place}: there is no such field; {meant(last, (StepDocument if above else PlanDocument).model_fields)}"


def _deep(value: Json) -> bool:
    level = [value]
    for _ in range(DEEPEST + 1):
        level = [part for one in level for part in _parts(one)]
        if not level:
            return False
    return True


def _parts(value: Json) -> Iterable[Json]:
    if isinstance(value, Mapping):
        return value.values()
    return value if isinstance(value, (list, tuple)) else ()


def plan_to(plan: Plan) -> Json:
    """The plan as the JSON value that `plan_from` reads; defaults are left out."""
    return {"steps": [step_to(step) for step in plan.steps], "output": plan.output} | (
        {"more": True} if plan.more else {}
    )


def step_to(step: Step) -> dict[str, Json]:
    document: dict[str, Json] = {
        "id": step.id,
        "goal": step.goal or None,
        "tool": step.tool,
        "args": step.args,
        "planner": step.planner,
        "needs": list(step.needs) or None,
        "takes": step.contract.takes,
        "gives": step.contract.gives,
        "checks": list(step.checks) or None,
        "votes": step.votes,
        "kind": step.kind or None,
    }
    return {name: value for name, value in document.items() if value is not None}


def load_plan(path: str | Path) -> Plan:
    """A plan from a YAML or JSON file. Raises PlanError where it cannot be read."""
    import yaml

    try:
        # A date, which YAML has and JSON has not, becomes what the journal will make of it.
        value = to_json(yaml.safe_load(Path(path).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, yaml.YAMLError) as error:
        raise PlanError([f"{path} cannot be read: {error}"]) from None
    if not isinstance(value, Mapping):
        raise PlanError([f"{path} holds no plan: expected a mapping with `steps`"])
    return plan_from(value)
