"""Planners that ask a model: whole plans, and one step at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from surefoot.engine import Engine, Outcome
from surefoot.models.question import Question, Reply, ToolSpec
from surefoot.models.scripted import ScriptedModel
from surefoot.planners import ModelPlanner, NextStepPlanner, planner
from surefoot.planners.planner import Done, Request
from surefoot.storage.errors import ModelUnavailable, SetupError
from surefoot.storage.records import Json, Message, ModelCall, Plan, Step, given, ref
from surefoot.storage.store import Store
from surefoot.tools import tool

pytestmark = pytest.mark.anyio

ROOT = Step("task", "Add 3 and 4.")
SUM: Json = {"steps": [{"id": "s", "tool": "add", "args": {"a": 3, "b": 4}}], "output": {"$ref": "s"}}
NEXT: Json = {"step": SUM["steps"][0], "output": None}


@tool(effect="pure", timeout=None)
async def add(a: float, b: float) -> float:
    """Adds two numbers."""
    return a + b


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "runs.db") as store:
        yield store


# --- alone ----------------------------------------------------------------------------------------------------


async def test_the_model_sees_inputs_tools_what_stands_and_what_was_wrong() -> None:
    model = ScriptedModel([SUM])
    done = (Done(Step("a", "first"), True, {"x": 1}), Done(Step("b", "second"), False, None, "no route"))
    specs = (ToolSpec("add", "Adds.", {"type": "object"}),)
    request = Request(ROOT, {"n": 1}, specs, done, "too short", model, 7, 0.5)
    [proposal] = await ModelPlanner(instructions="Be brief.").propose(request)
    assert proposal.plan == Plan((Step("s", tool="add", args={"a": 3, "b": 4}),), ref("s"))
    assert proposal.key
    [question] = model.questions
    assert (question.role, question.goal, question.instructions) == ("plan", "Add 3 and 4.", "Be brief.")
    assert (question.seed, question.temperature) == (7, 0.5)
    assert question.inputs == {
        "inputs": {"n": 1},
        "tools": [{"name": "add", "description": "Adds.", "parameters": {"type": "object"}}],
        "steps so far": [
            {"id": "a", "goal": "first", "status": "committed", "output": {"x": 1}},
            {"id": "b", "goal": "second", "status": "no route"},
        ],
        "what was wrong with the last plan": "too short",
    }


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ({"steps": []}, ""),
        ({"steps": [{"id": "a.b"}]}, "fit the schema"),
        ({"steps": [{"id": "s", "unheard": 1}]}, "fit the schema"),
        ({"steps": [{"id": "s", "goal": "g", "args": {"x": [[[[[[[[[[1]]]]]]]]]]}}]}, ""),
        ({"steps": [{"id": "s", "goal": "g"}], "output": {"deep": json.loads("[" * 70 + "]" * 70)}}, "64 levels"),
        ("First I would add 3 and 4.", "no JSON"),
        ("", "empty"),
    ],
)
async def test_a_reply_is_a_plan_or_says_why_it_is_none(said: Json, error: str) -> None:
    model = ScriptedModel(lambda question, index: said)
    [proposal] = await ModelPlanner().propose(Request(ROOT, model=model))
    assert (proposal.plan is None) == bool(error)
    assert error in proposal.error
    assert len(proposal.replies) == (1 if not error or "levels" in error else 2), "what cannot be read is asked again"


async def test_a_model_that_does_not_know_the_kind_of_task_is_believed() -> None:
    unknown = Reply("none", (), unknown=True, error="only word problems")
    for asking in (ModelPlanner(), NextStepPlanner()):
        [proposal] = await asking.propose(Request(ROOT, model=ScriptedModel([unknown])))
        assert (proposal.plan, proposal.unknown, proposal.error) == (None, True, "only word problems")


async def test_planning_without_a_model_is_a_mistake_in_the_set_up() -> None:
    with pytest.raises(SetupError, match="needs a model"):
        await ModelPlanner().propose(Request(ROOT))


@pytest.mark.parametrize(
    ("said", "plan", "error"),
    [
        (NEXT, Plan((Step("s", tool="add", args={"a": 3, "b": 4}),), None, True), ""),
        ({"step": None, "output": {"$ref": "s"}}, Plan((), ref("s")), ""),
        ({"step": None, "output": 0}, Plan((), 0), ""),
        ({"step": None, "output": None}, None, "either a next step or the finished output"),
        ({"step": {"id": "a b"}, "output": None}, None, "fit the schema"),
        ("I am done.", None, "no JSON"),
    ],
)
async def test_a_next_step_or_the_finished_output(said: Json, plan: Plan | None, error: str) -> None:
    model = ScriptedModel(lambda question, index: said)
    [proposal] = await NextStepPlanner().propose(Request(ROOT, model=model))
    assert proposal.plan == plan
    assert error in proposal.error
    assert "single next step" in model.questions[0].instructions


# --- in a run -------------------------------------------------------------------------------------------------


def run(store: Store, replies: Any, **options: Any) -> tuple[Any, ScriptedModel]:
    model = ScriptedModel(replies)
    return Engine(model, tools=[add], store=store, **options).run("Add 3 and 4."), model


async def test_prose_in_place_of_a_plan_is_asked_again_and_both_are_on_record(store: Store) -> None:
    result, model = run(store, ["I would add them.", SUM, SUM], votes=1)
    assert result.output == 7
    assert model.questions[1].follow_up[0].content == "I would add them."
    assert "no JSON" in model.questions[1].follow_up[1].content
    sampled = [one.content for one in store.records(result.run_id, kinds=[Message]) if one.sampled]  # type: ignore[union-attr]
    assert sampled == ["I would add them.", json.dumps(SUM)]
    calls = [one for one in store.records(result.run_id, kinds=[ModelCall]) if isinstance(one, ModelCall)]
    assert "no JSON" in (calls[0].error or "")
    assert calls[1].error is None


async def test_a_model_that_never_plans_fails_honestly_after_its_tries(store: Store) -> None:
    result, model = run(store, lambda question, index: "Let me think.")
    assert result.outcome is Outcome.ABSTAINED
    assert "no JSON" in result.reason
    assert [attempt.status for attempt in result.steps[0].attempts] == ["invalid"] * 4
    assert len(model.questions) == 6, "two samples at once, each asked again once, twice over"


async def test_a_planner_that_raises_deep_in_a_recursive_plan_fails_the_run_with_its_words(store: Store) -> None:
    @planner
    def halve(n: int) -> Plan:
        if n == 1:
            raise RuntimeError("cannot halve one")
        return Plan((Step("half", planner="halve", args={"n": n // 2}),), ref("half"))

    result = Engine(ScriptedModel([]), planner=halve, store=store).run("halve", inputs={"n": 8})
    assert result.outcome is Outcome.FAILED
    assert result.reason.count("failed") == 2, "the step that failed and why, not every plan above it"
    assert "the planner halve failed: RuntimeError: cannot halve one" in result.reason
    assert [step.status for step in result.steps] == ["failed"] * 4


async def test_an_empty_plan_from_a_function_fails_the_run(store: Store) -> None:
    @planner
    def nothing() -> Plan:
        return Plan(())

    result = Engine(ScriptedModel([]), planner=nothing, store=store).run("nothing")
    assert (result.outcome, result.reason) == (Outcome.FAILED, "the plan is empty")


async def test_an_empty_plan_from_a_model_goes_back_as_a_defect(store: Store) -> None:
    result, model = run(store, [{"steps": []}, SUM], votes=1)
    assert result.output == 7
    assert "the plan is empty" in json.dumps(model.questions[1].inputs)


async def test_a_model_that_goes_away_while_planning_is_a_failure_of_the_run(store: Store) -> None:
    result, _ = run(store, lambda question, index: ModelUnavailable("the line is dead"))
    assert (result.outcome, result.reason) == (Outcome.FAILED, "the line is dead")


async def test_next_steps_that_differ_are_no_agreement(store: Store) -> None:
    other: Json = {"step": {"id": "s", "tool": "add", "args": {"a": 3, "b": 5}}, "output": None}
    done: Json = {"step": None, "output": {"$ref": "s"}}
    result, _ = run(store, [other, NEXT, NEXT, NEXT, done, done], planner=NextStepPlanner())
    assert result.output == 7, "the first proposal alone was the other one"


async def test_a_next_step_after_a_failure_may_refer_to_all_that_is_committed(store: Store) -> None:
    @tool(effect="pure")
    def fetch(name: str) -> str:
        """Fetches a page."""
        if name == "broken":
            raise OSError("no route")
        return f"page {name}"

    def script(question: Question, index: int) -> Json:
        done = {one["id"]: one["status"] for one in question.inputs.get("steps so far", [])}
        names = {"one": "a", "two": "b", "three": "broken"} if "three" not in done and "four" not in done else {}
        for id, name in (names or {"four": "d"}).items():
            if id not in done:
                return {"step": {"id": id, "tool": "fetch", "args": {"name": name}}, "output": None}
        return {"step": None, "output": [{"$ref": "one"}, {"$ref": "two"}, {"$ref": "four"}]}

    model = ScriptedModel(script)
    result = Engine(model, tools=[fetch], planner=NextStepPlanner(), store=store, votes=1).run("fetch pages")
    assert result.output == ["page a", "page b", "page d"], result.reason


async def test_a_model_planner_inside_a_fixed_plan_sees_its_own_step(store: Store) -> None:
    plan = Plan((Step("sub", "Add them.", planner="model", args={"a": given("x")}),), ref("sub"))
    model = ScriptedModel([SUM])
    one = Engine(model, tools=[add], planner=plan, planners=[ModelPlanner()], store=store, votes=1)
    assert one.run("add", inputs={"x": 3, "secret": 1}).output == 7
    assert model.questions[0].goal == "Add them."
    assert model.questions[0].inputs["inputs"] == {"a": 3}


@pytest.mark.parametrize("yields", [True, False])
async def test_a_model_that_always_wants_another_step_must_finish_at_the_limit(store: Store, yields: bool) -> None:
    def script(question: Question, index: int) -> Json:
        done = len(question.inputs.get("steps so far", []))
        if yields and "No further step" in question.instructions:
            return {"step": None, "output": {"$ref": f"s{done - 1}"}}
        return {"step": {"id": f"s{done}", "tool": "add", "args": {"a": done, "b": 1}}, "output": None}

    result, model = run(store, script, planner=NextStepPlanner(limit=3), votes=1)
    if yields:
        assert (result.outcome, result.output) == (Outcome.AGREED, 3)
    else:
        assert result.outcome is Outcome.ABSTAINED
        assert len(model.questions) < 20, "it is asked a few times more, and then it is over"
