"""Equal keys are equal computations: renamed and reordered plans agree, plans that are equal by chance do not."""

from __future__ import annotations

import random
import time
from dataclasses import replace

import pytest
from hypothesis import given as examples
from hypothesis import strategies as st

from surefoot.planners.canonical import plan_key, step_digests
from surefoot.storage.records import Contract, Json, Plan, Step, given, ref


def calc(id: str, expression: str, **values: Json) -> Step:
    return Step(id, tool="calculator", args={"expression": expression, "values": values})


def bare(expression: str) -> Plan:
    return Plan((Step("s", tool="calculator", args={"expression": expression}),), ref("s"))


def one(expression: str, **values: Json) -> Plan:
    return Plan((calc("s", expression, **values),), ref("s"))


# --- arithmetic -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (one("a + b", a=3, b=4), one("y + x", x=3, y=4)),
        (one("a * (b + c)", a=2, b=3, c=4), one("a * b + a * c", a=2, b=3, c=4)),
        (one("a / 100 * b", a=15, b=80), one("b * a / 100", a=15, b=80)),
        (one("a + b", a=3, b=4), Plan((calc("p", "a", a=3), calc("q", "p + b", p=ref("p"), b=4)), ref("q"))),
        (one("a + b", a="1/2", b=0.25), one("b + a", a=0.5, b="25%")),
        (one("a", a=3), Plan((calc("s", "a", a=3), calc("dead", "b", b=9)), ref("s"))),
        (bare("3 + 4"), bare("4 + 3")),
        (bare("3 * 4 * 5"), bare("5*(4*3)")),
        (
            Plan((calc("p", "a + b", a=3, b=4), calc("q", "a - b", a=3, b=4)), {"sum": ref("p"), "rest": ref("q")}),
            Plan((calc("y", "0 - b + a", a=3, b=4), calc("x", "b + a", a=3, b=4)), {"rest": ref("y"), "sum": ref("x")}),
        ),
    ],
)
def test_arithmetic_plans_that_compute_the_same_function_agree(left: Plan, right: Plan) -> None:
    assert plan_key(left) == plan_key(right)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (one("a + b", a=2, b=2), one("a * b", a=2, b=2)),
        (one("a - b", a=10, b=7), one("a - b", a=33, b=30)),
        (one("a - b", a=10, b=7), one("a", a=3)),
        (one("a + b", a=3, b=4), one("a + b", a=2, b=5)),
        (one("a + b", a=1, b=2), Plan((calc("s", "a + b", a=1, b=2),), {"sum": ref("s")})),
        (bare("3 * 4"), bare("3 + 9")),
        (bare("2 + 2"), bare("2 * 2")),
        (bare("7"), bare("3 + 4")),
        (one("a / b", a=6, b=2), one("a - b", a=6, b=3)),
    ],
)
def test_arithmetic_plans_that_are_equal_only_on_these_numbers_differ(left: Plan, right: Plan) -> None:
    assert plan_key(left) != plan_key(right)


numbers = st.integers(1, 200)


@examples(numbers, numbers, numbers)
def test_functions_that_differ_differ_whatever_the_numbers(a: int, b: int, c: int) -> None:
    keys = {
        plan_key(one(text, a=a, b=b, c=c)) for text in ("a + b + c", "a * b + c", "a + b * c", "a * b * c", "a - b")
    }
    assert len(keys) == 5 or len({a, b, c}) < 3, "equal numbers may stand for each other"


@pytest.mark.parametrize(
    "plan",
    [
        one("3 +", a=1),
        one("a / (b - b)", a=1, b=2),
        one("a", a="twelve"),
        one("a", a=None),
        one("a", a=given("x")),
        one("missing"),
        bare("1e999999999"),
        bare("9 ** 9 ** 9"),
        Plan((Step("s", tool="calculator", args={"values": {}}),), ref("s")),
        Plan((Step("s", tool="calculator", args={"expression": 7}),), ref("s")),
        Plan((Step("s", tool="calculator", args={"expression": "a", "values": [1]}),), ref("s")),
        Plan((calc("a", "x", x=ref("b")), calc("b", "x", x=ref("a"))), ref("a")),
        Plan((calc("a", "x", x=ref("a")),), ref("a")),
        Plan((calc("a", "x", x=1),), ref("a", "path")),
        Plan((calc("a", "x", x=1),), ref("nowhere")),
        Plan((calc("a", "x", x=1),), {"$ref": None}),
    ],
)
def test_arithmetic_that_cannot_be_done_is_compared_as_it_is_written(plan: Plan) -> None:
    assert plan_key(plan) == plan_key(plan)
    assert plan_key(plan) != plan_key(Plan((*plan.steps, calc("more", "1 +")), plan.output))


# --- everything else ------------------------------------------------------------------------------------------


def step(id: str, tool: str = "t", /, **args: Json) -> Step:
    return Step(id, tool=tool, args=args)


BASE = Plan((step("a", x=1), step("b", "u", y=ref("a")), Step("c", "sum up", args={"v": ref("b")})), ref("c"))


def renamed(plan: Plan, seed: int) -> Plan:
    """The same plan under other names, its steps in another order."""
    rng = random.Random(seed)
    names = {one.id: f"n{rng.randrange(10**9)}" for one in plan.steps}

    def other(value: Json) -> Json:
        if isinstance(value, dict) and set(value) == {"$ref"}:
            head, dot, rest = value["$ref"].partition(".")
            return {"$ref": names[head] + dot + rest}
        if isinstance(value, dict):
            return {key: other(value[key]) for key in rng.sample(sorted(value), len(value))}
        return [other(item) for item in value] if isinstance(value, (list, tuple)) else value

    steps = [
        replace(one, id=names[one.id], args=other(one.args), needs=tuple(names[need] for need in one.needs))
        for one in plan.steps
    ]
    rng.shuffle(steps)
    return Plan(tuple(steps), other(plan.output), plan.more)


@st.composite
def graphs(draw: st.DrawFn) -> Plan:
    steps: list[Step] = []
    for i in range(draw(st.integers(1, 8))):
        before = st.sets(st.integers(0, i - 1), max_size=3) if i else st.just(set())
        args = {f"v{j}": ref(f"s{j}", draw(st.sampled_from(["", "x"]))) for j in draw(before)}
        needs = tuple(f"s{j}" for j in draw(before))
        steps.append(
            Step(f"s{i}", draw(st.sampled_from(["g", "h"])), draw(st.sampled_from([None, "t"])), args, None, needs)
        )
    return Plan(tuple(steps), [ref(steps[-1].id)], draw(st.booleans()))  # fmt: skip


@examples(graphs(), st.integers(0, 10**6))
def test_names_and_order_do_not_count(plan: Plan, seed: int) -> None:
    assert plan_key(renamed(plan, seed)) == plan_key(plan)


@pytest.mark.parametrize(
    "other",
    [
        Plan((step("a", x=2), *BASE.steps[1:]), ref("c")),
        Plan((step("a", "other", x=1), *BASE.steps[1:]), ref("c")),
        Plan((*BASE.steps[:2], Step("c", "add up", args={"v": ref("b")})), ref("c")),
        Plan((*BASE.steps[:2], Step("c", "sum up", args={"v": ref("a")})), ref("c")),
        Plan((*BASE.steps[:2], Step("c", "sum up", args={"v": ref("b", "x")})), ref("c")),
        Plan((*BASE.steps[:2], replace(BASE.steps[2], needs=("a",))), ref("c")),
        Plan((*BASE.steps[:2], replace(BASE.steps[2], args=None, needs=("b",))), ref("c")),
        Plan((*BASE.steps[:2], Step("c", "sum up", None, {"v": ref("b")}, "deep")), ref("c")),
        Plan(BASE.steps, {"c": ref("c")}),
        Plan(BASE.steps, ref("b")),
        Plan(BASE.steps, ref("c"), more=True),
        Plan((*BASE.steps, step("send", "send", text="hello")), ref("c")),
    ],
)
def test_another_computation_has_another_key(other: Plan) -> None:
    assert plan_key(other) != plan_key(BASE)


def test_next_steps_agree_only_where_they_are_the_same_step() -> None:
    left, right = (Plan((step("s0", x=x),), more=True) for x in (1, 2))
    assert plan_key(left) != plan_key(right)
    assert plan_key(left) == plan_key(Plan((step("first", x=1),), more=True))


def diamonds(depth: int, arithmetic: bool) -> Plan:
    """Each level reads the one before it twice: written out as a tree it has 2 to the power of `depth` leaves."""
    make = (lambda id, **v: calc(id, "a + b", **v)) if arithmetic else step
    steps = [make("s0", a=1, b=2)]
    steps += [make(f"s{i}", a=ref(f"s{i - 1}"), b=ref(f"s{i - 1}")) for i in range(1, depth)]
    return Plan(tuple(reversed(steps)), ref(steps[-1].id))


@pytest.mark.parametrize("arithmetic", [True, False])
def test_steps_that_are_shared_are_looked_at_once(arithmetic: bool) -> None:
    began = time.perf_counter()
    assert plan_key(diamonds(60, arithmetic)) != plan_key(diamonds(61, arithmetic))
    assert time.perf_counter() - began < 1


@pytest.mark.parametrize("arithmetic", [True, False])
def test_a_chain_of_two_thousand_steps_has_a_key(arithmetic: bool) -> None:
    assert plan_key(diamonds(2_000, arithmetic)) == plan_key(renamed(diamonds(2_000, arithmetic), 1))


def test_digests_tell_which_steps_of_another_plan_are_the_same() -> None:
    other = renamed(BASE, 7)
    assert sorted(step_digests(other).values()) == sorted(step_digests(BASE).values())
    changed = Plan((BASE.steps[0], step("b", "u", y=ref("a"), z=1), BASE.steps[2]), ref("c"))
    same = {name for name, digest in step_digests(changed).items() if digest == step_digests(BASE)[name]}
    assert same == {"a"}, "b differs, and c stands on b"


@pytest.mark.parametrize(
    "terms", [{"contract": Contract(gives={"type": "integer"})}, {"checks": ("strict",)}, {"votes": 5}]
)
def test_a_step_that_must_pass_more_is_not_the_same_step(terms: Json) -> None:
    stricter = Plan((replace(BASE.steps[0], **terms), *BASE.steps[1:]), ref("c"))
    assert step_digests(stricter)["a"] != step_digests(BASE)["a"]
    assert plan_key(stricter) == plan_key(BASE), "as a plan it computes the same"


def test_digests_come_needs_first_and_survive_a_circle() -> None:
    assert list(step_digests(Plan(tuple(reversed(BASE.steps)), ref("c")))) == ["a", "b", "c"]
    assert len(step_digests(Plan((step("a", x=ref("b")), step("b", x=ref("a"))), ref("a")))) == 2
