"""Is the candidate of the type that its contract promises?"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surefoot.reflection import Case
from surefoot.reflection.schema import SchemaCheck, check_schema, same
from surefoot.storage.errors import SetupError
from surefoot.storage.records import Contract, Step, ref

pytestmark = pytest.mark.anyio

OFFER = {
    "type": "object",
    "properties": {"sku": {"type": "string"}, "price": {"type": "number", "minimum": 0}},
    "required": ["sku", "price"],
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from([0.0, 1.0, 0.5]) | st.text(max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=5,
)


@pytest.mark.parametrize(
    ("value", "schema"),
    [
        ({"sku": "A1", "price": 3}, OFFER),
        (object(), None),
        ("anything", {}),
        (3, {"type": "integer"}),
        (3.0, {"const": 3}),
        ([1, {"a": None}], {"const": [1.0, {"a": None}]}),
        ("b", {"enum": ["a", "b"]}),
    ],
)
def test_what_fits_has_no_problem(value: Any, schema: Any) -> None:
    assert check_schema(value, schema) is None


@pytest.mark.parametrize(
    ("value", "schema", "said"),
    [
        ({"sku": "A1"}, OFFER, "'price' is a required property"),
        ({"sku": "A1", "price": -1}, OFFER, "$.price: -1 is less than the minimum of 0"),
        (True, {"type": "integer"}, "True is not of type 'integer'"),
        (True, {"const": 1}, "$: must be exactly 1, not True"),
        ([1, 2], {"const": [1, 2, 3]}, "must be exactly [1, 2, 3], not [1, 2]"),
        ("x" * 5000, {"const": ""}, "..."),
    ],
)
def test_what_does_not_fit_is_named_with_its_place(value: Any, schema: Any, said: str) -> None:
    problem = check_schema(value, schema)
    assert problem is not None and said in problem
    assert len(problem) < 700


def test_a_broken_schema_is_a_broken_set_up() -> None:
    with pytest.raises(SetupError):
        check_schema(1, {"type": "number", "minimum": "low"})


@given(JSON, JSON)
def test_a_constant_means_what_the_standard_says(value: Any, wanted: Any) -> None:
    quick = check_schema(value, {"const": wanted}) is None
    standard = check_schema(value, {"allOf": [{"const": wanted}]}) is None
    assert quick == standard == same(value, wanted)


async def test_a_candidate_is_checked_against_the_steps_contract() -> None:
    step = Step("s1", contract=Contract(gives=OFFER))
    good = await SchemaCheck().verify(Case(step, {"sku": "A1", "price": 3}))
    bad = await SchemaCheck().verify(Case(step, {"sku": "A1", "price": "3"}))
    assert (good.ruling, good.exact, good.kind) == ("pass", False, "rule")
    assert bad.ruling == "fail"
    assert bad.critique == "the output does not fit its type, at $.price: '3' is not of type 'number'"


async def test_a_schema_of_its_own_goes_before_the_contract() -> None:
    step = Step("s1", contract=Contract(gives={"type": "string"}))
    assert (await SchemaCheck({"type": "integer"}).verify(Case(step, 3))).ruling == "pass"
    assert SchemaCheck({"type": "integer"}).version != SchemaCheck().version


async def test_inputs_that_break_the_contract_are_blamed_on_their_source() -> None:
    takes = {"type": "object", "properties": {"n": {"type": "integer"}, "m": {"type": "integer"}}}
    step = Step("s2", args={"n": ref("s1", "total"), "m": 1}, contract=Contract(takes=takes))
    case = Case(step, 3, inputs={"n": "many", "m": 1})
    verdict = await SchemaCheck().verify(case)
    assert (verdict.ruling, verdict.blame) == ("abstain", "s1")
    assert "$.n" in verdict.critique
    own = await SchemaCheck().verify(Case(step, 3, inputs={"n": 1, "m": "one"}))
    assert (own.ruling, own.blame) == ("abstain", None)


async def test_a_step_without_a_contract_accepts_anything() -> None:
    assert (await SchemaCheck().verify(Case(Step("s1"), object()))).ruling == "pass"


async def test_a_broken_schema_abstains() -> None:
    verdict = await SchemaCheck({"type": "no such type"}).verify(Case(Step("s1"), 1))
    assert verdict.ruling == "abstain"
