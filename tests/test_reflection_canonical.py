"""Canonical forms: equal candidates have equal keys, different ones different keys."""

from __future__ import annotations

import enum
import json
import math
import random
import time
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surefoot.reflection.canonical import LONGEST, canonical

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-3, 3)
    | st.floats(allow_nan=False)
    | st.sampled_from([-0.0, 0.0, 1.0, 2.5, 1e300, math.inf])
    | st.text(max_size=6)
    | st.sampled_from(["", " ", "1", "1.0", "true", "null", "é", "e\u0301", "Å", "A\u030a", "a ", "a", "\u00a0b", "[]"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def meaning(value: Any) -> Any:
    """The equality that is promised, spelled out without strings: what two values share if they are one."""
    if isinstance(value, bool) or value is None:
        return ("other", value)
    if isinstance(value, (int, float)):
        return ("number", value)  # Python compares int and float exactly
    if isinstance(value, str):
        return ("text", unicodedata.normalize("NFC", value.strip()).strip())
    if isinstance(value, list):
        return ("list", [meaning(item) for item in value])
    pairs = [(unicodedata.normalize("NFC", key), meaning(item)) for key, item in value.items()]
    return ("object", sorted(pairs, key=repr))


@given(VALUES, VALUES)
def test_keys_are_equal_exactly_where_values_are(one: Any, other: Any) -> None:
    assert (canonical(one) == canonical(other)) == (meaning(one) == meaning(other))


def shuffled(value: Any, order: random.Random) -> Any:
    """The same value, written differently."""
    if isinstance(value, dict):
        keys = list(value)
        order.shuffle(keys)
        return {key: shuffled(value[key], order) for key in keys}
    if isinstance(value, list):
        return [shuffled(item, order) for item in value]
    if isinstance(value, str):
        return f"\n {unicodedata.normalize('NFD', value)}\t"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53:
        return float(value)
    return value


@given(VALUES, st.randoms(use_true_random=False))
def test_another_spelling_of_a_value_has_its_key(value: Any, order: random.Random) -> None:
    assert canonical(shuffled(value, order)) == canonical(value)


@given(VALUES)
def test_a_key_is_short_ascii_and_survives_json(value: Any) -> None:
    key = canonical(value)
    assert key.isascii() and len(key) <= LONGEST
    assert canonical(json.loads(json.dumps(value))) == key


@pytest.mark.parametrize(
    ("value", "key"),
    [
        (1, "1"),
        (1.0, "1"),
        (-0.0, "0"),
        (True, "true"),
        (None, "null"),
        (0.1, "0.1"),
        ("1", '"1"'),
        (" a\n", '"a"'),
        ([1, "1"], '[1,"1"]'),
        ((1, 2), "[1,2]"),
        ({"b": 1, "a": [True]}, '{"a":[true],"b":1}'),
        (float("nan"), "NaN"),
        (-math.inf, "-Infinity"),
    ],
)
def test_the_form_can_be_read(value: Any, key: str) -> None:
    assert canonical(value) == key


def test_text_that_looks_like_a_number_stays_text() -> None:
    assert len({canonical(value) for value in ("12", 12, "12.0", "012", "1.1", "1.10")}) == 6


def test_large_integers_are_compared_exactly() -> None:
    assert canonical(10**22) == canonical(1e22)
    assert canonical(2**53 + 1) != canonical(float(2**53))
    assert canonical(10**5000) != canonical(10**5000 + 1)
    assert canonical(10**5000) == canonical(10**5000)


def test_a_long_value_has_a_short_key_of_its_own() -> None:
    long = "x" * 100_000
    assert canonical(long).startswith("sha256:")
    assert canonical(long) == canonical(long + " ") != canonical(long + "y")
    assert canonical(canonical(long)) != canonical(long)


def test_subclasses_of_json_types_are_what_they_stand_for() -> None:
    class Colour(enum.StrEnum):
        RED = "red"

    class Level(enum.IntEnum):
        HIGH = 3

    assert canonical([Colour.RED, Level.HIGH]) == canonical(["red", 3])


@pytest.mark.parametrize("value", [{1: "a"}, {1, 2}, b"bytes", object()])
def test_what_is_no_json_value_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="convert it first"):
        canonical(value)


def test_keys_that_unicode_makes_equal_do_not_depend_on_their_order() -> None:
    assert canonical({"é": 1, "e\u0301": 2}) == canonical({"e\u0301": 2, "é": 1})


@pytest.mark.parametrize("value", [7, "pass", 2.5, True, None])
def test_a_scalar_takes_microseconds(value: Any) -> None:
    best = float("inf")
    for _ in range(20):
        start = time.perf_counter()
        for _ in range(1000):
            canonical(value)
        best = min(best, (time.perf_counter() - start) / 1000)
    assert best < 10e-6  # about 1 us on an idle core
