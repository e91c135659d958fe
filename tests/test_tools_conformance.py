"""What every tool promises, whatever it is made of."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from langchain_core.tools import BaseTool
from langchain_core.tools import tool as langchain_tool

from surefoot.storage.errors import Retry, ToolError
from surefoot.storage.records import Effect, Json
from surefoot.tools import Tool, ToolContext, tool
from surefoot.tools.calculator import calculator
from surefoot.tools.files import list_files, read_file, write_file
from surefoot.tools.python import python
from surefoot.tools.registry import as_tool

pytestmark = pytest.mark.anyio

ran: list[str] = []


@tool(effect="pure")
async def later(a: int, b: float = 0.5) -> float:
    """Add, on the loop."""
    ran.append("later")
    if a == 13:
        raise RuntimeError("unlucky")
    return a + b


@tool(effect="pure")
def now(a: int, b: float = 0.5) -> float:
    """Add, in a thread."""
    ran.append("now")
    if a == 13:
        raise RuntimeError("unlucky")
    return a + b


@langchain_tool
def chained(a: int, b: float = 0.5) -> float:
    """Add, as LangChain's function tools do."""
    ran.append("chained")
    if a == 13:
        raise RuntimeError("unlucky")
    return a + b


class Typed(BaseTool):
    """A LangChain tool whose schema is a dict."""

    name: str = "typed"
    description: str = "Add."
    args_schema: Any = {  # noqa: RUF012 (pydantic copies it)
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "number"}},
        "required": ["a"],
    }

    def _run(self, a: int, b: float = 0.5) -> float:
        ran.append("typed")
        if a == 13:
            raise RuntimeError("unlucky")
        return a + b


class Own:
    """The protocol, implemented by hand."""

    def __init__(self) -> None:
        self.name = "own"
        self.description = "Add."
        self.parameters: Json = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
        self.returns: Json = {"type": "number"}
        self.effect = Effect.PURE
        self.approval = False

    async def call(self, arguments: Mapping[str, Json], context: ToolContext) -> Json:
        if not isinstance(arguments.get("a"), int):
            raise Retry("a must be a whole number")
        ran.append("own")
        if arguments["a"] == 13:
            raise ToolError("RuntimeError: unlucky")
        return arguments["a"] + 0.5


@dataclass(frozen=True)
class Sample:
    """A tool with arguments that work, that do not fit, and that make it fail."""

    tool: Tool
    good: Mapping[str, Json]
    result: Json
    wrong: tuple[Mapping[str, Json], ...]
    failing: Mapping[str, Json] | None = None


ADDS = {
    "good": {"a": 1},
    "result": 1.5,
    "wrong": ({}, {"a": "many"}, {"a": None}),
    "failing": {"a": 13},
}
SAMPLES = [
    Sample(later, **ADDS),
    Sample(now, **ADDS),
    Sample(as_tool(chained), **ADDS),
    Sample(as_tool(Typed()), **ADDS),
    Sample(as_tool(Own()), **ADDS),
    Sample(calculator, {"expression": "a / 4", "values": {"a": "1,000"}}, 250, ({}, {"expression": 3}, {"x": "1"})),
    Sample(
        python,
        {"code": "print(6 * 7)"},
        {"stdout": "42\n", "stderr": "", "exit_code": 0, "timed_out": False},
        ({}, {"code": ["print(1)"]}),
    ),
    Sample(write_file, {"path": "b.txt", "text": "b"}, "wrote 1 bytes to b.txt", ({"path": "b.txt"}, {"text": "b"})),
    Sample(read_file, {"path": "a.txt"}, "hello", ({}, {"path": 1}, {"path": "a.txt", "first_line": 0})),
    Sample(list_files, {}, {"paths": ["a.txt"], "complete": True}, ({"folder": 1}, {"depth": 1})),
]


@pytest.fixture
def context(tmp_path: Path) -> ToolContext:
    (tmp_path / "a.txt").write_text("hello")
    return ToolContext(workspace=tmp_path)


@pytest.fixture(params=SAMPLES, ids=lambda sample: sample.tool.name)
def sample(request: pytest.FixtureRequest) -> Sample:
    found: Sample = request.param
    return found


async def test_it_is_a_tool_and_says_what_it_is(sample: Sample) -> None:
    assert isinstance(sample.tool, Tool)
    assert sample.tool.name and sample.tool.description
    assert isinstance(sample.tool.effect, Effect)
    assert isinstance(sample.tool.approval, bool)


async def test_its_parameters_are_a_json_schema_of_an_object(sample: Sample) -> None:
    Draft202012Validator.check_schema(sample.tool.parameters)
    assert sample.tool.parameters["type"] == "object"
    assert json.loads(json.dumps(sample.tool.parameters)) == sample.tool.parameters


async def test_its_schema_accepts_the_arguments_that_it_accepts(sample: Sample) -> None:
    Draft202012Validator(sample.tool.parameters).validate(dict(sample.good))


async def test_its_result_is_json_of_the_type_that_it_declares(sample: Sample, context: ToolContext) -> None:
    result = await sample.tool.call(sample.good, context)
    assert result == sample.result
    assert json.loads(json.dumps(result)) == result
    if sample.tool.returns is not None:
        Draft202012Validator(sample.tool.returns).validate(result)


async def test_wrong_arguments_are_to_be_mended_and_nothing_runs(sample: Sample, context: ToolContext) -> None:
    for arguments in sample.wrong:
        ran.clear()
        with pytest.raises(Retry):
            await sample.tool.call(arguments, context)
        assert ran == []
    assert not (context.workspace or Path()).joinpath("b.txt").exists()


@pytest.mark.parametrize("sample", [s for s in SAMPLES if s.failing], ids=lambda s: s.tool.name)
async def test_a_failure_is_a_tool_error_that_names_it_without_a_traceback(
    sample: Sample, context: ToolContext
) -> None:
    assert sample.failing is not None
    with pytest.raises(ToolError, match="RuntimeError: unlucky") as caught:
        await sample.tool.call(sample.failing, context)
    assert "Traceback" not in str(caught.value)
    assert "File " not in str(caught.value)


async def test_the_arguments_are_left_as_they_were(sample: Sample, context: ToolContext) -> None:
    before = json.dumps(sample.good)
    await sample.tool.call(sample.good, context)
    assert json.dumps(sample.good) == before


@pytest.mark.parametrize("make", [chained, Typed()], ids=["function", "class"])
def test_a_langchain_tool_that_says_nothing_of_its_effect_runs_once(make: Callable[..., Any]) -> None:
    assert as_tool(make).effect is Effect.ONCE
