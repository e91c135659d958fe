"""What is asked for, and how it is to be done: the words of a task and of a plan, which users and planners write.

Values: nothing in one changes once it is made. `records.py` has the words for what comes of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar, dataclass_transform

Json = Any
"""A JSON value: None, bool, int, float, str, list, dict with string keys."""

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def record(made: type[T]) -> type[T]:
    """A dataclass that is frozen to the type checker. Python itself does not enforce it: two dozen are made a step,
    and making a frozen one takes five times as long, because each field is set by a call."""
    return dataclass(slots=True, unsafe_hash=True)(made)


# --- the task ---------------------------------------------------------------------------------------------


@record
class Budget:
    """Limits of one run; None is no limit. Checked before the spend, so no limit is ever passed."""

    steps: int | None = None
    """Attempts at steps, rejected ones included."""
    tokens: int | None = None
    """Prompt and completion tokens of every model call."""
    usd: float | None = None
    seconds: float | None = None


@record
class Task:
    """What the user wants."""

    goal: str
    inputs: Mapping[str, Json] = field(default_factory=dict)
    output_schema: Json = None
    """JSON Schema of the output; None is any text."""
    target: float | None = None
    """Wanted probability that the output is right; None takes the engine's."""
    budget: Budget = Budget()


# --- the plan ---------------------------------------------------------------------------------------------


@record
class Contract:
    """What a step is given and what it must deliver, as JSON Schemas (`const` states an exact value)."""

    takes: Json = None
    gives: Json = None


ANYTHING = Contract()


@record
class Step:
    """One node of a plan.

    Values in `args` may hold references, anywhere in their depth: `{"$ref": "s1"}` or `{"$ref": "s1.total"}`
    is the committed output of a sibling, `{"$input": "rows"}` an argument of the step that was expanded into
    this plan (of the task, for the outermost plan).

    Which kind of step it is follows from what is set: `planner` makes it expandable; `tool` with `args`
    calls the tool; `tool` without `args` (None) has the model fill in the arguments; neither has the model
    answer the goal from `args`, with the run's tools at hand. Where `args` is None, a step sees the arguments
    of the step that was expanded and the outputs of what it `needs`.
    """

    id: str
    """Unique inside its plan."""
    goal: str = ""
    tool: str | None = None
    args: Mapping[str, Json] | None = None
    planner: str | None = None
    needs: tuple[str, ...] = ()
    """Siblings to wait for beyond those that `args` refers to."""
    contract: Contract = ANYTHING
    checks: tuple[str, ...] = ()
    """Names of verifiers; each must pass."""
    votes: int | None = None
    """Accept a candidate only when it is this many votes ahead of the runner-up; None leaves it to the engine."""
    kind: str = ""
    """The class that statistics are kept by; empty takes the tool's, planner's or role's name."""


@record
class Plan:
    """A directed acyclic graph of steps. It is data."""

    steps: tuple[Step, ...]
    output: Json = None
    """What the expanded step delivers: a JSON value with references to its steps."""
    more: bool = False
    """The planner wants to be asked again when these steps are committed."""


def ref(step: str, path: str = "") -> Json:
    """A reference to a sibling's committed output, or to a dotted path inside it."""
    return {"$ref": f"{step}.{path}" if path else step}


def given(name: str) -> Json:
    """A reference to an argument of the step that this plan expands."""
    return {"$input": name}
