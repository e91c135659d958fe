"""Tools, as real servers offer them to real models: calls, results that are sent back, calls that go wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from real.asking import PRICES, SLOW, kept, model, once, prices, same
from real.llama import Llama
from real.proxy import Proxy

from surefoot.storage.records import Attempt, Message, ModelCall, Plan, Step, ToolCall, ref
from surefoot.storage.store import Store
from surefoot.tools import tool

pytestmark = [pytest.mark.real, pytest.mark.timeout(SLOW)]

Counting = Callable[[Llama], Proxy]


def said(proxy: Proxy) -> list[dict[str, Any]]:
    """The messages that came back, in their order."""
    return [reply["choices"][0]["message"] for reply in proxy.counts.replies]


@tool(effect="pure")
def note(text: str) -> str:
    """Keeps a note of one hundred words or more."""
    return text


def test_arguments_that_the_server_binds_by_the_schema_are_those_that_the_tool_gets(
    smol: Llama, counting: Counting, store: Store
) -> None:
    proxy = counting(smol)
    result = once(store, proxy.url, prices(2)).run("prices")
    called = kept(store, result.run_id, ToolCall)
    requested = [call for message in said(proxy) for call in message["tool_calls"]]
    assert {call.call_id: call.arguments_raw for call in called} == {
        one["id"]: one["function"]["arguments"] for one in requested
    }
    assert all(call.result == PRICES[call.arguments["sku"]] for call in called)
    assert [attempt.output for attempt in kept(store, result.run_id, Attempt)[:2]] == [call.result for call in called]
    same(kept(store, result.run_id, ModelCall), proxy.counts)


def test_a_result_goes_back_to_the_server_with_its_call_and_is_taken(
    smol: Llama, counting: Counting, store: Store
) -> None:
    proxy = counting(smol)
    plan = Plan((Step("s", "What does A1 cost?"),), ref("s"))
    result = once(store, proxy.url, plan).run("price")
    called, *_ = kept(store, result.run_id, ToolCall)
    first, second = proxy.counts.requests[:2]
    assert first["tools"][0]["function"]["name"] == "unit_price"
    asked, answered = second["messages"][-2:]
    assert [one["id"] for one in asked["tool_calls"]] == [called.call_id]
    assert answered["tool_call_id"] == called.call_id and answered["content"] == str(called.result)
    assert not proxy.counts.refused
    same(kept(store, result.run_id, ModelCall), proxy.counts)


def test_a_call_that_was_cut_off_is_never_run_and_the_attempt_says_so(
    smol: Llama, counting: Counting, store: Store
) -> None:
    proxy = counting(smol)
    plan = Plan((Step("s", "Keep a note about Rome.", tool="note"),), ref("s"))
    result = once(store, proxy.url, plan, model=model(proxy.url, max_tokens=20), tools=[note]).run("a note")
    replies = proxy.counts.replies
    assert [reply["choices"][0]["finish_reason"] for reply in replies[:2]] == ["length", "length"]
    assert [reply["usage"]["completion_tokens"] for reply in replies[:2]] == [20, 40]
    assert kept(store, result.run_id, ToolCall) == []
    assert "at most 40) inside a tool call" in kept(store, result.run_id, Attempt)[0].error
    same(kept(store, result.run_id, ModelCall), proxy.counts)


def test_where_a_server_leaves_tools_out_the_reason_says_that_none_was_called(
    plain: Llama, counting: Counting, store: Store
) -> None:
    proxy = counting(plain)
    result = once(store, proxy.url, prices(1)).run("price")
    assert result.output is None
    assert "no tool was called; call one of: unit_price" in result.reason
    assert kept(store, result.run_id, ToolCall) == []
    same(kept(store, result.run_id, ModelCall), proxy.counts)


CALL = '<tool_call>{"name": "unit_price", "arguments": {"sku": "A1"}}</tool_call>'


def test_a_call_that_a_model_writes_as_text_is_run(plain: Llama, counting: Counting, store: Store) -> None:
    proxy = counting(plain)
    plan = Plan((Step("s", f"{CALL}\n" * 3, tool="unit_price"),), ref("s"))  # it goes on with what it sees
    writes = model(proxy.url, extra={"stop": ["\n"]})
    result = once(store, proxy.url, plan, model=writes).run("price")
    assert said(proxy)[0]["content"].strip() == CALL, "this server gives no calls of its own"
    (called,) = kept(store, result.run_id, ToolCall)
    assert (called.name, called.arguments, called.result) == ("unit_price", {"sku": "A1"}, 2.5)
    assert result.steps[1].output == 2.5
    written = [message for message in kept(store, result.run_id, Message) if message.sampled]
    assert written[0].content.strip() == CALL, "the record has what the model said"
    same(kept(store, result.run_id, ModelCall), proxy.counts)
