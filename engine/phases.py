"""The phases of a run as a LangGraph graph: begin -> plan -> work -> reflect -> (plan | work | ask | finish).

The graph's state is a cursor: which run, and how it ended. Everything else is in the journal, so a checkpoint
stays small however long the run is, and a graph that is resumed in another process finds its run again by id.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypedDict

from surefoot.storage.errors import SetupError
from surefoot.storage.records import Event, Json

if TYPE_CHECKING:
    from langgraph.graph.state import CompiledStateGraph

    from surefoot.engine.flow import Flow


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

    def enter(self, cursor: Cursor) -> Flow:
        """The run that the cursor asks for: the one of its id, or a new one for its task."""
        ...

    def open(self, cursor: Cursor) -> Flow:
        """The run of the cursor's id: the one under way, or taken up again."""
        ...

    def close_run(self, flow: Flow) -> None: ...


class Phases:
    """The nodes. They keep nothing: each finds its run by the cursor."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    async def begin(self, cursor: Cursor) -> Cursor:
        return {"run_id": self.desk.enter(cursor).run_id}

    async def plan(self, cursor: Cursor) -> Cursor:
        await self.desk.open(cursor).lead()
        return {}

    async def work(self, cursor: Cursor) -> Cursor:
        await self.desk.open(cursor).work()
        return {}

    async def reflect(self, cursor: Cursor) -> Cursor:
        await self.desk.open(cursor).lead(planning=False)
        return {}

    async def ask(self, cursor: Cursor) -> Cursor:
        from langgraph.types import interrupt

        flow = self.desk.open(cursor)
        flow.pause()
        await flow.barrier()
        # The engine's own graph only has to stop: what LangGraph keeps must be small, and fit into msgpack.
        questions = [] if flow.owned else flow.questions()
        answer(flow, interrupt({"run_id": flow.run_id, "questions": questions}))
        return {}

    async def finish(self, cursor: Cursor) -> Cursor:
        flow = self.desk.open(cursor)
        ending = flow.finish()
        await flow.barrier()
        self.desk.close_run(flow)
        output = None if flow.owned else ending.output
        return {"outcome": ending.outcome.value, "output": output, "reason": ending.reason}

    def after(self, cursor: Cursor) -> str:
        return self.desk.open(cursor).phase()


def build(desk: Desk, checkpointer: Any = None) -> CompiledStateGraph[Any, Any, Any, Any]:
    """The compiled graph. Without a checkpointer of its own it takes part in that of the graph it is a node of."""
    from langgraph.graph import END, START, StateGraph

    phases = Phases(desk)
    graph = StateGraph(Cursor)
    graph.add_node("begin", phases.begin)
    for name in ("plan", "work", "reflect", "ask"):
        graph.add_node(name, getattr(phases, name))
        graph.add_conditional_edges(name, phases.after, ["plan", "work", "reflect", "ask", "finish"])
    graph.add_node("finish", phases.finish)
    graph.add_edge(START, "begin")
    graph.add_edge("begin", "plan")
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
