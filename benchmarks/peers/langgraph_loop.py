"""LangGraph: a loop of two nodes, model and tool, with its SQLite checkpointer as it comes.

The state is two numbers and the call that is asked for, so that a checkpoint stays small. A step is two
supersteps, and each leaves a checkpoint.
"""

from __future__ import annotations

import os

# Traces of every superstep are no part of the work, whatever the environment says. Read when LangGraph is imported.
os.environ["LANGSMITH_TRACING"] = "false"

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypedDict

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, StateGraph

from benchmarks.harness import expect

THREAD: dict[str, Any] = {"thread_id": "count"}


class State(TypedDict):
    value: int
    left: int
    call: dict[str, int] | None


def model(state: State) -> dict[str, Any]:
    """The scripted model: asks for one more."""
    return {"call": {"a": state["value"], "b": 1}}


def tool(state: State) -> dict[str, Any]:
    """Calls `add`, and checks what it gives as surefoot's step does: the type, and that it is one more."""
    call = state["call"] or {}
    result = add(**call)
    if not isinstance(result, int) or result != state["value"] + 1:
        raise ValueError(f"{result} is not one more than {state['value']}")
    return {"value": result, "left": state["left"] - 1, "call": None}


def add(a: int, b: int) -> int:
    return a + b


def more(state: State) -> str:
    return "model" if state["left"] else END


class Sync:
    """Each superstep's checkpoint is written before the next superstep starts."""

    durability: Literal["sync", "async"] = "sync"

    def create(self, folder: Path) -> None:
        with SqliteSaver.from_conn_string(str(folder / "checkpoints.db")) as saver:
            saver.setup()

    def open(self, folder: Path, shape: str, seed: int) -> Callable[[int], None]:
        manager = SqliteSaver.from_conn_string(str(folder / "checkpoints.db"))
        saver = manager.__enter__()
        saver.setup()
        builder = StateGraph(State)
        builder.add_node("model", model)
        builder.add_node("tool", tool)
        builder.add_edge(START, "model")
        builder.add_edge("model", "tool")
        builder.add_conditional_edges("tool", more, ["model", END])
        graph = builder.compile(checkpointer=saver)

        def work(steps: int) -> None:
            config = RunnableConfig(configurable=THREAD, recursion_limit=2 * steps + 10)
            start = State(value=0, left=steps, call=None)
            state = graph.invoke(start, config, durability=self.durability)
            manager.__exit__(None, None, None)
            expect(state["value"], steps, "the loop's output")

        return work

    def count(self, folder: Path) -> int:
        """Numbers that stored checkpoints hold, without the one that the loop began with."""
        with SqliteSaver.from_conn_string(str(folder / "checkpoints.db")) as saver:
            stored = saver.list(RunnableConfig(configurable=THREAD))
            values = {one.checkpoint["channel_values"].get("value") for one in stored}
            return len(values - {None, 0})


class Async(Sync):
    """A superstep's checkpoint is written while the next superstep runs."""

    durability = "async"
