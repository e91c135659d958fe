"""Which parts of a case a user's function wants, read from its signature."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from operator import attrgetter
from types import SimpleNamespace
from typing import Any, get_type_hints

from pydantic import PydanticUserError, TypeAdapter, ValidationError

from surefoot.reflection.verifier import Case
from surefoot.storage.errors import SetupError

Reader = Callable[[Case], Any]

_READERS: Mapping[str, Reader] = {
    **{name: attrgetter(name) for name in ("candidate", "inputs", "step", "goal", "reply")},
    "case": lambda case: case,
}
_SHOWN = 3
"""Type errors that a critique lists."""


class MisfitError(Exception):
    """The candidate is not of the type that the function's annotation asks for. The text is a critique."""


class Parameters:
    """Fills a function's parameters from a case.

    Parameters named candidate, inputs, step, goal, reply and case receive just that. The first other
    parameter, whatever its name, receives the `slot` ("candidate" or "inputs"), or the whole case where it is
    annotated `Case`. Further ones keep their defaults. Raises SetupError for a parameter that nothing fills.
    """

    def __init__(self, function: Callable[..., Any], slot: str, names: Mapping[str, Any]) -> None:
        self.positional: list[Reader] = []
        self.keyword: dict[str, Reader] = {}
        self._label = getattr(function, "__name__", type(function).__name__)
        signature = _signature(function, self._label)
        first = _slot(signature, slot)
        for parameter in signature.parameters.values():
            reader = _READERS.get(slot if parameter.name == first else parameter.name)
            if reader is None:
                self._skip(parameter, slot)
                continue
            if parameter.name == first:
                reader = _typed(reader, parameter.annotation, slot, _scope(function, names))
            if parameter.kind is parameter.KEYWORD_ONLY:
                self.keyword[parameter.name] = reader
            else:
                self.positional.append(reader)

    def fill(self, case: Case) -> tuple[list[Any], dict[str, Any]]:
        """The arguments. Raises MisfitError where the candidate does not fit its annotation."""
        return [read(case) for read in self.positional], {name: read(case) for name, read in self.keyword.items()}

    def _skip(self, parameter: inspect.Parameter, slot: str) -> None:
        if parameter.default is parameter.empty or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise SetupError(
                f"{self._label} has a parameter {parameter.name!r} that nothing fills: "
                f"use the names {', '.join(_READERS)} beside the first one, which receives the {slot}"
            )


def _signature(function: Callable[..., Any], label: str) -> inspect.Signature:
    try:
        return inspect.signature(function)
    except (TypeError, ValueError) as error:
        raise SetupError(f"{label} has no readable signature ({error}): wrap it in a def") from error


def _slot(signature: inspect.Signature, slot: str) -> str | None:
    """The parameter that receives the slot: the one of that name, else the first of no reserved name."""
    if slot in signature.parameters:
        return slot
    for name, parameter in signature.parameters.items():
        if name not in _READERS and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            return name
    return None


def _scope(function: Callable[..., Any], names: Mapping[str, Any]) -> dict[str, Any]:
    """Names that a textual annotation may use: where the function was decorated, then its module."""
    target = inspect.unwrap(function)
    target = getattr(target, "__func__", target)
    return {**getattr(target, "__globals__", {}), **names}


def _typed(reader: Reader, annotation: Any, slot: str, scope: dict[str, Any]) -> Reader:
    """The reader with the annotation's conversion behind it."""
    kind = _resolved(annotation, scope)
    if kind is Case:
        return _READERS["case"]
    if kind in (inspect.Parameter.empty, Any, object):
        return reader
    try:
        convert = TypeAdapter(kind).validate_python
    except PydanticUserError as error:
        raise SetupError(f"pydantic cannot read the annotation {kind!r}: {error}") from error

    def typed(case: Case) -> Any:
        try:
            return convert(reader(case))
        except ValidationError as error:
            raise MisfitError(_misfit(error, slot)) from error

    return typed


def _resolved(annotation: Any, scope: dict[str, Any]) -> Any:
    if not isinstance(annotation, str):
        return annotation
    holder = SimpleNamespace(__annotations__={"it": annotation})
    try:
        return get_type_hints(holder, scope, include_extras=True)["it"]
    except (NameError, AttributeError, TypeError, SyntaxError) as error:
        raise SetupError(f"the annotation {annotation!r} cannot be read ({error}): define it above") from error


def _misfit(error: ValidationError, slot: str) -> str:
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    shown = [f"{_path(slot, problem['loc'])}: {problem['msg']}" for problem in problems[:_SHOWN]]
    rest = len(problems) - len(shown)
    return "; ".join(shown) + (f"; and {rest} more" if rest else "")


def _path(slot: str, location: tuple[int | str, ...]) -> str:
    return slot + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
