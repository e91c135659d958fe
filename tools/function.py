"""`@tool`: a tool made from a function."""

from __future__ import annotations

import copy
import functools
import inspect
import json
import re
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, Generic, ParamSpec, TypeVar, Unpack, overload

from pydantic import BaseModel, ConfigDict, Field, PydanticUserError, TypeAdapter, ValidationError, create_model
from pydantic.errors import PydanticSchemaGenerationError
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema

from surefoot.storage.errors import Retry, SetupError
from surefoot.storage.records import Effect, Json
from surefoot.tools.guard import Guarded, Limits
from surefoot.tools.result import cut
from surefoot.tools.thread import in_thread
from surefoot.tools.tool import ToolContext

P = ParamSpec("P")
R = TypeVar("R")

_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_SECTION = re.compile(r"^(Args|Arguments|Parameters|Returns|Yields|Raises|Examples?|Notes?):\s*$")
_ENTRY = re.compile(r"^\*{0,2}(\w+)(?:\s*\([^)]*\))?:\s*(.*)$")
_SHOWN = 200
"""Characters of a wrong value that an error message repeats."""


@overload
def tool(function: Callable[P, R], /) -> FunctionTool[P, R]: ...
@overload
def tool(
    *,
    effect: Effect | str = ...,
    timeout: float | None = ...,
    approval: bool = ...,
    name: str | None = ...,
    output_limit: int | None = ...,
) -> Callable[[Callable[P, R]], FunctionTool[P, R]]: ...
def tool(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Make a tool from a sync or async function; usable bare and with arguments.

    `effect`: pure, idempotent or once. The default is `once`: a tool that says nothing of what it does to the
    world is never run again by itself after a crash. `timeout`: seconds, or None. `approval`: a person must
    agree before each call. `name`: the function's, unless given. `output_limit`: characters of any text in the
    result; the middle of a longer one is left out, with a note. None keeps everything.

    The docstring becomes the description, the signature the JSON Schema; a Google-style `Args` section or
    `Annotated[..., Field(description=...)]` describes the parameters. A parameter annotated `ToolContext` is
    filled in by the engine and is no part of the schema. A sync function runs in a thread; past its time
    limit it is abandoned, not killed. Raises SetupError for a function that cannot be a tool.
    """
    if function is None:
        return lambda decorated: FunctionTool(decorated, **options)
    return FunctionTool(function, **options)


class FunctionTool(Guarded, Generic[P, R]):
    """A function as a tool. Calling it directly calls the function.

    Made of a method, in its class, it is a tool once it is read from an object: `tools=[shop.price]`.
    """

    def __init__(self, function: Callable[P, R], *, name: str | None = None, **limits: Unpack[Limits]) -> None:
        bound_to = "class" if isinstance(function, classmethod) else None
        if isinstance(function, (staticmethod, classmethod)):
            function = function.__func__
        label = name or _label(function)
        signature = _signature(function, label)
        bound_to = bound_to or _method(function, signature)
        self._bound_to = bound_to
        if bound_to is not None:
            signature = signature.replace(parameters=list(signature.parameters.values())[1:])
        described = "" if isinstance(function, functools.partial) else inspect.getdoc(function) or ""
        description, entries = _docstring(described)
        fields, self._context = _split(signature, label)
        self._names = tuple(fields)
        self._model = _model(label, fields, entries)
        self._validate = self._model.__pydantic_validator__.validate_python
        self._async = _is_async(function)
        super().__init__(
            label, description, _schema(self._model), returns=_returns(signature.return_annotation), **limits
        )
        self.function = function
        functools.update_wrapper(self, function, updated=())

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.function(*args, **kwargs)

    @property
    def unbound(self) -> bool:
        """It is a method whose object is not known: not yet a tool."""
        return self._bound_to is not None

    def __get__(self, instance: Any, owner: type | None = None) -> FunctionTool[..., R]:
        """The tool of an object or, of a class method, of the class."""
        to = instance if self._bound_to == "object" else owner or type(instance)
        if self._bound_to is None or to is None:
            return self
        bound: FunctionTool[..., R] = copy.copy(self)
        bound.function = types.MethodType(self.function, to)
        bound._bound_to = None
        return bound

    def validate(self, arguments: Mapping[str, Json]) -> dict[str, Any]:
        """The arguments with their Python types and the defaults filled in, by parameter name."""
        try:
            checked = self._validate(arguments)
        except ValidationError as error:
            raise Retry(complaint(self.name, error, self.parameters)) from error
        # Fields are named by position, so that a parameter may be called `json` or `_x`; their order is kept.
        return dict(zip(self._names, checked.__dict__.values(), strict=True))

    async def invoke(self, values: dict[str, Any], context: ToolContext) -> Any:
        if self._context is not None:
            values[self._context] = context
        function: Callable[..., Any] = self.function
        if self._async:
            return await function(**values)
        value = await in_thread(lambda: function(**values))
        return await value if inspect.isawaitable(value) else value


def complaint(name: str, error: ValidationError, parameters: Json) -> str:
    """What is wrong with a call's arguments, in words that a model can act on."""
    problems: dict[str, list[str]] = {}
    for item in error.errors(include_url=False, include_context=False):
        problems.setdefault(str(item["loc"][0]) if item["loc"] else "", []).append(_problem(item))
    properties = parameters.get("properties", {})
    lines = [f"{', '.join(texts)}; {_expected(first, properties)}." for first, texts in problems.items()]
    return cut(f"{name} was not run, its arguments are wrong. {' '.join(lines)} Mend them and call it again.", 2_000)


def _problem(item: Any) -> str:
    where = ".".join(str(part) for part in item["loc"]) or "the arguments"
    if item["type"] == "extra_forbidden":
        return f"{where}: there is no such parameter"
    if item["type"] == "missing":
        return f"{where}: it is missing"
    return f"{where}: {item['msg']}, got {cut(repr(item['input']), _SHOWN)}"


def _expected(parameter: str, properties: Mapping[str, Json]) -> str:
    if parameter in properties:
        return f"expected {cut(json.dumps(properties[parameter], ensure_ascii=False), 2 * _SHOWN)}"
    return f"the parameters are: {', '.join(properties) or 'none'}"


class _Schema(GenerateJsonSchema):
    """Titles repeat the names, and cost tokens in every prompt; a default that has no JSON form is left out."""

    ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012 (as in the base class)

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def _schema(model: type[BaseModel]) -> Json:
    try:
        schema = model.model_json_schema(schema_generator=_Schema)
    except PydanticUserError as error:
        raise SetupError(f"tool {model.__name__!r}: a parameter has no JSON Schema: {error}") from error
    schema.pop("title", None)
    schema.setdefault("properties", {})
    return schema


def _returns(annotation: Any) -> Json:
    """JSON Schema of the result; None, which is anything, where the annotation does not say."""
    if annotation is inspect.Signature.empty or annotation is Any:
        return None
    try:
        schema = TypeAdapter(annotation).json_schema(mode="serialization", schema_generator=_Schema)
    except PydanticUserError:
        return None
    schema.pop("title", None)
    return schema or None


def _label(function: Any) -> str:
    while isinstance(function, functools.partial):
        function = function.func
    return str(getattr(function, "__name__", type(function).__name__))


def _method(function: Any, signature: inspect.Signature) -> str | None:
    """What a function that stands in a class takes first: the object or the class; None for any other function."""
    first = next(iter(signature.parameters.values()), None)
    inside = str(getattr(function, "__qualname__", "")).rpartition(".")[0]
    if first is None or first.annotation is not inspect.Parameter.empty or not inspect.isfunction(function):
        return None
    return {"self": "object", "cls": "class"}.get(first.name) if inside and not inside.endswith("<locals>") else None


def _signature(function: Callable[..., Any], name: str) -> inspect.Signature:
    if not callable(function) or isinstance(function, type):
        raise SetupError(f"@tool takes a function, got {function!r}")
    if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
        raise SetupError(f"tool {name!r} is a generator; return the whole result, for example as a list")
    try:
        return inspect.signature(function, eval_str=True)
    except NameError as error:
        raise SetupError(
            f"tool {name!r}: an annotation cannot be resolved ({error}); define or import its type at module level"
        ) from error
    except (TypeError, ValueError) as error:
        raise SetupError(f"tool {name!r} has no signature to read ({error}); wrap it in a function") from error


def _split(signature: inspect.Signature, name: str) -> tuple[dict[str, inspect.Parameter], str | None]:
    """The parameters that a model fills in, and the name of the one that takes the context."""
    fields: dict[str, inspect.Parameter] = {}
    context = None
    for parameter in signature.parameters.values():
        if parameter.kind not in _NAMED:
            raise SetupError(f"tool {name!r}: parameter {parameter} has no name of its own; give every one a name")
        if _takes_context(parameter.annotation):
            context = parameter.name
        else:
            fields[parameter.name] = parameter
    return fields, context


def _takes_context(annotation: Any) -> bool:
    if typing.get_origin(annotation) in (typing.Union, types.UnionType, typing.Annotated):
        return any(_takes_context(part) for part in typing.get_args(annotation))
    return annotation is ToolContext


def _model(name: str, fields: dict[str, inspect.Parameter], entries: Mapping[str, str]) -> type[BaseModel]:
    definitions: dict[str, Any] = {
        f"p{position}": _field(parameter, entries.get(parameter.name))
        for position, parameter in enumerate(fields.values())
    }
    try:
        return create_model(name, __config__=ConfigDict(extra="forbid"), **definitions)
    except PydanticSchemaGenerationError as error:
        raise SetupError(f"tool {name!r}: a parameter's type is not one that JSON can carry: {error}") from error


def _field(parameter: inspect.Parameter, entry: str | None) -> tuple[Any, FieldInfo]:
    annotation = Any if parameter.annotation is inspect.Parameter.empty else parameter.annotation
    default = ... if parameter.default is inspect.Parameter.empty else parameter.default
    if entry and FieldInfo.from_annotation(annotation).description is None:
        return annotation, Field(default, alias=parameter.name, description=entry)
    return annotation, Field(default, alias=parameter.name)


def _is_async(function: Callable[..., Any]) -> bool:
    while isinstance(function, functools.partial):
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004


def _docstring(text: str) -> tuple[str, dict[str, str]]:
    """The description without its `Args` section, and what that section says of each parameter."""
    kept: list[str] = []
    entries: dict[str, str] = {}
    inside, current = False, ""
    for line in text.splitlines():
        if section := _SECTION.match(line):
            inside = section[1] in ("Args", "Arguments", "Parameters")
        elif inside and line and not line[0].isspace():
            inside = False
        elif inside:
            current = _entry(line, current, entries)
        if not inside:
            kept.append(line)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(kept)).strip(), entries


def _entry(line: str, current: str, entries: dict[str, str]) -> str:
    """Read one line of an `Args` section; returns the parameter that the next line may continue."""
    words = line.strip()
    if found := _ENTRY.match(words):
        entries[found[1]] = found[2]
        return found[1]
    if current and words:
        entries[current] = f"{entries[current]} {words}".strip()
    return current
