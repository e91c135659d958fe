"""The registry: what it takes, and what it says when a name is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from langchain_core.tools import InjectedToolArg, ToolException
from langchain_core.tools import tool as langchain_tool
from pydantic import BaseModel
from typing_extensions import Annotated  # noqa: UP035 (LangChain reads either)

from surefoot.engine import Engine
from surefoot.models.question import ToolSpec
from surefoot.models.scripted import ScriptedModel
from surefoot.storage.errors import Retry, SetupError, ToolError
from surefoot.storage.records import Effect, Plan, Step, ref
from surefoot.tools import ToolContext, tool
from surefoot.tools.function import FunctionTool
from surefoot.tools.langchain import LangChainTool
from surefoot.tools.registry import as_tool, registered, spec

pytestmark = pytest.mark.anyio


@tool(effect="pure")
def price(sku: str) -> float:
    """Price of one unit in euros."""
    return 2.5


def plain(x: int) -> int:
    """A function that says nothing of its effect."""
    return x + 1


def test_tools_are_found_by_name_in_the_order_given() -> None:
    found = registered([price, plain])
    assert [(name, made.name) for name, made in found.items()] == [("price", "price"), ("plain", "plain")]
    assert found["price"] is price
    assert registered() == {}


def test_specs_are_the_tools_as_models_see_them() -> None:
    assert spec(price) == ToolSpec("price", price.description, price.parameters)


def test_two_tools_of_one_name_are_refused_and_both_are_named() -> None:
    @tool(name="price")
    def cost(sku: str) -> float:
        return 1.0

    with pytest.raises(SetupError, match=r"two tools are called 'price': \S+price and \S+cost; rename one"):
        registered([price, cost])


def test_the_same_tool_twice_is_one_tool() -> None:
    found = registered([price, price, plain, plain, "calculator", "calculator"])
    assert list(found) == ["price", "plain", "calculator"]


def test_built_in_tools_have_names() -> None:
    found = registered(["calculator", "python", "files"])
    assert list(found) == ["calculator", "python", "read_file", "write_file", "list_files"]
    effects = {name: made.effect for name, made in found.items()}
    assert effects == {
        "calculator": Effect.PURE,
        "python": Effect.IDEMPOTENT,
        "read_file": Effect.PURE,
        "write_file": Effect.IDEMPOTENT,
        "list_files": Effect.PURE,
    }
    with pytest.raises(SetupError, match="no built-in tool 'browser'; the names are: calculator, python, files"):
        registered(["browser"])
    with pytest.raises(SetupError, match=r"give a list: \['calculator'\]"):
        registered("calculator")


def test_a_plain_function_is_a_tool_of_the_safest_effect() -> None:
    made = as_tool(plain)
    assert isinstance(made, FunctionTool)
    assert (made.name, made.effect) == ("plain", Effect.ONCE)


def test_a_tool_is_taken_as_it_is() -> None:
    assert as_tool(price) is price


@pytest.mark.parametrize("obj", [3, None, object(), FunctionTool])
def test_what_is_no_tool_is_refused_with_what_would_be(obj: Any) -> None:
    with pytest.raises(SetupError, match="give"):
        as_tool(obj)


async def test_a_langchain_tools_injected_arguments_are_no_parameters() -> None:
    @langchain_tool
    def greet(name: str, user: Annotated[str, InjectedToolArg] = "nobody") -> str:
        """Greet."""
        return f"{user} greets {name}"

    made = as_tool(greet)
    assert list(made.parameters["properties"]) == ["name"]
    assert await made.call({"name": "Ann"}, ToolContext()) == "nobody greets Ann"


async def test_a_langchain_tool_can_be_declared_pure() -> None:
    @langchain_tool
    def shout(text: str) -> str:
        """Shout."""
        return text.upper()

    made = LangChainTool(shout, effect="pure", timeout=5, approval=True, output_limit=4)
    assert (made.effect, made.timeout, made.approval) == (Effect.PURE, 5, True)
    assert await made.call({"text": "abcdef"}, ToolContext()) == "AB\n[... 2 characters left out ...]\nEF"


async def test_a_langchain_tool_exception_is_a_failure_unless_the_tool_handles_it() -> None:
    @langchain_tool
    def fails(x: int) -> str:
        """Fail."""
        raise ToolException("no such order")

    with pytest.raises(ToolError, match="ToolException: no such order"):
        await as_tool(fails).call({"x": 1}, ToolContext())
    fails.handle_tool_error = True
    assert await as_tool(fails).call({"x": 1}, ToolContext()) == "no such order"


async def test_a_tool_that_only_looks_like_langchains_is_enough() -> None:
    class Duck:
        name = "duck"
        description = "Quack."
        args: Any = {"times": {"type": "integer"}}  # noqa: RUF012

        async def ainvoke(self, arguments: dict[str, Any]) -> str:
            return "quack " * int(arguments["times"])

    made = as_tool(Duck())
    assert await made.call({"times": 2}, ToolContext()) == "quack quack "
    with pytest.raises(Retry, match=r"times: 'x' is not of type 'integer'"):
        await made.call({"times": "x"}, ToolContext())


def test_the_package_is_light_to_import() -> None:
    script = """
import sys, surefoot.tools
heavy = {"langchain_core", "jsonschema", "numpy", "torch", "litellm", "langgraph"} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


class Place(BaseModel):
    """Where."""

    street: str
    number: int = 1


class Order(BaseModel):
    to: Place = Place(street="Main")
    stops: list[Place] = []


class Tree(BaseModel):
    name: str
    parts: list[Tree] = []


def test_references_are_put_in_place_for_servers_that_are_strict() -> None:
    @tool
    def send(order: Order, by: Place | None = None) -> str:
        return order.to.street

    parameters = spec(as_tool(send)).parameters
    assert "$ref" not in json.dumps(parameters) and "$defs" not in parameters
    assert parameters["properties"]["order"]["properties"]["to"]["properties"]["street"] == {"type": "string"}
    assert parameters["properties"]["order"]["properties"]["to"]["default"] == {"street": "Main", "number": 1}
    jsonschema.Draft202012Validator.check_schema(parameters)
    jsonschema.validate({"order": {"stops": [{"street": "a"}]}}, parameters)


def test_a_model_is_offered_tools_without_references(tmp_path: Path) -> None:
    @tool(effect="pure")
    def send(order: Order) -> str:
        """Sends an order."""
        return order.to.street

    model = ScriptedModel(["sent"])
    plan = Plan((Step("s", "Send it."),), ref("s"))
    Engine(model, tools=[send], planner=plan, store=tmp_path / "runs.db", votes=1).run("go")
    (offered,) = model.questions[0].tools
    assert "$ref" not in json.dumps(offered.parameters) and "$defs" not in offered.parameters


ROOT = Tree(name="root")


async def test_a_type_that_holds_itself_is_anything_inside_itself_and_still_checked() -> None:
    @tool
    def grow(tree: Tree = ROOT) -> str:
        return tree.name

    made = as_tool(grow)
    parameters = spec(made).parameters
    assert "$ref" not in json.dumps(parameters) and "$defs" not in parameters
    jsonschema.validate({"tree": {"name": "a", "parts": [{"name": "b"}]}}, parameters)
    with pytest.raises(Retry):
        await made.call({"tree": {"name": "a", "parts": [{"name": 1}]}}, ToolContext())
