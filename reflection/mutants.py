"""Known-bad mutants of a known-good value: what a verifier is tried on, so that its word can be weighed.

A mutant differs from the good value in one place: a number, an operator, a reference, a row, a word. Where a value has
nothing of the kind there are none. Mutants are wrong in ways of our making; models are wrong in their own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from random import Random
from typing import Any

from surefoot.reflection.canonical import canonical
from surefoot.storage.records import Json

NUMBER = re.compile(r"\d+(?:\.\d+)?")
OPERATOR = re.compile(r"(?<=[\w)\s])[-+*/](?=[\w(\s])")
WORD = re.compile(r"[^\W\d_]{2,}")

Change = Callable[[Random], Json]
"""Gives a value with one place of it changed."""

TRIES = 8
"""Draws for each mutant wanted: many give what was drawn before."""


def mutants(value: Json, rng: Random, most: int) -> Iterator[Json]:
    """Up to `most` values that differ from `value`, and from each other, in canonical form."""
    seen = {canonical(value)}
    for _ in range(TRIES * most):
        if len(seen) > most:
            return
        places = list(_places(value))
        if not places:
            return
        made = rng.choice(places)(rng)
        if (key := canonical(made)) not in seen:
            seen.add(key)
            yield made


def _places(value: Json) -> Iterator[Change]:
    """Every place where a value can be changed, as a function that gives the whole value with that change."""
    if isinstance(value, bool):
        yield lambda rng: not value
    elif isinstance(value, (int, float)):
        yield partial(_number, value)
    elif isinstance(value, str):
        yield from _text(value)
    elif isinstance(value, list):
        yield from _rows(value)
        for place, one in enumerate(value):
            yield from (partial(_inside, value, place, change) for change in _places(one))
    elif isinstance(value, dict):
        for name, one in value.items():
            yield from (partial(_inside, value, name, change) for change in _places(one))


def _inside(value: Any, place: Any, change: Change, rng: Random) -> Json:
    """A list or object with the value at one place changed."""
    copied = value.copy()
    copied[place] = change(rng)
    return copied


def _number(value: float, rng: Random) -> float:
    step = rng.choice((1, -1, 2, 10, -10))
    return rng.choice((value + step, value * 10, -value if value else 1, value + step))


def _text(text: str) -> Iterator[Change]:
    for found in NUMBER.finditer(text):
        yield partial(_put, text, found, _digits)
    for found in OPERATOR.finditer(text):
        yield partial(_put, text, found, _operator)
    if not NUMBER.search(text):
        words = [found.group() for found in WORD.finditer(text)]
        for found in WORD.finditer(text):
            yield partial(_put, text, found, partial(_word, words))


def _put(text: str, found: re.Match[str], change: Callable[[str, Random], str], rng: Random) -> str:
    return text[: found.start()] + change(found.group(), rng) + text[found.end() :]


def _operator(sign: str, rng: Random) -> str:
    return rng.choice([one for one in "+-*/" if one != sign])


def _digits(number: str, rng: Random) -> str:
    """Another number of the same look: one digit changed, or one more."""
    places = [place for place, one in enumerate(number) if one.isdigit()]
    place = rng.choice(places)
    other = rng.choice([one for one in "0123456789" if one != number[place]])
    return rng.choice((number[:place] + other + number[place + 1 :], number + other))


def _word(words: list[str], word: str, rng: Random) -> str:
    """Another word of the text in its place, or the word denied."""
    others = sorted({one for one in words if one.lower() != word.lower()})
    return rng.choice([*others, f"not {word}"])


def _rows(rows: list[Json]) -> Iterator[Change]:
    if rows:
        yield partial(_without, rows)
        yield partial(_twice, rows)
    if len(rows) > 1:
        yield partial(_swapped, rows)


def _without(rows: list[Json], rng: Random) -> list[Json]:
    place = rng.randrange(len(rows))
    return [*rows[:place], *rows[place + 1 :]]


def _twice(rows: list[Json], rng: Random) -> list[Json]:
    place = rng.randrange(len(rows))
    return [*rows[: place + 1], *rows[place:]]


def _swapped(rows: list[Json], rng: Random) -> list[Json]:
    one, other = rng.sample(range(len(rows)), 2)
    swapped = list(rows)
    swapped[one], swapped[other] = rows[other], rows[one]
    return swapped
