"""The tools that a run may use, by name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from types import MethodType
from typing import Any

from surefoot.models.question import ToolSpec
from surefoot.storage.errors import Retry, SetupError
from surefoot.storage.records import Json
from surefoot.tools.function import FunctionTool
from surefoot.tools.langchain import LangChainTool, is_langchain
from surefoot.tools.tool import Tool

BUILT_IN = ("calculator", "python", "files")
"""Names that stand for tools of ours; `files` is three of them."""


class Registry:
    """Tools with unique names, in the order given.

    Takes what `as_tool` takes, and the names in `BUILT_IN`. Raises SetupError where two different tools have
    one name. A model may ask for a tool that does not exist, so `get` raises Retry; a caller who does so has
    made a mistake, so `subset` raises SetupError.
    """

    def __init__(self, tools: Iterable[Any] = ()) -> None:
        if isinstance(tools, str):
            raise SetupError(f"tools is the text {tools!r}; give a list: [{tools!r}]")
        self._tools: dict[str, Tool] = {}
        for item in tools:
            for made in _tools(item):
                self._add(made)

    def _add(self, made: Tool) -> None:
        known = self._tools.setdefault(made.name, made)
        if known is not made and not _same(known, made):
            raise SetupError(
                f"two tools are called {made.name!r}: {_origin(known)} and {_origin(made)}; "
                "rename one, for example with @tool(name=...)"
            )

    def __iter__(self) -> Iterator[Tool]:
        return iter(self._tools.values())

    def __len__(self) -> int:
        return len(self._tools)

    def __contains__(self, name: object) -> bool:
        return name in self._tools

    def __repr__(self) -> str:
        return f"<Registry {', '.join(self._tools) or 'without tools'}>"

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._tools)

    def get(self, name: str) -> Tool:
        """The tool of that name. Raises Retry, naming those that there are."""
        found = self._tools.get(name)
        if found is None:
            raise Retry(f"there is no tool called {name!r}; {self._known()}")
        return found

    @cached_property
    def _specs(self) -> tuple[ToolSpec, ...]:
        return tuple(ToolSpec(t.name, t.description, _inlined(t.parameters)) for t in self)

    def specs(self) -> tuple[ToolSpec, ...]:
        """The tools as models see them."""
        return self._specs

    def subset(self, names: Iterable[str] | None) -> Registry:
        """Only the tools of these names, in this order; None is all. A built-in's name need not be registered."""
        if names is None:
            return self
        return Registry([item for name in names for item in self._named(name)])

    def _named(self, name: str) -> tuple[Tool, ...]:
        if name in self._tools:
            return (self._tools[name],)
        group = built_in(name)
        if group and all(t.name in self._tools for t in group):
            return tuple(self._tools[t.name] for t in group)
        raise SetupError(f"there is no tool called {name!r}; {self._known()}")

    def _known(self) -> str:
        return f"the tools are: {', '.join(self._tools)}" if self._tools else "there are no tools"


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
    """The tools that a built-in name stands for; empty where it stands for none."""
    if name == "calculator":
        from surefoot.tools.calculator import calculator

        return (calculator,)
    if name == "python":
        from surefoot.tools.python import python

        return (python,)
    if name == "files":
        from surefoot.tools.files import list_files, read_file, write_file

        return (read_file, write_file, list_files)
    return ()


def _tools(item: Any) -> tuple[Tool, ...]:
    if not isinstance(item, str):
        return (as_tool(item),)
    group = built_in(item)
    if not group:
        raise SetupError(f"there is no built-in tool {item!r}; the names are: {', '.join(BUILT_IN)}")
    return group


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
