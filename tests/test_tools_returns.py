"""What a tool gives is what its return annotation says, or the tool has failed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from surefoot.engine import Engine, Outcome
from surefoot.models.scripted import ScriptedModel, call
from surefoot.storage.records import Message, Plan, Step, ToolCall, ref
from surefoot.storage.store import Store
from surefoot.tools import tool


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "runs.db") as store:
        yield store


@pytest.mark.parametrize("effect", ["pure", "idempotent", "once"])
def test_a_tool_that_gives_something_else_than_its_return_type_has_failed(store: Store, effect: str) -> None:
    called = []

    @tool(effect=effect)
    def total(a: int, b: int) -> int:
        called.append(a)
        return f"{a + b}!"  # type: ignore[return-value]

    plan = Plan((Step("s", "Add.", "total", {"a": 1, "b": 2}),), ref("s"))
    result = Engine(ScriptedModel([]), store=store, planner=plan, tools=[total]).run("add")
    assert result.outcome is Outcome.FAILED and (len(called) == 1 or effect != "once")
    assert "total gave something else than its return type says, at $: '3!' is not of type 'integer'" in result.reason
    kept, *_ = store.records(result.run_id, kinds=(ToolCall,))
    assert isinstance(kept, ToolCall) and kept.result == "3!" and kept.error, "what it gave can be read in the record"


def test_a_model_reads_that_a_tool_gave_something_else_than_its_return_type(store: Store) -> None:
    @tool(effect="pure")
    def total(a: int, b: int) -> int:
        return f"{a + b}!" if a else b  # type: ignore[return-value]

    plan = Plan((Step("s", "Add."),), ref("s"))
    wrong, right = (call("total", {"a": a, "b": 2}) for a in (1, 0))
    result = Engine(ScriptedModel([wrong, right, "2"]), store=store, planner=plan, tools=[total], verify=False).run(
        "add"
    )
    assert result.output == 2 or result.output == "2"
    assert any("return type" in str(message) for message in store.records(result.run_id, kinds=(Message,)))
