"""The phases of a run: plan -> work -> reflect -> (plan | work | ask | finish). `Flow.phase` says which comes next.

The engine takes its own runs through them by `drive`. `build` makes a LangGraph graph of the same phases, to be part
of other graphs. The graph's state is a cursor: which run, and how it ended. Everything else is in the journal, so a
checkpoint stays small however long the run is, and a graph that is resumed in another process finds its run by id.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypedDict

from surefoot.storage.errors import SetupError
from surefoot.storage.records import Event, Json

if TYPE_CHECKING:
    from langgraph.graph.state import CompiledStateGraph

    from surefoot.engine.ending import Ending
    from surefoot.engine.flow import Flow


# --- the phases -----------------------------------------------------------------------------------------------


async def plan(flow: Flow) -> None:
    await flow.lead()


async def work(flow: Flow) -> None:
    await flow.work()


async def reflect(flow: Flow) -> None:
    await flow.lead(planning=False)


async def ask(flow: Flow) -> None:
    """Leaves the run waiting for a person."""
    flow.pause()
    await flow.barrier()


async def finish(flow: Flow) -> Ending:
    ending = flow.finish()
    await flow.barrier()
    return ending


FIRST = "plan"

INNER: Mapping[str, Callable[[Flow], Awaitable[None]]] = {"plan": plan, "work": work, "reflect": reflect}
"""Those after which the run goes on."""


async def drive(flow: Flow) -> Ending | None:
    """Takes a run through its phases; how it ended, or None where it waits for a person."""
    phase = FIRST
    while phase in INNER:
        await INNER[phase](flow)
        phase = flow.phase()
    if phase == "ask":
        await ask(flow)
        return None
    return await finish(flow)


# --- as a graph -----------------------------------------------------------------------------------------------


class Cursor(TypedDict, total=False):
    """State of the graph. In: `task` (and `inputs`), or the `run_id` of a run to go on with. Out: the rest.

    A graph that keeps its state hands in the `run_id` of the run before: another task, or the same one again after
    it has ended, is a new run.
    """

    task: str
    inputs: dict[str, Any]
    run_id: str
    outcome: str
    output: Any
    reason: str


class Desk(Protocol):
    """Where the graph's nodes find their runs."""

    async def enter(self, cursor: Cursor) -> Flow:
        """The run that the cursor asks for: the one of its id, or a new one for its task."""
        ...

    async def open(self, cursor: Cursor) -> Flow:
        """The run of the cursor's id: the one under way, or taken up again."""
        ...

    async def let_go(self, flow: Flow) -> None:
        """Closes the record of a run that was entered."""
        ...


class Nodes:
    """The nodes. They keep nothing: each finds its run by the cursor."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    async def begin(self, cursor: Cursor) -> Cursor:
        return {"run_id": (await self.desk.enter(cursor)).run_id}

    def inner(self, phase: Callable[[Flow], Awaitable[None]]) -> Callable[[Cursor], Awaitable[Cursor]]:
        async def node(cursor: Cursor) -> Cursor:
            await phase(await self.desk.open(cursor))
            return {}

        return node

    async def ask(self, cursor: Cursor) -> Cursor:
        from langgraph.types import interrupt

        flow = await self.desk.open(cursor)
        await ask(flow)
        answer(flow, interrupt({"run_id": flow.run_id, "questions": flow.questions()}))
        return {}

    async def finish(self, cursor: Cursor) -> Cursor:
        flow = await self.desk.open(cursor)
        ending = await finish(flow)
        await self.desk.let_go(flow)
        return {"outcome": ending.outcome.value, "output": ending.output, "reason": ending.reason}

    async def after(self, cursor: Cursor) -> str:
        return (await self.desk.open(cursor)).phase()


def build(desk: Desk, checkpointer: Any = None) -> CompiledStateGraph[Any, Any, Any, Any]:
    """The compiled graph. Without a checkpointer of its own it takes part in that of the graph it is a node of."""
    from langgraph.graph import END, START, StateGraph

    nodes = Nodes(desk)
    graph = StateGraph(Cursor)
    graph.add_node("begin", nodes.begin)
    for name, node in [*((name, nodes.inner(phase)) for name, phase in INNER.items()), ("ask", nodes.ask)]:
        graph.add_node(name, node)
        graph.add_conditional_edges(name, nodes.after, [*INNER, "ask", "finish"])
    graph.add_node("finish", nodes.finish)
    graph.add_edge(START, "begin")
    graph.add_edge("begin", FIRST)
    graph.add_edge("finish", END)
    return graph.compile(checkpointer=checkpointer, name="surefoot")


def answer(flow: Flow, answers: Json) -> None:
    """Records a person's answers: one for each open question by its key, or one for all of them.

    An answer is True or False (agree or not), or a mapping with any of `approve`, `arguments` (corrected ones),
    `output` (the tool's, or the step's, given by the person) and `comment`. A question that nothing fits stays open:
    to agree is no answer where the step's output is asked for. Raises SetupError, before anything is recorded.
    """
    found = [(question, _fitting(question, answers)) for question in flow.questions()]
    for question, one in found:
        if one is not None:
            data = {"key": question["key"], "answer": one}
            flow.record(Event(flow.seq(), "answered", question["step"], data=data))


def _fitting(question: dict[str, Json], answers: Json) -> dict[str, Json] | None:
    """The answer to one question; None where there is none."""
    by_key = isinstance(answers, dict) and question["key"] in answers
    one = answers[question["key"]] if by_key else answers
    if isinstance(one, bool):
        one = {"approve": one}
    if not isinstance(one, dict) or not one.keys() & {"approve", "arguments", "output"}:
        return None
    if not isinstance(one.get("approve", True), bool):
        raise SetupError(f"approve={one['approve']!r} is neither True nor False")
    if question.get("wants") == "output" and "output" not in one and one.get("approve", True):
        return None
    return one
