"""Calls that a model wrote as text are run as calls, or said to be unreadable; they are never an answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from servers import ScriptedServer, calls, say

from surefoot.engine import Engine
from surefoot.models import Question, Reply
from surefoot.models.answer import read
from surefoot.models.question import ToolSpec
from surefoot.storage import Plan, Step, ref
from surefoot.storage.records import Outcome
from surefoot.tools import tool

PRICE = ToolSpec("unit_price", "The price of an item.", {"type": "object", "properties": {"item": {"type": "string"}}})
STOCK = ToolSpec("stock", "How many there are.", {"type": "object", "properties": {"item": {"type": "string"}}})
LAMP = ("unit_price", {"item": "lamp"})

ARGUMENTS = '{"item": "lamp"}'
ONE = {
    "JSON": '{"name": "unit_price", "arguments": {"item": "lamp"}}',
    "JSON with other names": '{"tool": "unit_price", "parameters": {"item": "lamp"}}',
    "as the API has it": json.dumps({"type": "function", "function": {"name": "unit_price", "arguments": ARGUMENTS}}),
    "a list": '[{"name": "unit_price", "arguments": {"item": "lamp"}}]',
    "under tool_calls": '{"tool_calls": [{"name": "unit_price", "arguments": {"item": "lamp"}}]}',
    "fenced": '```json\n{"name": "unit_price", "arguments": {"item": "lamp"}}\n```',
    "in prose": 'I look it up: {"name": "unit_price", "arguments": {"item": "lamp"}}',
    "Hermes": '<tool_call>\n{"name": "unit_price", "arguments": {"item": "lamp"}}\n</tool_call>',
    "Hermes without its end": '<tool_call>{"name": "unit_price", "arguments": {"item": "lamp"}}',
    "Mistral": '[TOOL_CALLS][{"name": "unit_price", "arguments": {"item": "lamp"}}]',
    "Llama 3.1": '<|python_tag|>{"name": "unit_price", "parameters": {"item": "lamp"}}',
    "a function tag": '<function=unit_price>{"item": "lamp"}</function>',
    "Qwen Coder": "<tool_call>\n<function=unit_price>\n<parameter=item>\nlamp\n</parameter>\n</function>\n</tool_call>",
}


def reply_to(text: str, schema: Any = None, **more: Any) -> Reply:
    question = Question("act", "What does a lamp cost?", output_schema=schema, tools=(PRICE, STOCK))
    return read(question, Reply(text, (), finish_reason="stop", **more))


@pytest.mark.parametrize("text", ONE.values(), ids=ONE)
def test_a_written_call_is_a_call(text: str) -> None:
    reply = reply_to(text)
    assert [(call.name, call.arguments) for call in reply.tool_calls] == [LAMP]
    assert reply.parsed is None and reply.error is None


@pytest.mark.parametrize(
    "text",
    [
        f"{ONE['JSON']}\n{ONE['JSON'].replace('unit_price', 'stock')}",
        f"{ONE['Hermes']}\n{ONE['Hermes'].replace('unit_price', 'stock')}",
        f"[{ONE['JSON']}, {ONE['JSON'].replace('unit_price', 'stock')}]",
    ],
)
def test_several_are_several(text: str) -> None:
    reply = reply_to(text)
    assert [call.name for call in reply.tool_calls] == ["unit_price", "stock"]
    assert len({call.id for call in reply.tool_calls}) == 2


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("<tool_call>unit_price(lamp)</tool_call>", "cannot be read; call one of these tools: stock, unit_price"),
        ('<tool_call>{"name": "delete_all", "arguments": {}}</tool_call>', "cannot be read"),
        (ONE["Hermes"] + "<tool_response>7 dollars</tool_response> It costs 7 dollars.", "wrote a tool's response"),
        ("<tool_response>7 dollars</tool_response>", "wrote a tool's response"),
    ],
)
def test_what_cannot_be_run_is_said_to_the_model(text: str, says: str) -> None:
    reply = reply_to(text)
    assert says in (reply.error or "") and not reply.tool_calls and reply.parsed is None


@pytest.mark.parametrize(
    "text",
    [
        "A lamp costs 7 dollars.",
        '{"price": 7}',
        '{"name": "lamp", "arguments": {"price": 7}}',
        'The call {"name": "unit_price", "arguments": {}} gave {"price": 7}.',
        "",
    ],
)
def test_an_answer_stays_an_answer(text: str) -> None:
    reply = reply_to(text)
    assert not reply.tool_calls and reply.parsed == (text or None)


def test_an_answer_of_the_wanted_type_is_one_although_it_looks_like_a_call() -> None:
    wanted = {"type": "object", "properties": {"name": {"type": "string"}, "arguments": {"type": "object"}}}
    assert reply_to(ONE["JSON"], wanted).parsed == {"name": "unit_price", "arguments": {"item": "lamp"}}
    assert reply_to(ONE["JSON"], {"type": "number"}).tool_calls


def test_a_call_that_was_cut_off_is_not_run() -> None:
    cut = Reply(ONE["Hermes without its end"], (), finish_reason="length")
    assert "cut off" in (read(Question("act", "?", tools=(PRICE,)), cut).error or "")


@tool
def unit_price(item: str) -> int:
    """The price of an item."""
    return len(item)


@tool
def today() -> str:
    """The date."""
    return "2026-11-27"


def run(server: ScriptedServer, store: Path, called: Any) -> tuple[Any, int]:
    plan = Plan((Step("s", "What does a lamp cost?"),), ref("s"))
    with Engine("openai/test", base_url=server.url, planner=plan, tools=[called], store=store) as engine:
        result = engine.run("?", verify=False)
    return result, len(server.requests)


def test_it_runs_over_the_wire(tmp_path: Path) -> None:
    with ScriptedServer([say(ONE["JSON"]), say("It costs 4.")]) as server:
        result, asked = run(server, tmp_path / "runs.db", unit_price)
        told = server.requests[1]["messages"][-1]
    assert (result.outcome, result.output, asked) == (Outcome.UNVERIFIED, "It costs 4.", 2)
    assert (told["role"], told["content"]) == ("tool", "4")


@pytest.mark.parametrize("raw", ["null", "[]", "", "{}", '"{}"', '""'])
def test_no_arguments_are_no_arguments_however_they_are_written(tmp_path: Path, raw: str) -> None:
    with ScriptedServer([calls(("c", "today", raw)), say("Friday")]) as server:
        result, asked = run(server, tmp_path / "runs.db", today)
        assert server.requests[1]["messages"][-1]["content"] == "2026-11-27"
    assert (result.output, asked) == ("Friday", 2)


def test_arguments_that_were_encoded_twice_are_decoded_twice(tmp_path: Path) -> None:
    twice = json.dumps(ARGUMENTS)
    with ScriptedServer([calls(("c", "unit_price", twice)), say("4")]) as server:
        run(server, tmp_path / "runs.db", unit_price)
        assert server.requests[1]["messages"][-1]["content"] == "4"
