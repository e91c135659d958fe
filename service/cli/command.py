"""What all commands have in common: exit codes, one place for errors, stopping on signals."""

from __future__ import annotations

import asyncio
import functools
import inspect
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn, TypeVar

import typer

from surefoot.service.display.terminal import tell

T = TypeVar("T")

OK, FAILED, USAGE, OUT_OF_BUDGET, INTERRUPTED = 0, 1, 2, 5, 130
"""Exit codes of commands; those of a run are its outcome's."""

ENDINGS = {
    "verified": 0,
    "unverified": 0,
    "failed": 1,
    "abstained": 3,
    "input_required": 4,
    "out_of_budget": 5,
    "agreed": 6,
    "canceled": 130,
}
"""Outcomes with their exit codes, as `storage/outcome.py` has them (a test holds that): help is shown before that is
loaded, which would take longer than the help."""

_NAMES = {
    code: " or ".join(one.replace("_", " ") for one in ENDINGS if ENDINGS[one] == code)
    for code in sorted({*ENDINGS.values()})
}
TOLD = ", ".join(f"{code} {names}" for code, names in _NAMES.items())
"""The same as a command's help has it, where its docstring says {endings}."""

if TYPE_CHECKING:
    Ending = str
else:
    Ending = Literal[*ENDINGS, "running"]

Debug = Annotated[bool, typer.Option("--debug", help="Show where an error comes from.", show_default=False)]


@dataclass(frozen=True)
class Gathered:
    """Annotates a parameter that stands for several options: those of a function, whose result it gets."""

    make: Callable[..., Any]


class Stopped(Exception):
    """SIGINT or SIGTERM came; what was under way has cleaned up."""


def command(function: Callable[..., int]) -> Callable[..., None]:
    """Makes a command of a function that returns its exit code: errors become one line, and a code of their own."""

    @functools.wraps(function)
    def run(*args: Any, debug: bool = False, **options: Any) -> None:
        if not _streams():
            raise typer.Exit(usage("stdout is closed, and nothing was done: send it to a file, or to /dev/null"))
        try:
            for name, made in gathered.items():
                options[name] = made.make(**{one: options.pop(one) for one in inspect.signature(made.make).parameters})
            code = function(*args, **options)
            sys.stdout.flush()
        except (KeyboardInterrupt, Stopped):
            code = INTERRUPTED
        except BrokenPipeError:
            code = _reader_left()
        except typer.Exit:
            raise
        except Exception as error:
            code = explain(error, debug)
        raise typer.Exit(code)

    gathered: dict[str, Gathered] = {}
    parameters: list[inspect.Parameter] = []
    for one in inspect.signature(function, eval_str=True).parameters.values():
        made = next((meta for meta in getattr(one.annotation, "__metadata__", ()) if isinstance(meta, Gathered)), None)
        if made is None:
            parameters.append(one)
        else:
            gathered[one.name] = made
            parameters += inspect.signature(made.make, eval_str=True).parameters.values()
    parameters.append(inspect.Parameter("debug", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Debug))
    run.__doc__ = (function.__doc__ or "").replace("{endings}", TOLD)
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return run


def explain(error: Exception, debug: bool = False) -> int:
    """One line on what went wrong, and the exit code for it. The only place that classifies errors."""
    from surefoot.storage.errors import SetupError, StoreError, SurefootError

    if debug:
        import traceback

        tell("".join(traceback.format_exception(error)).rstrip())
    if isinstance(error, SurefootError):
        tell(f"error: {error}")
        called_wrong = isinstance(error, SetupError) and not (isinstance(error, StoreError) and error.failed)
        return USAGE if called_wrong else FAILED
    tell(f"error: {type(error).__name__}: {error}" + ("" if debug else " (--debug shows where)"))
    return FAILED


def usage(problem: str) -> int:
    """Says what is wrong with the call."""
    tell(f"error: {problem}")
    return USAGE


def drive(work: Coroutine[Any, Any, T]) -> T:
    """Runs `work` to its end in an event loop. The first SIGINT or SIGTERM cancels it and waits until it has
    cleaned up, then raises Stopped; the second leaves at once, which costs no more than a crash does: nothing
    that is durable is lost."""
    stopped = False

    async def guarded() -> T:
        task = asyncio.current_task()
        loop = asyncio.get_running_loop()

        def stop() -> None:
            nonlocal stopped
            if stopped:
                _leave()
            stopped = True
            if task is not None:
                task.cancel()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop)
        try:
            return await work
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)

    try:
        return asyncio.run(guarded())
    except asyncio.CancelledError:
        if not stopped:
            raise
        raise Stopped from None


def _leave() -> NoReturn:
    if sys.stderr.isatty():
        sys.stderr.write("\x1b[?25h")  # a live view hides the cursor
        sys.stderr.flush()
    os._exit(INTERRUPTED)


def _streams() -> bool:
    """Whether data has somewhere to go. A closed stderr (`2>&-`) is no reason to fail: nobody wants to be told."""
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115, PTH123 (for the rest of the process)
    return sys.stdout is not None


def _reader_left() -> int:
    """Whoever read our output has gone, as `head` does: there is nobody to tell."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return FAILED
