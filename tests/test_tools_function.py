"""`@tool`: what it reads from a function, and how it runs it."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

import pytest
from pydantic import AfterValidator, BaseModel, Field

from surefoot.storage.errors import Retry, SetupError, ToolError
from surefoot.storage.records import Effect
from surefoot.tools import ToolContext, thread, tool
from surefoot.tools.thread import PLACES

pytestmark = pytest.mark.anyio

threads: list[threading.Thread] = []
HERE = ToolContext(run_id="r1", step="s1", idempotency_key="k1")


class Row(BaseModel):
    sku: str
    count: int = 1


@tool
def order(
    rows: list[Row],
    note: Annotated[str, Field(description="printed on the bill")] = "",
    *,
    json: bool = False,
    _rate: float = 1.5,
) -> int:
    """Order the rows.

    They arrive the next day.

    Args:
        rows (list[Row]): what to order,
            one row an article
        note: not read, the annotation says more
        json: a name that pydantic keeps for itself

    Returns:
        The number of articles.
    """
    assert all(isinstance(row, Row) for row in rows)
    return sum(row.count for row in rows)


# --- what is read from a function -------------------------------------------------------------------------------


def test_the_docstring_is_the_description_and_its_arguments_describe_the_parameters() -> None:
    assert order.description.startswith("Order the rows.\n\nThey arrive the next day.")
    assert "Args" not in order.description
    assert order.description.endswith("Returns:\n    The number of articles.")
    properties = order.parameters["properties"]
    assert properties["rows"]["description"] == "what to order, one row an article"
    assert properties["note"]["description"] == "printed on the bill"
    assert properties["json"] == {
        "default": False,
        "description": "a name that pydantic keeps for itself",
        "type": "boolean",
    }


def test_the_schema_is_the_signature_without_titles() -> None:
    assert order.parameters["required"] == ["rows"]
    assert list(order.parameters["properties"]) == ["rows", "note", "json", "_rate"]
    assert order.parameters["additionalProperties"] is False
    assert "title" not in order.parameters
    assert order.returns == {"type": "integer"}


async def test_arguments_arrive_with_their_types_and_defaults() -> None:
    assert await order.call({"rows": [{"sku": "A1", "count": "3"}, {"sku": "B2"}]}, HERE) == 4


def test_it_is_still_the_function() -> None:
    assert order([Row(sku="A1", count=2)]) == 2
    assert order.__name__ == "order"
    assert (order.__doc__ or "").startswith("Order the rows.")


def test_what_is_not_declared_takes_the_safe_default() -> None:
    assert order.effect is Effect.ONCE
    assert order.timeout == 30.0
    assert order.approval is False


def test_options_are_taken_over() -> None:
    made = tool(effect="idempotent", timeout=None, approval=True, name="set-price", output_limit=10)(lambda x: x)
    assert (made.name, made.effect, made.timeout, made.approval) == ("set-price", Effect.IDEMPOTENT, None, True)
    assert made.output_limit == 10
    assert repr(made) == "<FunctionTool 'set-price', idempotent>"


async def test_the_context_is_handed_in_and_is_no_parameter() -> None:
    @tool
    async def who(context: ToolContext, greeting: str = "hello") -> str:
        return f"{greeting} {context.run_id}/{context.step}/{context.idempotency_key}"

    @tool
    def maybe(*, context: ToolContext | None = None) -> bool:
        return context is HERE

    assert list(who.parameters["properties"]) == ["greeting"]
    assert await who.call({}, HERE) == "hello r1/s1/k1"
    assert await maybe.call({}, HERE) is True
    with pytest.raises(Retry, match="no such parameter"):
        await who.call({"context": {}}, HERE)


async def test_methods_partials_and_callable_objects_are_tools_too() -> None:
    class Shop:
        def price(self, sku: str) -> float:
            return 2.5

        async def __call__(self, sku: str) -> float:
            return 3.5

    def add(a: int, b: int) -> int:
        return a + b

    async def multiply(a: int, b: int) -> int:
        return a * b

    assert await tool(Shop().price).call({"sku": "A1"}, HERE) == 2.5
    assert await tool(Shop()).call({"sku": "A1"}, HERE) == 3.5
    assert await tool(name="plus2")(functools.partial(add, b=2)).call({"a": 1}, HERE) == 3
    assert await tool(name="times2")(functools.partial(multiply, b=2)).call({"a": 4}, HERE) == 8


async def test_a_sync_function_that_returns_an_awaitable_is_awaited() -> None:
    async def inner() -> int:
        return 7

    assert await tool(name="seven")(lambda: inner()).call({}, HERE) == 7


def _generator() -> Iterator[int]:
    yield 1


async def _async_generator() -> AsyncIterator[int]:
    yield 1


def _rest(*numbers: int) -> int:
    return sum(numbers)


def _unknown(a: Missing) -> int:  # type: ignore[name-defined] # noqa: F821
    return 1


def _foreign(a: threading.Lock) -> int:
    return 1


def _callback(a: type[Any], b: Any) -> int:
    return 1


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: tool(_generator), "is a generator"),
        (lambda: tool(_async_generator), "is a generator"),
        (lambda: tool(_rest), "has no name of its own"),
        (lambda: tool(_unknown), "Missing"),
        (lambda: tool(_foreign), "JSON can carry"),
        (lambda: tool(_callback), "no JSON Schema"),
        (lambda: tool(lambda x: x), "cannot be called '<lambda>'"),
        (lambda: tool(Row), "takes a function"),
        (lambda: tool(3), "takes a function"),  # type: ignore[call-overload]
        (lambda: tool(effect="harmless")(order.function), "there is no effect 'harmless'"),
        (lambda: tool(timeout=0)(order.function), "timeout is 0"),
        (lambda: tool(output_limit=0)(order.function), "output_limit is 0"),
        (lambda: tool(name="größe")(order.function), "cannot be called"),
        (lambda: tool(name="x" * 65)(order.function), "cannot be called"),
        (lambda: tool(name="min-of")(min), "min-of"),
    ],
)
def test_what_cannot_be_a_tool_is_refused_with_the_reason(make: Any, words: str) -> None:
    with pytest.raises(SetupError, match=words):
        make()


def test_a_result_type_without_a_schema_is_anything() -> None:
    @tool
    def lock() -> threading.Event:
        return threading.Event()

    @tool
    def untyped(a, b=object()):  # type: ignore[no-untyped-def] # noqa: B008
        return a

    assert lock.returns is None
    assert untyped.returns is None
    assert untyped.parameters["properties"] == {"a": {}, "b": {}}


# --- validation -------------------------------------------------------------------------------------------------


async def test_a_validation_error_names_the_field_the_problem_and_what_was_expected() -> None:
    with pytest.raises(Retry) as caught:
        await order.call({"rows": [{"sku": "A1", "count": "many"}], "colour": "red"}, HERE)
    text = str(caught.value)
    assert "rows.0.count: Input should be a valid integer" in text
    assert "got 'many'" in text
    assert '"type": "array"' in text
    assert "colour: there is no such parameter; the parameters are: rows, note, json, _rate" in text
    with pytest.raises(Retry, match="rows: it is missing; expected"):
        await order.call({}, HERE)


@pytest.mark.parametrize("arguments", [None, [], "rows", 3])
async def test_arguments_that_are_no_object_are_to_be_mended(arguments: Any) -> None:
    with pytest.raises(Retry, match="the parameters are: rows, note"):
        await order.call(arguments, HERE)


async def test_a_complaint_stays_short_whatever_was_sent() -> None:
    with pytest.raises(Retry) as caught:
        await order.call({"rows": ["x" * 10_000] * 1_000}, HERE)
    assert len(str(caught.value)) < 2_100


# --- failures ---------------------------------------------------------------------------------------------------


def _raising(error: BaseException) -> tuple[Any, Any]:
    @tool
    async def later() -> None:
        raise error

    @tool
    def now() -> None:
        raise error

    return later, now


async def test_retry_passes_through_and_so_does_a_tool_error() -> None:
    for error in (Retry("give a SKU such as A1"), ToolError("the shop is closed")):
        for made in _raising(error):
            with pytest.raises(type(error)) as caught:
                await made.call({}, HERE)
            assert caught.value is error


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (KeyError("A1"), "KeyError: 'A1'"),
        (ValueError(), "ValueError"),
        (SystemExit(3), "SystemExit: 3"),
        (StopIteration(), "StopIteration"),
        (TimeoutError("the shop's own"), "TimeoutError: the shop's own"),
        (asyncio.CancelledError(), "something that it waited for was cancelled"),
    ],
)
async def test_every_other_exception_is_a_tool_error_with_its_type_and_text(error: BaseException, text: str) -> None:
    for made in _raising(error):
        with pytest.raises(ToolError, match=text) as caught:
            await made.call({}, HERE)
        assert str(caught.value).startswith(f"{made.name} failed: ")


def _broken(value: str) -> str:
    raise LookupError("the validator's own mistake")


async def test_a_validator_that_breaks_is_a_failure_and_not_the_models_to_mend() -> None:
    @tool
    async def takes(value: Annotated[str, AfterValidator(_broken)]) -> str:
        return value

    with pytest.raises(ToolError, match="LookupError: the validator's own mistake"):
        await takes.call({"value": "x"}, HERE)


async def test_an_endless_error_text_is_cut() -> None:
    for made in _raising(ValueError("\ud800" + "x" * 1_000_000)):
        with pytest.raises(ToolError) as caught:
            await made.call({}, HERE)
        assert len(str(caught.value)) < 2_100
        assert str(caught.value).encode()


# --- running ----------------------------------------------------------------------------------------------------


async def test_a_sync_tool_does_not_block_the_loop() -> None:
    beats = threading.Event()

    @tool
    def waits() -> bool:
        return beats.wait(20)

    async def heart() -> None:
        for _ in range(100):
            await asyncio.sleep(0)
        beats.set()

    beating = asyncio.create_task(heart())
    assert await waits.call({}, HERE) is True
    await beating


async def test_tools_run_at_the_same_time() -> None:
    both = threading.Barrier(2, timeout=20)
    meeting = asyncio.Barrier(2)

    @tool
    def now() -> int:
        return both.wait()

    @tool
    async def later() -> int:
        return await meeting.wait()

    for made in (now, later):
        assert sorted(await asyncio.gather(made.call({}, HERE), made.call({}, HERE))) == [0, 1]


async def test_a_sync_tool_sees_the_callers_context_variables() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")
    variable.set("seen")
    assert await tool(name="look")(lambda: variable.get()).call({}, HERE) == "seen"


async def test_a_tool_that_takes_too_long_fails() -> None:
    release = threading.Event()

    @tool(timeout=0.05)
    def now() -> None:
        release.wait(60)

    @tool(timeout=0.05)
    async def later() -> None:
        await asyncio.Event().wait()

    try:
        for made in (now, later):
            with pytest.raises(ToolError, match=r"did not finish within 0\.05 s"):
                await made.call({}, HERE)
    finally:
        release.set()


async def test_hung_tools_do_not_take_the_places_of_others() -> None:
    release = threading.Event()

    @tool(timeout=0.2)
    def hangs() -> None:
        release.wait(60)

    try:
        ends = await asyncio.gather(*[hangs.call({}, HERE) for _ in range(PLACES)], return_exceptions=True)
        assert all(isinstance(end, ToolError) for end in ends)
        assert await tool(name="works")(lambda: 1).call({}, HERE) == 1
    finally:
        release.set()


async def test_canceling_the_step_cancels_the_tool_and_is_no_failure() -> None:
    started, release = asyncio.Event(), threading.Event()

    @tool
    async def later() -> None:
        started.set()
        await asyncio.Event().wait()

    loop = asyncio.get_running_loop()

    @tool
    def now() -> None:
        loop.call_soon_threadsafe(started.set)
        release.wait(60)

    try:
        for made in (later, now):
            started.clear()
            call = asyncio.create_task(made.call({}, HERE))
            await started.wait()
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
    finally:
        release.set()


def test_a_tool_that_hangs_for_ever_does_not_keep_the_process_from_ending() -> None:
    script = """
import asyncio, threading
from surefoot.tools import ToolContext, tool
hang = tool(name="hang", timeout=0.05)(threading.Event().wait)
try:
    asyncio.run(hang.call({}, ToolContext()))
except Exception as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert "did not finish" in done.stdout


def test_a_thread_serves_many_calls_and_many_loops() -> None:
    async def threads() -> set[int]:
        made = tool(name="ident")(lambda: threading.get_ident())
        return {await made.call({}, HERE) for _ in range(5)}

    assert len(asyncio.run(threads()) | asyncio.run(threads())) == 1


def test_idle_threads_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thread, "_IDLE_SECONDS", 0.01)
    monkeypatch.setattr(thread, "_idle", thread._Idle())
    worker = asyncio.run(tool(name="current")(lambda: threads.append(threading.current_thread()) or 1).call({}, HERE))
    assert worker == 1
    threads.pop().join(20)
    assert thread._idle.queues == []


def test_a_result_that_comes_after_the_loop_has_ended_is_dropped() -> None:
    release, seen = threading.Event(), []

    @tool(timeout=0.05)
    def late() -> int:
        release.wait(60)
        seen.append(threading.current_thread())
        return 1

    with pytest.raises(ToolError):
        asyncio.run(late.call({}, HERE))
    release.set()
    while not seen:
        time.sleep(0.001)
    # The thread has survived, and serves the next loop.
    assert asyncio.run(tool(name="next")(lambda: 1).call({}, HERE)) == 1


async def test_a_pure_tool_on_the_loop_costs_microseconds() -> None:
    @tool(effect="pure")
    async def add(a: float, b: float) -> float:
        return a + b

    best = float("inf")
    for _ in range(20):
        began = time.perf_counter()
        for _ in range(200):
            await add.call({"a": 1.5, "b": 2.5}, HERE)
        best = min(best, (time.perf_counter() - began) / 200)
    # 7 us on an idle core of 2024; the bound leaves room for a busy one.
    assert best < 60e-6
