"""Hostile callers: settings, budgets, answers and listeners without sense, engines that lack what a run needs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from surefoot.engine import Budget, Engine, Outcome
from surefoot.models.question import Question
from surefoot.models.scripted import ScriptedModel
from surefoot.planners import planner
from surefoot.reflection import verifier
from surefoot.storage.errors import SetupError, StoreError
from surefoot.storage.records import Contract, Json, Plan, Step, Usage, given, ref
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


# --- callers ----------------------------------------------------------------------------------------------------


def test_a_run_with_one_worker_gets_everywhere(store: Store) -> None:
    @planner
    def tree(depth: int) -> Plan:
        if depth == 0:
            return Plan((Step("leaf", tool="same", args={"x": 1}),))
        halves = tuple(Step(f"h{i}", planner="tree", args={"depth": depth - 1}) for i in range(2))
        return Plan(halves, [ref("h0"), ref("h1")])

    result = engine(store, planner=tree, concurrency=1).run("tree", inputs={"depth": 5})
    assert result.outcome is Outcome.VERIFIED
    assert str(result.output).count("1") == 32


@pytest.mark.anyio
async def test_fifty_runs_at_once_on_one_engine_do_not_mix(store: Store) -> None:
    @tool(effect="pure")
    async def later(x: int) -> int:
        """Answers a little later."""
        await asyncio.sleep(0.001 * (x % 7))
        return x

    plan = Plan(
        (Step("a", tool="later", args={"x": given("n")}), Step("b", tool="same", args={"x": ref("a")})), ref("b")
    )
    one = engine(store, planner=plan, tools=[later, same])
    results = await asyncio.gather(*(one.arun("go", inputs={"n": n}) for n in range(50)))
    assert [result.output for result in results] == list(range(50))
    assert len({result.run_id for result in results}) == 50
    assert one.running == ()


@pytest.mark.parametrize("budget", [Budget(steps=0), Budget(tokens=0), Budget(usd=0.0), Budget(seconds=0.0)])
def test_a_budget_of_nothing_buys_nothing(store: Store, budget: Budget) -> None:
    model = ScriptedModel(lambda q, i: "x", usage=Usage(samples=1, prompt_tokens=1, usd=0.01))
    result = engine(store, model, planner=Plan((Step("s", "Say."),)), tools=[]).run("say", budget=budget)
    assert result.outcome is Outcome.OUT_OF_BUDGET
    assert (result.usage.samples, result.usage.attempts) == (0, 0)
    assert model.questions == []


def test_a_time_limit_holds_while_a_plan_is_made_and_while_the_result_is_checked(store: Store) -> None:
    result = engine(store, ScriptedModel(lambda q, i: "x", latency=30)).run("plan", budget=Budget(seconds=0.1))
    assert result.outcome is Outcome.OUT_OF_BUDGET

    @verifier
    async def forever(candidate: Json) -> bool:
        await asyncio.Event().wait()
        return True

    plan = Plan((Step("s", tool="same", args={"x": 1}),))
    one = engine(store, planner=plan, verifiers=[forever])
    result = one.run("check", budget=Budget(seconds=0.1))
    assert result.outcome is Outcome.OUT_OF_BUDGET
    assert "seconds" in result.reason


def test_a_judge_that_cannot_be_paid_is_no_abstention(store: Store) -> None:
    from surefoot.reflection.judge import Judge

    def script(question: Question, index: int) -> Json:
        return {"verdict": "pass", "reason": "fine"} if question.role == "judge" else "word"

    model = ScriptedModel(script, usage=Usage(samples=1, prompt_tokens=10))
    plan = Plan((Step("s", "Say.", checks=("judge",), votes=1),))
    one = engine(store, model, planner=plan, tools=[], checks=[Judge("Is it a word?")])
    result = one.run("say", budget=Budget(tokens=15))
    assert result.outcome is Outcome.OUT_OF_BUDGET
    assert one.resume(result.run_id, budget=Budget()).output == "word"


@pytest.mark.parametrize("target", [0.9999, 1 - 1e-12, 1 - 1e-15])
def test_a_target_out_of_reach_is_an_abstention(store: Store, target: float) -> None:
    steps = tuple(Step(f"s{i}", "Say.") for i in range(3))
    model = ScriptedModel(lambda question, index: "x")
    result = engine(store, model, planner=Plan(steps, [ref("s0")]), tools=[]).run("say", target=target)
    assert result.outcome is (Outcome.AGREED if target == 0.9999 else Outcome.ABSTAINED)
    if result.outcome is Outcome.AGREED:
        assert (result.reliability.predicted or 0) >= target
    else:
        assert "cannot give enough evidence" in result.reason or "the evidence reaches" in result.reason


@pytest.mark.parametrize("options", [{"concurrency": 0}, {"votes": 0}, {"votes": -1}, {"target": 1.0}, {"target": 0}])
def test_settings_that_would_hang_or_lie_are_refused(store: Store, options: Any) -> None:
    with pytest.raises(SetupError):
        engine(store, planner=Plan((Step("s", "g"),)), **options).run("go")


SEND = Plan((Step("s", tool="send", args={"text": "hello"}),))


def sender(sent: list[str]) -> Any:
    @tool(effect="once", approval=True)
    async def send(text: str) -> str:
        """Sends a letter."""
        sent.append(text)
        return "sent"

    return send


@pytest.mark.parametrize("said", [{"nobody asked": True}, "yes", 1, [], {"key": None}])
def test_what_answers_no_question_is_refused_and_the_question_stays_open(store: Store, said: Json) -> None:
    sent: list[str] = []
    one = engine(store, planner=SEND, tools=[sender(sent)])
    first = one.run("send")
    with pytest.raises(SetupError, match=r"no answer|asks nothing by the key"):
        one.resume(first.run_id, said)
    again = one.resume(first.run_id)
    assert again.questions == first.questions and sent == []


@pytest.mark.parametrize("said", [{}, None])
def test_no_answer_leaves_the_question_open(store: Store, said: Json) -> None:
    sent: list[str] = []
    one = engine(store, planner=SEND, tools=[sender(sent)])
    first = one.run("send")
    again = one.resume(first.run_id, said)
    assert again.outcome is Outcome.INPUT_REQUIRED
    assert again.questions == first.questions
    assert sent == []


@pytest.mark.parametrize("approve", ["no", "false", 0, None])
def test_only_true_and_false_are_consent_and_refusal(store: Store, approve: Json) -> None:
    sent: list[str] = []
    one = engine(store, planner=SEND, tools=[sender(sent)])
    first = one.run("send")
    with pytest.raises(SetupError, match="neither True nor False"):
        one.resume(first.run_id, {first.questions[0]["key"]: {"approve": approve}})
    assert sent == []
    assert one.resume(first.run_id, True).outcome is Outcome.VERIFIED


def test_a_refusal_holds_in_every_other_plan_too(store: Store) -> None:
    sent: list[str] = []
    ids = iter("abcdefgh")

    def script(question: Question, index: int) -> Json:
        return {"steps": [{"id": next(ids), "tool": "send", "args": {"text": "hello"}}]}

    one = engine(store, ScriptedModel(script), tools=[sender(sent)], votes=1)
    first = one.run("send")
    result = one.resume(first.run_id, False)
    assert result.outcome is Outcome.FAILED
    assert "declined" in result.reason
    assert sent == []


@pytest.mark.parametrize("run", ["nosuchrun", "", "abc", "%", "0" * 40])
def test_a_run_that_is_not_there_is_named(store: Store, run: str) -> None:
    with pytest.raises(StoreError):
        engine(store, planner=SEND, tools=[sender([])]).resume(run)


@pytest.mark.anyio
async def test_a_run_that_is_under_way_is_not_taken_up_a_second_time(store: Store) -> None:
    started = asyncio.Event()

    @tool(effect="pure")
    async def wait() -> int:
        """Waits."""
        started.set()
        await asyncio.sleep(0.1)
        return 1

    one = engine(store, planner=Plan((Step("s", tool="wait", args={}),)), tools=[wait])
    running = asyncio.create_task(one.arun("wait"))
    await started.wait()
    with pytest.raises(SetupError, match="under way"):
        await one.aresume(one.running[0])
    assert (await running).output == 1


@pytest.mark.parametrize("missing", ["tool", "planner", "verifier"])
def test_an_engine_that_lacks_what_a_run_needs_says_so_and_breaks_nothing(store: Store, missing: str) -> None:
    @planner
    def inner() -> Plan:
        return Plan((Step("s", tool="send", args={"text": "hello"}, checks=("sure",)),))

    @verifier
    def sure(candidate: Json) -> bool:
        return True

    sent: list[str] = []
    plan = Plan((Step("p", planner="inner", args={}),))
    whole: dict[str, Any] = {"planner": plan, "tools": [sender(sent)], "planners": [inner], "checks": [sure]}
    first = engine(store, **whole).run("send")
    lacking = whole | {missing + "s" if missing != "verifier" else "checks": []}
    with pytest.raises(SetupError, match=f"the run needs the {missing}"):
        engine(store, **lacking).resume(first.run_id, True)
    assert engine(store, **whole).resume(first.run_id, True).outcome is Outcome.VERIFIED


@pytest.mark.parametrize("error", [ValueError("mine"), KeyError("mine"), IndexError("mine")])
@pytest.mark.parametrize("at", [1, 3, 6, 8])
def test_a_listener_that_raises_is_dropped_and_the_run_goes_on(store: Store, error: Exception, at: int) -> None:
    seen: list[Any] = []

    def listen(record: Any) -> None:
        seen.append(record)
        if len(seen) == at:
            raise error

    steps = (Step("a", tool="same", args={"x": 1}), Step("b", tool="same", args={"x": ref("a")}))
    one = engine(store, planner=Plan(steps, ref("b")))
    result = one.run("listen", on_record=listen)
    assert (result.outcome, result.output) == (Outcome.VERIFIED, 1)
    assert len(seen) == at and one.running == ()


def test_an_output_type_that_the_schema_cannot_say_in_full_is_still_held(store: Store) -> None:
    import datetime

    plan = Plan((Step("s", "Which day?", args={}, votes=1),), ref("s"))
    model = ScriptedModel(["soon", "2026-01-31"] * 3)
    result = engine(store, model, planner=plan, tools=[]).run("day", output=datetime.date)
    assert result.outcome in (Outcome.AGREED, Outcome.ABSTAINED)
    if result.outcome is Outcome.AGREED:
        assert result.output == datetime.date(2026, 1, 31)


@pytest.mark.parametrize("wrong", [{"type": "banana"}, {"type": ["string", 7]}, {"required": "name"}])
def test_a_schema_that_is_none_is_found_before_anything_runs(store: Store, wrong: Json) -> None:
    model = ScriptedModel([])
    with pytest.raises(SetupError):
        engine(store, model).run("say", output=wrong)
    plan = Plan((Step("s", "Say.", contract=Contract(gives=wrong)),), ref("s"))
    with pytest.raises(SetupError):
        engine(store, model, planner=plan).run("say")
    assert store.runs() == [] and not model.questions


@pytest.mark.parametrize("budget", [Budget(steps=-1), Budget(usd=float("nan")), Budget(seconds=-0.5)])
def test_a_budget_that_is_no_limit_is_refused(store: Store, budget: Budget) -> None:
    with pytest.raises(SetupError, match="is no limit"):
        engine(store, ScriptedModel([])).run("say", budget=budget)


def test_inputs_are_what_the_record_holds_or_are_refused(store: Store) -> None:
    plan = Plan((Step("s", tool="calculator", args={"expression": "a", "values": {"a": given("half")}}),), ref("s"))
    one = Engine(ScriptedModel([]), planner=plan, tools=["calculator"], store=store)
    assert one.run("halve", inputs={"half": Fraction(1, 2)}).output == one.run("halve", inputs={"half": "1/2"}).output
    for wrong in ({"a": object()}, [1, 2], {"a": 10**5000}):
        with pytest.raises(SetupError, match="inputs"):
            one.run("halve", inputs=wrong)  # type: ignore[arg-type]
