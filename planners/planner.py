"""The seam of decomposition: what a planner is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from surefoot.models.question import Model, Reply, ToolSpec
from surefoot.reflection.verifier import Verifier
from surefoot.storage.records import Json, Plan, Step


@dataclass(frozen=True, slots=True)
class Done:
    """A step of an earlier version of the plan, as a planner sees it."""

    step: Step
    committed: bool
    output: Json = None
    reason: str = ""
    """Why it failed, where it did."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a planner is asked: turn this step into a plan."""

    step: Step
    inputs: Mapping[str, Json] = field(default_factory=dict)
    """The step's arguments, references resolved."""
    tools: tuple[ToolSpec, ...] = ()
    done: tuple[Done, ...] = ()
    """What stands of the plan so far; committed outputs can be referred to by their ids."""
    critique: str = ""
    """Why the last plan was not good enough."""
    model: Model | None = None
    """The model of the plan role."""
    seed: int | None = None
    temperature: float | None = None


@dataclass(frozen=True, slots=True)
class Proposal:
    """A candidate plan, or the reason why there is none."""

    plan: Plan | None
    key: str = ""
    """Canonical form: what the plan computes, so that differently worded plans can agree."""
    error: str = ""
    unknown: bool = False
    """The task is of no kind that this planner knows."""
    replies: tuple[Reply, ...] = ()
    """Every reply that went into it, for the record; the last one proposed the plan."""


@runtime_checkable
class Planner(Protocol):
    """Turns an expandable step into a plan, all at once or piece by piece (`Plan.more`)."""

    name: str
    sampled: bool
    """Asking again may give another plan, so that votes mean something; a fixed plan is not sampled."""
    checks: tuple[Verifier, ...]
    """Verifiers of the plan itself, beside the structural check that every plan undergoes."""

    async def propose(self, request: Request, n: int = 1) -> Sequence[Proposal]:
        """`n` independent proposals. Raises ModelError where the model could not be asked."""
        ...
