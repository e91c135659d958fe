"""What a caller passed, seen before anything is done with it. All of it raises SetupError, in words."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import fields
from os import PathLike
from typing import Any, TypeVar

from surefoot.storage.errors import SetupError
from surefoot.storage.jsonable import to_json
from surefoot.storage.records import Budget, Json

T = TypeVar("T")

FLAG, WHOLE, NUMBER, TEXT = "True or False", "a whole number", "a number", "a text"
_TYPES: dict[str, type | tuple[type, ...]] = {FLAG: bool, WHOLE: int, NUMBER: (int, float), TEXT: str}


def fit(kind: str, **given: Any) -> None:
    """Whether values, by name, are of a kind; None always is."""
    for name, value in given.items():
        if value is None:
            continue
        if not isinstance(value, _TYPES[kind]) or (isinstance(value, bool) and kind is not FLAG):
            raise SetupError(f"{name}={value!r} is not {kind}")


def several(name: str, given: Iterable[T]) -> tuple[T, ...]:
    """Values of an argument that takes more than one."""
    if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
        raise SetupError(f"{name}={given!r}: give several, in a list, as in {name}=[...]")
    return tuple(given)


def probability(name: str, value: float | None, low: float = 0) -> None:
    fit(NUMBER, **{name: value})
    if value is not None and not low < value < 1:
        raise SetupError(f"{name}={value} is no probability between {low:g} and 1")


def limits(budget: Budget | None) -> Budget:
    """The limits of a run; no budget is no limit."""
    if budget is None:
        return Budget()
    if not isinstance(budget, Budget):
        raise SetupError(f"budget={budget!r}: say what of, as in budget=Budget(tokens=5000, seconds=60)")
    for one in fields(budget):
        limit = getattr(budget, one.name)
        fit(NUMBER, **{f"budget.{one.name}": limit})
        if limit is not None and not limit >= 0:
            raise SetupError(f"a budget of {one.name}={limit} is no limit: give 0 or more, or None for none")
    return budget


def listener(given: Callable[..., None] | None) -> None:
    if given is not None and not callable(given):
        raise SetupError(f"on_record={given!r} is no function: it is called with each record")


def place(name: str, given: Any, *others: type) -> None:
    """Whether this says where something is: a path, or one of the other types; None may."""
    if given is not None and (isinstance(given, type) or not isinstance(given, (str, PathLike, *others))):
        raise SetupError(f"{name}={given!r} is no path")


def plain(name: str, value: Any) -> Json:
    """A value as the JSON that the record will hold."""
    try:
        return to_json(value)
    except (TypeError, ValueError) as error:
        raise SetupError(f"the {name} cannot be kept: {error}") from error
