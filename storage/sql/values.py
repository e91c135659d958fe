"""Single values to what a row holds of them and back; None where a column has nothing to say."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from surefoot.storage.jsonable import ESCAPE, dumps, from_text, loads, to_text
from surefoot.storage.records import Json, Usage

TWIN = ESCAPE + "="
"""Stored in place of a text that another column of the row holds already."""

_NOTHING = Usage()
_ABSENT: tuple[Any, ...] = (None,) * 6


def json_text(value: Json) -> str | None:
    return None if value is None else dumps(value)


def json_value(text: str | None) -> Json:
    return None if text is None else loads(text)


def word(text: str | None) -> str | None:
    return to_text(text) if text is not None else None


listed = lru_cache(maxsize=1024)(dumps)
"""Of a tuple of words that many steps share."""


def said(text: str | None) -> str | None:
    return from_text(text) if text is not None else None


def numeric(value: float | None) -> float | None:
    """NaN is no number, and SQLite would make it NULL anyhow; PostgreSQL would not."""
    return value if value is not None and value == value else None


def spent(usage: Usage) -> tuple[Any, ...]:
    if usage is _NOTHING:
        return _ABSENT
    return (
        usage.attempts or None,
        usage.samples or None,
        usage.prompt_tokens or None,
        usage.completion_tokens or None,
        usage.cached_tokens or None,
        numeric(usage.usd) or None,
    )


def usage(row: tuple[Any, ...]) -> Usage:
    if row == _ABSENT:
        return _NOTHING
    attempts, samples, prompt, completion, cached, usd = row
    return Usage(attempts or 0, samples or 0, prompt or 0, completion or 0, cached or 0, usd or 0.0)


def twin(text: str | None, other: str | None) -> str | None:
    """`text` for storing beside the stored text `other`: a mark where the two are the same."""
    if text is None:
        return None
    return TWIN if text == other else to_text(text)


def untwin(stored: str | None, other: str | None) -> str | None:
    """The text that `twin` was given."""
    if stored is None:
        return None
    return other if stored == TWIN else from_text(stored)
