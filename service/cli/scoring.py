"""Whether an output is the known answer: as numbers where both are, else as text."""

from __future__ import annotations

import re
from fractions import Fraction

from surefoot.reflection.canonical import canonical
from surefoot.service.display.terminal import dumps
from surefoot.storage.records import Json

_NUMBER = re.compile(
    r"(?P<sign>[-+]?)(?P<value>\d{1,3}(?:,\d{3})+(?:\.\d*)?|\d+(?:\.\d*)?|\.\d+)"
    r"(?:[eE](?P<exponent>[-+]?\d{1,3})|/(?P<below>\d+))?",
    re.ASCII,
)
LONGEST = 1000
"""Characters of a number; longer text is text."""


def same(output: Json, answer: Json) -> bool:
    """Equal exactly: 0.5, "0.50" and "1/2" are one number; text is compared as votes are, and spelling counts."""
    left, right = number(output), number(answer)
    if left is not None and right is not None:
        return left == right
    return canonical(output) == canonical(answer) or (
        isinstance(output, str) != isinstance(answer, str) and canonical(_text(output)) == canonical(_text(answer))
    )


def number(value: Json) -> Fraction | None:
    """The exact number that a value is or writes out, thousands separators allowed; None where it is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    if isinstance(value, int):
        return Fraction(value)
    text = value.strip() if isinstance(value, str) else repr(value)
    found = _NUMBER.fullmatch(text) if len(text) <= LONGEST else None
    if found is None or (found["below"] and not int(found["below"])):
        return None
    result = Fraction(found["value"].replace(",", "").rstrip(".")) / int(found["below"] or 1)
    result *= Fraction(10) ** int(found["exponent"] or 0)
    return -result if found["sign"] == "-" else result


def _text(value: Json) -> str:
    return value if isinstance(value, str) else dumps(value)
