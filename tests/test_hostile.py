"""Hostile models, tools, verifiers, plans and callers: a clear result or a clear error, never a hang, never a lie."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from surefoot.engine import Engine, Outcome, Result
from surefoot.models.question import Question, Reply
from surefoot.models.scripted import ScriptedModel, call
from surefoot.planners import ModelPlanner, planner
from surefoot.planners.planner import Proposal, Request
from surefoot.reflection import Case, verifier
from surefoot.storage.errors import SetupError
from surefoot.storage.records import Attempt, Contract, Event, Json, Plan, Policy, Step, Usage, Verdict, given, ref
from surefoot.storage.store import Store
from surefoot.tools import tool

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "runs.db") as store:
        yield store


@tool(effect="pure", timeout=None)
async def same(x: Any) -> Any:
    """What it is given."""
    return x


def engine(store: Store, replies: Any = (), **options: Any) -> Engine:
    options.setdefault("tools", [same])
    model = replies if hasattr(replies, "ask") else ScriptedModel(replies)
    return Engine(model, store=store, **options)


def answers(store: Store, *said: Json, gives: Json = None, **options: Any) -> Result:
    """One step that the model answers."""
    contract = Contract(gives=gives)
    plan = Plan((Step("s", "Say it.", contract=contract, votes=1),), ref("s"))
    return engine(store, list(said) * 12, planner=plan, tools=[], **options).run("say")


def resumable(store: Store, result: Result) -> Result:
    """What a new process would make of a finished run: the same."""
    again = engine(store, [], planner=Plan((Step("s", "Say it."),))).resume(result.run_id)
    assert (again.outcome, again.output) == (result.outcome, result.output)
    return again


# --- models -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("said", ["NaN", "Infinity", "-Infinity", '{"answer": NaN}', "[1, NaN]"])
def test_what_is_no_number_is_no_answer(store: Store, said: str) -> None:
    result = answers(store, said, gives={"anyOf": [{"type": "number"}, {"type": "array", "items": {"type": "number"}}]})
    assert result.outcome is Outcome.ABSTAINED
    assert result.output is None


@pytest.mark.parametrize("said", ["1e999", "[1e999]", "-1e999"])
def test_a_number_beyond_all_floats_is_no_answer(store: Store, said: str) -> None:
    result = answers(store, said, gives={})
    assert result.outcome is Outcome.ABSTAINED


@pytest.mark.parametrize(
    "said",
    [2**80, -(10**400), 10**4000, 0.1 + 0.2, "\ud800 half", "nul \0 inside", "\u2028", {"": {"": []}}, None, "", []],
    ids=lambda value: repr(value)[:20],
)
def test_an_odd_answer_is_kept_exactly_or_refused(store: Store, said: Json) -> None:
    result = answers(store, json.dumps({"answer": said}), gives={})
    if said is None or said == "":
        assert result.outcome in (Outcome.AGREED, Outcome.ABSTAINED)
    else:
        assert result.outcome is Outcome.AGREED, result.reason
        assert result.output == said
    resumable(store, result)


@pytest.mark.parametrize("levels", [100, 400, 900, 5_000, 100_000])
def test_an_answer_nested_without_end_is_kept_or_refused(store: Store, levels: int) -> None:
    said = "[" * levels + "]" * levels
    result = answers(store, json.dumps({"answer": 1})[:-2] + said + "}", gives={})
    assert result.outcome in (Outcome.AGREED, Outcome.ABSTAINED)
    if result.outcome is Outcome.AGREED:
        assert json.dumps(result.output).replace(" ", "") == said
    resumable(store, result)


def test_an_answer_of_a_number_of_ten_thousand_digits_is_refused(store: Store) -> None:
    result = answers(store, "9" * 10_000, gives={"type": "integer"})
    assert result.outcome is Outcome.ABSTAINED


class Silent:
    """A model that breaks the promise to give one reply a sample."""

    name = "silent"
    policy = Policy("silent")

    def estimate(self, question: Question, n: int = 1) -> Usage:
        return Usage()

    async def ask(self, question: Question, n: int = 1) -> Sequence[Reply]:
        return []


def test_a_model_that_gives_no_reply_at_all_does_not_hang_the_run(store: Store) -> None:
    for options in ({"planner": Plan((Step("s", "Say."),), ref("s")), "tools": []}, {}):
        result = engine(store, Silent(), **options).run("say")
        assert result.outcome is Outcome.FAILED
        assert "nothing was proposed" in result.reason


def test_a_model_that_calls_tools_for_ever_is_stopped(store: Store) -> None:
    plan = Plan((Step("s", "Say.", votes=1),), ref("s"))
    result = engine(store, lambda question, index: call("same", {"x": 1}), planner=plan).run("say")
    assert result.outcome is Outcome.FAILED
    assert "without answering" in result.reason


@pytest.mark.parametrize(
    ("wish", "told"),
    [
        (("nope", {"x": 1}), "there is no tool nope; there are: same"),
        (("same", {"y": 1}), "there is no such parameter"),
    ],
)
def test_a_call_that_was_refused_and_comes_again_ends_the_attempt(store: Store, wish: Any, told: str) -> None:
    """Sixteen rounds of it, in each of twelve attempts, would be 192 requests."""
    plan = Plan((Step("s", "Say.", votes=1),), ref("s"))
    model = ScriptedModel(lambda question, index: call(*wish))
    result = engine(store, model, planner=plan).run("say")
    assert result.outcome is Outcome.FAILED and told in result.reason
    assert len(model.questions) <= 24


def test_one_sample_that_fails_does_not_leave_the_others_running(store: Store) -> None:
    """Two conversations at once; the first breaks off while the second is still talking."""
    late: list[str] = []

    @tool(effect="pure")
    async def slow(x: int) -> int:
        """Takes its time."""
        await asyncio.sleep(0.05)
        late.append("slow")
        return x

    @tool(effect="pure", approval=True)
    async def asks() -> int:
        """Wants a person."""
        return 1

    plan = Plan((Step("s", "Say.", votes=2),), ref("s"))
    wants = [call("asks", {}), call("slow", {"x": 1}), "late"]
    model = ScriptedModel(lambda question, index: wants.pop(0))
    result = engine(store, model, planner=plan, tools=[slow, asks]).run("say")
    assert result.outcome is Outcome.INPUT_REQUIRED
    assert late == ["slow"], "it came to its end before the run stood still"
    assert [type(one).__name__ for one in store.records(result.run_id)][-1] == "Attempt"


# --- tools ------------------------------------------------------------------------------------------------------


def test_a_tool_that_returns_nothing_has_returned_nothing(store: Store) -> None:
    @tool(effect="once")
    def fire() -> None:
        """Returns nothing."""

    plan = Plan((Step("a", tool="fire", args={}), Step("b", tool="same", args={"x": ref("a")})), [ref("a"), ref("b")])
    result = engine(store, planner=plan, tools=[fire, same]).run("fire")
    assert (result.outcome, result.output) == (Outcome.VERIFIED, [None, None])


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), 10**5_000, "\ud800", object()], ids=lambda v: type(v).__name__
)
def test_a_tool_that_returns_what_is_no_json_fails_with_the_reason(store: Store, value: Any) -> None:
    @tool(effect="pure")
    def odd() -> Any:
        """Returns something odd."""
        return value

    result = engine(store, planner=Plan((Step("s", tool="odd", args={}),)), tools=[odd]).run("odd")
    assert result.outcome is Outcome.FAILED
    assert "step s failed" in result.reason


def test_a_tool_that_changes_its_argument_does_not_change_what_was_committed(store: Store) -> None:
    @tool(effect="pure", timeout=None)
    async def make() -> Any:
        """A list in a dict."""
        return {"rows": [1, 2, 3]}

    @tool(effect="pure", timeout=None)
    async def spoil(x: Any) -> int:
        """Empties what it is given."""
        x["rows"].clear()
        return 0

    steps = (Step("a", tool="make", args={}), Step("b", tool="spoil", args={"x": ref("a")}))
    last = Step("c", tool="same", args={"x": ref("a")}, needs=("b",))
    result = engine(store, planner=Plan((*steps, last), ref("c")), tools=[make, spoil, same]).run("spoil")
    assert result.output == {"rows": [1, 2, 3]}
    attempts = [one.output for one in store.records(result.run_id, kinds=[Attempt]) if isinstance(one, Attempt)]
    assert attempts[0] == {"rows": [1, 2, 3]}


def test_a_verifier_that_changes_the_candidate_does_not_change_what_is_committed(store: Store) -> None:
    @verifier(exact=True)
    def spoils(candidate: Any) -> bool:
        candidate["rows"].append("mine")
        return True

    steps = (Step("a", tool="same", args={"x": {"rows": [1]}}, checks=("spoils",)),)
    result = engine(store, planner=Plan(steps, ref("a")), checks=[spoils]).run("spoil")
    assert result.output == {"rows": [1]}


# --- plans ------------------------------------------------------------------------------------------------------


def test_a_chain_of_two_thousand_steps_from_a_model_is_carried_out(store: Store) -> None:
    steps = [{"id": f"s{i}", "tool": "same", "args": {"x": {"$ref": f"s{i - 1}"} if i else 7}} for i in range(2_000)]
    result = engine(store, lambda question, index: {"steps": steps}).run("chain")
    assert result.outcome is Outcome.AGREED, result.reason
    assert (result.output, result.committed) == (7, 2_001)


@pytest.mark.parametrize("expression", ["3 +", "1e999999999", "a", "9 ** 9 ** 9", "__import__('os')"])
def test_arithmetic_that_cannot_be_done_is_a_step_that_fails_and_not_a_crash(store: Store, expression: str) -> None:
    bad: Json = {"steps": [{"id": "s", "tool": "calculator", "args": {"expression": expression}}]}
    good: Json = {"steps": [{"id": "s", "tool": "calculator", "args": {"expression": "3 + 4"}}]}
    model = ScriptedModel(lambda question, index: good if "wrong with the last plan" in str(question.inputs) else bad)
    result = engine(store, model, tools=["calculator"]).run("sum")
    assert result.output == 7, result.reason


def test_a_circle_of_arithmetic_goes_back_as_a_defect(store: Store) -> None:
    steps = [
        {"id": id, "tool": "calculator", "args": {"expression": "x + 1", "values": {"x": {"$ref": other}}}}
        for id, other in ("ab", "ba")
    ]
    result = engine(store, lambda question, index: {"steps": steps}, tools=["calculator"]).run("sum")
    assert result.outcome is Outcome.ABSTAINED
    assert "circle" in result.reason


@pytest.mark.parametrize(
    ("output", "reason"), [(ref("s", "nope"), "the output of step s has no 'nope'"), (ref("s", "0"), "has no '0'")]
)
def test_an_output_that_does_not_exist_is_a_failure_with_its_name(store: Store, output: Json, reason: str) -> None:
    result = engine(store, planner=Plan((Step("s", tool="same", args={"x": {"a": 1}}),), output)).run("dig")
    assert result.outcome in (Outcome.FAILED, Outcome.ABSTAINED)
    assert reason in result.reason
    steps = (Step("s", tool="same", args={"x": {"a": 1}}), Step("t", tool="same", args={"x": output}))
    result = engine(store, planner=Plan(steps, ref("t"))).run("dig")
    assert result.outcome is Outcome.FAILED
    assert reason in result.reason


def test_a_plan_of_a_model_that_delivers_what_does_not_exist_is_made_anew(store: Store) -> None:
    def script(question: Question, index: int) -> Json:
        path = "s" if "has no 'nope'" in str(question.inputs) else "s.nope"
        return {"steps": [{"id": "s", "tool": "same", "args": {"x": {"a": 1}}}], "output": {"$ref": path}}

    assert engine(store, script).run("dig").output == {"a": 1}


def test_ids_may_repeat_in_different_plans(store: Store) -> None:
    @planner
    def inner(n: int) -> Plan:
        return Plan((Step("s", tool="same", args={"x": given("n")}),), ref("s"))

    plan = Plan(
        tuple(Step(f"p{n}", planner="inner", args={"n": n}) for n in range(3)), [ref(f"p{n}") for n in range(3)]
    )
    assert engine(store, planner=plan, planners=[inner]).run("three").output == [0, 1, 2]


def test_a_plan_that_asks_for_more_without_a_step_does_not_go_on_for_ever(store: Store) -> None:
    @planner
    def endless() -> Plan:
        return Plan((), 1, more=True)

    result = engine(store, planner=endless).run("on and on")
    assert result.outcome is Outcome.FAILED
    assert "no step to wait for" in result.reason
    result = engine(store, lambda question, index: {"steps": [], "output": 1, "more": True}).run("on and on")
    assert result.outcome is Outcome.ABSTAINED


def test_without_verification_a_plan_must_still_be_one_that_can_be_carried_out(store: Store) -> None:
    for plan in (
        {"steps": [{"id": "a", "goal": "g", "checks": ["nobody"]}]},
        {"steps": [{"id": "a", "tool": "nothing", "args": {}}]},
        {"steps": [{"id": "a", "goal": "g", "needs": ["b"]}, {"id": "b", "goal": "g", "needs": ["a"]}]},
    ):
        result = engine(store, lambda question, index, plan=plan: plan).run("go", verify=False)
        assert result.outcome is Outcome.ABSTAINED
        assert "does not exist" in result.reason or "circle" in result.reason


class Eager:
    """A planner that lies about its form."""

    name = "eager"
    sampled = True
    checks = ()

    def __init__(self, proposals: list[Proposal]) -> None:
        self.proposals = proposals

    async def propose(self, request: Request, n: int = 1) -> Sequence[Proposal]:
        return self.proposals


def test_a_planner_that_proposes_nothing_does_not_hang_the_run(store: Store) -> None:
    result = engine(store, planner=Eager([])).run("plan")
    assert result.outcome is Outcome.FAILED
    assert "nothing was proposed" in result.reason


def test_two_children_that_fail_at_once_lead_to_one_new_plan_and_not_to_two(store: Store) -> None:
    """A plan is no result: proposed by a second worker, it was once taken for one."""

    @tool(effect="pure")
    async def fail(n: int) -> int:
        """Fails a little later."""
        await asyncio.sleep(0.01)
        raise OSError("no route")

    def script(question: Question, index: int) -> Json:
        if "no route" in str(question.inputs):
            return {"steps": [{"id": "ok", "tool": "same", "args": {"x": 42}}]}
        return {"steps": [{"id": f"s{n}", "tool": "fail", "args": {"n": n}} for n in range(3)]}

    plan = Plan((Step("sub", "Do it.", planner="model"),), ref("sub"))
    model = ScriptedModel(script, latency=0.02)
    result = engine(store, model, planner=plan, planners=[ModelPlanner()], tools=[same, fail]).run("go")
    assert result.output == 42, (result.output, result.reason)
    planned = [one for one in store.records(result.run_id) if isinstance(one, Event) and one.kind == "planned"]
    assert len(planned) == 3, "the outer plan, and two versions of the inner one"


# --- verifiers --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["schema", "structure"])
def test_a_verifier_cannot_take_the_name_of_the_engines_own(store: Store, name: str) -> None:
    @verifier(name=name)
    def mine(candidate: Json) -> bool:
        return False

    with pytest.raises(SetupError, match="rename"):
        engine(store, verifiers=[mine])


class Liar:
    """A verifier whose verdicts carry another name than its own."""

    name, version, kind, exact = "liar", "1", "rule", False

    async def verify(self, case: Case) -> Verdict:
        return Verdict("somebody else", "pass")


def test_a_verdict_counts_for_the_verifier_that_gave_it(store: Store) -> None:
    result = engine(store, planner=Plan((Step("s", tool="same", args={"x": 1}),)), verifiers=[Liar()]).run("go")
    assert result.outcome is Outcome.VERIFIED
    assert [verdict.verifier for verdict in result.steps[0].verdicts] == ["liar"]


@pytest.mark.parametrize("blame", ["nobody", "", "task", None])
def test_blame_for_a_step_that_does_not_exist_helps_nobody_and_harms_nothing(store: Store, blame: str | None) -> None:
    @verifier
    def never(candidate: Json) -> Verdict:
        return Verdict("", "fail", blame=blame, critique="no")

    plan = Plan((Step("s", tool="same", args={"x": 1}),))
    result = engine(store, planner=plan, verifiers=[never]).run("go")
    assert (result.outcome, result.reason) == (Outcome.ABSTAINED, "no")


def test_a_reader_listed_before_what_it_reads_is_undone_with_it(store: Store) -> None:
    """A wrong step that is rolled back must take everything with it that stands on it, in whichever order listed."""

    @verifier
    def right(candidate: Json) -> Verdict:
        return Verdict("", "pass" if candidate["first"] == "good" else "fail", blame="a", critique="a must be good")

    steps = (
        Step("c", tool="same", args={"x": ref("b")}),
        Step("b", tool="same", args={"x": ref("a")}),
        Step("a", "Say a.", args={}, votes=1),
    )
    said = iter(["bad", "good"])
    model = ScriptedModel(lambda question, index: next(said))
    plan = Plan(steps, {"first": ref("a"), "last": ref("c")})
    one = Engine(model, planner=plan, verifiers=[right], tools=[same], store=store)
    result = one.run("go")
    assert result.output == {"first": "good", "last": "good"}
