"""The phases of a run: plan -> work -> reflect -> (plan | work | ask | finish). `upcoming` says which comes next.

The engine takes its own runs through them by `drive`. `build` makes a LangGraph graph of the same phases, to be part
of other graphs. The graph's state is a cursor: which run, and how it ended. Everything else is in the journal, so a
checkpoint stays small however long the run is, and a graph that is resumed in another process finds its run by id.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypedDict

from surefoot.engine.core.ending import Ending, ending
from surefoot.engine.core.state import QUESTION
from surefoot.models.schema import check
from surefoot.storage.errors import SetupError
from surefoot.storage.events import Answered, Finished
from surefoot.storage.outcome import Outcome
from surefoot.storage.records import Event, Json, Reward
from surefoot.trajectories.rewards import Ended, rewards
from surefoot.trajectories.standing import asking

if TYPE_CHECKING:
    from langgraph.graph.state import CompiledStateGraph

    from surefoot.engine.running.flow import Flow


# --- the phases -----------------------------------------------------------------------------------------------


async def plan(flow: Flow) -> None:
    await flow.drive_root()


async def work(flow: Flow) -> None:
    await flow.work()


async def reflect(flow: Flow) -> None:
    await flow.drive_root(planning=False)


async def ask(flow: Flow) -> None:
    """Leaves the run waiting for a person, and says so on its row."""
    flow.asking = True
    flow.journal.finish(Outcome.INPUT_REQUIRED, asking(flow.questions()), usage=flow.state.spent.usage)
    await flow.barrier()


async def finish(flow: Flow) -> Ending:
    """Closes the record of the run, with its rewards."""
    state, asked = flow.state, flow.context.settings
    end = ending(state, flow.context.rules, flow.task, flow.halt, verify=asked.verify, strict=asked.strict)
    learned, spent = state.observed.learned(flow.context.policy), state.spent.usage
    flow.record(Event(flow.seq(), "finished", state.root, data=Finished(outcome=end.outcome.value)))
    for name, value in rewards(Ended(end.outcome, end.output, end.reliability, spent)):
        flow.record(Reward(flow.seq(), "run", None, name, value, "engine"))
    flow.journal.finish(end.outcome, end.reason, end.output, end.reliability, spent, learned)
    await flow.barrier()
    return end


def upcoming(flow: Flow) -> Literal["plan", "work", "reflect", "ask", "finish"]:
    """The phase that comes next."""
    root = flow.root
    if flow.halt is not None or not root.open:
        return "finish"
    if root.status == "ready":
        return "ask" if root.waits else "plan"
    if root.broken is None and flow.state.ready:
        return "work"
    if root.broken is not None or not root.open_children:
        return "plan" if root.more and root.broken is None else "reflect"
    return "ask" if flow.questions() else "finish"


FIRST = "plan"

INNER: Mapping[str, Callable[[Flow], Awaitable[None]]] = {"plan": plan, "work": work, "reflect": reflect}
"""Those after which the run goes on."""


async def drive(flow: Flow) -> Ending | None:
    """Takes a run through its phases; how it ended, or None where it waits for a person."""
    phase = FIRST
    while phase in INNER:
        await INNER[phase](flow)
        phase = upcoming(flow)
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


class RunLookup(Protocol):
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

    def __init__(self, lookup: RunLookup) -> None:
        self.lookup = lookup

    async def begin(self, cursor: Cursor) -> Cursor:
        return {"run_id": (await self.lookup.enter(cursor)).run_id}

    def inner(self, phase: Callable[[Flow], Awaitable[None]]) -> Callable[[Cursor], Awaitable[Cursor]]:
        async def node(cursor: Cursor) -> Cursor:
            await phase(await self.lookup.open(cursor))
            return {}

        return node

    async def ask(self, cursor: Cursor) -> Cursor:
        from langgraph.types import interrupt

        flow = await self.lookup.open(cursor)
        await ask(flow)
        answer(flow, interrupt({"run_id": flow.run_id, "questions": flow.questions()}))
        return {}

    async def finish(self, cursor: Cursor) -> Cursor:
        flow = await self.lookup.open(cursor)
        ending = await finish(flow)
        await self.lookup.let_go(flow)
        return {"outcome": ending.outcome.value, "output": ending.output, "reason": ending.reason}

    async def after(self, cursor: Cursor) -> str:
        return upcoming(await self.lookup.open(cursor))


def build(lookup: RunLookup, checkpointer: Any = None) -> CompiledStateGraph[Any, Any, Any, Any]:
    """The compiled graph. Without a checkpointer of its own it takes part in that of the graph it is a node of."""
    from langgraph.graph import END, START, StateGraph

    nodes = Nodes(lookup)
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


WORDS = {"approve", "arguments", "output", "comment"}
"""What an answer may say."""


def answer(flow: Flow, answers: Json) -> None:
    """Records a person's answers, as `fitting` reads them."""
    steps = {one["key"]: one["step"] for one in flow.questions()}
    for key, one in fitting(flow, answers).items():
        flow.record(Event(flow.seq(), "answered", steps[key], data=Answered(key=key, answer=one)))


def fitting(flow: Flow, answers: Json) -> dict[str, Json]:
    """A person's answers by key: one was given for all open questions, or a mapping with one for some of them.

    An answer is True or False (agree or not), or a mapping with any of `approve`, `arguments` (corrected ones),
    `output` (the tool's, or the step's, given by the person) and `comment`. What was settled before stands. To agree
    is no answer where the step's output is asked for: that question stays open. Raises SetupError for what is no
    answer, for keys that nothing is asked by, and for arguments that the tool does not take.
    """
    questions = {one["key"]: one for one in flow.questions()}
    if isinstance(answers, dict) and not answers.keys() & WORDS:
        given = {key: one for key, one in answers.items() if key in questions}
        settled = {QUESTION + key for key in flow.state.answers} if given else set()  # answered before: that stands
        if wrong := sorted(map(str, answers.keys() - given.keys() - settled)):
            keys = ", ".join(questions) or "none"
            raise SetupError(f"the run asks nothing by the key {wrong[0]!r}; its keys are: {keys}")
    else:
        given = dict.fromkeys(questions, answers)
    said = {key: _answer(flow, questions[key], one) for key, one in given.items()}
    return {
        key: one
        for key, one in said.items()
        if questions[key].get("wants") != "output" or "output" in one or not one.get("approve", True)
    }


def _answer(flow: Flow, question: dict[str, Json], said: Json) -> dict[str, Json]:
    one = {"approve": said} if isinstance(said, bool) else said
    if not isinstance(one, dict) or one.keys() - WORDS or not one.keys() - {"comment"}:
        raise SetupError(
            f"{said!r} is no answer: give true or false, or an object with approve, arguments, output or comment"
        )
    if not isinstance(one.get("approve", True), bool):
        raise SetupError(f"approve={one['approve']!r} is neither True nor False")
    tool = flow.context.tools.get(question.get("tool", ""))
    if "arguments" in one and tool is not None and (wrong := check(tool.parameters)(one["arguments"])) is not None:
        raise SetupError(f"these arguments do not fit {tool.name}, at {wrong}")
    return one
