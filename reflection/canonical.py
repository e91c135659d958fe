"""When two candidates are one: votes are counted per canonical form.

    numbers     equal by value: 1, 1.0 and 1e0 are one; 0.1 and 1/10 as text are not
    booleans    are not numbers: true is not 1
    text        equal after Unicode NFC and without surrounding white space; "12" is not 12, "1.10" not "1.1"
    objects     the order of keys does not count
    lists       the order of items counts

Text that looks like a number stays text: "007" and "7", or "1.10" and "1.1", may well be two answers. Merging
two answers would give one the votes of the other, and break the promise that votes make; keeping two
spellings apart costs a vote. Where numbers are meant, the contract should say so.
"""

from __future__ import annotations

import hashlib
import unicodedata
from json.encoder import encode_basestring_ascii as _quoted
from math import isfinite

from surefoot.storage.records import Json

LONGEST = 200
"""Characters of a key; longer forms are replaced by their SHA-256, so that a record stays small."""

_DECIMAL_BITS = 2048
"""Larger integers are written in base 16: Python limits decimal text, and that limit can be changed."""
BIG = 1 << 63
"""Integers below it need no look at their size: lists are full of them."""


def canonical(value: Json) -> str:
    """The key of a candidate: equal for equal candidates, at most `LONGEST` characters of ASCII.

    Raises TypeError for what is no JSON value (tuples count as lists).
    """
    key = _form(value)
    if len(key) <= LONGEST:
        return key
    return "sha256:" + hashlib.sha256(key.encode()).hexdigest()


def _form(value: Json) -> str:
    kind = type(value)
    if kind is str:
        return _text(value)
    if kind is int:
        return _integer(value)
    if kind is bool:
        return "true" if value else "false"
    if kind is float:
        return _float(value)
    if value is None:
        return "null"
    return _container(value)


def _text(value: str) -> str:
    text = value.strip()
    return _quoted(text if text.isascii() else unicodedata.normalize("NFC", text).strip())


def _integer(value: int) -> str:
    return str(value) if value.bit_length() <= _DECIMAL_BITS else hex(value)


def _float(value: float) -> str:
    if not isfinite(value):
        return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
    return _integer(int(value)) if value.is_integer() else repr(value)


def _container(value: Json) -> str:
    if isinstance(value, dict):
        # Sorted as pairs: keys that NFC makes equal must not depend on the order they came in.
        pairs = sorted((_key(key), _form(item)) for key, item in value.items())
        return "{" + ",".join(f"{key}:{item}" for key, item in pairs) + "}"
    if isinstance(value, (list, tuple)):
        return (
            "["
            + ",".join([str(item) if type(item) is int and -BIG < item < BIG else _form(item) for item in value])
            + "]"
        )
    for base in (str, bool, int, float):  # subclasses, such as the members of a StrEnum
        if isinstance(value, base):
            return _form(base(value))
    raise TypeError(f"a candidate must be a JSON value, and {type(value).__name__} is none: convert it first")


def _key(key: Json) -> str:
    if not isinstance(key, str):
        raise TypeError(f"a JSON object has text as keys, not {type(key).__name__}: convert it first")
    return _quoted(key if key.isascii() else unicodedata.normalize("NFC", key))
