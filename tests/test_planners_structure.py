"""The structural check: every defect of a plan is named, and a plan without one passes."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import assume
from hypothesis import given as examples
from hypothesis import strategies as st

from surefoot.planners.document import plan_to
from surefoot.planners.structure import StructureCheck, needs, problems
from surefoot.reflection.verifier import Case
from surefoot.storage.records import Contract, Json, Plan, Step, given, ref


def obj(required: tuple[str, ...] = (), /, **properties: Json) -> Json:
    return {"type": "object", "properties": properties, "required": list(required)}


TOOLS: dict[str, tuple[Json, Json]] = {
    "add": (obj(("a", "b"), a={"type": "number"}, b={"type": "number"}), {"type": "number"}),
    "say": (obj((), text={"type": "string"}), None),
    "open": ({"type": "object", "properties": {}, "additionalProperties": True}, {"type": "object"}),
    "bare": (None, None),
}


def found(plan: Plan, **options: Any) -> list[str]:
    settings: dict[str, Any] = {"tools": TOOLS, "planners": ["deep"], "verifiers": ["even"], "inputs": ["x"]} | options
    return problems(plan, **settings)


WORD = Step("w", "g", contract=Contract(gives={"type": "string"}))
ADD = Step("a", tool="add", args={"a": 1, "b": 2})


@pytest.mark.parametrize(
    ("plan", "defect"),
    [
        (Plan(()), "the plan is empty"),
        (Plan((), 1, more=True), "the plan wants to be asked again, but has no step to wait for"),
        (Plan((ADD, ADD), ref("a")), "the id a is used twice"),
        (Plan((Step("a", tool="sub", args={}),)), "step a uses the tool sub, which does not exist; there are: add, ba"),
        (Plan((Step("a", planner="none"),)), "step a wants the planner none, which does not exist; there are: deep"),
        (Plan((Step("a", tool="say", args={}, planner="deep"),)), "step a names both a tool and a planner"),
        (Plan((Step("a"),)), "step a has neither a goal, a tool nor a planner"),
        (Plan((Step("a", "g", checks=("odd",)),)), "step a wants the check odd, which does not exist; there are: even"),
        (Plan((Step("a", "g", votes=0),)), "step a wants a lead of 0 votes; the least is 1"),
        (Plan((Step("a", "g", args={"v": ref("z", "p")}),)), "step a refers to z, which is not in the plan"),
        (Plan((Step("a", "g", args={"v": ref("a")}),)), "step a refers to a, which is not in the plan"),
        (Plan((Step("a", "g", args={"v": {"$ref": 5}}),)), "step a refers to 5, which is not in the plan"),
        (Plan((Step("a", "g", args={"v": given("y")}),)), "step a refers to the input y, which does not exist"),
        (Plan((Step("a", "g", needs=("z",)),)), "step a needs z, which is not in the plan"),
        (Plan((Step("a", "g", needs=("a",)),)), "the steps wait for one another in a circle: a -> a"),
        (Plan((ADD,), {"deep": [ref("z")]}), "the output refers to z, which is not in the plan"),
        (Plan((ADD,), given("y")), "the output refers to the input y, which does not exist"),
        (Plan((Step("a", tool="add", args={"a": 1}),)), "step a lacks the argument b of add"),
        (Plan((Step("a", tool="say", args={"word": "x"}),)), "gives say an argument word that it does not take"),
        (Plan((Step("a", tool="say", args={"text": 1}),)), "step a gives integer or number as text of say"),
        (
            Plan((ADD, Step("b", tool="say", args={"text": ref("a")}))),
            "step b gives integer or number as text of say, which takes string",
        ),
        (
            Plan((WORD, Step("b", tool="add", args={"a": 1, "b": ref("w")}))),
            "step b gives string as b of add, which takes integer or number",
        ),
        (Plan((Step("a", "g", args={"v": {"$given": "x"}}),)), 'step a holds {"$given": ...}, which is no reference'),
        (Plan((Step("a", "g", args={"v": [{"$inputs": "y"}]}),)), '{"$input": "<name>"} for an input'),
        (Plan((ADD, Step("b", "g", args={"v": {"$from": "a.total"}}))), '{"$ref": "<step>"} for what a step gives'),
        (Plan((ADD,), {"$reff": "a"}), 'the output holds {"$reff": ...}'),
    ],
)  # fmt: skip
def test_each_defect_is_one_sentence(plan: Plan, defect: str) -> None:
    [only] = found(plan)
    assert defect in only


@pytest.mark.parametrize("data", [{"$gt": 5}, {"$set": {"x": 1}}, {"$in": ["x"]}, {"$regex": "abc"}, {"$": "z"}])
def test_data_with_a_dollar_sign_is_data(data: Any) -> None:
    assert not found(Plan((Step("a", "g", args={"v": {"price": data}}),)))


def test_all_defects_are_named_at_once() -> None:
    plan = Plan((Step("a", tool="sub", args={"x": ref("z")}), Step("a", "g", needs=("y",))), ref("w"))
    assert len(found(plan)) == 5


def test_committed_steps_of_an_earlier_part_may_be_referred_to_and_not_named_again() -> None:
    assert found(Plan((Step("b", "g", args={"v": ref("a")}, needs=("a",)),), ref("a")), done=["a"]) == []
    assert found(Plan((ADD,), ref("a")), done=["a"]) == ["the id a is used twice"]


def test_any_input_may_be_named_where_none_are_known() -> None:
    assert found(Plan((Step("a", "g", args={"v": given("whatever")}),), ref("a")), inputs=None) == []


# --- types ----------------------------------------------------------------------------------------------------

WANTED: dict[str, Json] = {
    "any": {},
    "string": {"type": "string"},
    "integer": {"type": "integer"},
    "number": {"type": "number"},
    "boolean": {"type": "boolean"},
    "array": {"type": "array"},
    "object": {"type": "object"},
    "null": {"type": "null"},
    "text or null": {"anyOf": [{"type": "string"}, {"type": "null"}]},
    "one of two": {"oneOf": [{"type": "integer"}, {"type": "boolean"}]},
    "anyOf with any": {"anyOf": [{"type": "string"}, {}]},
    "list of types": {"type": ["string", "array"]},
    "elsewhere": {"$ref": "#/$defs/Thing"},
    "const": {"const": "x"},
    "const 2.0": {"const": 2.0},
}
GIVEN: dict[str, Json] = {
    "string": "x",
    "integer": 2,
    "whole": 2.0,
    "number": 2.5,
    "boolean": True,
    "array": [1],
    "tuple": (1,),
    "object": {"k": 1},
    "null": None,
    "other": Fraction(1, 2),
}
FITS = {
    "any": set(GIVEN),
    "string": {"string", "other"},
    "integer": {"integer", "whole", "other"},
    "number": {"integer", "whole", "number", "other"},
    "boolean": {"boolean", "other"},
    "array": {"array", "tuple", "other"},
    "object": {"object", "other"},
    "null": {"null", "other"},
    "text or null": {"string", "null", "other"},
    "one of two": {"integer", "whole", "boolean", "other"},
    "anyOf with any": set(GIVEN),
    "list of types": {"string", "array", "tuple", "other"},
    "elsewhere": set(GIVEN),
    "const": {"string", "other"},
    "const 2.0": {"integer", "whole", "number", "other"},
}


@pytest.mark.parametrize("wanted", WANTED)
@pytest.mark.parametrize("offered", GIVEN)
def test_a_literal_meets_a_parameter_where_their_types_have_a_value_in_common(wanted: str, offered: str) -> None:
    tools = {"t": (obj(("v",), v=WANTED[wanted]), None)}
    plan = Plan((Step("a", tool="t", args={"v": GIVEN[offered]}),), ref("a"))
    assert (found(plan, tools=tools) == []) == (offered in FITS[wanted])


@pytest.mark.parametrize("wanted", WANTED)
@pytest.mark.parametrize("returned", WANTED)
def test_an_output_meets_a_parameter_where_one_type_is_in_both(wanted: str, returned: str) -> None:
    kinds = {
        "any": set(),
        "elsewhere": set(),
        "anyOf with any": set(),
        "number": {"number", "integer"},
        "text or null": {"string", "null"},
        "one of two": {"integer", "boolean"},
        "list of types": {"string", "array"},
        "const": {"string"},
        "const 2.0": {"number", "integer"},
    }
    left, right = kinds.get(wanted, {wanted}), kinds.get(returned, {returned})
    tools = {"make": (obj(), WANTED[returned]), "take": (obj(("v",), v=WANTED[wanted]), None)}
    plan = Plan((Step("a", tool="make", args={}), Step("b", tool="take", args={"v": ref("a")})), ref("b"))
    assert (found(plan, tools=tools) == []) == (not left or not right or bool(left & right))


def test_what_a_path_or_an_input_gives_is_not_guessed() -> None:
    steps = (ADD, Step("b", tool="say", args={"text": ref("a", "x")}), Step("c", tool="say", args={"text": given("x")}))
    assert found(Plan(steps, ref("c"))) == []


def test_a_tool_that_takes_anything_takes_anything() -> None:
    assert found(Plan((Step("a", tool="open", args={"whatever": 1}),), ref("a"))) == []


def test_arguments_that_a_model_fills_in_are_not_checked_beforehand() -> None:
    assert found(Plan((Step("a", "g", tool="add"),), ref("a"))) == []


# --- random plans ---------------------------------------------------------------------------------------------


@st.composite
def dags(draw: st.DrawFn) -> Plan:
    """Steps in random order; each may refer to, or need, those before it in a hidden order."""
    size = draw(st.integers(2, 12))
    steps = []
    for i in range(size):
        before = st.sets(st.integers(0, i - 1), max_size=3) if i else st.just(set())
        args = {f"v{j}": draw(st.sampled_from([ref(f"s{j}"), [ref(f"s{j}", "x")]])) for j in draw(before)}
        steps.append(Step(f"s{i}", "g", args=args, needs=tuple(f"s{j}" for j in sorted(draw(before)))))
    return Plan(tuple(draw(st.permutations(steps))), ref(f"s{size - 1}"))


@examples(dags())
def test_a_plan_without_circles_passes(plan: Plan) -> None:
    assert found(plan) == []


@examples(dags(), st.data())
def test_one_edge_back_makes_a_circle_that_is_named(plan: Plan, data: st.DataObject) -> None:
    steps = {step.id: step for step in plan.steps}
    edges = [(step.id, need) for step in plan.steps for need in sorted(needs(step))]
    assume(edges)
    reader, source = data.draw(st.sampled_from(edges))
    turned = Step(source, "g", args=steps[source].args, needs=(*steps[source].needs, reader))
    broken = Plan(tuple(turned if step.id == source else step for step in plan.steps), plan.output)
    [only] = found(broken)
    circle = only.removeprefix("the steps wait for one another in a circle: ").split(" -> ")
    assert len(circle) > 2
    assert circle[0] == circle[-1]
    by_id = {step.id: step for step in broken.steps}
    assert all(reader in needs(by_id[one]) or one in needs(by_id[reader]) for one, reader in pairwise(circle))


def test_a_chain_of_two_thousand_steps_is_checked() -> None:
    steps = tuple(Step(f"s{i}", "g", args={"v": ref(f"s{i - 1}")} if i else {}) for i in range(2_000))
    assert found(Plan(steps, ref("s1999"))) == []
    looped = (Step("s0", "g", needs=("s1999",)), *steps[1:])
    assert "circle" in found(Plan(looped, ref("s1999")))[0]


# --- as a verifier --------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_the_check_is_a_verifier_of_candidate_plans_and_not_exact() -> None:
    check = StructureCheck(TOOLS, ["deep"], ["even"])
    assert not check.exact
    plan = plan_to(Plan((Step("b", tool="add", args={"a": given("x"), "b": ref("d")}),), ref("b")))
    good = await check.verify(Case(Step("task", "g"), plan, {"x": 1}, done=("d",)))
    assert (good.ruling, good.verifier) == ("pass", "structure")
    without = await check.verify(Case(Step("task", "g"), plan, {"y": 1}))
    assert without.ruling == "fail"
    assert "refers to d" in without.critique
    assert "the input x, which does not exist" in without.critique
    bad = await check.verify(Case(Step("task", "g"), plan_to(Plan((Step("a"),), ref("z"))), {}))
    assert bad.ruling == "fail"
    assert "neither a goal" in bad.critique
    assert "refers to z" in bad.critique
    formless = await check.verify(Case(Step("task", "g"), {"steps": 1}, {}))
    assert (formless.ruling, formless.critique) == ("fail", "steps: Input should be a valid list")
