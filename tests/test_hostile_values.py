"""What tools, verifiers, models and listeners may raise, and none of it ends the process's event loop."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from surefoot.engine import Engine, Outcome, Result
from surefoot.engine.running.loop import run_sync
from surefoot.models import ScriptedModel
from surefoot.reflection import Case, verifier
from surefoot.storage import Plan, Step, ref
from surefoot.storage.errors import ToolError
from surefoot.storage.store import Store
from surefoot.tools import ToolContext, tool

pytestmark = pytest.mark.timeout(60)


class Odd(BaseException):
    """No Exception, as those of some test runners and frameworks are not."""


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


ODD = [Odd, pytest.fail.Exception, KeyboardInterrupt, SystemExit, MemoryError, Mute]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "runs.db") as store:
        yield store


@tool(effect="pure")
def one() -> int:
    """One."""
    return 1


def carry_out(store: Store, used: Any = one, model: Any = None, **options: Any) -> Result:
    """One step, which uses a tool."""
    plan = Plan((Step("s", tool=used.name, args={}),), ref("s"))
    listener = options.pop("on_record", None)
    engine = Engine(model or ScriptedModel([]), tools=[used], planner=plan, store=store, **options)
    return engine.run("Do it.", on_record=listener)


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("threaded", [True, False])
def test_whatever_a_tool_raises_is_a_failed_attempt_and_later_runs_go_on(
    store: Store, kind: type[BaseException], threaded: bool
) -> None:
    @tool(effect="pure")
    def now() -> int:
        raise kind("boo")

    @tool(effect="pure")
    async def later() -> int:
        raise kind("boo")

    result = carry_out(store, now if threaded else later)
    assert result.outcome is Outcome.FAILED and kind.__name__ in result.reason
    assert carry_out(store).output == 1


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("inline", [True, False])
def test_whatever_a_verifier_raises_is_an_abstention_and_later_runs_go_on(
    store: Store, kind: type[BaseException], inline: bool
) -> None:
    @verifier(inline=inline)
    def breaks(candidate: int) -> bool:
        raise kind("boo")

    result = carry_out(store, verifiers=[breaks])
    rulings = [verdict for step in result.steps for verdict in step.verdicts if verdict.verifier == "breaks"]
    assert rulings and {verdict.ruling for verdict in rulings} == {"abstain"}
    assert kind.__name__ in rulings[0].critique
    assert carry_out(store).output == 1


@pytest.mark.parametrize("kind", [Odd, KeyboardInterrupt, SystemExit])
def test_what_a_listener_raises_comes_out_and_later_runs_go_on(store: Store, kind: type[BaseException]) -> None:
    def listen(_: object) -> None:
        raise kind("boo")

    with pytest.raises(kind):
        carry_out(store, on_record=listen)
    assert carry_out(store).output == 1


@pytest.mark.parametrize("kind", [Odd, KeyboardInterrupt, SystemExit])
def test_what_a_model_raises_comes_out_and_later_runs_go_on(store: Store, kind: type[BaseException]) -> None:
    def reply(*_: Any) -> str:
        raise kind("boo")

    plan = Plan((Step("s", "Say it."),), ref("s"))
    with pytest.raises(kind):
        Engine(ScriptedModel(reply), planner=plan, store=store).run("Do it.")
    assert carry_out(store).output == 1


def test_ctrl_c_waits_until_the_work_has_cleaned_up_and_comes_out() -> None:
    ended: list[str] = []

    async def work() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append("clean")

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            run_sync(work)
    finally:
        signal.signal(signal.SIGINT, before)
    assert ended == ["clean"]


def test_a_run_inside_an_async_tool_fails_instead_of_waiting_for_itself(store: Store) -> None:
    @tool(effect="pure")
    async def nested() -> int:
        return int(carry_out(store).output)

    result = carry_out(store, nested)
    assert result.outcome is Outcome.FAILED and "would wait for itself" in result.reason


@pytest.mark.anyio
@pytest.mark.parametrize("kind", [KeyboardInterrupt, GeneratorExit])
async def test_ctrl_c_and_the_end_of_a_coroutine_are_nobodys_failure(kind: type[BaseException]) -> None:
    assert threading.current_thread() is threading.main_thread()

    @tool(effect="pure")
    async def stopped() -> int:
        raise kind

    @verifier(inline=True)
    def ended(candidate: int) -> bool:
        raise kind

    with pytest.raises(kind):
        await stopped.call({}, ToolContext())
    with pytest.raises(kind):
        await ended.verify(Case(Step("s"), 1))


@pytest.mark.anyio
async def test_an_error_whose_text_raises_still_names_its_type() -> None:
    @tool(effect="pure")
    async def mute() -> int:
        raise Mute

    with pytest.raises(ToolError, match=r"^mute failed: Mute$"):
        await mute.call({}, ToolContext())
