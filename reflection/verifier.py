"""The seam of trust: what a verifier is. `function.py` makes one from a function."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Protocol, runtime_checkable

from surefoot.models.question import Model, Reply
from surefoot.storage.records import Json, Step, Verdict, record


@record
class Case:
    """One candidate, put before a verifier."""

    step: Step
    candidate: Json
    inputs: Mapping[str, Json] = field(default_factory=dict)
    """The step's arguments, references resolved."""
    goal: str = ""
    """The task's goal."""
    reply: Reply | None = None
    """The model's reply that proposed the candidate, where one did."""
    judge: Model | None = None
    """The model of the judge role."""
    metered: Callable[[Model], Model] | None = None
    """Puts a verifier's own model under the run's budget and into its record."""
    done: tuple[str, ...] = ()
    """ids of the committed steps that a candidate plan may refer to."""


@runtime_checkable
class Verifier(Protocol):
    """Says pass, fail or abstain of a candidate.

    `verify` never raises: an error inside is a verdict of abstain with the error as its critique.
    """

    name: str
    version: str
    kind: str
    """rule, program, test, recompute, judge, model, person."""
    exact: bool
    """A pass proves the property checked, so the candidate needs no votes beside it."""

    async def verify(self, case: Case) -> Verdict: ...
