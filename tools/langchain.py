"""LangChain tools, recognised by their attributes: nothing of LangChain is imported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Unpack

from pydantic import BaseModel, ValidationError

from surefoot.storage.errors import Retry
from surefoot.storage.records import Json
from surefoot.tools.function import complaint
from surefoot.tools.guard import Guarded, Limits
from surefoot.tools.tool import ToolContext


def is_langchain(obj: object) -> bool:
    """Whether `obj` looks like a LangChain tool."""
    return all(hasattr(obj, part) for part in ("name", "description", "args", "ainvoke"))


class LangChainTool(Guarded):
    """A LangChain tool as one of ours.

    LangChain tools say nothing of their effect: it is `once` unless given here. A `ToolException` is a failure
    like any other exception; a tool with `handle_tool_error` returns its text as the result instead.
    """

    def __init__(self, inner: Any, **limits: Unpack[Limits]) -> None:
        self.inner = inner
        self._model, parameters = _arguments(inner)
        super().__init__(inner.name, inner.description, parameters, **limits)

    def validate(self, arguments: Mapping[str, Json]) -> dict[str, Any]:
        """The arguments as given: LangChain converts them itself, after they were found to be convertible."""
        if self._model is None:
            self._check(arguments)
        else:
            try:
                self._model.model_validate(arguments)
            except ValidationError as error:
                raise Retry(complaint(self.name, error, self.parameters)) from error
        return dict(arguments)

    def _check(self, arguments: Mapping[str, Json]) -> None:
        from jsonschema import Draft202012Validator

        text = " ".join(
            f"{'.'.join(map(str, e.absolute_path)) or 'arguments'}: {e.message}."
            for e in Draft202012Validator(self.parameters).iter_errors(arguments)
        )
        if text:
            raise Retry(f"{self.name} was not run, its arguments are wrong. {text} Mend them and call it again.")

    async def invoke(self, values: dict[str, Any], context: ToolContext) -> Any:
        return await self.inner.ainvoke(values)


def _arguments(inner: Any) -> tuple[type[BaseModel] | None, Json]:
    """The pydantic model of the arguments, where there is one, and their JSON Schema.

    `tool_call_schema` leaves out what LangChain injects, which `args_schema` does not.
    """
    for source in (getattr(inner, "tool_call_schema", None), getattr(inner, "args_schema", None)):
        if isinstance(source, type) and issubclass(source, BaseModel):
            return source, _bare(source.model_json_schema())
        if isinstance(source, Mapping):
            return None, _bare(dict(source))
    return None, {"type": "object", "properties": dict(inner.args)}


def _bare(schema: dict[str, Json]) -> Json:
    return {key: value for key, value in schema.items() if key not in ("title", "description")}
