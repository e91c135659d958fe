"""The boundary around running a tool: time limit, failures classified, results as JSON values."""

from __future__ import annotations

import asyncio
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, TypedDict

from surefoot.storage.errors import Retry, SetupError, ToolError
from surefoot.storage.records import Effect, Json
from surefoot.tools.result import OUTPUT_LIMIT, cut, deliver
from surefoot.tools.tool import ToolContext

TIMEOUT = 30.0
"""Seconds that a call may take, unless the tool says otherwise."""

_ERROR_LIMIT = 2_000


class Limits(TypedDict, total=False):
    """What may be said of any tool; `Guarded` has what holds where nothing is."""

    effect: Effect | str
    timeout: float | None
    approval: bool
    output_limit: int | None


class Guarded(ABC):
    """Base of the tools made here: `validate`, then `invoke`, inside the limits that every tool has.

    A tool that does not declare its effect is `once`: nothing is known of what it does to the world, so it
    must not run again by itself after a crash.
    """

    def __init__(
        self,
        name: str,
        description: str,
        parameters: Json,
        *,
        returns: Json = None,
        effect: Effect | str = Effect.ONCE,
        timeout: float | None = TIMEOUT,
        approval: bool = False,
        output_limit: int | None = OUTPUT_LIMIT,
    ) -> None:
        self.name = _name(name)
        self.description = description
        self.parameters = parameters
        self.returns = returns
        self.effect = _effect(effect, name)
        self.approval = approval
        if timeout is not None and not timeout > 0:
            raise SetupError(f"tool {name!r}: timeout is {timeout}; give seconds above 0, or None for no limit")
        if output_limit is not None and output_limit < 1:
            raise SetupError(f"tool {name!r}: output_limit is {output_limit}; give characters, or None for no limit")
        self.timeout = timeout
        self.output_limit = output_limit

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}, {self.effect.value}>"

    @abstractmethod
    def validate(self, arguments: Mapping[str, Json]) -> Any:
        """What `invoke` takes. Raises Retry where the arguments are wrong; nothing has run then."""

    @abstractmethod
    async def invoke(self, values: Any, context: ToolContext) -> Any:
        """Run the tool. Whatever it raises is classified by `call`."""

    async def call(self, arguments: Mapping[str, Json], context: ToolContext) -> Json:
        """Validate, run, and return a JSON value; see `Tool.call`."""
        if self.timeout is None:
            value = await self._run(arguments, context)
        else:
            value = await self._within(self.timeout, arguments, context)
        return deliver(value, self.output_limit)

    async def _within(self, seconds: float, arguments: Mapping[str, Json], context: ToolContext) -> Any:
        clock = asyncio.timeout(seconds)
        try:
            async with clock:
                return await self._run(arguments, context)
        except TimeoutError as error:
            raise ToolError(f"{self.name} did not finish within {seconds:g} s and was given up") from error

    async def _run(self, arguments: Mapping[str, Json], context: ToolContext) -> Any:
        """The one place that says what a tool's exception means."""
        try:
            return await self.invoke(self.validate(arguments), context)
        except (Retry, ToolError):
            raise
        except BaseException as error:
            if passes(error):
                raise
            if isinstance(error, asyncio.CancelledError):
                # Let through, this would look like the engine's own cancellation.
                raise ToolError(f"{self.name} failed: something that it waited for was cancelled") from error
            raise ToolError(f"{self.name} failed: {describe(error)}") from error


def passes(error: BaseException) -> bool:
    """Whether an exception is no failure of the tool or verifier that it came out of: the step is cancelled, the
    coroutine is closed, or Ctrl-C was pressed, which comes to the main thread. Any other, SystemExit and direct
    subclasses of BaseException included, must not end the engine."""
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        return task is None or task.cancelling() > 0
    if isinstance(error, KeyboardInterrupt):
        return threading.current_thread() is threading.main_thread()
    return isinstance(error, GeneratorExit)


def describe(error: BaseException) -> str:
    """An exception as text for a model: its type and words, no traceback, at most 2,000 characters."""
    try:
        text = str(error).encode("utf-8", "replace").decode()
    except Exception:  # a text that raises is the tool's own, too
        text = ""
    return cut(f"{type(error).__name__}: {text}" if text else type(error).__name__, _ERROR_LIMIT)


def _effect(effect: Effect | str, name: str) -> Effect:
    try:
        return Effect(effect)
    except ValueError:
        wanted = ", ".join(e.value for e in Effect)
        raise SetupError(f"tool {name!r}: there is no effect {effect!r}; give one of {wanted}") from None


def _name(name: str) -> str:
    """Model providers accept 1 to 64 ASCII letters, digits, underscores and hyphens."""
    plain = name.replace("_", "").replace("-", "")
    if plain.isascii() and plain.isalnum() and len(name) <= 64:
        return name
    raise SetupError(
        f"a tool cannot be called {name!r}: give name= with 1 to 64 ASCII letters, digits, underscores or hyphens"
    )
