"""Providers that litellm asks through handlers of its own: the same reader, errors, usage and calls of tools."""

from __future__ import annotations

import json
from typing import Any

import pytest
from servers import USAGE, Body, Response, ScriptedServer, calls, error_in_200, refuse, say

from surefoot.models import Question, Reply
from surefoot.models.api.model import ApiModel
from surefoot.models.question import ToolSpec
from surefoot.storage.errors import ModelError, ModelRefused, ModelUnavailable

pytestmark = pytest.mark.anyio

CHAT = ["openrouter/test", "deepseek/deepseek-chat"]
"""They speak chat completions."""

OWN = ["anthropic/claude-test", "ollama_chat/llama", "gemini/gemini-2.0-flash"]
"""They have a form of their own."""

PRICE = ToolSpec(
    "price", "The price.", {"type": "object", "properties": {"item": {"type": "string"}}, "required": ["item"]}
)
CALL = ("c1", "price", '{"item": "lamp"}')


async def asked(name: str, line: Any, *, retries: int = 0, tools: tuple[ToolSpec, ...] = ()) -> tuple[Reply, int]:
    """The reply, and how many requests it took."""
    with ScriptedServer(lambda body: line, path="/") as server:
        url = server.url if name in CHAT else server.url.removesuffix("/v1")
        model = ApiModel(name, base_url=url, api_key="k", retries=retries, timeout=10)
        (reply,) = await model.ask(Question("act", "go", tools=tools))
        return reply, len(server.requests)


async def failed(name: str, line: Any) -> ModelError:
    with pytest.raises(ModelError) as raised:
        await asked(name, line)
    return raised.value


def parts(*content: Body) -> Response:
    body = json.loads(json.dumps(say("").body))
    body["choices"][0]["message"]["content"] = list(content)
    return Response(body)


def stream(*words: str) -> Response:
    events: list[Body] = [{"choices": [{"index": 0, "delta": {"content": word}}]} for word in words]
    events.append({"model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": dict(USAGE)})
    text = "".join(f"data: {json.dumps({'id': 'x', 'created': 1, **event})}\n\n" for event in events)
    return Response((text + "data: [DONE]\n\n").encode(), headers={"Content-Type": "text/event-stream"})


WRAPPED = {
    "as it is": say("hello"),
    "no finish reason": say("hello", finish_reason=None),
    "parts": parts({"type": "text", "text": "hel"}, {"type": "text", "text": "lo"}),
    "an event stream": stream("hel", "lo"),
    "one level down": Response({"data": say("hello").body}),
}


@pytest.mark.parametrize("name", CHAT)
@pytest.mark.parametrize("form", WRAPPED)
async def test_a_chat_completion_is_read_however_it_is_wrapped(name: str, form: str) -> None:
    reply, requests = await asked(name, WRAPPED[form], retries=2)
    assert (reply.text, reply.finish_reason, requests) == ("hello", "stop", 1)
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens, reply.usage_source) == (11, 7, "provider")


@pytest.mark.parametrize("name", CHAT)
async def test_thinking_is_kept_apart_from_the_answer(name: str) -> None:
    reply, _ = await asked(name, parts({"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "hello"}))
    assert (reply.text, reply.extra) == ("hello", {"reasoning_content": "hm"})


@pytest.mark.parametrize("name", CHAT)
async def test_reasoning_goes_back_with_a_tools_result(name: str) -> None:
    from surefoot.models.question import ChatMessage

    said, _ = await asked(name, calls(CALL, message={"reasoning_content": "hm"}), tools=(PRICE,))
    follow = (
        ChatMessage("assistant", said.text, said.tool_calls, extra=said.extra),
        ChatMessage("tool", "4", tool_call_id=said.tool_calls[0].id),
    )
    with ScriptedServer([say("done")]) as server:
        model = ApiModel(name, base_url=server.url, api_key="k")
        await model.ask(Question("act", "go", tools=(PRICE,), follow_up=follow))
        assert server.requests[0]["messages"][-2]["reasoning_content"] == "hm"


@pytest.mark.parametrize("name", CHAT)
async def test_an_error_in_a_body_of_status_200_is_that_error(name: str) -> None:
    passing = await failed(name, error_in_200("model overloaded", "overloaded"))
    assert isinstance(passing, ModelUnavailable) and "model overloaded" in str(passing)
    lasting = await failed(name, error_in_200("no such thing", "invalid"))
    assert isinstance(lasting, ModelRefused) and "no such thing" in str(lasting)
    assert isinstance(await failed(name, Response({"choices": None})), ModelRefused)


# --- forms of their own -------------------------------------------------------------------------------------


def reply_of(name: str, text: str = "", call: bool = False) -> Response:
    arguments = {"item": "lamp"}
    if name.startswith("anthropic"):
        content: Body = {"type": "tool_use", "id": "t1", "name": "price", "input": arguments}
        return Response(
            {"id": "m", "type": "message", "role": "assistant", "model": "claude-test"}
            | {"content": [content if call else {"type": "text", "text": text}]}
            | {"stop_reason": "tool_use" if call else "end_turn", "usage": {"input_tokens": 11, "output_tokens": 7}}
        )
    if name.startswith("ollama"):
        wanted = [{"function": {"name": "price", "arguments": arguments}}] if call else None
        message = {"role": "assistant", "content": text} | ({"tool_calls": wanted} if wanted else {})
        counts = {"prompt_eval_count": 11, "eval_count": 7}
        return Response({"model": "llama", "message": message, "done": True, "done_reason": "stop", **counts})
    part: Body = {"functionCall": {"name": "price", "args": arguments}} if call else {"text": text}
    candidate = {"content": {"parts": [part], "role": "model"}, "finishReason": "STOP", "index": 0}
    counts = {"promptTokenCount": 11, "candidatesTokenCount": 7, "totalTokenCount": 18}
    return Response({"candidates": [candidate], "usageMetadata": counts, "modelVersion": "gemini-2.0-flash"})


BUSY = {
    "anthropic": {"type": "error", "error": {"type": "overloaded_error", "message": "very busy"}},
    "ollama_chat": {"error": "very busy"},
    "gemini": {"error": {"code": 503, "message": "very busy", "status": "UNAVAILABLE"}},
}


@pytest.mark.parametrize("name", OWN)
async def test_text_usage_and_calls_come_through(name: str) -> None:
    reply, _ = await asked(name, reply_of(name, "hello"))
    assert (reply.text, reply.finish_reason) == ("hello", "stop")
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens, reply.usage_source) == (11, 7, "provider")
    reply, _ = await asked(name, reply_of(name, call=True), tools=(PRICE,))
    assert [(one.name, one.arguments) for one in reply.tool_calls] == [("price", {"item": "lamp"})]


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("status", [200, 503])
async def test_their_errors_are_told_apart_whatever_their_status(name: str, status: int) -> None:
    error = await failed(name, Response(BUSY[name.partition("/")[0]], status))
    assert isinstance(error, ModelUnavailable) and "very busy" in str(error)
    assert isinstance(await failed(name, refuse(401, "no such key")), ModelRefused)


@pytest.mark.parametrize("name", OWN)
async def test_what_is_no_reply_at_all_is_refused_at_once(name: str) -> None:
    with ScriptedServer(lambda body: Response({"odd": 1}), path="/") as server:
        model = ApiModel(name, base_url=server.url.removesuffix("/v1"), api_key="k", retries=3, timeout=10)
        with pytest.raises(ModelRefused):
            await model.ask(Question("act", "go"))
        assert len(server.requests) == 1
