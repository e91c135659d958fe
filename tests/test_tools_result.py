"""What a tool returns, as JSON."""

from __future__ import annotations

import datetime
import threading
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from surefoot.storage.errors import ToolError
from surefoot.tools import ToolContext, tool
from surefoot.tools.result import cut

pytestmark = pytest.mark.anyio

HERE = ToolContext()


class Row(BaseModel):
    sku: str
    count: int = 1


@dataclass
class Total:
    amount: Decimal
    at: datetime.date


class Colour(Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (None, None),
        (True, True),
        ({1: (1, 2)}, {"1": [1, 2]}),
        (Total(Decimal("1.50"), datetime.date(2026, 1, 2)), {"amount": "1.50", "at": "2026-01-02"}),
        (Row(sku="A1"), {"sku": "A1", "count": 1}),
        (Fraction(1, 3), "1/3"),
        (Path("a/b"), "a/b"),
        (Colour.RED, "red"),
        (b"text", "text"),
        (numpy.float64(0.5), 0.5),
        (numpy.int64(3), 3),
        (numpy.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        ([Row(sku="A1"), {"x": {1.5}}], [{"sku": "A1", "count": 1}, {"x": [1.5]}]),
    ],
    ids=repr,
)
async def test_results_become_json_values(value: Any, wanted: Any) -> None:
    @tool
    async def gives() -> Any:
        return value

    assert await gives.call({}, HERE) == wanted


_loop: list[Any] = []
_loop.append(_loop)


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        [1.0, float("inf")],
        object(),
        {"a": threading.Lock()},
        b"\xff",
        _loop,
        "\ud800",
        {"\ud800": 1},
        10**5000,
    ],
    ids=lambda value: type(value).__name__,
)
async def test_a_result_without_a_json_form_is_a_failure_that_says_so(value: Any) -> None:
    @tool
    async def gives() -> Any:
        return value

    with pytest.raises(ToolError, match=r"the result (has no JSON form|holds)"):
        await gives.call({}, HERE)


async def test_long_text_loses_its_middle_and_says_how_much() -> None:
    @tool(output_limit=10)
    async def says() -> Any:
        return {"long": "a" * 50 + "z" * 50, "short": "b" * 10, "rows": list(range(100))}

    assert await says.call({}, HERE) == {
        "long": "aaaaa\n[... 90 characters left out ...]\nzzzzz",
        "short": "b" * 10,
        "rows": list(range(100)),
    }


@given(st.text(max_size=60), st.integers(1, 40))
def test_cutting_keeps_both_ends_and_counts_right(text: str, limit: int) -> None:
    short = cut(text, limit)
    if len(text) <= limit:
        assert short == text
    else:
        head, note, tail = (limit + 1) // 2, f"\n[... {len(text) - limit} characters left out ...]\n", limit // 2
        assert short == text[:head] + note + (text[-tail:] if tail else "")
