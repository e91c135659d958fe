"""Calls of tools that a model wrote as text, as small and local ones do: never an answer.

Forms: a JSON object with the tool's name and its arguments, alone, several of them, fenced, or in prose; the same
between tags (Hermes, Qwen, Llama, Mistral); and a function tag with parameters in tags of their own (Llama 3, Qwen
Coder).
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from surefoot.models.jsontext import values
from surefoot.models.question import ToolRequest
from surefoot.storage.records import Json

TAGGED = re.compile(
    r"<\|?tool_calls?\|?>(?P<tag>.*?)(?:<\|?/tool_calls?\|?>|(?=<\|?tool_call)|\Z)"
    r"|<function=(?P<name>[^>\s]+)>(?P<body>.*?)(?:</function>|\Z)"
    r"|(?:\[TOOL_CALLS\]|<\|python_tag\|>)(?P<mark>.*)",
    re.DOTALL | re.IGNORECASE,
)
PARAMETER = re.compile(r"<parameter=([^>\s]+)>\n?(.*?)\n?</parameter>", re.DOTALL)
RESPONSE = re.compile(r"<\|?tool_(?:response|result)s?\b", re.IGNORECASE)
NAMES, ARGUMENTS = ("name", "tool", "tool_name", "function"), ("arguments", "parameters", "args", "input")
BESIDE = {"id", "type"}
"""Fields that a call may have beside its name and its arguments."""


class Unreadable(ValueError):
    """A call was written that cannot be run as it stands; the text says so to the model."""


def calls(text: str, names: Collection[str], turn: int = 0) -> tuple[ToolRequest, ...]:
    """The calls that a text holds; none where it holds an answer.

    names: of the tools on offer. turn: part of the calls' ids, which are to differ within a conversation.

    Raises Unreadable where the text is about a call and does not say which, or where the model wrote what the tool is
    to answer.
    """
    tagged = list(TAGGED.finditer(text))
    found = [call for match in tagged for call in _tagged(match, names)] if tagged else _bare(text, names)
    if RESPONSE.search(text):
        raise Unreadable("you wrote a tool's response yourself; call the tool, and wait for what it says")
    if tagged and (not found or any(name not in names for name, _ in found)):
        raise Unreadable(
            f"a tool call that is written as text cannot be read; call one of these tools: {', '.join(sorted(names))}"
        )
    return tuple(
        ToolRequest(f"written-{turn}-{place}", name, json.dumps(arguments), arguments)
        for place, (name, arguments) in enumerate(found, start=1)
    )


Call = tuple[str, dict[str, Json]]


def _tagged(match: re.Match[str], names: Collection[str]) -> Iterator[Call]:
    if match["name"]:
        inner = list(values(match["body"]))
        given = {name: _plain(value) for name, value in PARAMETER.findall(match["body"])}
        yield match["name"], given or (inner[0] if len(inner) == 1 and isinstance(inner[0], dict) else {})
        return
    text = match["tag"] if match["tag"] is not None else match["mark"]
    if "<function=" in text.lower():
        for inner_match in TAGGED.finditer(text):
            yield from _tagged(inner_match, names)
        return
    for value in _flat(values(text)):
        if (call := _call(value)) is not None:
            yield call


def _bare(text: str, names: Collection[str]) -> list[Call]:
    """JSON without a tag: calls only where all of it are calls of tools on offer."""
    found = [_call(value) for value in _flat(values(text))]
    known = [call for call in found if call is not None and call[0] in names]
    return known if len(known) == len(found) else []


def _call(value: Any) -> Call | None:
    if not isinstance(value, dict):
        return None
    if isinstance(value.get("function"), dict):
        value = {**{name: part for name, part in value.items() if name != "function"}, **value["function"]}
    name = next((value[key] for key in NAMES if isinstance(value.get(key), str)), None)
    field = next((key for key in ARGUMENTS if key in value), None)
    if name is None or field is None or len(value.keys() - BESIDE) != 2:
        return None
    arguments = value[field]
    if isinstance(arguments, str):
        inner = list(values(arguments))
        arguments = inner[0] if len(inner) == 1 else arguments or {}
    return (name, arguments or {}) if isinstance(arguments or {}, dict) else None


def _flat(said: Iterable[Any]) -> list[Any]:
    """Lists of calls, and objects that hold such a list, as the calls in them."""
    found: list[Any] = []
    for value in said:
        if isinstance(value, dict) and isinstance(value.get("tool_calls"), list) and len(value) == 1:
            value = value["tool_calls"]
        found += value if isinstance(value, list) else [value]
    return found


def _plain(text: str) -> Json:
    """A parameter between tags: JSON where it is some, else the text."""
    try:
        return json.loads(text)
    except ValueError:
        return text
