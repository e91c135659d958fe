"""JSON values inside the text of a reply."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from math import isinf

from surefoot.storage.records import Json

FENCE = re.compile(r"```[a-zA-Z0-9]*[ \t]*\n(.*?)```", re.DOTALL)
OPENING = re.compile(r"[\[{]")
STARTS_TRIED = 64
"""Brackets in prose that are tried as the start of a JSON value."""


def _refuse(constant: str) -> Json:
    raise ValueError(f"{constant} is no JSON value")


def _finite(text: str) -> float:
    """A float that does not overflow: 1e999 is no answer, as Infinity is none."""
    value = float(text)
    if isinf(value):
        raise ValueError(f"the number {text} is too large")
    return value


DECODER = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite)


def values(text: str) -> Iterator[Json]:
    """Every whole JSON value in a text: what fences hold, else each bracketed value in the prose."""
    fenced = [body for body in FENCE.findall(text) if body.strip()]
    whole = [value for body in fenced for value in _decoded(body)]
    if whole:
        yield from whole
        return
    position = 0
    for _ in range(STARTS_TRIED):
        opening = OPENING.search(text, position)
        if opening is None:
            return
        try:
            value, position = DECODER.raw_decode(text, opening.start())
        except (ValueError, RecursionError):
            position = opening.end()
        else:
            yield value


def _decoded(text: str) -> list[Json]:
    try:
        return [DECODER.decode(text.strip())]
    except (ValueError, RecursionError):
        return []
