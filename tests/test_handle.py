"""A run in hand: events with ids that resume, answers from anywhere, an end from anywhere, the same everywhere."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypedDict

import pytest

from surefoot.engine import Engine, Outcome
from surefoot.engine.handle import PAGE, RunHandle
from surefoot.models.scripted import ScriptedModel
from surefoot.storage.errors import SetupError, StoreError
from surefoot.storage.records import Event, JournalRecord, Plan, Step, ref
from surefoot.storage.store import Store
from surefoot.tools import tool


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "runs.db") as store:
        yield store


class Gate:
    """Tools that wait until they are let through, and one that asks a person first."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.reached = threading.Event()
        self.sent: list[str] = []

        @tool(effect="pure", timeout=None)
        def slow(to: str) -> str:
            """Waits at the gate."""
            self.reached.set()
            assert self.open.wait(30)
            return f"slow {to}"

        @tool(effect="once", approval=True, timeout=None)
        def send(to: str) -> str:
            """Sends a letter."""
            self.sent.append(to)
            return f"sent {to}"

        self.tools = [slow, send]


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open.set()


def engine(store: Store, gate: Gate, *names: str) -> Engine:
    steps = tuple(Step(f"s{place}", tool=name, args={"to": str(place)}) for place, name in enumerate(names))
    return Engine(ScriptedModel([]), tools=gate.tools, planner=Plan(steps, ref(steps[-1].id)), store=store)


def kinds(events: Any) -> list[str]:
    return [one.record.kind for one in events if isinstance(one.record, Event)]


# --- events -----------------------------------------------------------------------------------------------------


def test_events_come_while_it_goes_on_and_end_with_it(store: Store, gate: Gate) -> None:
    run = engine(store, gate, "slow").start("go")
    events = run.events()
    first = next(events)
    assert gate.reached.wait(30) and run.running and run.outcome is None
    gate.open.set()
    rest = list(events)
    assert kinds([first, *rest])[-1] == "finished"
    assert run.result().output == "slow 0" and not run.running and run.outcome is Outcome.VERIFIED


def test_ids_count_up_and_whoever_saw_one_goes_on_behind_it(store: Store, gate: Gate) -> None:
    gate.open.set()
    one = engine(store, gate, "slow", "slow")
    run = one.start("go")
    run.result()
    events = list(run.events())
    ids = [event.id for event in events]
    assert ids == sorted(set(ids)) and len(ids) > 5
    assert {event.run_id for event in events} == {run.id}
    assert [event.record for event in events] == list(store.records(run.id))
    for seen in (ids[0], ids[3], ids[-1]):
        assert [event.id for event in one.handle(run.id).events(after=seen)] == [at for at in ids if at > seen]


def test_a_reader_goes_on_in_the_middle_of_a_run(store: Store, gate: Gate) -> None:
    one = engine(store, gate, "slow")
    run = one.start("go")
    assert gate.reached.wait(30)
    seen = [event for event, _ in zip(run.events(), range(2), strict=False)]
    rest: list[int] = []
    reader = threading.Thread(target=lambda: rest.extend(at.id for at in one.handle(run.id).events(after=seen[-1].id)))
    reader.start()
    gate.open.set()
    reader.join(30)
    assert [*(at.id for at in seen), *rest] == [at.seq for at in store.records(run.id)]


def test_another_process_reads_the_same_events(store: Store, gate: Gate, tmp_path: Path) -> None:
    gate.open.set()
    run = engine(store, gate, "slow").start("go")
    run.result()
    code = f"""
from surefoot.engine import Engine
from surefoot.models import ScriptedModel
with Engine(ScriptedModel([]), store={str(tmp_path / "runs.db")!r}) as engine:
    run = engine.handle({run.id!r})
    print(*(event.id for event in run.events(after=2)), run.result().output)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100, cwd=tmp_path)
    assert said.stderr == ""
    assert said.stdout.split() == [*(str(one.seq) for one in store.records(run.id, after=2)), "slow", "0"]


def test_a_page_of_events_is_no_limit(store: Store, gate: Gate) -> None:
    gate.open.set()
    run = engine(store, gate, *["slow"] * 150).start("go")
    assert len(list(run.events())) == sum(1 for _ in store.records(run.id)) > PAGE


def test_a_slow_reader_holds_nothing_up(store: Store, gate: Gate) -> None:
    gate.open.set()
    run = engine(store, gate, *["slow"] * 20).start("go")
    events = run.events()
    next(events)
    assert run.result(timeout=30).outcome is Outcome.VERIFIED
    assert kinds(events)[-1] == "finished"


@pytest.mark.anyio
async def test_async_code_reads_them_on_its_own_loop(store: Store, gate: Gate) -> None:
    gate.open.set()
    run = await engine(store, gate, "slow").astart("go")
    seen = [event async for event in run.aevents()]
    assert (await run).output == "slow 0"
    assert [event.record for event in seen] == list(store.records(run.id))


# --- answers ----------------------------------------------------------------------------------------------------


def test_an_answer_from_another_thread_counts_while_other_steps_run(store: Store, gate: Gate) -> None:
    run = engine(store, gate, "slow", "send").start("go")
    assert gate.reached.wait(30)
    wait(lambda: bool(run.questions))
    (question,) = run.questions
    answering = threading.Thread(target=run.answer, args=({question["key"]: True},))
    answering.start()
    answering.join(30)
    wait(lambda: gate.sent == ["1"])
    assert run.running and run.questions == []
    gate.open.set()
    assert run.result(30).output == "sent 1"
    assert "resumed" not in kinds(run.events()), "it never stopped"


def test_a_run_that_stopped_to_ask_goes_on_in_the_same_hand(store: Store, gate: Gate) -> None:
    run = engine(store, gate, "send").start("go")
    asked = run.result(30)
    assert asked.outcome is Outcome.INPUT_REQUIRED and not run.running
    assert [one["key"] for one in asked.questions] == [one["key"] for one in run.questions]
    seen = list(run.events(wait=False))
    events: list[Any] = []
    reader = threading.Thread(target=lambda: events.extend(run.events(after=seen[-1].id)))
    reader.start()
    threading.Thread(target=run.answer, args=(True,)).start()
    reader.join(30)
    assert kinds(events)[0] == "resumed" and kinds(events)[-1] == "finished"
    assert run.result(30).output == "sent 0" and gate.sent == ["0"]


def test_a_run_that_another_engine_asked_for_is_answered_by_its_id(store: Store, gate: Gate) -> None:
    asked = engine(store, gate, "send").run("go")
    run = engine(store, gate, "send").handle(asked.run_id)
    assert run.questions and run.result().questions == run.questions
    run.answer({"approve": True})
    assert run.result(30).output == "sent 0"


@pytest.mark.anyio
async def test_async_code_answers_on_its_own_loop(store: Store, gate: Gate) -> None:
    run = await engine(store, gate, "send").astart("go")
    assert (await run).outcome is Outcome.INPUT_REQUIRED
    await run.aanswer(True)
    assert (await run).output == "sent 0"


def test_what_is_no_answer_is_refused_and_the_question_stays(store: Store, gate: Gate) -> None:
    run = engine(store, gate, "send").start("go")
    run.result(30)
    with pytest.raises(SetupError, match="its keys are"):
        run.answer({"nonsense": True})
    assert run.questions and run.outcome is Outcome.INPUT_REQUIRED
    run.answer(True)
    assert run.result(30).output == "sent 0"
    with pytest.raises(SetupError, match="asks nothing any more"):
        run.answer(True)


# --- an end to it -----------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_another_task_cancels_it(store: Store, gate: Gate) -> None:
    one = engine(store, gate, "slow")
    run = await one.astart("go")
    await asyncio.to_thread(gate.reached.wait, 30)

    async def other() -> None:
        run.cancel()

    await asyncio.create_task(other())
    result = await asyncio.wait_for(run.aresult(), 30)
    assert result.outcome is Outcome.CANCELED and run.outcome is Outcome.CANCELED and not run.running
    gate.open.set()
    assert (await one.aresume(run.id)).output == "slow 0", "it is taken up where it stood"


def test_another_thread_cancels_it(store: Store, gate: Gate) -> None:
    run = engine(store, gate, "slow").start("go")
    assert gate.reached.wait(30)
    threading.Thread(target=run.cancel).start()
    assert run.result(30).outcome is Outcome.CANCELED
    run.cancel()  # once more does nothing
    assert list(run.events())


@pytest.mark.anyio
async def test_a_run_that_was_begun_without_a_hand_is_cancelled_by_one(store: Store, gate: Gate) -> None:
    one = engine(store, gate, "slow", "slow")
    running = asyncio.create_task(one.arun("go"))
    await asyncio.to_thread(gate.reached.wait, 30)
    (run_id,) = one.running
    one.handle(run_id).cancel()
    gate.open.set()
    assert (await asyncio.wait_for(running, 30)).outcome is Outcome.CANCELED


@pytest.mark.anyio
async def test_whoever_waits_may_stop_waiting_and_the_run_goes_on(store: Store, gate: Gate) -> None:
    run = await engine(store, gate, "slow").astart("go")
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(run.aresult(), 0.1)
    assert run.running
    gate.open.set()
    assert (await run).output == "slow 0"


def test_waiting_has_a_limit(store: Store, gate: Gate) -> None:
    run = engine(store, gate, "slow").start("go")
    with pytest.raises(TimeoutError):
        run.result(0.1)
    gate.open.set()
    assert run.result(30).output == "slow 0"


# --- what goes wrong --------------------------------------------------------------------------------------------


def test_a_listener_that_raises_is_dropped_and_nothing_else_is(
    store: Store, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    gate.open.set()
    heard: list[JournalRecord] = []

    def listener(record: JournalRecord) -> None:
        heard.append(record)
        raise ValueError("nobody listens")

    with caplog.at_level(logging.WARNING, "surefoot"):
        run = engine(store, gate, "slow").start("go", on_record=listener)
        events = list(run.events())
    assert run.result(30).output == "slow 0" and len(heard) == 1
    assert len(events) == sum(1 for _ in store.records(run.id))
    assert "nobody listens" in caplog.text


def test_what_a_run_raises_is_raised_to_whoever_waits(store: Store, gate: Gate) -> None:
    class Broken(ScriptedModel):
        async def ask(self, question: Any, n: int = 1) -> Any:
            raise ZeroDivisionError("a bug")

    run = Engine(Broken([]), store=store).start("go")
    with pytest.raises(ZeroDivisionError):
        run.result(30)
    assert run.outcome is Outcome.FAILED
    with pytest.raises(StoreError):
        Engine(ScriptedModel([]), store=store).handle("nobody")


@pytest.mark.anyio
async def test_waiting_on_the_loop_that_it_runs_on_is_refused(store: Store, gate: Gate) -> None:
    run = await engine(store, gate, "slow").astart("go")
    for wrong in (run.result, lambda: next(run.events()), lambda: run.answer(True)):
        with pytest.raises(RuntimeError, match="event loop"):
            wrong()
    gate.open.set()
    assert (await run).output == "slow 0"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_waits_for_what_its_parent_does(tmp_path: Path) -> None:
    code = """
import os, sys, threading
from surefoot.engine import Engine
from surefoot.models import ScriptedModel
from surefoot.storage import Plan, Step, ref
from surefoot.tools import tool
gate, reached = threading.Event(), threading.Event()
@tool(effect="pure", timeout=None)
def slow() -> str:
    'Waits.'
    reached.set()
    gate.wait(30)
    return "done"
plan = Plan((Step("s", tool="slow", args={}),), ref("s"))
engine = Engine(ScriptedModel([]), tools=[slow], planner=plan, store="runs.db")
run = engine.start("go")
assert reached.wait(30)
if os.fork() == 0:
    print("child", run.running, flush=True)
    print("child", run.result(60).output, flush=True)
    os._exit(0)
gate.set()
print("parent", run.result(60).output, flush=True)
os.wait()
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=100)
    lines = sorted(done.stdout.splitlines())
    assert lines == ["child False", "child done", "parent done"], done.stderr


def test_a_run_whose_event_loop_is_gone_goes_on_elsewhere(store: Store, gate: Gate) -> None:
    async def begin() -> RunHandle:
        run = await engine(store, gate, "send").astart("go")
        await run
        return run

    run = asyncio.run(begin())
    run.answer(True)
    assert run.result(30).output == "sent 0"


# --- everywhere the same ----------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_notebook_whose_loop_runs_already_may_start_and_wait(store: Store, gate: Gate) -> None:
    gate.open.set()
    run = engine(store, gate, "slow").start("go")  # as in a cell: no await, and a loop that runs
    assert run.result(30).output == "slow 0"
    assert (await run).output == "slow 0"


@pytest.mark.anyio
async def test_a_run_in_a_langgraph_graph_is_held_the_same_way(store: Store, gate: Gate) -> None:
    from langgraph.checkpoint.memory import InMemorySaver
    from langgraph.graph import END, START, StateGraph
    from langgraph.types import Command

    class Mine(TypedDict, total=False):
        task: str
        run_id: str
        output: Any

    one = engine(store, gate, "slow", "send")
    graph = StateGraph(Mine)
    graph.add_node("engine", one.graph)
    graph.add_edge(START, "engine")
    graph.add_edge("engine", END)
    outer = graph.compile(checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "1"}}
    running = asyncio.create_task(outer.ainvoke({"task": "go"}, config))
    await asyncio.to_thread(gate.reached.wait, 30)
    (run_id,) = one.running
    run: RunHandle = one.handle(run_id)
    seen: list[Any] = []

    async def read() -> None:
        async for event in run.aevents():
            seen.append(event)

    reading = asyncio.create_task(read())
    await asyncio.to_thread(wait, lambda: bool(run.questions))
    gate.open.set()
    await running
    result = await asyncio.wait_for(outer.ainvoke(Command(resume=True), config), 30)
    await asyncio.wait_for(reading, 30)
    assert result["output"] == "sent 1" == (await run).output
    assert [event.record for event in seen] == list(store.records(run_id))


def wait(until: Any) -> None:
    for _ in range(600):
        if until():
            return
        time.sleep(0.05)
    raise AssertionError("it never came")
