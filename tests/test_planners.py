"""References, plan documents, and the planners that need no model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given as examples
from hypothesis import strategies as st

from surefoot.planners import planner
from surefoot.planners.document import DEEPEST, load_plan, plan_from, plan_to, whole
from surefoot.planners.fixed import FixedPlanner
from surefoot.planners.planner import Planner, Request
from surefoot.planners.refs import is_marker, markers, resolve, siblings
from surefoot.storage.errors import PlanError
from surefoot.storage.records import Contract, Json, Plan, Step, given, ref

OUTPUTS: dict[str, Json] = {"s1": {"rows": [{"price": 3}, {"price": 4}], "n": None}, "s2": "text", "s3": [1, 2]}


def resolved(value: Json, inputs: dict[str, Json] | None = None) -> Json:
    return resolve(value, OUTPUTS, inputs or {})


# --- references -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (ref("s2"), "text"),
        (ref("s1", "rows.1.price"), 4),
        (ref("s1", "n"), None),
        (ref("s3", "0"), 1),
        ({"a": [ref("s3"), {"b": ref("s2")}], "c": 1}, {"a": [[1, 2], {"b": "text"}], "c": 1}),
        ((ref("s2"), 1), ["text", 1]),
        ({"$ref": "s2", "more": 1}, {"$ref": "s2", "more": 1}),
        ({"$other": "s2"}, {"$other": "s2"}),
        ("$ref s2", "$ref s2"),
        ({}, {}),
    ],
)
def test_references_are_replaced_wherever_they_stand_and_nothing_else_is(value: Json, wanted: Json) -> None:
    assert resolved(value) == wanted


def test_inputs_and_paths_inside_them_are_resolved() -> None:
    assert resolved([given("x"), given("x.y.0")], {"x": {"y": [5]}}) == [{"y": [5]}, 5]


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        (ref("s1", "total"), "the output of step s1 has no 'total'"),
        (ref("s1", "rows.9.price"), "has no 'rows.9.price'"),
        (ref("s1", "rows.first"), "has no 'rows.first'"),
        (ref("s1", "n.deep"), "has no 'n.deep'"),
        (ref("s2", "0"), "the output of step s2 has no '0'"),
        (given("nowhere"), "there is no input 'nowhere'; there are: x"),
        (given("x.z"), "input x has no 'z'"),
    ],
)
def test_a_path_that_does_not_exist_is_named(value: Json, complaint: str) -> None:
    with pytest.raises(LookupError) as caught:
        resolved(value, {"x": {"y": 1}})
    assert complaint in str(caught.value)


def test_outputs_are_data_and_never_read_for_references() -> None:
    assert resolve(ref("a"), {"a": {"$ref": "secret"}}, {}) == {"$ref": "secret"}
    assert resolve(given("x"), OUTPUTS, {"x": {"$input": "y"}}) == {"$input": "y"}


def test_markers_and_siblings_are_found_at_any_depth() -> None:
    value = {"a": [ref("s1", "x"), {"b": given("rows")}], "c": ref("s2"), "d": ({"e": ref("s1")},)}
    assert list(markers(value)) == [("$ref", "s1.x"), ("$input", "rows"), ("$ref", "s2"), ("$ref", "s1")]
    assert siblings(value) == {"s1", "s2"}
    assert is_marker(ref("a"))
    assert not is_marker({"$ref": "a", "x": 1})


@pytest.mark.parametrize("name", [5, None, 1.5, ["a"], {"$ref": "a"}, True])
def test_a_reference_to_something_that_is_no_name_breaks_nothing(name: Json) -> None:
    assert siblings({"x": {"$ref": name}}) == {str(name).split(".", 1)[0]}


# --- documents ------------------------------------------------------------------------------------------------

ids = st.from_regex(r"[A-Za-z_][A-Za-z0-9_-]{0,5}", fullmatch=True)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
steps = st.builds(
    Step,
    ids,
    st.text(),
    st.none() | st.text(),
    st.none() | st.dictionaries(st.text(), values, max_size=3),
    st.none() | st.text(),
    st.lists(ids, max_size=3).map(tuple),
    st.builds(Contract, values, values),
    st.lists(st.text(), max_size=2).map(tuple),
    st.none() | st.integers(1, 9),
    st.text(),
)
plans = st.builds(Plan, st.lists(steps, max_size=4).map(tuple), values, st.booleans())


@examples(plans)
def test_a_plan_written_as_json_is_read_as_the_same_plan(plan: Plan) -> None:
    assert plan_from(json.loads(json.dumps(plan_to(plan)))) == whole(plan)


@pytest.mark.parametrize(
    ("document", "defects"),
    [
        (None, ["plan: Input should be a valid dictionary"]),
        ([], ["plan: Input should be a valid dictionary"]),
        ({}, ["steps: Field required"]),
        ({"steps": {}}, ["steps: Input should be a valid list"]),
        ({"steps": [{"id": "a", "tols": "x"}]}, ["steps.0.tols: there is no such field; did you mean 'tool'?"]),
        ({"steps": [], "outputs": 1}, ["outputs: there is no such field; did you mean 'output'?"]),
        ({"steps": [{}]}, ["steps.0.id: Field required"]),
        ({"steps": [{"id": "a", "depends": []}]}, ["steps.0.depends: there is no such field; there are: "]),
        ({"steps": [{"id": ""}]}, ["steps.0.id: String should have at least 1 character"]),
        ({"steps": [{"id": "a.b"}]}, ["steps.0.id: String should match pattern"]),
        ({"steps": [{"id": "a", "args": [1]}]}, ["steps.0.args: Input should be a valid dictionary"]),
        ({"steps": [{"id": "a", "votes": 0}]}, ["steps.0.votes: Input should be greater than or equal to 1"]),
        (
            {"steps": [{"id": 1}, {"id": "b", "needs": "a"}]},
            ["steps.0.id: Input should be a valid string", "steps.1.needs: Input should be a valid list"],
        ),
    ],
)
def test_every_defect_of_form_is_named_at_once(document: Json, defects: list[str]) -> None:
    with pytest.raises(PlanError) as caught:
        plan_from(document)
    assert len(caught.value.problems) == len(defects)
    for found, wanted in zip(caught.value.problems, defects, strict=True):
        assert found.startswith(wanted)


def nested(levels: int) -> Json:
    value: Json = 1
    for _ in range(levels):
        value = [value]
    return value


def test_a_plan_is_only_as_deep_as_the_code_that_walks_it() -> None:
    assert plan_from({"steps": [], "output": nested(DEEPEST - 1)}).steps == ()
    with pytest.raises(PlanError, match=f"more than {DEEPEST} levels"):
        plan_from({"steps": [], "output": nested(5_000)})
    with pytest.raises(PlanError, match="levels"):
        plan_from({"steps": [{"id": "a", "args": {"x": nested(DEEPEST)}}]})


def test_a_plan_without_an_output_delivers_what_its_last_step_does() -> None:
    assert plan_from({"steps": [{"id": "a"}, {"id": "b"}]}).output == ref("b")
    assert plan_from({"steps": [{"id": "a"}], "more": True}).output is None
    assert FixedPlanner(Plan((Step("a", "x"), Step("b", "y")))).plan.output == ref("b")


PLAN = {"steps": [{"id": "a", "tool": "t", "args": {"x": 1}}, {"id": "b", "goal": "g", "needs": ["a"]}], "output": None}
YAML = """\
steps:
  - id: a
    tool: t
    args: {x: 1}
  - id: b
    goal: g
    needs: [a]
"""


@pytest.mark.parametrize(("name", "text"), [("plan.yaml", YAML), ("plan.json", json.dumps(PLAN))])
def test_a_plan_file_may_be_yaml_or_json(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert load_plan(tmp_path / name) == plan_from(PLAN)
    assert FixedPlanner(str(tmp_path / name)).plan == plan_from(PLAN)


def test_what_only_yaml_has_becomes_what_the_journal_keeps(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text("steps:\n  - {id: a, goal: g, args: {day: 2026-01-31, 7: seven}}\n")
    assert load_plan(path).steps[0].args == {"day": "2026-01-31", "7": "seven"}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (b"\xff\xfe\x00", "cannot be read"),
        (b"steps: [", "cannot be read"),
        (b"just words", "holds no plan"),
        (b"", "holds no plan"),
        (b"- a\n- b\n", "holds no plan"),
        (b"steps: &me [*me]", "cannot be read"),
        (b"steps: []\nsteps_: 1", "there is no such field; did you mean 'steps'?"),
        (b"steps: !!python/object/apply:os.getcwd []", "cannot be read"),
    ],
)
def test_a_file_that_holds_no_plan_is_named_with_the_reason(tmp_path: Path, text: bytes, complaint: str) -> None:
    path = tmp_path / "plan.yaml"
    path.write_bytes(text)
    with pytest.raises(PlanError, match=complaint):
        load_plan(path)


def test_a_plan_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"nowhere\.yaml cannot be read"):
        FixedPlanner(tmp_path / "nowhere.yaml")
    with pytest.raises(PlanError, match="cannot be read"):
        load_plan(tmp_path)


# --- planners without a model ---------------------------------------------------------------------------------

pytestmark = pytest.mark.anyio
ROOT = Step("task", "count")


@planner
def twice(n: int) -> Plan:
    """A plan of two steps."""
    return Plan((Step("a", "g", args={"n": n}), Step("b", "g", needs=("a",))))


async def test_a_function_is_a_planner_and_still_a_function() -> None:
    assert isinstance(twice, Planner)
    assert twice.name == "twice"
    assert not twice.sampled
    assert twice(n=3).steps[0].args == {"n": 3}
    [proposal] = await twice.propose(Request(ROOT, {"n": 3}))
    assert proposal.plan == whole(twice(n=3))
    assert proposal.error == ""


async def test_an_async_function_may_plan() -> None:
    @planner
    async def later(n: int) -> Plan:  # type: ignore[misc]
        return twice(n=n)

    [proposal] = await later.propose(Request(ROOT, {"n": 1}))
    assert proposal.plan == whole(twice(n=1))


@pytest.mark.parametrize(
    ("inputs", "error"),
    [
        ({"n": 0}, "the planner broken failed: ZeroDivisionError"),
        ({}, "the planner broken failed: TypeError"),
        ({"n": 1}, "the planner broken returned a dict: return a Plan"),
        ({"n": 2}, "the planner broken returned a NoneType: return a Plan"),
    ],
)
async def test_a_planner_that_fails_says_how(inputs: dict[str, Json], error: str) -> None:
    @planner
    def broken(n: int) -> Any:
        return {1: {"steps": []}, 2: None}[n // (1 if n else 0)]

    [proposal] = await broken.propose(Request(ROOT, inputs))
    assert proposal.plan is None
    assert proposal.error.startswith(error)


async def test_a_fixed_planner_always_gives_its_plan() -> None:
    plan = Plan((Step("a", "g"),), ref("a"))
    [first] = await FixedPlanner(plan).propose(Request(ROOT), n=3)
    assert first.plan == plan
