"""Many runs on one event loop: none waits there for a disk, and whatever else the loop serves is served in between."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event
from sqlalchemy.engine import Engine as Database
from steps import TASK

from surefoot.engine import Engine, Outcome
from surefoot.engine.running import turns
from surefoot.engine.running.turns import entering, turn
from surefoot.models import ScriptedModel
from surefoot.reflection import verifier
from surefoot.reflection.judge import Judge
from surefoot.storage.learned import Agreement
from surefoot.storage.records import Contract, Plan, Step, ref
from surefoot.storage.sql.database import Tuning
from surefoot.storage.store import Store
from surefoot.tools import tool

pytestmark = pytest.mark.anyio


@verifier(inline=True, exact=True)
def is_four(candidate: int) -> bool:
    """The output is four."""
    return candidate == 4


@tool(effect="once", approval=True)
async def send(text: str) -> str:
    """Sends a text."""
    return f"sent: {text}"


PLAN = Plan(
    (
        Step("n", "Two and two?", contract=Contract(gives={"type": "integer"}), checks=("is_four", "judge")),
        Step("sent", tool="send", args={"text": "4"}, needs=("n",)),
    ),
    ref("sent"),
)


def engine(store: Path | Store) -> Engine:
    said = {"verdict": "pass", "reason": ""}
    judge = Judge("Is it four?", ScriptedModel(lambda question, index: said, name="a judge of its own"))
    return Engine(
        ScriptedModel(lambda question, index: "4"), tools=[send], checks=[is_four, judge], planner=PLAN, store=store
    )


@contextmanager
def patient_database() -> Iterator[list[str]]:
    """Every transaction begins, and ends, only when the event loop has come around; where it does not, it is noted."""
    loop, thread, held = asyncio.get_running_loop(), threading.get_ident(), []

    def wait(connection: Connection) -> None:
        if threading.get_ident() == thread:
            held.append("the event loop's thread works with the database")
            return
        around = threading.Event()
        loop.call_soon_threadsafe(around.set)
        if not around.wait(10):
            held.append("the event loop waits for the database")

    for name in ("begin", "commit"):
        event.listen(Database, name, wait)
    try:
        yield held
    finally:
        for name in ("begin", "commit"):
            event.remove(Database, name, wait)


async def test_the_event_loop_waits_for_no_database(tmp_path: Path) -> None:
    """Opening the store, beginning, asking a person, resuming, forking, a graph, stopping, and ending of runs."""
    one = engine(tmp_path / "runs.db")
    with patient_database() as held:
        asked = await asyncio.gather(*(one.arun(f"task {number}") for number in range(8)))
        assert {result.outcome for result in asked} == {Outcome.INPUT_REQUIRED}
        done = await asyncio.gather(*(one.aresume(result.run_id, True) for result in asked))
        assert {(result.outcome, result.output) for result in done} == {(Outcome.VERIFIED, "sent: 4")}
        again = await one.aresume(done[0].run_id)
        assert again.output == "sent: 4"
        forked = await one.afork(done[0].run_id, "n")
        assert forked.outcome is Outcome.INPUT_REQUIRED
        entered = await one.graph.ainvoke({"run_id": done[0].run_id})
        assert entered["outcome"] == "verified"
        stopped = asyncio.create_task(one.arun("stopped"))
        await asyncio.sleep(0)
        stopped.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stopped
    assert held == []
    one.close()


async def test_a_run_that_is_taken_up_twice_at_once_is_refused_to_the_second(tmp_path: Path) -> None:
    with engine(tmp_path / "runs.db") as one:
        asked = await one.arun("task")
        found = await asyncio.gather(*(one.aresume(asked.run_id, True) for _ in range(2)), return_exceptions=True)
        assert sorted(type(one).__name__ for one in found) == ["Result", "SetupError"]


async def test_a_run_whose_caller_is_cancelled_while_it_begins_is_kept_as_canceled(tmp_path: Path) -> None:
    with Store.open(tmp_path / "runs.db", tuning=Tuning(busy_ms=20)) as store:
        lock = sqlite3.connect(tmp_path / "runs.db", isolation_level=None)
        lock.execute("BEGIN EXCLUSIVE")
        beginning = asyncio.create_task(store.abegin(TASK))
        await asyncio.wait({beginning}, timeout=0.1)
        beginning.cancel()
        with pytest.raises(asyncio.CancelledError):
            await beginning
        lock.execute("ROLLBACK")
        lock.close()
        for _ in range(2):  # behind the run's beginning, and behind what follows from that
            store.learn(())
        assert [run.outcome for run in store.runs()] == [Outcome.CANCELED]


async def test_runs_that_begin_at_once_share_what_was_learned_and_know_what_others_have_learned(tmp_path: Path) -> None:
    with Store.open(tmp_path / "runs.db") as store, Store.open(tmp_path / "runs.db") as other:
        for number in (1, 2):
            other.learn([Agreement("answer", "m@1", "", "2", "?", 1.0)])
            found = await asyncio.gather(*(store.alearned() for _ in range(100)))
            assert {round(one[0].prompts, 2) for one in found} == {float(number)}  # type: ignore[union-attr]
            assert len({id(one) for one in found}) < 10


# --- turns ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def no_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every turn is one time around the loop, however fast the machine is."""
    monkeypatch.setattr(turns, "SLICE", -1.0)


@pytest.mark.usefixtures("no_slice")
async def test_between_two_turns_the_loop_comes_around() -> None:
    loop, around, seen = asyncio.get_running_loop(), 0, []

    def tick() -> None:
        nonlocal around
        around += 1
        loop.call_soon(tick)

    async def run() -> None:
        for _ in range(3):
            await turn()
            seen.append(around)

    tick()
    await asyncio.gather(*(run() for _ in range(100)))
    assert len(set(seen)) == 300, "no two of them in one time around"


@pytest.mark.usefixtures("no_slice")
async def test_runs_under_way_go_before_those_that_come() -> None:
    order: list[str] = []

    async def come(name: str) -> None:
        async with entering():
            order.append(name)

    async def go(name: str) -> None:
        for _ in range(3):
            await turn()
            order.append(name)

    await asyncio.gather(come("new"), come("newer"), go("under way"))
    assert order == ["under way"] * 3 + ["new", "newer"] or order == ["new"] + ["under way"] * 3 + ["newer"]


@pytest.mark.usefixtures("no_slice")
async def test_whoever_is_cancelled_in_the_line_holds_nobody_up() -> None:
    waiting = [asyncio.create_task(turn()) for _ in range(5)]
    await asyncio.sleep(0)
    waiting[1].cancel()
    found: list[Any] = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 10)
    assert [isinstance(one, asyncio.CancelledError) for one in found] == [False, True, False, False, False]
