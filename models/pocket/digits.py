"""The dialect of the pocket models for running sums: two whole numbers in, their sum out, digit by digit.

Digits stand lowest first, in a fixed number of places, so that each digit of the sum comes when all that it
depends on is known::

    3 7 1 0 0 0 0 + 9 4 0 0 0 0 0 =     ->     2 2 2 0 0 0 0        (173 + 49 = 222)

No model library is imported here.
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

from surefoot.models.representation import Back

PLACES = 7
"""Digits of every number; the largest sum has no more."""

SYMBOLS = (*"0123456789", "+", "=")


def prompt(total: int, add: int) -> str:
    """The exact prompt. Raises ValueError for numbers that do not fit."""
    return f"{digits(total)} + {digits(add)} ="


def digits(number: int) -> str:
    """A number as a model reads and writes it. Raises ValueError where it does not fit."""
    if not 0 <= number < 10**PLACES:
        raise ValueError(f"{number} is not a whole number of up to {PLACES} digits")
    return " ".join(reversed(f"{number:0{PLACES}d}"))


def read(reply: str) -> int:
    """The number of a reply. Raises ValueError for anything but `PLACES` digits: it is dropped, never mended."""
    symbols = reply.split()
    if len(symbols) != PLACES or not all(len(symbol) == 1 and symbol in "0123456789" for symbol in symbols):
        raise ValueError(f"a sum has {PLACES} digits and nothing else, not {reply[:60]!r}")
    return int("".join(reversed(symbols)))


LONGEST = 10**6 - 1
"""The largest total, and the largest number added, that the packaged models have learned from."""


def split(inputs: Mapping[str, Any], rng: Random) -> tuple[Mapping[str, Any], Back]:
    """The same sum of two other numbers, drawn at random: a change of representation."""
    whole = inputs["total"] + inputs["add"]
    total = rng.randint(max(0, whole - LONGEST), min(LONGEST, whole))
    return {**inputs, "total": total, "add": whole - total}, lambda answer: answer
