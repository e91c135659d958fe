"""What a run works with, and the rules that follow from it for each step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

from surefoot.engine.decide import Mode, Prior, Rules
from surefoot.models.question import Model, ToolSpec
from surefoot.planners.planner import Planner
from surefoot.planners.structure import StructureCheck, problems
from surefoot.reflection.arithmetic import arithmetic
from surefoot.reflection.schema import SchemaCheck
from surefoot.reflection.verifier import Verifier
from surefoot.storage.errors import SetupError
from surefoot.storage.records import Effect, Json, Plan, Role, Step
from surefoot.tools.tool import Tool

T = TypeVar("T")

ROOT = "task"
"""id and kind of the outermost step, which is the task itself."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How far to trust, how often to try, how much at once."""

    verify: bool = True
    """False: one sample, accepted as it is; its outcome is `unverified`."""
    target: float | None = None
    votes: int | None = None
    """Lead that a sampled output needs where no exact check passes it; None: from the target, else 2."""
    tries: int = 4
    samples: int = 12
    replans: int = 2
    concurrency: int = 32
    """Steps driven at once."""
    temperature: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("votes", 1), ("tries", 1), ("samples", 1), ("replans", 0), ("concurrency", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise SetupError(f"{name}={value} is too small; the least is {least}")


@dataclass(frozen=True)
class Kit:
    """Models by role, and everything that a plan may name."""

    models: Mapping[Role, Model]
    tools: Mapping[str, Tool]
    planners: Mapping[str, Planner]
    verifiers: Mapping[str, Verifier]
    settings: Settings = Settings()
    prior: Prior = Prior()
    """Of the act model's samples."""
    plan_prior: Prior = Prior()
    """Of the plan model's."""
    tool_checks: Mapping[str, tuple[Verifier, ...]] = field(default_factory=lambda: {"calculator": (arithmetic(),)})
    """Checks of direct calls of a tool: arithmetic is always recomputed by another route."""
    final: tuple[Verifier, ...] = ()
    """Further checks of the task's own output."""
    _rules: dict[tuple[object, ...], Rules] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def specs(self) -> dict[str, ToolSpec]:
        return {name: ToolSpec(name, tool.description, tool.parameters) for name, tool in self.tools.items()}

    @cached_property
    def schemas(self) -> dict[str, tuple[Json, Json]]:
        return {name: (tool.parameters, tool.returns) for name, tool in self.tools.items()}

    def mode(self, step: Step) -> Mode:
        if step.planner is not None:
            return "plan"
        if step.tool is not None:
            return "arguments" if step.args is None else "tool"
        return "answer"

    def sampled(self, step: Step) -> bool:
        """Whether asking again may give something else."""
        if step.planner is not None:
            return self.planners[step.planner].sampled
        return step.tool is None or step.args is None

    def defects(self, plan: Plan, inputs: Mapping[str, Json] | None, done: tuple[str, ...] = ()) -> list[str]:
        return problems(
            plan,
            tools=self.schemas,
            planners=self.planners,
            verifiers=self.verifiers,
            inputs=inputs,
            done=done,
        )

    def rules(self, step: Step) -> Rules:
        """The rules of a step. Steps of one make share them, so that a plan of a million needs few."""
        wants = (step.args is None, step.contract.gives is None, step.kind == ROOT)
        make = (step.tool, step.planner, step.votes, step.checks, *wants)
        known = self._rules.get(make)
        if known is None:
            known = self._rules[make] = self._make(step)
        return known

    def _make(self, step: Step) -> Rules:
        settings = self.settings
        mode = self.mode(step)
        if step.tool is not None:
            _one_of(self.tools, step.tool, "tool")
        if step.planner is not None:
            _one_of(self.planners, step.planner, "planner")
        checks: list[Verifier] = [SCHEMA] if step.contract.gives is not None else []
        checks += [_one_of(self.verifiers, name, "verifier") for name in step.checks]
        if step.kind == ROOT:
            checks += self.final
        if mode == "tool":
            checks += self.tool_checks.get(step.tool or "", ())
        plan_checks: tuple[Verifier, ...] = ()
        if mode == "plan" and step.planner is not None and self.planners[step.planner].sampled:
            plan_checks = (StructureCheck(self.defects), *self.planners[step.planner].checks)
        return Rules(
            mode=mode,
            sampled=self.sampled(step),
            checks=tuple(checks),
            plan_checks=plan_checks,
            votes=self._votes(step, mode),
            prior=self.plan_prior if mode == "plan" else self.prior,
            target=settings.target,
            tries=1 if mode in ("tool", "arguments") and self._harmful(step, mode) else settings.tries,
            samples=settings.samples,
            replans=settings.replans,
            verify=settings.verify,
        )

    def _votes(self, step: Step, mode: Mode) -> int | None:
        if step.votes is not None:
            return step.votes
        return self.settings.votes or (1 if self._harmful(step, mode) else None)

    def _harmful(self, step: Step, mode: Mode) -> bool:
        """Whether one more sample may do to the world what must be done once: then there is only one."""
        if mode == "plan":
            return False
        names = self.tools if step.tool is None else (step.tool,)
        return any(self.tools[name].effect is Effect.ONCE for name in names)


def _one_of(known: Mapping[str, T], name: str, what: str) -> T:
    """A plan is checked before it is accepted, so only an engine that takes up another one's run can lack a name."""
    if name not in known:
        raise SetupError(f"the run needs the {what} {name!r}, which this engine does not have: give it to the Engine")
    return known[name]


SCHEMA = SchemaCheck()
