"""Models behind an API, over a real socket: every fault of the server, usage and cost exactly as reported."""

from __future__ import annotations

import asyncio
import email.utils
import socket
import subprocess
import sys
import threading
import time
from typing import Any

import pytest
from servers import (
    ScriptedServer,
    calls,
    empty,
    error_in_200,
    garbage,
    limited,
    refuse,
    reset,
    say,
    schema_of,
    stall,
)

from surefoot.models import Question, Reply
from surefoot.models.answer import answer
from surefoot.models.api import reading
from surefoot.models.api.gateway import litellm
from surefoot.models.api.model import ApiModel
from surefoot.models.failures import retry_after
from surefoot.models.question import ChatMessage, ToolSpec
from surefoot.storage.errors import ModelRefused, ModelUnavailable
from surefoot.storage.records import Usage

pytestmark = pytest.mark.anyio

GO = Question("act", "go")
ADD = ToolSpec("add", "Adds.", {"type": "object", "properties": {"a": {"type": "number"}}})


def model(server: ScriptedServer, name: str = "openai/test", **options: Any) -> ApiModel:
    return ApiModel(name, base_url=server.url, **{"api_key": "k", "timeout": 10.0} | options)


async def one(server: ScriptedServer, question: Question = GO, **options: Any) -> Reply:
    (reply,) = await model(server, **options).ask(question)
    return reply


# --- what is sent -------------------------------------------------------------------------------------------


async def test_the_request_carries_the_question() -> None:
    schema = {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]}
    question = Question("act", "go", output_schema=schema, temperature=0.3, max_tokens=50, seed=9)
    with ScriptedServer([say('{"x": 1}')]) as server:
        reply = await one(server, question)
    (body,) = server.requests
    assert [message["role"] for message in body["messages"]] == ["system", "user"]
    assert [message["content"] for message in body["messages"]] == [message.content for message in reply.prompt]
    assert (body["temperature"], body["max_tokens"], body["seed"]) == (0.3, 50, 9)
    assert schema_of(body) == schema and "tools" not in body and body.get("stream") is None
    assert reply.sampling == {"temperature": 0.3, "max_tokens": 50, "seed": 9, "cost_source": "unknown"}
    assert server.headers[0]["authorization"] == "Bearer k"


async def test_tools_and_follow_ups_are_sent_in_the_form_of_the_api() -> None:
    with ScriptedServer([calls(("c1", "add", '{"a": 1}')), say("done")]) as server:
        asked = model(server)
        question = Question("act", "go", tools=(ADD,), tool_choice="required")
        (reply,) = await asked.ask(question)
        follow_up = (
            ChatMessage("assistant", reply.text, reply.tool_calls),
            ChatMessage("tool", "1", tool_call_id=reply.tool_calls[0].id),
        )
        await asked.ask(Question("act", "go", tools=(ADD,), follow_up=follow_up))
    first, second = server.requests
    assert first["tools"][0]["function"]["name"] == "add" and first["tool_choice"] == "required"
    assert "response_format" not in first
    assert second["messages"][2]["tool_calls"][0]["function"] == {"name": "add", "arguments": '{"a": 1}'}
    assert second["messages"][3] == {"role": "tool", "content": "1", "tool_call_id": "c1"}


async def test_a_parameter_that_the_provider_does_not_take_is_left_out() -> None:
    with ScriptedServer([say("x")]) as server:
        reply = await one(server, Question("act", "go", temperature=0.3), name="openai/gpt-5")
    assert "temperature" not in server.requests[0] and "temperature" not in reply.sampling


async def test_schemas_in_words_alone_and_extra_parameters() -> None:
    with ScriptedServer([say("3")]) as server:
        await one(
            server,
            Question("act", "go", output_schema={"type": "number"}),
            structured=False,
            extra={"top_p": 0.5},
        )
    assert "response_format" not in server.requests[0] and server.requests[0]["top_p"] == 0.5


async def test_samples_are_requests_at_once_each_with_its_own_seed() -> None:
    together = threading.Barrier(8)

    def script(body: dict[str, Any]) -> Any:
        together.wait(10)
        return say(str(body["seed"]))

    with ScriptedServer(script) as server:
        replies = await model(server).ask(Question("act", "go", seed=100), 8)
    assert [reply.text for reply in replies] == [str(seed) for seed in range(100, 108)]


async def test_no_more_requests_are_open_than_allowed() -> None:
    with ScriptedServer(lambda body: say("x", delay=0.01)) as server:
        await model(server, concurrency=2).ask(GO, 8)
    assert server.peak == 2 and len(server.requests) == 8


async def test_a_server_of_ones_own_needs_no_key() -> None:
    with ScriptedServer([say("x")]) as server:
        assert (await one(server, api_key=None)).text == "x"


# --- what is recorded ---------------------------------------------------------------------------------------


async def test_usage_model_and_revision_are_as_reported() -> None:
    usage = {
        "prompt_tokens": 1000,
        "completion_tokens": 10,
        "total_tokens": 1010,
        "prompt_tokens_details": {"cached_tokens": 800},
    }
    with ScriptedServer([say("x", usage=usage, model="gpt-4o-2024-08-06", fingerprint="fp_1")]) as server:
        reply = await one(server, name="openai/gpt-4o")
    assert (reply.model, reply.revision, reply.usage_source) == ("gpt-4o-2024-08-06", "fp_1", "provider")
    spent = reply.usage
    assert (spent.samples, spent.prompt_tokens, spent.completion_tokens, spent.cached_tokens) == (1, 1000, 10, 800)
    # Its price map: 2.50 dollars a million prompt tokens, 1.25 of them cached, 10 a million completion tokens.
    assert spent.usd == pytest.approx(200 * 2.5e-6 + 800 * 1.25e-6 + 10 * 10e-6)
    assert reply.sampling["cost_source"] == "price map"
    assert reply.latency_ms > 0 and reply.retries == 0 and reply.finish_reason == "stop"


@pytest.mark.parametrize(
    ("usage", "options", "usd", "source"),
    [
        ({"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12, "cost": 0.25}, {}, 0.25, "reported"),
        ({"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}, {"price": (1.0, 3.0)}, 16e-6, "price"),
        ({"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}, {}, 0.0, "unknown"),
    ],
)
async def test_the_cost_says_where_it_comes_from(usage: Any, options: Any, usd: float, source: str) -> None:
    with ScriptedServer([say("x", usage=usage)]) as server:
        reply = await one(server, **options)
    assert reply.usage.usd == pytest.approx(usd) and reply.sampling["cost_source"] == source


async def test_usage_that_is_missing_is_estimated_and_says_so() -> None:
    with ScriptedServer([say("four score and seven", usage=None)]) as server:
        reply = await one(server, price=(1e6, 0.0))
    assert reply.usage_source == "estimated"
    assert reply.usage.prompt_tokens > 50 and reply.usage.completion_tokens == 6
    assert reply.usage.usd == reply.usage.prompt_tokens


async def test_token_ids_and_logprobs_come_along_where_the_server_returns_them() -> None:
    line = say("x", prompt_ids=[1, 2, 3], token_ids=[4, 5], logprobs=[-0.5, -0.25])
    with ScriptedServer([line, say("x")]) as server:
        asked = model(server)
        (reply,), (bare,) = await asked.ask(GO), await asked.ask(GO)
    assert server.requests[0]["return_token_ids"] is True and server.requests[0]["logprobs"] is True
    assert list(reply.prompt_ids or ()) == [1, 2, 3] and list(reply.token_ids or ()) == [4, 5]
    assert list(reply.logprobs or ()) == [-0.5, -0.25]
    assert bare.prompt_ids is None and bare.token_ids is None and bare.logprobs is None


async def test_tool_calls_keep_what_the_model_wrote() -> None:
    line = calls(("a", "add", '{"a": 1}'), ("a", "add", "{a: 1"), ("", "add", "[1]"), ("b", "add", ""), text="hm")
    with ScriptedServer([line]) as server:
        reply = await one(server, Question("act", "go", tools=(ADD,)))
    assert [call.arguments for call in reply.tool_calls] == [{"a": 1}, None, None, {}]
    assert [call.arguments_raw for call in reply.tool_calls] == ['{"a": 1}', "{a: 1", "[1]", ""]
    assert len({call.id for call in reply.tool_calls}) == 4 and reply.tool_calls[0].id == "a"
    assert reply.text == "hm" and reply.finish_reason == "tool_calls"


async def test_a_refusal_is_an_error_that_is_not_asked_again() -> None:
    refusals = [say(None, message={"refusal": "I will not."}), say("", finish_reason="content_filter")]
    with ScriptedServer(refusals) as server:
        ((first,),) = await answer(model(server), Question("act", "go", output_schema={"type": "number"}))
        ((second,),) = await answer(model(server), GO)
    assert first.error == "the model declined: I will not."
    assert "content filter" in (second.error or "")


async def test_an_answer_that_does_not_fit_is_asked_again_over_the_wire() -> None:
    with ScriptedServer([say("lots"), say('{"answer": 4}')]) as server:
        ((_, second),) = await answer(model(server), Question("act", "go", output_schema={"type": "number"}))
    assert second.parsed == 4
    assert "cannot be used" in server.requests[1]["messages"][-1]["content"]


# --- faults that pass ---------------------------------------------------------------------------------------

PASSING = {
    "rate limit": refuse(429, "slow down"),
    "time-out of the server": refuse(408),
    "conflict": refuse(409),
    "too early": refuse(425),
    "server error": refuse(500),
    "bad gateway": refuse(502),
    "unavailable": refuse(503),
    "overloaded": refuse(529, "overloaded"),
    "reset": reset(),
    "error in a 200": error_in_200(),
    "no JSON": garbage(),
    "no choices": garbage(b'{"id": "x", "object": "chat.completion", "choices": []}'),
    "empty": empty(),
}


@pytest.mark.parametrize("fault", PASSING)
async def test_a_fault_that_passes_is_tried_again(fault: str) -> None:
    with ScriptedServer([PASSING[fault], say("fine")]) as server:
        reply = await one(server)
    assert reply.text == "fine" and reply.retries == 1 and len(server.requests) == 2


@pytest.mark.parametrize("fault", ["server error", "reset", "empty", "error in a 200"])
async def test_a_fault_that_stays_ends_after_the_retries(fault: str) -> None:
    with ScriptedServer(lambda body: PASSING[fault]) as server:
        with pytest.raises(ModelUnavailable, match=r"openai/test.*tries: 2"):
            await one(server, retries=1)
        assert len(server.requests) == 2


async def test_a_stall_before_the_first_byte_ends_at_the_timeout() -> None:
    with ScriptedServer([stall(), say("fine")]) as server:
        reply = await one(server, timeout=0.3)
    assert reply.text == "fine" and reply.retries == 1


async def test_all_retries_together_end_at_the_deadline() -> None:
    with ScriptedServer(lambda body: stall()) as server:
        started = time.perf_counter()
        with pytest.raises(ModelUnavailable, match=r"0\.5 s"):
            await one(server, timeout=5.0, deadline=0.5)
        assert time.perf_counter() - started < 4


async def test_the_deadline_does_not_hide_what_was_wrong_before_it() -> None:
    words = r"0\.9 s.*the last try before it: .*429"
    with ScriptedServer([limited(0), stall()]) as server, pytest.raises(ModelUnavailable, match=words):
        await one(server, timeout=5.0, deadline=0.9)


async def test_retry_after_is_honoured() -> None:
    with ScriptedServer([limited(1), say("fine")]) as server:
        started = time.perf_counter()
        assert (await one(server)).retries == 1
        assert time.perf_counter() - started >= 1


async def test_a_wait_beyond_the_deadline_is_not_begun() -> None:
    with ScriptedServer([limited(3600)]) as server:
        started = time.perf_counter()
        with pytest.raises(ModelUnavailable, match="429"):
            await one(server, deadline=30.0)
        assert time.perf_counter() - started < 10 and len(server.requests) == 1


async def test_what_a_failed_request_cost_is_counted() -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}
    with ScriptedServer([empty(usage), say("whole", usage=usage)]) as server:
        reply = await one(server, price=(1.0, 1.0))
    assert reply.usage == Usage(0, 2, 20, 4, 0, 24e-6)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "3"}, 0.25),
        ({"retry-after": "-1"}, 0.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_in_all_its_forms(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers) == seconds


def test_retry_after_as_a_date_counts_from_now() -> None:
    wait = retry_after({"retry-after": email.utils.formatdate(time.time() + 60, usegmt=True)})
    assert wait is not None and 55 < wait <= 60


# --- faults that stay ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "advice"),
    [
        (refuse(400, "bad request"), "refused the request.*bad request"),
        (refuse(401, "bad key"), "check the provider's API key"),
        (refuse(403), "may not use this model"),
        (refuse(404, "no such model"), "check the name and base_url"),
        (refuse(400, "content_policy_violation", code="content_policy_violation"), "content policy"),
        (refuse(422, "unprocessable"), "refused the request"),
        (refuse(400, "maximum context length is 10 tokens", code="context_length_exceeded"), "prompt is too long"),
        (refuse(429, "You exceeded your current quota", code="insufficient_quota"), "no credit left"),
        (error_in_200("no such deployment", 404), "no such deployment"),
    ],
)
async def test_a_fault_that_stays_is_not_tried_again(line: Any, advice: str) -> None:
    with ScriptedServer([line]) as server:
        with pytest.raises(ModelRefused, match=advice):
            await one(server)
        assert len(server.requests) == 1 and not server.unexpected


async def test_a_server_that_is_not_there_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        with pytest.raises(ModelUnavailable, match=f"{url} could not be reached"):
            await ApiModel("openai/test", base_url=url, api_key="k", retries=0).ask(GO)


async def test_a_server_that_was_never_there_is_given_up_soon_and_one_that_was_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("surefoot.models.api.model._backoff", lambda state: 0.0)
    with ScriptedServer([say("x")]) as server:
        asked = model(server, retries=4)
        await asked.ask(GO)
    with pytest.raises(ModelUnavailable, match=r"could not be reached.*tries: 5"):
        await asked.ask(GO)
    with pytest.raises(ModelUnavailable, match=r"could not be reached.*tries: 2"):
        await model(server, retries=4).ask(GO)


async def test_an_error_of_a_librarys_own_is_a_refusal_with_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    import httpx

    async def broken(**_: Any) -> None:
        httpx.URL(port="no port")  # type: ignore[arg-type]

    monkeypatch.setattr(litellm(), "acompletion", broken)
    with pytest.raises(ModelRefused, match="could not be made, or its reply not be read"):
        await ApiModel("openai/test", base_url="http://127.0.0.1:1/v1", api_key="k", retries=0).ask(GO)


@pytest.mark.parametrize("mistake", [ValueError, MemoryError, KeyError])
async def test_a_mistake_of_our_own_comes_out_as_it_is(monkeypatch: pytest.MonkeyPatch, mistake: Any) -> None:
    def broken(*_: Any) -> None:
        raise mistake("odd")

    monkeypatch.setattr(reading, "_unwrapped", broken)
    with ScriptedServer() as server, pytest.raises(mistake, match="odd"):
        await model(server).ask(GO)


async def test_a_missing_key_is_named_before_anything_is_sent() -> None:
    with pytest.raises(ModelRefused, match="set OPENAI_API_KEY or SUREFOOT_API_KEY"):
        await ApiModel("openai/gpt-4o").ask(GO)
    with pytest.raises(ModelRefused, match="set ANTHROPIC_API_KEY"):
        ApiModel("anthropic/claude-sonnet-4-5").check()


async def test_an_unknown_provider_is_named() -> None:
    with pytest.raises(ModelRefused, match="no provider 'opnai'"):
        await ApiModel("opnai/gpt-4o", api_key="k").ask(GO)


async def test_some_samples_may_fail_without_losing_the_others() -> None:
    script = [say("a"), refuse(400, "no"), say("c")]
    with ScriptedServer(script) as server:
        replies = await model(server, concurrency=1).ask(GO, 3)
    assert sorted(reply.text for reply in replies) == ["", "a", "c"]
    (failed,) = [reply for reply in replies if reply.error]
    assert "this sample failed" in (failed.error or "") and failed.usage == Usage()


# --- the loop -----------------------------------------------------------------------------------------------


async def test_canceling_ends_the_request() -> None:
    arrived = threading.Event()
    script = iter([stall(), say("x")])

    def next_line(body: dict[str, Any]) -> Any:
        arrived.set()
        return next(script)

    with ScriptedServer(next_line) as server:
        asked = model(server)
        waiting = asyncio.create_task(asked.ask(GO))
        await asyncio.to_thread(arrived.wait)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert (await asked.ask(GO))[0].text == "x"


def test_one_model_may_be_asked_from_one_event_loop_after_another() -> None:
    with ScriptedServer() as server:
        asked = model(server)
        assert [asyncio.run(asked.ask(GO))[0].text for _ in range(3)] == ["ok"] * 3


def test_a_forked_process_has_a_loop_of_its_own() -> None:
    code = (
        "import asyncio, os, sys; from surefoot.models import Question, load\n"
        "m = load('openai/test', base_url=sys.argv[1], api_key='k')\n"
        "ask = lambda: asyncio.run(m.ask(Question('act', 'go')))[0].text\n"
        "assert ask() == 'ok'\n"
        "child = os.fork()\n"
        "if not child:\n    os._exit(0 if ask() == 'ok' else 1)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))"
    )
    with ScriptedServer() as server:
        told = subprocess.run(
            [sys.executable, "-c", code, server.url], capture_output=True, text=True, timeout=60, check=True
        )
    assert told.stdout == "0\n"


def test_a_fresh_process_is_silent_and_ends_at_once() -> None:
    code = (
        "import asyncio, sys; from surefoot.models import Question, load; from surefoot.models.answer import answer\n"
        "m = load('openai/test', base_url=sys.argv[1], api_key='k')\n"
        "print(asyncio.run(answer(m, Question('act', 'go')))[0][-1].parsed)"
    )
    with ScriptedServer() as server:
        told = subprocess.run(
            [sys.executable, "-W", "error::ResourceWarning", "-c", code, server.url],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    assert (told.stdout, told.stderr) == ("ok\n", "")


# --- estimates ----------------------------------------------------------------------------------------------


async def test_the_estimate_is_an_upper_bound_with_its_price() -> None:
    asked = ApiModel("openai/gpt-4o", price=(2.0, 10.0), max_tokens=100)
    usage = asked.estimate(Question("act", "1,2,3," * 100, tools=(ADD,)), 3)
    assert usage.samples == 3 and usage.completion_tokens == 300 and usage.prompt_tokens > 3 * 600
    assert usage.usd == pytest.approx((usage.prompt_tokens * 2 + 300 * 10) / 1e6)
    mapped = ApiModel("openai/gpt-4o").estimate(GO)
    assert mapped.completion_tokens == 2048 and mapped.usd > 2048 * 10e-6
    assert ApiModel("openai/nobody-knows").estimate(GO).usd == 0
