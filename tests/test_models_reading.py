"""Replies as real servers and gateways wrap them: one form comes out, or an error that says what is wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest
from servers import USAGE, Body, Response, ScriptedServer, calls, error_in_200, garbage, say

from surefoot.models import Question, Reply
from surefoot.models.answer import answer
from surefoot.models.api.model import ApiModel
from surefoot.models.question import ToolSpec
from surefoot.storage.errors import ModelRefused, ModelUnavailable

pytestmark = pytest.mark.anyio

PLAIN: Body = say("hello").body


async def one(line: Response, retries: int = 1) -> tuple[Reply, int]:
    """The reply, and how many requests it took."""
    with ScriptedServer(lambda body: line) as server:
        model = ApiModel("openai/test", base_url=server.url, api_key="k", retries=retries)
        (reply,) = await model.ask(Question("act", "Say hello."))
        return reply, len(server.requests)


def message(**fields: Any) -> Response:
    body = json.loads(json.dumps(PLAIN))
    body["choices"][0]["message"] |= fields
    return Response(body)


def stream(*deltas: Body, finish: str | None = "stop", done: bool = True, **more: Any) -> Response:
    """The same as an event stream, a delta an event."""
    chunks: list[Body] = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    if finish is not None:
        chunks.append({"index": 0, "delta": {}, "finish_reason": finish})
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "test-model-2026-01-01"}
    events = [head | {"choices": [chunk]} for chunk in chunks] + [head | {"choices": [], "usage": dict(USAGE)} | more]
    text = "".join(f"data: {json.dumps(event)}\n\n" for event in events) + ("data: [DONE]\n\n" if done else "")
    return Response(text.encode(), headers={"Content-Type": "text/event-stream"})


WRAPPED = {
    "no finish reason": say("hello", finish_reason=None),
    "under data": Response({"success": True, "data": PLAIN}),
    "under provider": Response({"provider": PLAIN}),
    "in a list": Response([PLAIN]),
    "parts": message(content=[{"type": "text", "text": "hel"}, {"type": "text", "text": "lo"}]),
    "parts in an older form": message(content=["hel", {"text": "lo"}]),
    "one part": message(content={"type": "output_text", "text": "hello"}),
    "a byte order mark": Response(b"\xef\xbb\xbf" + json.dumps(PLAIN).encode()),
    "text in the choice": Response({**PLAIN, "choices": [{"index": 0, "text": "hello", "finish_reason": "stop"}]}),
    "an event stream": stream({"role": "assistant", "content": "hel"}, {"content": "lo"}),
    "an event stream without its mark": stream({"content": "hello"}, done=False),
    "a null error": Response({**PLAIN, "error": None}),
}


@pytest.mark.parametrize("line", WRAPPED.values(), ids=WRAPPED)
async def test_an_answer_is_read_however_it_is_wrapped(line: Response, recwarn: pytest.WarningsRecorder) -> None:
    reply, requests = await one(line)
    assert (reply.text, reply.finish_reason, reply.error, requests) == ("hello", "stop", None, 1)
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens, reply.usage_source) == (11, 7, "provider")
    assert not recwarn.list


async def test_thinking_beside_text_is_no_part_of_the_answer() -> None:
    thought = {"type": "thinking", "thinking": [{"type": "text", "text": "hmm"}]}
    reply, _ = await one(message(content=[thought, {"type": "text", "text": "hello"}]))
    assert reply.text == "hello"
    reply, requests = await one(message(content=[thought]))
    assert (reply.text, requests) == ("", 1), "thinking alone is an empty answer"


CALL = ("c1", "add", '{"a": 1}')
CALLED = {
    "no finish reason": calls(CALL, finish_reason=None),
    "arguments as an object": message(tool_calls=[{"id": "c1", "function": {"name": "add", "arguments": {"a": 1}}}]),
    "the older form": message(content=None, function_call={"name": "add", "arguments": '{"a": 1}'}),
    "flat": message(tool_calls=[{"id": "c1", "name": "add", "arguments": '{"a": 1}'}]),
    "in pieces": stream(
        {"tool_calls": [{"index": 0, "id": "c1", "type": "function", "function": {"name": "add", "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"a"'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": ": 1}"}}]},
        finish="tool_calls",
    ),
}


@pytest.mark.parametrize("line", CALLED.values(), ids=CALLED)
async def test_calls_are_read_in_every_form(line: Response) -> None:
    reply, requests = await one(line)
    assert [(call.name, call.arguments) for call in reply.tool_calls] == [("add", {"a": 1})]
    assert requests == 1 and reply.tool_calls[0].id


LASTING = {
    "choices null": (Response({**PLAIN, "choices": None}), "no chat completion"),
    "a list of numbers": (Response([1]), "no chat completion"),
    "text": (Response("hello"), "no chat completion"),
    "another API": (Response({"models": []}), "'models'"),
    "a web page": (Response(b"<!doctype html><title>Sign in</title>"), "a web page"),
    "an error in words": (Response({"error": "model 'x' not found, try pulling it first"}), "try pulling it first"),
    "an error with a word for code": (error_in_200("bad things", "invalid_request_error"), "bad things"),
    "an error object": (Response({"object": "error", "message": "no such model", "code": 404}), "no such model"),
    "an error in a stream": (
        Response(b'data: {"error": {"message": "context too long", "code": 400}}\n\n'),
        "context too long",
    ),
}


@pytest.mark.parametrize(("line", "says"), LASTING.values(), ids=LASTING)
async def test_what_would_come_again_in_the_same_way_is_not_asked_again(line: Response, says: str) -> None:
    with ScriptedServer(lambda body: line) as server:
        with pytest.raises(ModelRefused, match=says):
            await ApiModel("openai/test", base_url=server.url, api_key="k").ask(Question("act", "Say hello."))
        assert len(server.requests) == 1


PASSING = {
    "overloaded": error_in_200("model overloaded", "overloaded"),
    "a rate limit": error_in_200("slow down", "rate_limit_exceeded"),
    "a busy server": Response({"error": "the server is busy, try again"}),
    "half a body": garbage(),
    "a stream that broke off": stream({"content": "hel"}, finish=None, done=False),
    "a stream cut inside an event": Response(stream({"content": "hello"}).body[:150]),
}


@pytest.mark.parametrize("line", PASSING.values(), ids=PASSING)
async def test_what_may_pass_is_asked_again(line: Response) -> None:
    lines = [line, say("hello")]
    with ScriptedServer(lambda body: lines.pop(0)) as server:
        model = ApiModel("openai/test", base_url=server.url, api_key="k")
        (reply,) = await model.ask(Question("act", "Say hello."))
    assert reply.text == "hello" and reply.retries == 1


async def test_what_stays_says_what_it_was() -> None:
    with pytest.raises(ModelUnavailable, match="event stream, which broke off"):
        await one(stream({"content": "hel"}, finish=None, done=False))


def cut(text: str, tokens: int) -> Response:
    """A reply whose tokens ran out."""
    return say(text, finish_reason="length", usage=USAGE | {"completion_tokens": tokens})


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("text", ["", "half an ans"])
async def test_a_reply_that_was_cut_off_may_be_twice_as_long_once(text: str, strict: bool) -> None:
    lines = [cut(text, 50), say("hello")]
    with ScriptedServer(lambda body: lines.pop(0)) as server:
        model = ApiModel("openai/test", base_url=server.url, api_key="k", max_tokens=50)
        ((first, second),) = await answer(model, Question("act", "Say hello."), strict=strict)
        asked = server.requests
    assert "its tokens ran out (at most 50)" in (first.error or "") and second.parsed == "hello"
    assert [one["max_tokens"] for one in asked] == [50, 100]
    assert asked[0]["messages"] == asked[1]["messages"], "it is the same question again"


async def test_what_is_cut_off_again_names_the_limit() -> None:
    with ScriptedServer(lambda body: cut("", body["max_tokens"])) as server:
        model = ApiModel("openai/test", base_url=server.url, api_key="k", max_tokens=50)
        ((_, last),) = await answer(model, Question("act", "Say hello."))
    assert "ran out (at most 100)" in (last.error or "") and last.parsed is None


async def test_more_room_is_not_asked_for_below_a_limit_of_the_servers_own() -> None:
    with ScriptedServer([cut("half an ans", 10), say("hello")]) as server:
        model = ApiModel("openai/test", base_url=server.url, api_key="k", max_tokens=50)
        ((first, second),) = await answer(model, Question("act", "Say hello."))
        asked = server.requests
    assert "after 10: the server gave no more, though 50 were asked for" in (first.error or "")
    assert [one["max_tokens"] for one in asked] == [50, 50] and second.parsed == "hello"
    assert "answer more briefly" in asked[1]["messages"][-1]["content"]


async def test_words_in_place_of_a_call_that_were_cut_off_are_said_to_be() -> None:
    spec = ToolSpec("unit_price", "The price of an item.", {"type": "object"})
    with ScriptedServer(lambda body: cut("First I shall", body["max_tokens"])) as server:
        model = ApiModel("openai/test", base_url=server.url, api_key="k", max_tokens=50)
        ((_, last),) = await answer(model, Question("act", "?", tools=(spec,), tool_choice="required"))
    assert last.error == (
        "no tool was called; call one of: unit_price; the reply was cut off: its tokens ran out (at most 100)"
    )


async def test_a_call_whose_arguments_were_cut_off_may_be_twice_as_long_once() -> None:
    whole = ("c", "unit_price", '{"item": "lamp"}')
    broken = calls(("c", "unit_price", '{"item": "la'), finish_reason="length", usage=USAGE | {"completion_tokens": 50})
    spec = ToolSpec("unit_price", "The price of an item.", {"type": "object"})
    with ScriptedServer([broken, calls(whole)]) as server:
        model = ApiModel("openai/test", base_url=server.url, api_key="k", max_tokens=50)
        ((first, second),) = await answer(model, Question("act", "?", tools=(spec,)))
        asked = server.requests
    assert "ran out (at most 50) inside a tool call" in (first.error or "")
    assert second.error is None and second.tool_calls[0].arguments == {"item": "lamp"}
    assert [one["max_tokens"] for one in asked] == [50, 100]
