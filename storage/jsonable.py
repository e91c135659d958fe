"""What the store makes of values: one rule for JSON, one for text.

JSON values are kept exactly: integers of any size that Python itself reads back, floats to the last bit,
strings whatever they hold. `to_json` says what becomes of everything else.
"""

from __future__ import annotations

import base64
import datetime
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from math import isfinite
from pathlib import PurePath
from typing import Any
from uuid import UUID

from surefoot.storage.records import Json

ESCAPE = "\x1a"
"""First character of a stored text that is not what it stands for (U+001A, "substitute")."""

DIGITS = 4300
"""Decimal digits of the longest integer that Python reads without being told to (its own default limit)."""

_HUGE: int = 10**DIGITS
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_ASCII = json.JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":"))
_DECODER = json.JSONDecoder()
_PLAIN: dict[str, Any] = {
    "markers": None,  # a value that contains itself ends in a RecursionError, which `to_json` explains
    "default": _ENCODER.default,
    "encoder": json.encoder.encode_basestring,
    "indent": None,
    "key_separator": ":",
    "item_separator": ",",
    "sort_keys": False,
    "skipkeys": False,
    "allow_nan": False,
}
# `_ENCODER.encode` makes one of these for every value, which takes longer than to encode a short one.
_encode: Callable[[object, int], Iterable[str]] = (
    json.encoder.c_make_encoder(**_PLAIN)  # type: ignore[attr-defined]  # None where Python has no C code
    if json.encoder.c_make_encoder is not None  # type: ignore[attr-defined]
    else lambda value, _: (_ENCODER.encode(value),)
)


def to_json(value: object) -> Json:
    """The JSON value that stands for `value`; a JSON value is itself, tuples become lists.

    | value | becomes |
    | --- | --- |
    | Fraction, Decimal | exact text: `"1/3"`, `"0.10"` |
    | NaN, infinities | `"NaN"`, `"Infinity"`, `"-Infinity"` |
    | date, time, datetime | ISO 8601 text; timedelta: seconds |
    | UUID, path | text |
    | bytes | base64 text |
    | enum member | its value |
    | dataclass, pydantic model, mapping | object; keys become text as `json.dumps` has it |
    | set | list, sorted by the JSON text of its members |
    | numpy number, array, tensor | number, nested list |

    Raises TypeError for anything else, and ValueError for an integer of more than 4,300 digits, for two keys
    that become the same text, and for a value that contains itself.
    """
    try:
        return _convert(value)
    except RecursionError:
        raise ValueError("the value contains itself or is nested too deeply for JSON") from None


def _convert(value: object) -> Json:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Enum):
        return _convert(value.value)
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        return _integer(int(value))
    if isinstance(value, float):
        return _float(float(value))
    if isinstance(value, Mapping):
        return _object(value)
    if isinstance(value, (list, tuple)):
        return [_convert(item) for item in value]
    return _other(value)


def _integer(value: int) -> int:
    if not -_HUGE < value < _HUGE:
        raise ValueError(f"an integer of more than {DIGITS} digits cannot be kept as JSON: return it as text")
    return value


def _float(value: float) -> Json:
    if isfinite(value):
        return value
    return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[repr(value)]


def _object(value: Mapping[Any, Any]) -> Json:
    result: dict[str, Json] = {}
    for key, item in value.items():
        name = _key(key)
        if name in result:
            raise ValueError(f"two keys of a mapping become the same JSON key {name!r}: rename one")
        result[name] = _convert(item)
    return result


def _key(key: object) -> str:
    plain = _convert(key)
    if isinstance(plain, str):
        return plain
    if isinstance(plain, (bool, int, float)) or plain is None:
        return json.dumps(plain)
    raise TypeError(f"a mapping with keys of type {type(key).__name__} cannot be kept as JSON: use text keys")


def _other(value: object) -> Json:
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: _convert(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, (Fraction, Decimal, UUID, PurePath)):
        return str(value)
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, (set, frozenset)):
        return sorted((_convert(item) for item in value), key=_text)
    for method, arguments in (("model_dump", {"mode": "json"}), ("tolist", {})):
        if callable(convert := getattr(value, method, None)) and not isinstance(value, type):
            return _convert(convert(**arguments))
    kind = type(value).__name__
    raise TypeError(f"a value of type {kind} cannot be kept as JSON: give numbers, text, lists or dicts")


def _text(value: Json) -> str:
    text = "".join(_encode(value, 0))
    return text if text.isascii() or _is_sound(text) else _ASCII.encode(value)


def _is_sound(text: str) -> bool:
    """Whether the text is Unicode: lone surrogates are not."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def dumps(value: object) -> str:
    """Compact JSON text of `to_json(value)`. Lone surrogates are written as `\\u` escapes, so any text survives."""
    try:
        return _text(value)
    except (TypeError, ValueError, RecursionError):
        return _text(to_json(value))


def loads(text: str) -> Json:
    """The value that `dumps` wrote. (`json.loads` does the same after guessing encodings and skipping blanks.)"""
    return _DECODER.raw_decode(text)[0]


def to_text(text: str) -> str:
    """`text` in a form that every database stores: NUL and lone surrogates are escaped, the rest is untouched."""
    if "\0" not in text and ESCAPE not in text and (text.isascii() or _is_sound(text)):
        return text
    return ESCAPE + _ASCII.encode(text)


def from_text(text: str) -> str:
    """The text that `to_text` was given."""
    return str(loads(text[1:])) if text[:1] == ESCAPE else text
