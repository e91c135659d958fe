"""References inside plan values: `{"$ref": "s1.total"}` and `{"$input": "rows"}`.

A plan is data, so its data flow is data too: a step's arguments are JSON in which these two one-key objects
stand for values that are not known yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from surefoot.storage.records import Json


def is_marker(value: Json) -> bool:
    return isinstance(value, dict) and len(value) == 1 and ("$ref" in value or "$input" in value)


PLAIN = frozenset({int, float, str, bool, type(None)})
"""Types of values that hold no others: what walks through values looks at most of them, and goes on."""


def markers(value: Json) -> list[tuple[str, Json]]:
    """Every reference in a value, as (kind, name) with kind `$ref` or `$input`. A model may give anything as name."""
    found: list[tuple[str, Json]] = []
    _gather(value, found)
    return found


def _gather(value: Json, found: list[tuple[str, Json]]) -> None:
    if is_marker(value):
        found.append(next(iter(value.items())))
    elif isinstance(value, (dict, list, tuple)):
        for item in value.values() if isinstance(value, dict) else value:
            if type(item) not in PLAIN:
                _gather(item, found)


def siblings(value: Json) -> set[str]:
    """ids of the steps that a value refers to."""
    return {str(name).split(".", 1)[0] for kind, name in markers(value) if kind == "$ref"}


def resolve(value: Json, outputs: Mapping[str, Json], inputs: Mapping[str, Json]) -> Json:
    """The value with every reference replaced.

    `outputs` has the committed outputs of its `siblings` by id. Raises LookupError where a path does not exist.
    """
    if isinstance(value, dict):
        if len(value) == 1:
            if "$ref" in value:
                step, _, path = str(value["$ref"]).partition(".")
                return _dig(outputs[step], path, f"step {step}")
            if "$input" in value:
                name, _, path = str(value["$input"]).partition(".")
                if name not in inputs:
                    raise LookupError(f"there is no input {name!r}; there are: {', '.join(sorted(inputs)) or 'none'}")
                return _dig(inputs[name], path, f"input {name}")
        return {key: resolve(item, outputs, inputs) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [item if type(item) in PLAIN else resolve(item, outputs, inputs) for item in value]
    return value


def copied(value: Json) -> Json:
    """The value with lists and objects of its own: for code that may change what it is given."""
    if type(value) in PLAIN:  # first: to tell that it is no Mapping takes far longer
        return value
    if isinstance(value, Mapping):
        return {key: copied(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [item if type(item) in PLAIN else copied(item) for item in value]
    return value


def _dig(value: Any, path: str, where: str) -> Json:
    for part in path.split(".") if path else ():
        try:
            value = value[int(part)] if isinstance(value, list) else value[part]
        except (KeyError, IndexError, ValueError, TypeError):
            raise LookupError(f"the output of {where} has no {path!r}") from None
    return value
