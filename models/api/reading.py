"""The body of a reply, as servers send it with status 200, read as one chat completion.

Strict about what an answer is, lenient about how it is wrapped: an event stream that nobody asked for, a completion one
level down, content in parts, calls in an older form, a finish reason that is missing. What is an error becomes the
status that it should have had. Whoever reads on then meets one form only.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from surefoot.models.failures import PassingTrouble
from surefoot.storage.errors import ModelRefused

Body = dict[str, Any]

PASSING = (
    "overload",
    "rate_limit",
    "rate limit",
    "timeout",
    "unavailable",
    "capacity",
    "busy",
    "internal",
    "server_error",
)
"""Words in the code or type of an error that passes by itself."""

THOUGHTS = ("thinking", "reasoning", "reasoning_text", "redacted_thinking")
"""Types of parts that are a model's reasoning, not its answer."""


def completion(body: bytes, content_type: str) -> tuple[int, Body] | None:
    """The status and the completion, or error, that a body comes to; None where it is no JSON at all.

    Raises PassingTrouble for a stream that broke off, and ModelRefused for JSON that is no completion: that would come
    again in the same way.
    """
    text = body.decode("utf-8-sig", "replace").strip()
    if content_type.startswith("text/event-stream") or text.startswith(("data:", "event:")):
        value: Any = _assembled(text)
    else:
        if text.startswith("<"):
            raise ModelRefused(
                "the server answered with a web page, no JSON; check that the address is that of an OpenAI-compatible "
                "API, which often ends in /v1"
            )
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return None
    found = _unwrapped(value)
    if (error := _error(found)) is not None:
        return error
    choices = found.get("choices")
    if not isinstance(choices, list):
        raise ModelRefused(
            f"the server answered with JSON that is no chat completion ({_shape(value)}); "
            "check that the address is that of an OpenAI-compatible API"
        )
    return 200, {**found, "choices": [_choice(one) for one in choices if isinstance(one, dict)]}


def refused(body: bytes) -> tuple[int, Body] | None:
    """The status and the error that a body in some other form comes to; None where it is no error."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return _error(value) if isinstance(value, dict) else None


def _shape(value: Any) -> str:
    if isinstance(value, dict):
        return f"an object with {', '.join(map(repr, list(value)[:8])) or 'nothing in it'}"
    return f"{type(value).__name__}: {json.dumps(value)[:80]}"


def _unwrapped(value: Any) -> Body:
    """The one object with choices in it, itself or one level down; else the value, an object in any case."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if not isinstance(value, dict):
        return {"value": value}
    if not isinstance(value.get("choices"), list):
        inner = [one for one in value.values() if isinstance(one, dict) and isinstance(one.get("choices"), list)]
        if len(inner) == 1:
            return inner[0]
    return value


def _error(found: Body) -> tuple[int, Body] | None:
    """An error that was sent as if all were well, with the status that it stands for."""
    error = found.get("error")
    if error is None and found.get("object") == "error":
        error = found
    if not error or (isinstance(found.get("choices"), list) and found["choices"]):
        return None
    said: Mapping[str, Any] = error if isinstance(error, dict) else {"message": str(error)}
    marks = [str(said.get(name) or "") for name in ("code", "status", "type")]
    number = next((int(mark) for mark in marks if mark.isdigit() and 400 <= int(mark) < 600), None)
    words = " ".join([*marks, "" if any(marks) else str(said.get("message") or "")]).lower()
    status = number or (503 if any(word in words for word in PASSING) else 400)
    return status, {**found, "error": {**said, "message": str(said.get("message") or words or "no reason given")}}


# --- one choice ---------------------------------------------------------------------------------------------


def _choice(choice: Body) -> Body:
    message = choice.get("message")
    if not isinstance(message, dict):
        message = choice.get("delta") if isinstance(choice.get("delta"), dict) else {"content": choice.get("text")}
    message = {"role": "assistant", **_said(dict(message or {}))}
    finish = choice.get("finish_reason") or ("tool_calls" if message.get("tool_calls") else "stop")
    return {"index": 0, **choice, "message": message, "finish_reason": finish}


def _said(message: Body) -> Body:
    """The message with content as text, reasoning beside it, and calls in the form of today."""
    content = message.get("content")
    if isinstance(content, (list, dict)):
        answer, thought = _parts(content)
        message["content"] = answer
        if thought and not message.get("reasoning_content"):
            message["reasoning_content"] = thought
    elif content is not None and not isinstance(content, str):
        message["content"] = json.dumps(content)
    old = message.pop("function_call", None)
    calls = message.get("tool_calls") or ([{"function": old}] if isinstance(old, dict) else None)
    if isinstance(calls, list):
        message["tool_calls"] = [_call(one, place) for place, one in enumerate(calls) if isinstance(one, dict)] or None
    return message


def _parts(content: Any) -> tuple[str, str]:
    """The text of parts, and the reasoning in them."""
    answer: list[str] = []
    thought: list[str] = []
    for part in content if isinstance(content, list) else [content]:
        if isinstance(part, str):
            answer.append(part)
        elif isinstance(part, dict):
            kind = part.get("type", "text")
            into = thought if kind in THOUGHTS else answer
            inner = next((part[name] for name in ("text", "thinking", "reasoning", "content") if part.get(name)), "")
            into.append(inner if isinstance(inner, str) else "".join(_parts(inner)))
    return "".join(answer), "".join(thought)


def _call(call: Body, place: int) -> Body:
    function = call.get("function")
    function = (
        dict(function) if isinstance(function, dict) else {"name": call.get("name"), "arguments": call.get("arguments")}
    )
    arguments = function.get("arguments")
    if not isinstance(arguments, str):
        function["arguments"] = "" if arguments is None else json.dumps(arguments)
    return {**call, "id": call.get("id") or f"call-{place + 1}", "type": "function", "function": function}


# --- an event stream ----------------------------------------------------------------------------------------


def _assembled(text: str) -> Body:
    """One completion from a stream of its pieces. Raises PassingTrouble where the stream broke off."""
    whole: Body = {}
    choice: Body = {"index": 0, "message": {"role": "assistant", "content": None}, "finish_reason": None}
    calls: dict[int, Body] = {}
    done = False
    for data in _events(text):
        if data == "[DONE]":
            done = True
            break
        try:
            piece = json.loads(data)
        except ValueError:
            break
        if not isinstance(piece, dict) or piece.get("error"):
            return _unwrapped(piece)
        whole |= {name: value for name, value in piece.items() if name != "choices" and value is not None}
        for part in piece.get("choices") or ():
            _add(choice, calls, part)
    if not done and choice["finish_reason"] is None:
        raise PassingTrouble("the reply came as an event stream, which broke off before its end")
    if calls:
        choice["message"]["tool_calls"] = [calls[place] for place in sorted(calls)]
    return {**whole, "object": "chat.completion", "choices": [choice]}


def _events(text: str) -> Iterator[str]:
    for event in text.replace("\r\n", "\n").split("\n\n"):
        lines = [line[5:].removeprefix(" ") for line in event.split("\n") if line.startswith("data:")]
        if lines:
            yield "\n".join(lines).strip()


def _add(choice: Body, calls: dict[int, Body], part: Body) -> None:
    """A piece of the first choice: text is appended, and so are the arguments of calls."""
    if part.get("index", 0) != 0:
        return
    choice["finish_reason"] = part.get("finish_reason") or choice["finish_reason"]
    message = choice["message"]
    for name, value in (part.get("delta") or part.get("message") or {}).items():
        if name == "tool_calls":
            for place, call in enumerate(value or ()):
                _add_call(calls.setdefault(call.get("index", place), {"function": {}}), call)
        elif isinstance(value, str) and name != "role":
            message[name] = (message.get(name) or "") + value
        elif value is not None:
            message[name] = message[name] + value if isinstance(message.get(name), list) else value
    content = (part.get("logprobs") or {}).get("content")
    if content:
        choice.setdefault("logprobs", {"content": []})["content"] += content
    if part.get("token_ids"):
        choice["token_ids"] = [*choice.get("token_ids", ()), *part["token_ids"]]


def _add_call(whole: Body, call: Body) -> None:
    whole |= {name: value for name, value in call.items() if name not in ("function", "index") and value is not None}
    function, said = whole["function"], call.get("function") or {}
    for name in ("name", "arguments"):
        if isinstance(said.get(name), str):
            function[name] = function.get(name, "") + said[name]
        elif said.get(name) is not None:
            function[name] = said[name]
