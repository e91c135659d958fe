"""The engine inside something else: people who are asked, event loops, graphs, other tools, and runs taken up again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypedDict

import pytest

from surefoot.engine import Engine, Outcome
from surefoot.models.scripted import ScriptedModel, call
from surefoot.storage.errors import ModelUnavailable
from surefoot.storage.records import Json, Plan, Step, ref
from surefoot.storage.store import Store
from surefoot.tools import tool


@tool(effect="pure", timeout=None)
async def add(a: float, b: float) -> float:
    """Adds two numbers."""
    return a + b


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "runs.db") as store:
        yield store


def engine(store: Store, replies: Any = (), **options: Any) -> Engine:
    options.setdefault("tools", [add])
    return Engine(ScriptedModel(replies), store=store, **options)


# --- people ---------------------------------------------------------------------------------------------------


def sending(sent: list[str]) -> Any:
    @tool(effect="once", approval=True)
    async def send(text: str) -> str:
        """Sends a letter."""
        sent.append(text)
        return f"sent {text}"

    return send


LETTER = Plan((Step("s", tool="send", args={"text": "hello"}),), ref("s"))


@pytest.mark.parametrize(
    ("said", "outcome", "sent"),
    [
        (True, Outcome.VERIFIED, ["hello"]),
        (False, Outcome.FAILED, []),
        ({"approve": True, "arguments": {"text": "good day"}}, Outcome.VERIFIED, ["good day"]),
        ({"output": "sent by hand"}, Outcome.VERIFIED, []),
    ],
)
def test_a_person_approves_declines_corrects_or_answers(
    store: Store, said: Json, outcome: Outcome, sent: list[str]
) -> None:
    out: list[str] = []
    first = engine(store, tools=[sending(out)], planner=LETTER).run("send it")
    assert first.outcome is Outcome.INPUT_REQUIRED
    assert out == []
    assert first.questions[0]["arguments"] == {"text": "hello"}
    again = engine(store, tools=[sending(out)], planner=LETTER)
    result = again.resume(first.run_id, {first.questions[0]["key"]: said})
    assert result.outcome is outcome, result
    assert out == sent
    if said == {"output": "sent by hand"}:
        assert result.output == "sent by hand"


def test_a_model_waits_for_a_person_in_the_middle_of_a_conversation(store: Store) -> None:
    out: list[str] = []
    plan = Plan((Step("s", "Send a letter."),), ref("s"))
    first = Engine(
        ScriptedModel([call("send", {"text": "hi"})]), tools=[sending(out)], planner=plan, store=store, votes=1
    ).run("send")
    assert first.outcome is Outcome.INPUT_REQUIRED
    model = ScriptedModel(["done"])
    result = Engine(model, tools=[sending(out)], planner=plan, store=store, votes=1).resume(first.run_id, True)
    assert result.output == "done"
    assert out == ["hi"]
    assert [message.role for message in model.questions[0].follow_up] == ["assistant", "tool"]


# --- as part of something else --------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_sync_and_async_runs_work_inside_a_running_event_loop(store: Store) -> None:
    one = engine(store, planner=Plan((Step("s", tool="add", args={"a": 1, "b": 1}),), ref("s")))
    assert (await one.arun("add")).output == 2
    assert one.run("add").output == 2


@pytest.mark.anyio
async def test_a_stream_gives_the_records_and_then_the_result(store: Store) -> None:
    one = engine(store, planner=Plan((Step("s", tool="add", args={"a": 1, "b": 1}),), ref("s")))
    items = [item async for item in one.stream("add")]
    assert items[-1].output == 2  # type: ignore[union-attr]
    assert [item.kind for item in items if hasattr(item, "kind") and hasattr(item, "data")][-1] == "finished"


@pytest.mark.anyio
async def test_the_graph_works_as_a_node_of_another_graph(store: Store) -> None:
    from typing import TypedDict

    from langgraph.graph import END, START, StateGraph

    class Mine(TypedDict, total=False):
        task: str
        output: Any
        outcome: str
        doubled: float

    one = engine(store, planner=Plan((Step("s", tool="add", args={"a": 1, "b": 1}),), ref("s")))
    graph = StateGraph(Mine)
    graph.add_node("engine", one.graph)
    graph.add_node("double", lambda state: {"doubled": state["output"] * 2})
    graph.add_edge(START, "engine")
    graph.add_edge("engine", "double")
    graph.add_edge("double", END)
    ended = await graph.compile().ainvoke({"task": "add"})
    assert ended["doubled"] == 4
    assert ended["outcome"] == "verified"


class Kept(TypedDict, total=False):
    """What an outer graph keeps from one call to the next."""

    task: str
    run_id: str
    output: Any
    outcome: str


@pytest.mark.anyio
async def test_another_task_in_a_graph_that_keeps_its_state_is_another_run(store: Store) -> None:
    from langgraph.checkpoint.memory import InMemorySaver
    from langgraph.graph import END, START, StateGraph

    plan = Plan((Step("s", "Say it."),), ref("s"))
    said = iter(["17", "17", "99", "99", "5", "5"])
    one = Engine(ScriptedModel(lambda question, index: next(said)), planner=plan, store=store)
    graph = StateGraph(Kept)
    graph.add_node("engine", one.graph)
    graph.add_edge(START, "engine")
    graph.add_edge("engine", END)
    outer = graph.compile(checkpointer=InMemorySaver())
    where: Any = {"configurable": {"thread_id": "1"}}
    ended = [await outer.ainvoke({"task": task}, where) for task in ("the first", "the second", "the second")]
    assert [one["output"] for one in ended] == ["17", "99", "5"]
    assert len({one["run_id"] for one in ended}) == 3
    assert [store.task(one["run_id"]).goal for one in ended] == ["the first", "the second", "the second"]


@pytest.mark.anyio
async def test_a_question_to_a_person_is_an_interrupt_of_the_outer_graph(store: Store) -> None:
    from langgraph.checkpoint.memory import InMemorySaver
    from langgraph.types import Command

    out: list[str] = []
    one = engine(store, tools=[sending(out)], planner=LETTER)
    from surefoot.engine.running.phases import build

    graph = build(one.runs, InMemorySaver())
    where: Any = {"configurable": {"thread_id": "t"}}
    first = await graph.ainvoke({"task": "send"}, where)
    assert first["__interrupt__"][0].value["questions"][0]["tool"] == "send"
    ended = await graph.ainvoke(Command(resume=True), where)
    assert ended["output"] == "sent hello"
    assert out == ["hello"]


def test_langchain_tools_are_accepted_beside_ours(store: Store) -> None:
    from langchain_core.tools import tool as langchain_tool

    @langchain_tool
    def double(x: int) -> int:
        """Doubles a number."""
        return 2 * x

    plan = Plan((Step("s", tool="double", args={"x": 21}),), ref("s"))
    assert engine(store, tools=[double], planner=plan).run("double").output == 42


def test_a_cancelled_run_stops_cleanly_and_can_be_resumed(store: Store) -> None:
    started = asyncio.Event()

    @tool(effect="pure")
    async def wait(n: int) -> int:
        """Waits in its first run."""
        started.set()
        if not go:
            await asyncio.sleep(60)
        return n

    plan = Plan((Step("a", tool="add", args={"a": 1, "b": 1}), Step("b", tool="wait", args={"n": ref("a")})), ref("b"))
    go: list[int] = []

    async def cancelled() -> None:
        one = engine(store, tools=[add, wait], planner=plan)
        run = asyncio.create_task(one.arun("wait"))
        await started.wait()
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run

    asyncio.run(cancelled())
    info = store.runs(1)[0]
    assert info.outcome is Outcome.CANCELED
    go.append(1)
    result = engine(store, tools=[add, wait], planner=plan).resume("last")
    assert result.output == 2
    assert [len(step.attempts) for step in result.steps[1:]] == [1, 1]


def test_a_finished_run_is_handed_back_as_it_ended(store: Store) -> None:
    one = engine(store, planner=Plan((Step("s", tool="add", args={"a": 1, "b": 1}),), ref("s")))
    result = one.run("add")
    again = one.resume(result.run_id)
    assert (again.outcome, again.output, again.usage) == (result.outcome, result.output, result.usage)


def test_a_fork_goes_on_from_a_point_in_the_past(store: Store) -> None:
    calls: list[float] = []

    @tool(effect="pure")
    async def noted(x: float) -> float:
        """Notes that it ran."""
        calls.append(x)
        return x

    plan = Plan((Step("a", tool="noted", args={"x": 1}), Step("b", tool="noted", args={"x": ref("a")})), ref("b"))
    one = engine(store, tools=[noted], planner=plan)
    result = one.run("twice")
    forked = one.fork(result.run_id, "b")
    assert forked.outcome is Outcome.VERIFIED
    assert forked.run_id != result.run_id
    assert calls == [1, 1, 1], "the fork ran b again, and not a"
    assert store.run(forked.run_id).parent == result.run_id


def test_a_replay_takes_every_decision_again_without_asking_anyone(store: Store) -> None:
    plan = Plan((Step("city", "Capital of France?"), Step("sum", tool="add", args={"a": 1, "b": 2})), ref("city"))
    model = ScriptedModel(["Paris", "Lyon", "Paris", "Paris"])
    one = Engine(model, tools=[add], planner=plan, store=store)
    result = one.run("capital")
    again = one.replay(result.run_id)
    assert again
    assert again.decisions == 3
    model.assert_done()
    stricter = one.replay(result.run_id, target=0.9999)
    assert [(one.step, one.recorded, one.decided) for one in stricter.divergences] == [("city", "committed", "propose")]


def test_a_run_that_failed_because_the_model_was_away_goes_on_when_it_is_back(store: Store) -> None:
    plan = Plan((Step("sum", tool="add", args={"a": 1, "b": 2}), Step("city", "Capital of France?")), ref("city"))
    away = ScriptedModel(lambda question, index: ModelUnavailable("connection refused"))
    first = Engine(away, tools=[add], planner=plan, store=store).run("capital")
    assert first.outcome is Outcome.FAILED
    result = Engine(ScriptedModel(["Paris", "Paris"]), tools=[add], planner=plan, store=store).resume(first.run_id)
    assert result.outcome is Outcome.AGREED
    assert result.output == "Paris"
    assert len(result.steps[1].attempts) == 1, "what was committed before the failure stands"


def test_a_listener_that_fails_is_dropped_and_the_run_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    heard: list[object] = []

    def listener(record: object) -> None:
        heard.append(record)
        if len(heard) == 3:
            raise ConnectionError("the page is gone")

    plan = Plan((Step("s", "Say it."),), ref("s"))
    with Engine(ScriptedModel(lambda question, index: "hello"), planner=plan, store=tmp_path / "runs.db") as engine:
        result = engine.run("?", on_record=listener, verify=False)
    assert result.output == "hello" and len(heard) == 3
    (said,) = [one.getMessage() for one in caplog.records if "listener" in one.getMessage()]
    assert "ConnectionError: the page is gone" in said


def test_the_same_call_twice_in_one_reply_runs_once_and_is_said_to_be_one(store: Store) -> None:
    sent: list[str] = []

    @tool(effect="once")
    def send(text: str) -> str:
        """Sends a letter."""
        sent.append(text)
        return f"letter {len(sent)}"

    script = [
        [call("send", {"text": "hi"}, "a"), call("send", {"text": "hi"}, "b"), call("send", {"text": "ho"}, "c")],
        "done",
    ]
    one = engine(store, script, tools=[send], planner=Plan((Step("s", "Write."),), ref("s")))
    result = one.run("letters", verify=False)
    assert result.output == "done" and sorted(sent) == ["hi", "ho"]
    told = {one.tool_call_id: one.content for one in one.models["act"].questions[-1].follow_up if one.role == "tool"}
    assert "the same call as a, twice in one reply: it ran once. What it gave: letter" in told["b"]


@pytest.mark.anyio
async def test_samples_that_ask_for_the_same_effect_at_once_share_it(store: Store) -> None:
    sent: list[str] = []

    @tool(effect="once", timeout=None)
    async def send(text: str) -> str:
        """Sends a letter."""
        sent.append(text)
        await asyncio.sleep(0.05)
        return f"letter {len(sent)}"

    def script(question: Any, index: int) -> Any:
        return "done" if question.follow_up else call("send", {"text": "hi"})

    one = engine(store, script, tools=[send], planner=Plan((Step("s", "Write.", votes=2),), ref("s")))
    result = await one.arun("letters")
    assert sent == ["hi"], "it is one effect of the step, however many samples ask for it"
    assert result.output == "done", result.reason
