"""What a tool returns, made into a JSON value."""

from __future__ import annotations

import math
from typing import Any

from pydantic_core import to_jsonable_python

from surefoot.storage.errors import ToolError
from surefoot.storage.records import Json

OUTPUT_LIMIT = 50_000
"""Characters of any one text in a result, unless the tool says otherwise."""

_INT_BITS = 14_000
"""Python refuses to write larger whole numbers (4,300 digits) as text."""


def deliver(value: Any, limit: int | None) -> Json:
    """`value` as a JSON value, every text in it cut to `limit` characters (None cuts nothing).

    Only text is cut: rows of data that a later step reads stay whole. Dataclasses, pydantic models, decimals,
    dates, paths, enums, sets and numpy arrays are converted; raises ToolError for what has no JSON form,
    infinities and not-a-number included, because a silent null would be a wrong answer.
    """
    if value is None or type(value) in (str, int, float, bool):
        return _walk(value, limit)
    return _walk(_convert(value), limit)


def cut(text: str, limit: int) -> str:
    """`text` without its middle: about `limit` characters of it, and a note that says how many are left out."""
    if len(text) <= limit:
        return text
    head = (limit + 1) // 2
    tail = limit - head
    return f"{text[:head]}\n[... {len(text) - limit} characters left out ...]\n{text[len(text) - tail :]}"


def _convert(value: Any) -> Json:
    try:
        return to_jsonable_python(value, fallback=_unwrap)
    except Exception as error:
        raise ToolError(
            f"the result has no JSON form ({type(value).__name__}: {error}); "
            "return text, numbers, lists, dicts, dataclasses or pydantic models"
        ) from error


def _unwrap(value: Any) -> Any:
    """Arrays and array scalars of numpy and torch know `tolist`; anything else stays unknown."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"a value of type {type(value).__name__} cannot be written as JSON")


def _walk(value: Json, limit: int | None) -> Json:
    if isinstance(value, str):
        return _text(value, limit)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ToolError(f"the result holds {value}, which has no JSON form; return a finite number or None")
        return value
    if isinstance(value, int):
        if value.bit_length() > _INT_BITS:
            raise ToolError("the result holds a whole number of more than 4,000 digits; return it as text or round it")
        return value
    if isinstance(value, list):
        return [_walk(item, limit) for item in value]
    if isinstance(value, dict):
        return {_text(key, None): _walk(item, limit) for key, item in value.items()}
    return value


def _text(text: str, limit: int | None) -> str:
    if not text.isascii():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise ToolError(
                f"the result holds text that is not Unicode (half of a pair at character {error.start}); "
                "decode bytes with errors='replace'"
            ) from error
    return text if limit is None else cut(text, limit)
