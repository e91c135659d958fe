"""The tools that a run may use, by name."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from itertools import chain
from types import MethodType
from typing import Any

from surefoot.models.question import ToolSpec
from surefoot.storage.errors import SetupError
from surefoot.storage.records import Json
from surefoot.tools.function import FunctionTool
from surefoot.tools.langchain import LangChainTool, is_langchain
from surefoot.tools.tool import Tool

BUILT_IN = {"calculator": ("calculator",), "python": ("python",), "files": ("read_file", "write_file", "list_files")}
"""Names that stand for tools of ours: each is a module here, and says which tools of it are meant."""


def registered(tools: Iterable[Any] = ()) -> dict[str, Tool]:
    """Tools by name, in the order given: what `as_tool` takes, and the names in `BUILT_IN`.

    Raises SetupError where two different tools have one name.
    """
    if isinstance(tools, str):
        raise SetupError(f"tools is the text {tools!r}; give a list: [{tools!r}]")
    found: dict[str, Tool] = {}
    for made in chain.from_iterable(built_in(one) if isinstance(one, str) else (as_tool(one),) for one in tools):
        known = found.setdefault(made.name, made)
        if known is not made and not _same(known, made):
            raise SetupError(
                f"two tools are called {made.name!r}: {_origin(known)} and {_origin(made)}; "
                "rename one, for example with @tool(name=...)"
            )
    return found


def spec(made: Tool) -> ToolSpec:
    """A tool as models see it."""
    return ToolSpec(made.name, made.description, _inlined(made.parameters))


def as_tool(obj: Any) -> Tool:
    """A tool from whatever is offered as one. Raises SetupError where it cannot be.

    Anything with the `Tool` protocol is taken as it is. A LangChain tool is recognised by its attributes. A
    plain function becomes what `@tool` without arguments makes of it: effect `once`, the safe reading of a
    function that says nothing about what it does.
    """
    if isinstance(obj, type):
        raise SetupError(f"{obj.__name__} is a class; give an instance of it, or a function")
    if is_langchain(obj):
        return LangChainTool(obj)
    if isinstance(obj, MethodType) and isinstance(obj.__func__, FunctionTool):
        owner: Any = obj.__self__
        obj = obj.__func__.__get__(None, owner)  # a class method of a tool, from Python 3.13 on
    made = obj if isinstance(obj, Tool) else FunctionTool(obj) if callable(obj) else None
    if isinstance(made, FunctionTool) and made.unbound:
        raise SetupError(f"tool {made.name!r} is a method of a class; give that of an object: [the_object.{made.name}]")
    if made is not None:
        return made
    raise SetupError(
        f"{obj!r} cannot be a tool; give a function, something made by @tool, a LangChain tool, an object with the "
        f"Tool protocol, or one of the names {', '.join(BUILT_IN)}"
    )


def built_in(name: str) -> tuple[Tool, ...]:
    """The tools that a built-in name stands for. Raises SetupError where it stands for none."""
    if name not in BUILT_IN:
        raise SetupError(f"there is no built-in tool {name!r}; the names are: {', '.join(BUILT_IN)}")
    module = import_module(f"surefoot.tools.{name}")
    return tuple(getattr(module, one) for one in BUILT_IN[name])


def _inlined(parameters: Json) -> Json:
    """JSON Schema with what its references name in their place: strict servers take nothing beside a `$ref`.

    Inside itself, a type that holds itself is anything: the tool checks what it is given.
    """
    if "$defs" not in parameters:
        return parameters
    from langchain_core.utils.json_schema import dereference_refs

    return {name: part for name, part in dereference_refs(parameters).items() if name != "$defs"}


def _same(one: Tool, other: Tool) -> bool:
    """The same function offered twice is no conflict."""
    return isinstance(one, FunctionTool) and isinstance(other, FunctionTool) and one.function == other.function


def _origin(found: Tool) -> str:
    source = found.function if isinstance(found, FunctionTool) else type(found)
    return f"{source.__module__}.{getattr(source, '__qualname__', type(source).__qualname__)}"
