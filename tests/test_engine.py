"""What the engine promises: nothing unverified is committed, nothing committed is lost, and the outcome says so."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from surefoot.engine import Budget, Engine, Outcome
from surefoot.engine.core.spending import Tally
from surefoot.engine.running.account import Account
from surefoot.models.question import Question, Reply
from surefoot.models.scripted import ScriptedModel, call
from surefoot.planners import NextStepPlanner, planner
from surefoot.reflection import Case, verifier
from surefoot.storage.errors import ModelUnavailable, OutOfBudget, PlanError, SetupError, StoreError
from surefoot.storage.records import Contract, Json, Plan, Step, Usage, Verdict, given, ref
from surefoot.storage.store import Store
from surefoot.tools import tool


@tool(effect="pure", timeout=None)
async def add(a: float, b: float) -> float:
    """Adds two numbers."""
    return a + b


def plan_json(*steps: dict[str, Json], output: Json) -> Json:
    return {"steps": list(steps), "output": output}


SUM = plan_json({"id": "s", "tool": "add", "args": {"a": 3, "b": 4}}, output={"$ref": "s"})
OTHER = plan_json({"id": "s", "tool": "add", "args": {"a": 3, "b": 5}}, output={"$ref": "s"})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "runs.db") as store:
        yield store


def engine(store: Store, replies: Any = (), **options: Any) -> Engine:
    options.setdefault("tools", [add])
    return Engine(ScriptedModel(replies), store=store, **options)


# --- plans ----------------------------------------------------------------------------------------------------


def test_a_fixed_plan_is_carried_out_in_the_order_of_its_needs(store: Store) -> None:
    plan = Plan(
        (Step("b", tool="add", args={"a": ref("a"), "b": 10}), Step("a", tool="add", args={"a": 1, "b": 2})),
        output={"sum": ref("b"), "given": given("x")},
    )
    result = engine(store, planner=plan).run("add", inputs={"x": "y"})
    assert result.outcome is Outcome.VERIFIED
    assert result.output == {"sum": 13, "given": "y"}
    assert result.reliability.basis == "exact"
    assert result.reliability.predicted == 1.0
    assert [step.id for step in result.steps] == ["task", "b", "a"]


def test_a_model_made_plan_needs_two_plans_that_agree(store: Store) -> None:
    model = ScriptedModel([SUM, OTHER, SUM, SUM])
    result = Engine(model, tools=[add], store=store).run("3 + 4", output=float)
    assert result.output == 7.0
    assert len(model.questions) == 2, "two samples at once, then the two that are missing to a lead of two"
    root = result.steps[0]
    assert [attempt.status for attempt in root.attempts].count("proposed") == 5
    assert result.reliability.basis == "prior"
    two = 1 / (1 + 1.5 * 2.5 / (28.5 * 29.5))
    assert result.reliability.predicted is not None
    assert 0.95 < result.reliability.predicted < two, "three against one are not worth two against none"


def test_samples_that_never_agree_end_in_an_abstention_not_a_plurality(store: Store) -> None:
    def forever(question: Question, index: int) -> Json:
        forever.n += 1  # type: ignore[attr-defined]
        return [SUM, OTHER][forever.n % 2]  # type: ignore[attr-defined]

    forever.n = 0  # type: ignore[attr-defined]
    result = engine(store, forever).run("3 + 4")
    assert result.outcome is Outcome.ABSTAINED
    assert result.output is None
    assert "disagree" in result.reason


def test_plans_that_are_worded_differently_but_compute_the_same_agree(store: Store) -> None:
    other = plan_json({"id": "other", "tool": "add", "args": {"a": 3, "b": 4}}, output={"$ref": "other"})
    assert engine(store, [SUM, other]).run("3 + 4").output == 7


@pytest.mark.parametrize(
    ("steps", "complaint"),
    [
        ([{"id": "a", "tool": "add", "args": {"a": 1, "b": {"$ref": "b"}}},
          {"id": "b", "tool": "add", "args": {"a": 1, "b": {"$ref": "a"}}}], "circle"),
        ([{"id": "a", "tool": "add", "args": {"a": 1, "b": {"$ref": "nowhere"}}}], "not in the plan"),
        ([{"id": "a", "tool": "subtract", "args": {}}], "does not exist"),
        ([{"id": "a", "tool": "add", "args": {"a": 1, "b": "two"}}], "takes"),
        ([{"id": "a", "tool": "add", "args": {"a": 1}}], "lacks the argument b"),
    ],
)  # fmt: skip
def test_a_plan_that_cannot_be_carried_out_goes_back_with_its_defects(
    store: Store, steps: list[Json], complaint: str
) -> None:
    model = ScriptedModel([{"steps": steps, "output": {"$ref": "a"}}] * 2 + [SUM] * 2)
    result = Engine(model, tools=[add], store=store).run("add")
    assert result.output == 7
    seen = json.dumps([question.inputs for question in model.questions[1:]])
    assert complaint in seen
    assert any(verdict.verifier == "structure" and verdict.ruling == "fail" for verdict in result.steps[0].verdicts)


def test_a_fixed_plan_with_a_circle_is_the_callers_mistake(store: Store) -> None:
    steps = (Step("a", tool="add", args={"a": 1, "b": ref("b")}), Step("b", tool="add", args={"a": 1, "b": ref("a")}))
    with pytest.raises(PlanError, match="circle"):
        engine(store, planner=Plan(steps, ref("a"))).run("add")


def test_next_step_planning_sees_what_came_before(store: Store) -> None:
    def next_step(question: Question, index: int) -> Json:
        done = question.inputs.get("steps so far", [])
        if len(done) == 3:
            return {"step": None, "output": {"$ref": done[-1]["id"]}}
        before = {"$ref": done[-1]["id"]} if done else 0
        return {"step": {"id": f"s{len(done)}", "tool": "add", "args": {"a": before, "b": 2}}, "output": None}

    result = engine(store, next_step, planner=NextStepPlanner()).run("count to six by twos")
    assert result.outcome is Outcome.AGREED
    assert result.output == 6


def test_recursive_plans_unfold_as_they_become_ready(store: Store) -> None:
    @planner
    def total(low: int, high: int) -> Plan:
        if high - low == 1:
            return Plan((Step("leaf", tool="add", args={"a": given("low"), "b": 0}),), ref("leaf"))
        middle = (low + high) // 2
        halves = (
            Step("left", planner="total", args={"low": low, "high": middle}),
            Step("right", planner="total", args={"low": middle, "high": high}),
            Step("sum", tool="add", args={"a": ref("left"), "b": ref("right")}),
        )
        return Plan(halves, ref("sum"))

    result = engine(store, planner=total).run("sum", inputs={"low": 0, "high": 100})
    assert result.output == sum(range(100))
    assert result.committed == 398, "199 expanded steps, 100 leaves, 99 sums"


# --- verification ---------------------------------------------------------------------------------------------


def test_a_wrong_step_is_caught_and_the_record_shows_how(store: Store) -> None:
    @verifier(exact=True)
    def even(candidate: int) -> tuple[bool, str]:
        return candidate % 2 == 0, f"{candidate} is odd; give an even number"

    plan = Plan(
        (Step("n", "Name an even number.", contract=Contract(gives={"type": "integer"}), checks=("even",)),), ref("n")
    )
    model = ScriptedModel(["7", "8"])
    result = Engine(model, planner=plan, checks=[even], store=store).run("an even number")
    assert result.output == 8
    step = result.steps[1]
    assert [attempt.output for attempt in step.attempts] == [7, 8]
    assert [verdict.ruling for verdict in step.verdicts] == ["pass", "fail", "pass", "pass"]
    assert step.rejected == 1
    assert "7 is odd" in json.dumps(model.questions[1].inputs)


def test_an_error_inside_a_verifier_is_never_a_pass(store: Store) -> None:
    @verifier
    def broken(candidate: int) -> bool:
        raise RuntimeError("disk on fire")

    result = engine(
        store, planner=Plan((Step("s", tool="add", args={"a": 1, "b": 1}),), ref("s")), verifiers=[broken]
    ).run("add")
    assert result.outcome is Outcome.ABSTAINED
    assert "disk on fire" in result.reason


def test_an_answer_that_no_check_speaks_for_needs_votes(store: Store) -> None:
    plan = Plan((Step("city", "Capital of France?"),), ref("city"))
    result = Engine(ScriptedModel(["Paris", "Lyon", "Paris", "Paris"]), planner=plan, store=store).run("capital")
    assert result.output == "Paris"
    assert result.usage.samples == 4


def test_a_target_asks_for_more_votes_and_is_reached(store: Store) -> None:
    plan = Plan((Step("city", "Capital of France?"),), ref("city"))
    result = Engine(lambda_model("Paris"), planner=plan, store=store).run("capital", target=0.999)
    assert result.outcome is Outcome.AGREED
    assert result.reliability.predicted is not None
    assert result.reliability.predicted >= 0.999
    assert result.usage.samples == 3, "1 / (1 + (1/19)^k) passes .999 at k = 3"


def lambda_model(line: Json) -> ScriptedModel:
    return ScriptedModel(lambda question, index: line)


def test_a_refuted_result_rolls_back_the_step_with_the_weakest_support(store: Store) -> None:
    @verifier
    def large(candidate: float) -> tuple[bool, str]:
        return candidate > 100, "the total must be above 100"

    plan = Plan(
        (
            Step("guess", "Guess a number.", contract=Contract(gives={"type": "number"})),
            Step("more", tool="add", args={"a": ref("guess"), "b": 1}),
        ),
        ref("more"),
    )
    model = ScriptedModel(["5", "5", "500", "500"])
    result = Engine(model, planner=plan, tools=[add], verifiers=[large], store=store).run("a large number")
    assert result.output == 501
    assert "above 100" in json.dumps(model.questions[-1].inputs)
    assert result.reliability.predicted == pytest.approx(1 / (1 + 1.5 * 2.5 / (28.5 * 29.5)))


def test_a_refuted_result_suspects_a_sub_plan_for_what_was_committed_under_it(store: Store) -> None:
    @verifier
    def large(candidate: float) -> tuple[bool, str]:
        return candidate > 100, "the total must be above 100"

    @planner
    def guessing() -> Plan:
        return Plan((Step("guess", "Guess a number.", contract=Contract(gives={"type": "number"})),), ref("guess"))

    plan = Plan(
        (
            Step("half", planner="guessing", args={}),
            Step("more", tool="add", args={"a": ref("half"), "b": 1}),
        ),
        ref("more"),
    )
    model = ScriptedModel(["5", "5", "500", "500"])
    engine = Engine(model, planner=plan, planners=[guessing], tools=[add], verifiers=[large], store=store)
    result = engine.run("a large number")
    assert (result.outcome, result.output) == (Outcome.AGREED, 501)
    assert result.reliability.predicted == pytest.approx(1 / (1 + 1.5 * 2.5 / (28.5 * 29.5)))


class Person(BaseModel):
    name: str
    age: int


def test_the_wanted_type_is_told_to_whoever_makes_the_plan_and_to_the_step_that_delivers_it(store: Store) -> None:
    plan: Json = {"steps": [{"id": "who", "goal": "Who is it?"}], "output": {"$ref": "who"}}
    model = ScriptedModel(lambda question, index: plan if question.role == "plan" else '{"name": "Al", "age": 5}')
    result = Engine(model, store=store).run("Who is it?", output=Person)
    assert result.output == Person(name="Al", age=5)
    asked = {question.role: question for question in model.questions}
    assert asked["plan"].inputs["JSON Schema of the output"] == Person.model_json_schema()
    assert asked["act"].output_schema == Person.model_json_schema()


def test_the_wanted_type_is_asked_of_a_fixed_plan_too(store: Store) -> None:
    plan = Plan((Step("s", "Answer."),), ref("s"))
    assert Engine(lambda_model("7"), planner=plan, store=store).run("count", output=int).output == 7
    asked = ScriptedModel(lambda question, index: "plain words")
    assert Engine(asked, planner=plan, store=store).run("say", output=str).output == "plain words"
    assert all(question.output_schema is None for question in asked.questions)


def test_a_verdict_can_blame_a_step(store: Store) -> None:
    @verifier
    def checks_out(candidate: Json) -> Verdict:
        wrong = candidate["b"] != "good"
        return Verdict("", "fail" if wrong else "pass", blame="b", critique="b must be good")

    plan = Plan((Step("a", "Say a."), Step("b", "Say b.")), {"a": ref("a"), "b": ref("b")})
    said = {"Say a.": iter(["fine"] * 9), "Say b.": iter(["bad", "bad", "good", "good"])}
    model = ScriptedModel(lambda question, index: next(said[question.goal]))
    result = Engine(model, planner=plan, verifiers=[checks_out], store=store).run("both")
    assert result.output == {"a": "fine", "b": "good"}
    assert [len(step.attempts) for step in result.steps[1:]] == [2, 4]


def test_a_failed_step_leads_to_another_plan_that_keeps_what_is_committed(store: Store) -> None:
    calls: list[str] = []

    @tool(effect="pure")
    def fetch(name: str) -> str:
        """Fetches a page."""
        calls.append(name)
        if name == "broken":
            raise OSError("no route")
        return f"page {name}"

    def script(question: Question, index: int) -> Json:
        assert question.role == "plan"
        last = "mirror" if "no route" in json.dumps(question.inputs) else "broken"
        return plan_json(
            {"id": "first", "tool": "fetch", "args": {"name": "home"}},
            {"id": "second", "tool": "fetch", "args": {"name": last}, "needs": ["first"]},
            output=[{"$ref": "first"}, {"$ref": "second"}],
        )

    result = engine(store, script, tools=[fetch]).run("two pages")
    assert result.output == ["page home", "page mirror"]
    assert calls.count("home") == 1, "what was committed is used again, not run again"


def test_a_replanned_plan_may_refer_to_committed_steps_without_repeating_them(store: Store) -> None:
    @tool(effect="pure")
    def fetch(name: str) -> str:
        """Fetches a page."""
        if name == "broken":
            raise OSError("no route")
        return f"page {name}"

    def script(question: Question, index: int) -> Json:
        if "no route" in json.dumps(question.inputs):
            return plan_json(
                {"id": "third", "tool": "fetch", "args": {"name": "mirror"}},
                output=[{"$ref": "first"}, {"$ref": "third"}],
            )
        return plan_json(
            {"id": "first", "tool": "fetch", "args": {"name": "home"}},
            {"id": "second", "tool": "fetch", "args": {"name": "broken"}, "needs": ["first"]},
            output=[{"$ref": "first"}, {"$ref": "second"}],
        )

    assert engine(store, script, tools=[fetch]).run("two pages").output == ["page home", "page mirror"]


def test_without_verification_the_first_sample_stands_and_is_called_unverified(store: Store) -> None:
    plan = Plan((Step("city", "Capital of France?"),), ref("city"))
    result = Engine(ScriptedModel(["Lyon"]), planner=plan, store=store).run("capital", verify=False)
    assert result.outcome is Outcome.UNVERIFIED
    assert result.output == "Lyon"
    assert result.reliability.predicted is None
    assert result.reliability.basis == "none"


def test_a_task_beyond_the_model_is_an_abstention_with_its_reason(store: Store) -> None:
    unknown = Reply("none", (), unknown=True, error="this model knows only word problems: set SUREFOOT_MODEL")
    result = engine(store, [unknown] * 2).run("write a sonnet")
    assert result.outcome is Outcome.ABSTAINED
    assert "SUREFOOT_MODEL" in result.reason


# --- models and tools -----------------------------------------------------------------------------------------


def test_a_model_calls_tools_until_it_answers(store: Store) -> None:
    plan = Plan((Step("sum", "Add 3 and 4 with the tool.", contract=Contract(gives={"type": "integer"})),), ref("sum"))
    script = [call("add", {"a": 3, "b": "x"}), call("add", {"a": 3, "b": 4}), "7"]
    model = ScriptedModel(script * 2)
    result = Engine(model, tools=[add], planner=plan, store=store, votes=1).run("sum")
    assert result.output == 7
    told = [message.content for message in model.questions[-1].follow_up if message.role == "tool"]
    assert "valid number" in told[0], "the model was told what to mend"
    assert told[1] == "7.0"
    messages = [record for record in store.records(result.run_id) if type(record).__name__ == "Message"]
    assert [message.role for message in messages] == [
        "system",
        "user",
        "assistant",
        "tool",
        "assistant",
        "tool",
        "assistant",
    ]


def test_a_model_that_cannot_be_reached_is_a_failure_not_a_crash(store: Store) -> None:
    result = engine(store, lambda question, index: ModelUnavailable("connection refused")).run("3 + 4")
    assert result.outcome is Outcome.FAILED
    assert "connection refused" in result.reason


def test_a_tool_that_a_model_fills_in_is_one_call(store: Store) -> None:
    plan = Plan((Step("s", "Add the two numbers.", "add", None),), ref("s"))
    model = ScriptedModel([call("add", {"a": 20, "b": 22})] * 2)
    result = Engine(model, tools=[add], planner=plan, store=store).run("add", inputs={"x": 20, "y": 22})
    assert result.output == 42
    assert model.questions[0].inputs == {"x": 20, "y": 22}


def test_output_is_what_the_caller_asked_for(store: Store) -> None:
    class Answer(BaseModel):
        total: int

    plan = Plan((Step("s", tool="add", args={"a": 1, "b": 1}),), {"total": ref("s")})
    result = engine(store, planner=plan).run("add", output=Answer)
    assert result.output == Answer(total=2)


# --- budgets --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("budget", "limit"),
    [(Budget(steps=3), "steps"), (Budget(tokens=25), "tokens"), (Budget(usd=0.02), "dollars")],
)
def test_a_budget_is_never_passed(store: Store, budget: Budget, limit: str) -> None:
    plan = Plan(tuple(Step(f"s{i}", f"Say {i}.", needs=(f"s{i - 1}",) if i else ()) for i in range(9)), ref("s8"))
    model = ScriptedModel(lambda question, index: question.goal, usage=Usage(samples=1, prompt_tokens=10, usd=0.01))
    result = Engine(model, planner=plan, store=store, votes=1).run("all", budget=budget)
    assert result.outcome is Outcome.OUT_OF_BUDGET
    assert limit in result.reason
    assert result.usage.attempts <= 3
    assert result.usage.tokens <= (budget.tokens or 30)
    assert result.usage.usd <= (budget.usd or 0.03)
    more = Engine(model, planner=plan, store=store, votes=1).resume(result.run_id, budget=Budget())
    assert more.outcome is Outcome.AGREED
    assert more.output == "Say 8."


def test_a_time_limit_stops_a_run_that_hangs(store: Store) -> None:
    @tool(effect="pure")
    async def forever() -> int:
        """Never ends."""
        await asyncio.Event().wait()
        return 1

    plan = Plan((Step("s", tool="forever", args={}),), ref("s"))
    result = engine(store, tools=[forever], planner=plan).run("wait", budget=Budget(seconds=0.2))
    assert result.outcome is Outcome.OUT_OF_BUDGET
    assert "seconds" in result.reason


# --- mistakes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["", "   ", None])
def test_an_empty_task_is_refused(store: Store, task: Any) -> None:
    with pytest.raises(SetupError, match="empty"):
        engine(store).run(task)


def test_a_run_that_does_not_exist_is_named(store: Store) -> None:
    with pytest.raises(StoreError):
        engine(store).resume("nosuchrun")


def test_names_must_be_unique(store: Store) -> None:
    @verifier(name="same")
    def one(candidate: Json) -> bool:
        return True

    @verifier(name="same")
    def two(candidate: Json, case: Case) -> bool:
        return True

    with pytest.raises(SetupError, match="same"):
        engine(store, checks=[one, two])


def test_what_others_hold_is_waited_for_and_not_taken_for_spent(store: Store) -> None:
    """Four calls at once may cost 40 tokens each and cost 10: the budget of 45 pays for all four."""

    class Careful(ScriptedModel):
        def estimate(self, question: Question, n: int = 1) -> Usage:
            return Usage(samples=n, completion_tokens=40 * n)

    spent = Usage(samples=1, completion_tokens=1)
    model = Careful(lambda question, index: "x", latency=0.01, usage=spent)
    plan = Plan(tuple(Step(f"s{i}", "Say x.") for i in range(4)))
    result = Engine(model, planner=plan, store=store, votes=1).run("all", budget=Budget(tokens=45))
    assert result.outcome == Outcome.AGREED and result.usage.tokens == 4
    less = Engine(model, planner=plan, store=store, votes=1).run("all", budget=Budget(tokens=42))
    assert less.outcome == Outcome.OUT_OF_BUDGET and less.usage.tokens == 3


@pytest.mark.anyio
async def test_a_budget_holds_whoever_comes_at_once() -> None:
    account = Account(Budget(usd=1.0), Tally())
    most = 0.0

    async def spend(one: int) -> bool:
        nonlocal most
        try:
            async with account.reserve(Usage(usd=0.3)):
                most = max(most, account.spent.usd + account.held.usd)
                await asyncio.sleep(0)
                account.spent.add(Usage(usd=0.1 if one % 2 else 0.05))
        except OutOfBudget:
            return False
        return True

    done = await asyncio.wait_for(asyncio.gather(*map(spend, range(30))), 10)
    assert most <= 1.0 + 1e-9 and account.spent.usd <= 1.0
    assert account.spent.usd > 0.7 and not all(done) and not account.holds
