"""Two hundred steps with tools over a real server: no reply is lost, none is counted twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
from real.asking import PRICES, SLOW, kept, once, prices, same
from real.llama import Llama
from real.proxy import Proxy

from surefoot.engine import Outcome
from surefoot.storage.records import Attempt, Message, ModelCall, ToolCall
from surefoot.storage.store import Store

pytestmark = [pytest.mark.real, pytest.mark.timeout(2 * SLOW)]

STEPS = 200


def test_two_hundred_steps_are_recorded_as_the_server_counted_them(
    own: Callable[..., Llama], counting: Callable[[Llama], Proxy], store: Store
) -> None:
    server = own("smol")
    proxy = counting(server)
    result = once(store, proxy.url, prices(STEPS), concurrency=8).run("prices")
    assert result.outcome is Outcome.UNVERIFIED, result.reason
    calls: list[ModelCall] = kept(store, result.run_id, ModelCall)
    assert len(calls) == STEPS == len(proxy.counts.requests)
    same(calls, proxy.counts)
    used = result.usage
    assert (used.prompt_tokens, used.completion_tokens) == server.counted

    wire = Counter(
        call["id"] for reply in proxy.counts.replies for call in reply["choices"][0]["message"].get("tool_calls", ())
    )
    ran: list[ToolCall] = kept(store, result.run_id, ToolCall)
    assert Counter(one.call_id for one in ran) == wire, "each call that came was run once"
    messages = {one.call: one for one in kept(store, result.run_id, Message) if one.sampled}
    for one in ran:
        (asked,) = messages[one.call].tool_calls
        assert (asked["id"], asked["arguments"]) == (one.call_id, one.arguments_raw)
        assert one.result == PRICES[one.arguments["sku"]]
    attempts = [one for one in kept(store, result.run_id, Attempt) if one.role == "sample"]
    assert {one.call for one in attempts} == {call.seq for call in calls}, "each reply has the attempt that it made"
