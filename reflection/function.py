"""`@verifier`: makes a verifier from a function.

    @verifier
    def names_a_supplier(candidate: str) -> bool:
        return candidate in SUPPLIERS

What the function returns decides:

    True, False         pass, fail
    text                fail, with the text as the critique that the next attempt reads
    (bool, text)        pass or fail, with a critique
    None                abstain: it cannot tell
    Verdict             as it is, under this verifier's name, version, kind and exactness
    AssertionError      fail, with the assertion's message: `assert total == 3, "the total is off"`
    any other error     abstain: an error inside a verifier says nothing of the candidate
    anything else       abstain, and so does a time-out

A function that only asserts must still return True: falling off the end is None, which abstains.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import update_wrapper
from textwrap import dedent
from traceback import extract_tb
from typing import Any, Generic, ParamSpec, TypedDict, TypeVar, Unpack, overload

from surefoot.reflection.base import VerifierBase, digest
from surefoot.reflection.parameters import MisfitError, Parameters
from surefoot.reflection.verifier import Case
from surefoot.storage.errors import SetupError
from surefoot.storage.records import Verdict
from surefoot.tools.thread import in_thread

TIMEOUT = 60.0
"""Seconds that a function has, unless it is given others."""

P = ParamSpec("P")
R = TypeVar("R")


class Settings(TypedDict, total=False):
    """What may be said of a verifier that is a function; `verifier` tells what each means."""

    name: str | None
    version: str | None
    kind: str
    exact: bool
    inline: bool
    timeout: float | None


class FunctionBase(VerifierBase, ABC):
    """Runs a function on a case and reads what it returns.

    An async function runs on the event loop. A sync one runs in a worker thread, because it may block (run
    tests, read a file): about 100 us a call. `inline` runs it on the loop itself, without a time limit: for cheap,
    pure predicates, a few us. A thread cannot be killed, so one that timed out goes on in the
    background until it ends.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        slot: str,
        names: Mapping[str, Any],
        *,
        name: str | None = None,
        version: str | None = None,
        kind: str = "rule",
        exact: bool = False,
        inline: bool = False,
        timeout: float | None = TIMEOUT,
    ) -> None:
        super().__init__(name or _name(function), version or fingerprint(function), kind, exact)
        self.function = function
        self.timeout = timeout
        self.is_async = _is_async(function)
        self.inline = inline
        self._parameters = Parameters(function, slot, names)
        if inline and self.is_async:
            raise SetupError(f"{self.name} is async and runs on the event loop already: leave inline out")

    async def examine(self, case: Case) -> Verdict:
        if self.inline:
            return self._run(case)
        clock = asyncio.timeout(self.timeout)
        try:
            async with clock:
                return await (self._arun(case) if self.is_async else in_thread(lambda: self._run(case)))
        except TimeoutError:
            if not clock.expired():
                raise
            said = f"{self.name} did not finish within {self.timeout:g} s: give it a longer timeout"
            return self.rule("abstain", said)

    @abstractmethod
    def read(self, result: Any, case: Case) -> Verdict:
        """The verdict that a returned value stands for."""

    def _run(self, case: Case) -> Verdict:
        positional, keyword = self._parameters.fill(case)
        return self.read(self.function(*positional, **keyword), case)

    async def _arun(self, case: Case) -> Verdict:
        positional, keyword = self._parameters.fill(case)
        return self.read(await self.function(*positional, **keyword), case)


class FunctionVerifier(FunctionBase, Generic[P, R]):
    """What `@verifier` makes. Calling it calls the function, so that a predicate can be tested on its own."""

    __wrapped__: Callable[P, R]

    def __init__(self, function: Callable[P, R], names: Mapping[str, Any], **settings: Unpack[Settings]) -> None:
        super().__init__(function, "candidate", names, **settings)
        update_wrapper(self, function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.__wrapped__(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<verifier {self.name} {self.version}>"

    def read(self, result: Any, case: Case) -> Verdict:
        if isinstance(result, Verdict):
            return replace(result, verifier=self.name, version=self.version, kind=self.kind, exact=self.exact)
        if isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], str):
            ruling, critique = result
            return self._ruled(ruling, critique)
        if isinstance(result, str) and result.strip():
            return self.rule("fail", result)
        return self._ruled(result, "")

    def _ruled(self, result: Any, critique: str) -> Verdict:
        if type(result).__module__ == "numpy" and getattr(result, "ndim", None) == 0:
            result = result.item()  # `abs(x - y) < limit` of numpy numbers is a bool of numpy's own
        if isinstance(result, bool):
            return self.rule("pass" if result else "fail", critique)
        if result is None:
            return self.rule("abstain", critique or f"{self.name} returned None, which abstains")
        said = "an empty text" if result == "" else f"a value of type {type(result).__name__}"
        return self.rule(
            "abstain",
            f"{self.name} returned {said}: return True, False, a critique or None",
            evidence=repr(result)[:200],
        )

    def classify(self, error: BaseException) -> Verdict:
        if isinstance(error, MisfitError):
            return self.rule("fail", f"the candidate is not of the wanted type: {error}")
        if isinstance(error, AssertionError):
            return self.rule("fail", str(error) or _assertion(error))
        return self.broken(error)


@overload
def verifier(function: Callable[P, R], /, **settings: Unpack[Settings]) -> FunctionVerifier[P, R]: ...
@overload
def verifier(**settings: Unpack[Settings]) -> Callable[[Callable[P, R]], FunctionVerifier[P, R]]: ...
def verifier(function: Callable[..., Any] | None = None, /, **settings: Unpack[Settings]) -> Any:
    """Make a verifier from a sync or async function; bare, or with arguments.

    The first parameter receives the candidate, whatever it is called; parameters named inputs, step, goal,
    reply and case receive that part of the case. The candidate is validated and converted to its annotation
    (any type that pydantic reads); one that does not fit fails.

    name: the function's, unless given; plans name it in `checks`. kind: "rule", unless given.
    version: a fingerprint of the source and of plain values that the function closes over. Globals that it
        reads are not in it: give a version of your own where the verdict depends on data that changes.
    exact: a pass proves the candidate right, so that it needs no votes beside it. False unless said, because
        most predicates are necessary and not sufficient: "names a supplier" does not make it the cheapest one.
        Say True where no wrong candidate can pass, as when the answer is recomputed or inverted.
    inline: run a sync function on the event loop (cheap and pure predicates only); the default is a thread.
    timeout: seconds, 60 unless given; None waits for ever. It does not bind an inline function.

    Raises SetupError for parameters that cannot be filled and annotations that cannot be read.
    """
    # Textual annotations may name classes that are local to the caller.
    names = dict(sys._getframe(1).f_locals)
    if function is None:
        return lambda decorated: FunctionVerifier(decorated, names=names, **settings)
    return FunctionVerifier(function, names=names, **settings)


def fingerprint(function: Callable[..., Any]) -> str:
    """Twelve hexadecimal digits that change with the function's source, defaults and plain closed-over values."""
    target = inspect.unwrap(function)
    target = getattr(target, "__func__", target)
    target = getattr(target, "func", target)  # functools.partial
    if not hasattr(target, "__code__"):
        target = type(target).__call__
    try:
        body = dedent(inspect.getsource(target)).strip()
    except (OSError, TypeError):  # typed at a prompt, or compiled from text
        code = getattr(target, "__code__", None)
        body = (
            "" if code is None else f"{code.co_code.hex()} {code.co_names} {[c for c in code.co_consts if _plain(c)]}"
        )
    return digest(body, _closed(target), _bound(function))


def _closed(function: Any) -> list[str]:
    """Values that the function closes over or defaults to; others than plain ones have no stable text."""
    cells = [cell.cell_contents for cell in getattr(function, "__closure__", None) or () if _filled(cell)]
    return [repr(value) for value in (*cells, *(getattr(function, "__defaults__", None) or ())) if _plain(value)]


def _bound(function: Any) -> list[str]:
    """Plain arguments of a functools.partial."""
    values = [*getattr(function, "args", ()), *sorted(getattr(function, "keywords", {}).items())]
    return [repr(value) for value in values if _plain(value)]


def _filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:  # bound later
        return False


def _plain(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(_plain(part) for part in value)
    return value is None or isinstance(value, (str, bytes, bool, int, float))


def _is_async(function: Any) -> bool:
    if inspect.iscoroutinefunction(function):
        return True
    return not inspect.isroutine(function) and inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004


def _name(function: Any) -> str:
    name = getattr(function, "__name__", "")
    if not name or name == "<lambda>":
        raise SetupError("a verifier made from a lambda or an object needs a name: verifier(..., name='...')")
    return str(name)


def _assertion(error: AssertionError) -> str:
    """The failed line itself, where the assertion has no message."""
    frames = extract_tb(error.__traceback__)
    line = frames[-1].line if frames else ""
    return f"this does not hold: {line}" if line else "an assertion does not hold"
