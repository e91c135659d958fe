"""What an event says beside its step and attempt: the data of each kind, as it is stored and as it is read.

`Event.data` is JSON; whoever writes or reads one names its type from here, so that a type checker knows its keys.
What is at its default is left out, and what came later is absent from records of before.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NotRequired, TypedDict

from surefoot.storage.records import Basis, Json


class Started(TypedDict, total=False):
    weight: float
    """Share of the error budget that the root is to have."""


class Backed(TypedDict, total=False):
    """The support of what was accepted, as `reflection.trust.Support` has it; nothing where it is exact."""

    p: float
    bound: float
    basis: Basis
    abstain: float
    samples: int
    least: float
    doubt: float | None
    by_votes: float | None


Committed = Backed


class Planned(Backed, total=False):
    """A plan was accepted: the last `size` of the steps that were drafted for it come alive."""

    version: int
    size: int
    output: Json
    """With references to its steps."""
    more: bool
    """Further steps are to follow."""
    extend: bool
    """It follows on the steps that are there."""
    weights: float | list[float]
    """Shares of the error budget: of all steps, or of each."""


class Failed(TypedDict):
    reason: str
    beyond: NotRequired[bool]
    """The model does not know tasks of this kind."""
    fault: NotRequired[bool]
    """A model or tool failed: it is no lack of evidence."""


class RolledBack(TypedDict):
    steps: list[int]
    """Taken back; none: the plan of the event's own step is given up."""
    critique: NotRequired[str]


class Escalated(TypedDict):
    rung: str
    """The fallback, by its name."""
    reason: str
    source: NotRequired[str]
    planner: NotRequired[str]
    """To whom the step is handed."""


class Asked(TypedDict):
    key: str
    question: str
    tool: NotRequired[str]
    arguments: NotRequired[dict[str, Json]]
    wants: NotRequired[str]
    conversation: NotRequired[list[Json]]
    """Of stores of before, where a step had one question."""


class Answered(TypedDict):
    key: str
    answer: dict[str, Json]


class Paused(TypedDict):
    """A sample waits for answers; without a conversation it waits no more."""

    sample: int
    keys: NotRequired[list[str]]
    seed: NotRequired[int]
    source: NotRequired[str]
    form: NotRequired[int]
    call: NotRequired[int | None]
    conversation: NotRequired[list[Json]]
    results: NotRequired[list[str | None]]


class Intent(TypedDict):
    """A tool that has an effect is about to run."""

    key: str
    tool: str
    arguments: Mapping[str, Json]


Canary = TypedDict(
    "Canary", {"class": str, "good": bool, "tokens": int, "said": NotRequired[dict[str, tuple[str, bool]]]}
)
"""Verifiers were tried on a value whose truth is known. said: version and whether it passed, by verifier."""


class Finished(TypedDict):
    outcome: str
