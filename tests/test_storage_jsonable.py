"""What becomes of values and texts that are kept."""

from __future__ import annotations

import datetime
import json
import uuid
from array import array
from dataclasses import dataclass
from decimal import Decimal
from enum import IntEnum
from fractions import Fraction
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from surefoot.storage.jsonable import DIGITS, dumps, from_text, loads, to_json, to_text
from surefoot.storage.records import Effect

TEXT = st.text(st.characters(exclude_categories=()))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
)


class Size(IntEnum):
    SMALL = 1


@dataclass
class Order:
    sku: str
    price: Fraction


class Part(BaseModel):
    name: str
    born: datetime.date


@given(VALUES)
def test_a_json_value_is_itself_and_survives(value: Any) -> None:
    assert to_json(value) == value
    assert repr(loads(dumps(value))) == repr(value)
    dumps(value).encode()


@given(TEXT | st.text(st.sampled_from('\x1a"=\0\ud800a')))
def test_any_text_survives_in_a_form_that_can_be_stored(text: str) -> None:
    stored = to_text(text)
    assert from_text(stored) == text
    assert "\0" not in stored
    stored.encode()
    json_text = dumps(text)
    assert "\0" not in json_text
    json_text.encode()


def test_text_is_stored_as_it_is_wherever_that_is_possible() -> None:
    for text in ("", "plain", "naïve 日本 \U0001f600", "tab\tline\n", '"quoted"'):
        assert to_text(text) is text
    assert dumps({"é": [1, 2.5, None]}) == '{"é":[1,2.5,null]}'


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Fraction(1, 3), "1/3"),
        (Decimal("0.10"), "0.10"),
        (float("nan"), "NaN"),
        (float("-inf"), "-Infinity"),
        (float("inf"), "Infinity"),
        (datetime.datetime(2026, 1, 2, 3, 4, tzinfo=datetime.UTC), "2026-01-02T03:04:00+00:00"),
        (datetime.date(2026, 1, 2), "2026-01-02"),
        (datetime.time(3, 4), "03:04:00"),
        (datetime.timedelta(minutes=1, microseconds=1), 60.000001),
        (uuid.UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        (PurePosixPath("/a/b"), "/a/b"),
        (b"\x00\xff", "AP8="),
        (Effect.ONCE, "once"),
        (Size.SMALL, 1),
        (Order("A1", Fraction(1, 2)), {"sku": "A1", "price": "1/2"}),
        (Part(name="bolt", born=datetime.date(2026, 1, 2)), {"name": "bolt", "born": "2026-01-02"}),
        (
            MappingProxyType({1: (1, 2), True and 2.5: {3}, None: "x", False: 0}),
            {"1": [1, 2], "2.5": [3], "null": "x", "false": 0},
        ),
        ({"b", "a"}, ["a", "b"]),
        (numpy.float64(0.1), 0.1),
        (numpy.int64(5), 5),
        (numpy.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (array("i", [1, 2]), [1, 2]),
        ([(1,), {"x": Decimal(2)}], [[1], {"x": "2"}]),
    ],
)
def test_what_is_no_json_becomes_it_by_the_rule(value: Any, expected: Any) -> None:
    assert to_json(value) == expected
    assert type(to_json(value)) is type(expected)
    assert loads(dumps({"value": value})) == {"value": expected}
    json.dumps(to_json(value), allow_nan=False)


def test_integers_of_any_size_that_python_reads() -> None:
    longest = 10**DIGITS - 1
    assert loads(dumps([longest, -longest])) == [longest, -longest]
    for value in (longest + 1, -longest - 1):
        with pytest.raises(ValueError, match="more than 4300 digits cannot be kept as JSON: return it as text"):
            dumps({"n": value})


def test_what_cannot_be_kept_is_refused() -> None:
    circular: list[Any] = []
    circular.append(circular)
    for value in (object(), {(1, 2): 3}, Part, Order, lambda: 1):
        with pytest.raises(TypeError, match="cannot be kept as JSON"):
            dumps(value)
    with pytest.raises(ValueError, match="two keys of a mapping become the same JSON key '1'"):
        to_json({1: "a", "1": "b"})
    with pytest.raises(ValueError, match="contains itself or is nested too deeply"):
        dumps(circular)
