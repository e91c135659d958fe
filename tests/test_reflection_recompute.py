"""Recomputation: comparing with another route, and arithmetic done a second time."""

from __future__ import annotations

import csv
import io
import random
import statistics
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from surefoot.reflection import Case, Recompute
from surefoot.reflection.arithmetic import arithmetic, recalculate
from surefoot.reflection.recompute import agree, number
from surefoot.storage.errors import Retry, SetupError
from surefoot.storage.records import Json, Step
from surefoot.tools.calculator import calculator, evaluate
from surefoot.tools.tool import ToolContext

pytestmark = pytest.mark.anyio


def case(candidate: Json, **inputs: Json) -> Case:
    return Case(Step("s1"), candidate, inputs=inputs)


def mean_price(inputs: Mapping[str, Json]) -> float:
    rows = csv.DictReader(io.StringIO(inputs["table"]))
    return statistics.fmean(float(row["price"]) for row in rows)


async def test_a_value_is_checked_against_another_way_to_it() -> None:
    check = Recompute(mean_price, tolerance=1e-6)
    table = "sku,price\nA1,2.5\nA2,3.5\nA3,4.0\n"
    right = await check.verify(case("3.3333333", table=table))
    wrong = await check.verify(case(3.5, table=table))
    assert (right.ruling, right.kind, right.exact) == ("pass", "recompute", True)
    assert wrong.ruling == "fail"
    assert wrong.evidence == {"recomputed": "3.3333333333333335"}


async def test_the_value_is_kept_from_the_next_attempt_unless_it_is_to_be_revealed() -> None:
    hidden = await Recompute(lambda inputs: 42, name="r").verify(case(41))
    shown = await Recompute(lambda inputs: 42, name="r", reveal=True).verify(case(41))
    assert hidden.ruling == shown.ruling == "fail"
    assert "42" not in hidden.critique
    assert shown.critique.endswith("42, not 41")


async def test_a_route_that_fails_or_gives_nothing_abstains() -> None:
    def asserts(inputs: Mapping[str, Json]) -> int:
        assert inputs["a"] == 2, "wrong input"
        return 2

    for function in (asserts, lambda inputs: None, lambda inputs: inputs["missing"]):
        assert (await Recompute(function, name="r").verify(case(2, a=1))).ruling == "abstain"


async def test_a_route_may_ask_for_the_step_and_be_async() -> None:
    async def route(step: Step, inputs: Mapping[str, Json]) -> str:
        return f"{step.id}{inputs['a']}"

    assert (await Recompute(route).verify(case("s11", a=1))).ruling == "pass"


def test_the_version_changes_with_the_route_and_the_tolerance() -> None:
    versions = {Recompute(mean_price).version, Recompute(mean_price, tolerance=0.1).version, arithmetic().version}
    assert len(versions) == 3
    assert Recompute(mean_price).version in versions


def test_a_tolerance_is_a_share() -> None:
    with pytest.raises(SetupError, match="at least 0 and below 1"):
        Recompute(mean_price, tolerance=5)


@pytest.mark.parametrize(
    ("candidate", "wanted", "tolerance"),
    [
        (12, 12.0, 0),
        ("12.50", 12.5, 0),
        (12.5, Fraction(25, 2), 0),
        ("1/3", Fraction(1, 3), 0),
        (1 / 3, Fraction(1, 3), 0),
        ("1/3", 1 / 3, 0),
        (0.1, Decimal("0.1"), 0),
        (2.0**-60, Fraction(1, 2**60), 0),
        (10**400, Fraction(10**400), 0),
        ("1e3", 1000, 0),
        (99.5, 100, 0.01),
        (0.0, 0.005, 0.01),
        (0.1 + 0.2, 0.3, 1e-9),
        (" yes", "yes", 0),
        ([1, "2"], (1.0, 2), 0),
        ({"a": [99.5], "b": None}, {"b": None, "a": [100]}, 0.01),
        (True, True, 0),
    ],
)
def test_values_agree(candidate: Json, wanted: Any, tolerance: float) -> None:
    assert agree(candidate, wanted, tolerance)


@pytest.mark.parametrize(
    ("candidate", "wanted", "tolerance"),
    [
        (0.1 + 0.2, 0.3, 0),
        (float(2**53), 2**53 + 1, 0),
        (98, 100, 0.01),
        (1, True, 0),
        (True, 1, 0),
        ("twelve", 12, 0),
        ("1/0", 1, 0),
        ("1" * 20_000, 1, 0),
        ("2", "2.0", 0),
        ([1, 2], [1], 0),
        ([1], 1, 0),
        (1, [1], 0),
        ({"a": 1}, {"b": 1}, 0),
        ([], {}, 0),
        (float("nan"), 1, 0.5),
        (float("inf"), 1, 0.5),
        (None, 0, 0),
    ],
)
def test_values_differ(candidate: Json, wanted: Any, tolerance: float) -> None:
    assert not agree(candidate, wanted, tolerance)


@pytest.mark.parametrize("value", [float("nan"), Decimal("Infinity"), "", "abc", "1,5", None, [], True])
def test_what_is_no_number_is_not_read_as_one(value: Any) -> None:
    assert number(value) is None


# --- arithmetic -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3", 9),
        ("2 ** 3 ** 2", 512),
        ("-2 ** 2", -4),
        ("(-2) ** 2", 4),
        ("2 ** -1", Fraction(1, 2)),
        ("2 * -3 + 1", -5),
        ("- - 3", 3),
        ("+3 - -3", 6),
        ("7 // -2", -4),
        ("-7 % 3", 2),
        ("8 / 3 / 2", Fraction(4, 3)),
        ("1.5e2 * .5", 75),
        ("floor(-1/2) + ceil(-1/2)", -1),
        ("round(2.5) + round(3.5)", 6),
        ("round(-2.675, 2)", Fraction(-268, 100)),
        ("round(1234, -2)", 1200),
        ("min(3, 1/2, 2) + max(3, 1/2)", Fraction(7, 2)),
        ("abs(min(-3, 2)) * sqrt(2/8)", Fraction(3, 2)),
        ("max((1), (2))", 2),
        ("6 ÷ 2 × 3 − 1", 8),
    ],
)
def test_an_expression_has_the_value_that_python_and_arithmetic_give_it(expression: str, value: Any) -> None:
    assert recalculate({"expression": expression}) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2 1/2", Fraction(5, 2)),
        ("-2 1/2", Fraction(-5, 2)),
        ("1,234.50", Fraction(2469, 2)),
        ("$3.20", Fraction(16, 5)),
        ("25%", Fraction(1, 4)),
        ("−3", -3),
        (0.1, Fraction(1, 10)),
        ("2/3", Fraction(2, 3)),
    ],
)
def test_values_are_read_as_people_write_them(text: Json, value: Fraction) -> None:
    assert recalculate({"expression": "a", "values": {"a": text}}) == value
    assert evaluate("a", {"a": text}) == value


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "1 +",
        "* 2",
        "1 2",
        "(1",
        "1)",
        "()",
        "1, 2",
        "(1, 2)",
        "1 + (2, 3)",
        "max(1,)",
        "f(2)",
        "x + 1",
        "sqrt(2)",
        "sqrt(-4)",
        "round(1, 2, 3)",
        "round(1, 1/2)",
        "2 ** (1/2)",
        "9 ** 9 ** 9",
        "2 ** 90000 * 2 ** 90000 * 2 ** 90000",
        "1 & 2",
        "a b",
        "(max) 2",
    ],
)
async def test_an_expression_without_a_value_here_abstains(expression: str) -> None:
    verdict = await arithmetic().verify(case(1, expression=expression, values={"a": 1, "b": 2}))
    assert verdict.ruling == "abstain"


@pytest.mark.parametrize("value", ["many", "--3", "1/2/3", "1 2", True, [1]])
async def test_a_value_that_is_no_number_abstains(value: Json) -> None:
    assert (await arithmetic().verify(case(1, expression="a", values={"a": value}))).ruling == "abstain"


@pytest.mark.parametrize("expression", ["1 / 0", "1 // (2 - 2)", "3 % 0", "0 ** -1"])
async def test_dividing_by_zero_abstains(expression: str) -> None:
    verdict = await arithmetic().verify(case(0, expression=expression))
    assert verdict.ruling == "abstain"
    assert "divides by zero" in verdict.critique


async def test_a_step_that_is_no_calculation_abstains() -> None:
    assert (await arithmetic().verify(case(3, rows=[1, 2]))).ruling == "abstain"


def expression(chance: random.Random, depth: int) -> str:
    """A random expression that exercises every operator and function."""
    kind = chance.random()
    if depth == 0 or kind < 0.2:
        return chance.choice(["a", "b", "c", str(chance.randint(0, 50)), "2.5", ".5", "1e2"])
    inner = [expression(chance, depth - 1) for _ in range(3)]
    if kind < 0.3:
        return f"({inner[0]})"
    if kind < 0.4:
        return f"-{inner[0]}"
    if kind < 0.5:
        return chance.choice(
            [f"{name}({inner[0]})" for name in ("floor", "ceil", "abs", "round")]
            + [f"{name}({', '.join(inner)})" for name in ("min", "max")]
            + [f"round({inner[0]}, {chance.randint(-2, 4)})"]
        )
    if kind < 0.55:
        return f"({inner[0]}) ** {chance.randint(-3, 3)}"
    return inner[0] + chance.choice([" + ", " - ", " * ", " / ", " // ", " % ", "*", "/"]) + inner[1]


async def test_it_agrees_with_the_calculator_and_catches_every_slip() -> None:
    chance = random.Random(20)
    check = arithmetic()
    values = {"a": "2 1/2", "b": -7, "c": "25%"}
    passed = 0
    for _ in range(1500):
        text = expression(chance, 4)
        try:
            value = await calculator.call({"expression": text, "values": values}, ToolContext())
        except Retry:
            continue
        right = await check.verify(case(value, expression=text, values=values))
        assert right.ruling == "pass", (text, value, right)
        slip = evaluate("v + 1/1000", {"v": value})
        wrong = await check.verify(case(str(slip), expression=text, values=values))
        assert wrong.ruling == "fail", (text, value, wrong)
        passed += 1
    assert passed > 1000
