"""Schemas of parameters in the form that every server takes."""

from __future__ import annotations

from collections.abc import Mapping

from surefoot.storage.records import Json

PREFIX = "#/$defs/"


def inlined(schema: Json) -> Json:
    """The JSON Schema with what `$ref` names put in its place: strict servers refuse anything beside a reference.

    A type that holds itself cannot be written so; its references stay, and stand alone as far as they can.
    """
    definitions: Mapping[str, Json] = schema.get("$defs") or {} if isinstance(schema, dict) else {}
    if not definitions:
        return schema
    left: set[str] = set()
    found = _filled({name: part for name, part in schema.items() if name != "$defs"}, definitions, (), left)
    kept: dict[str, Json] = {}
    while missing := left - kept.keys():
        name = min(missing)
        kept[name] = _filled(definitions[name], definitions, (name,), left)
    return {**found, "$defs": kept} if kept else found


def _filled(part: Json, definitions: Mapping[str, Json], inside: tuple[str, ...], left: set[str]) -> Json:
    if isinstance(part, list):
        return [_filled(one, definitions, inside, left) for one in part]
    if not isinstance(part, dict):
        return part
    target = part.get("$ref")
    if isinstance(target, str) and target.removeprefix(PREFIX) in definitions:
        name = target.removeprefix(PREFIX)
        if name in inside or _holds_itself(name, definitions):
            left.add(name)
            return {"$ref": target}
        beside = {key: _filled(one, definitions, inside, left) for key, one in part.items() if key != "$ref"}
        return {**_filled(definitions[name], definitions, (*inside, name), left), **beside}
    return {key: _filled(one, definitions, inside, left) for key, one in part.items()}


def _holds_itself(name: str, definitions: Mapping[str, Json]) -> bool:
    seen: set[str] = set()
    todo = [definitions[name]]
    while todo:
        part = todo.pop()
        if isinstance(part, list):
            todo += part
        elif isinstance(part, dict):
            target = part.get("$ref")
            inner = target.removeprefix(PREFIX) if isinstance(target, str) else None
            if inner == name:
                return True
            if inner in definitions and inner not in seen:
                seen.add(str(inner))
                todo.append(definitions[str(inner)])
            todo += [one for key, one in part.items() if key != "$ref"]
    return False
