"""Fields of a message that are a provider's own come back to it unchanged, also after a person was asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from servers import Body, Response, ScriptedServer, calls, refuse, say

from surefoot.engine import Engine
from surefoot.storage import Plan, Step, ref
from surefoot.storage.records import Message, Outcome
from surefoot.storage.store import Store
from surefoot.tools import tool

SIGNATURE = {"google": {"thought_signature": "c2lnbmVk"}}
CALL = {"id": "c1", "type": "function", "function": {"name": "price", "arguments": '{"item": "lamp"}'}}


@tool
def price(item: str) -> int:
    """The price of an item."""
    return len(item)


@tool(approval=True)
def pay(item: str) -> str:
    """Pays for an item."""
    return f"paid {item}"


def wants_reasoning(body: Body) -> Response:
    """DeepSeek: with a tool's result it wants the reasoning that led to the call."""
    if body["messages"][-1]["role"] != "tool":
        return calls(
            ("c1", body["tools"][0]["function"]["name"], '{"item": "lamp"}'), message={"reasoning_content": "hm"}
        )
    said = body["messages"][-2]
    if said.get("reasoning_content") != "hm":
        return refuse(400, "The reasoning_content in the thinking mode must be passed back")
    return say("done", message={"reasoning_content": "so it is"})


def wants_signature(body: Body) -> Response:
    """Gemini: every call carries a signature of the thought behind it."""
    if body["messages"][-1]["role"] != "tool":
        return say(None, tool_calls=[{**CALL, "extra_content": SIGNATURE}], finish_reason="tool_calls")
    if body["messages"][-2]["tool_calls"][0].get("extra_content") != SIGNATURE:
        return refuse(400, "Function call is missing a thought_signature")
    return say("done")


def engine(server: ScriptedServer, store: Path, called: Any = price) -> Engine:
    plan = Plan((Step("s", "What does a lamp cost?"),), ref("s"))
    return Engine("openai/test", base_url=server.url, planner=plan, tools=[called], store=store, verify=False)


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUREFOOT_API_KEY", "k")


@pytest.mark.parametrize("script", [wants_reasoning, wants_signature])
def test_they_come_back_with_a_tools_result(script: Any, tmp_path: Path) -> None:
    with ScriptedServer(script) as server, engine(server, tmp_path / "runs.db") as made:
        result = made.run("?")
        assert (result.outcome, result.output) == (Outcome.UNVERIFIED, "done"), result.reason
        assert len(server.requests) == 2


def test_they_come_back_after_a_person_was_asked_in_another_process(tmp_path: Path) -> None:
    with ScriptedServer(wants_reasoning) as server:
        with engine(server, tmp_path / "runs.db", pay) as made:
            asked = made.run("?")
            assert asked.outcome is Outcome.INPUT_REQUIRED
        with engine(server, tmp_path / "runs.db", pay) as made:
            result = made.resume(asked.run_id, True)
        assert result.output == "done", result.reason


def test_they_are_kept_in_the_record(tmp_path: Path) -> None:
    with ScriptedServer(wants_reasoning) as server, engine(server, tmp_path / "runs.db") as made:
        run_id = made.run("?").run_id
    with Store.open(tmp_path / "runs.db") as store:
        said = [one for one in store.records(run_id, kinds=(Message,)) if isinstance(one, Message) and one.sampled]
    assert [one.extra for one in said] == [{"reasoning_content": "hm"}, {"reasoning_content": "so it is"}]
    assert json.dumps([one.extra for one in said])
