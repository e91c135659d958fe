"""JSON Schema checks, compiled once and kept: they stand on the path of every reply.

Dialect: JSON Schema 2020-12. Nothing is ever fetched: a `$ref` outside the schema is an error in the set-up.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from surefoot.storage.errors import SetupError
from surefoot.storage.records import Json

Check = Callable[[Json], str | None]
"""Says what is wrong with a value in one sentence, or None."""

KEPT = 4096
"""Results kept for schemas before the store of them starts anew."""

T = TypeVar("T")

_NOTES = frozenset({"type", "title", "description", "$schema", "default", "examples"})


def kept(make: Callable[[Json], T]) -> Callable[[Json], T]:
    """Keeps what `make` says of a schema, by identity and by content: a schema in use must not be changed.

    Raises SetupError where the schema is no JSON value.
    """
    by_identity: dict[int, tuple[Json, T]] = {}  # holds the schema too, or its id could go to another object
    by_text: dict[str, tuple[T]] = {}

    def keeping(schema: Json) -> T:
        known = by_identity.get(id(schema))
        if known is not None:
            return known[1]
        if len(by_identity) >= KEPT:
            by_identity.clear()
            by_text.clear()
        text = _canonical(schema)
        made = by_text.get(text) or (make(schema),)
        by_text[text] = made
        by_identity[id(schema)] = (schema, made[0])
        return made[0]

    return keeping


def _canonical(schema: Json) -> str:
    try:
        return json.dumps(schema, sort_keys=True)
    except (TypeError, ValueError) as error:
        raise SetupError(f"a JSON Schema must be a JSON value: {error}") from error


@kept
def check(schema: Json) -> Check:
    """The compiled check of a schema, kept for the next use. Raises SetupError where the schema is none."""
    return _simple(schema) or _full(schema)


def _number(value: Json) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _integer(value: Json) -> bool:
    return (isinstance(value, int) and not isinstance(value, bool)) or (isinstance(value, float) and value.is_integer())


_TYPES: Mapping[str, Callable[[Json], bool]] = {
    "number": _number,
    "integer": _integer,
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}


def _simple(schema: Json) -> Check | None:
    """A check without the validator (some 20 us a call) for schemas that say no more than a type."""
    if not isinstance(schema, dict) or not _NOTES.issuperset(schema):
        return None
    wanted = schema.get("type")
    fits = _TYPES.get(wanted) if isinstance(wanted, str) else None
    if fits is None:
        return None

    def typed(value: Json) -> str | None:
        return None if fits(value) else f"$: {short(value)} is not of type {wanted!r}"

    return typed


def _full(schema: Json) -> Check:
    # Deferred: importing jsonschema costs 60 ms, and a run without schemas does not need it.
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError, best_match
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise SetupError(f"not a JSON Schema (2020-12), at {error.json_path}: {error.message}") from error
    registry: Registry[Any] = Registry()  # with a registry of its own the validator does not fetch
    validator = Draft202012Validator(schema, registry=registry)

    def full(value: Json) -> str | None:
        try:
            error = best_match(validator.iter_errors(value))
        except Unresolvable as problem:
            raise SetupError(f"a $ref of the JSON Schema leads out of it: {problem}") from problem
        except RecursionError:
            return "$: the value is nested too deeply"
        return None if error is None else f"{error.json_path}: {clip(error.message)}"

    return full


def short(value: Json) -> str:
    return clip(repr(value))


def clip(text: str, limit: int = 300) -> str:
    return text if len(text) <= limit else f"{text[:limit]} ..."
