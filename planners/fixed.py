"""Plans that are known beforehand: one plan, or a function that makes one from the step's arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from surefoot.planners.document import load_plan, whole
from surefoot.planners.planner import Proposal, Request
from surefoot.reflection.verifier import Verifier
from surefoot.storage.records import Json, Plan


class FixedPlanner:
    """Always the same plan, given as a record or as the path of a YAML or JSON file."""

    sampled = False
    checks: tuple[Verifier, ...] = ()

    def __init__(self, plan: Plan | str | Path, name: str = "fixed") -> None:
        self.name = name
        self.plan = whole(plan) if isinstance(plan, Plan) else load_plan(plan)

    async def propose(self, request: Request, n: int = 1) -> Sequence[Proposal]:
        return [Proposal(self.plan, key="fixed")]


class FunctionPlanner:
    """A plan computed from the step's arguments. The function must be pure: after a crash it may run again.

    A plan whose steps name this planner again is a recursive plan; it unfolds only as far as it is needed, so a
    plan of a million steps never exists in memory at once.
    """

    sampled = False
    checks: tuple[Verifier, ...] = ()

    def __init__(self, function: Callable[..., Plan], name: str | None = None) -> None:
        self.function = function
        self.name = name or function.__name__

    def __call__(self, **inputs: Json) -> Plan:
        return self.function(**inputs)

    async def propose(self, request: Request, n: int = 1) -> Sequence[Proposal]:
        return [await self._plan(request.inputs)]

    async def _plan(self, inputs: Mapping[str, Json]) -> Proposal:
        try:
            made: object = self.function(**inputs)
            plan = await made if inspect.isawaitable(made) else made
        except Exception as error:
            return Proposal(None, error=f"the planner {self.name} failed: {type(error).__name__}: {error}")
        if not isinstance(plan, Plan):
            return Proposal(None, error=f"the planner {self.name} returned a {type(plan).__name__}: return a Plan")
        return Proposal(whole(plan), key="fixed")


def planner(function: Callable[..., Plan]) -> FunctionPlanner:
    """Decorator: a function from a step's arguments to a `Plan` becomes a planner of the same name."""
    return FunctionPlanner(function)
