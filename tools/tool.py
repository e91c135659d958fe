"""The seam to the world: what a tool is. `function.py` makes one from a function."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, runtime_checkable

from surefoot.storage.records import Effect, Json, record


@record
class ToolContext:
    """What a tool may know of the step that it serves. A tool asks for it by a parameter of this type."""

    run_id: str = ""
    step: str = ""
    idempotency_key: str = ""
    """The same for every attempt at the same call: hand it to the outside world."""
    workspace: Path | None = None
    """The run's own folder."""


@runtime_checkable
class Tool(Protocol):
    """Something that a step may use.

    `call` validates the arguments before it runs anything, runs the tool within its time limit without
    blocking the event loop, and returns a JSON value. It raises `Retry` where the caller should mend the
    arguments and call again (a validation error is one), `ToolError` for every other failure.
    """

    name: str
    description: str
    parameters: Json
    """JSON Schema of an object."""
    returns: Json
    """JSON Schema of the result; None is anything."""
    effect: Effect
    approval: bool
    """A person must agree before each call."""

    async def call(self, arguments: Mapping[str, Json], context: ToolContext) -> Json: ...
