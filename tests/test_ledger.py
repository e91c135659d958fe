"""One ledger of what was spent: whatever was paid for is in the record, however the request that cost it ended."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from servers import ScriptedServer, empty, refuse, say, stall

from surefoot.engine import Budget, Engine, Outcome
from surefoot.engine.calibrate import Labelled, calibrate
from surefoot.engine.result import Result
from surefoot.models.api.model import ApiModel
from surefoot.models.failures import charge
from surefoot.models.question import Question, Reply
from surefoot.models.scripted import ScriptedModel
from surefoot.reflection.judge import Judge
from surefoot.storage.errors import ModelError, ModelUnavailable
from surefoot.storage.records import Contract, ModelCall, Plan, Step, Usage, ref
from surefoot.storage.store import Store

pytestmark = pytest.mark.anyio

COST = Usage(samples=1, prompt_tokens=11, completion_tokens=7, usd=0.25)
ONE = Plan((Step("x", "name a word"),), ref("x"))
NUMBER = Plan((Step("x", "name a number", contract=Contract(gives={"type": "integer"})),), ref("x"))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "runs.db") as store:
        yield store


def billed(words: str = "half a reply") -> ModelError:
    return charge(ModelUnavailable(words), COST)


class Priced(ScriptedModel):
    """Every reply, and every request that is to be reserved for, costs `COST`."""

    def __init__(self, replies: Any) -> None:
        super().__init__(replies, usage=COST)


def calls(store: Store, run: str) -> list[ModelCall]:
    return [one for one in store.records(run, kinds=[ModelCall]) if isinstance(one, ModelCall)]


def agreeing(store: Store, result: Result) -> float:
    """The dollars of a run, which every place that tells them tells alike."""
    recorded = sum((one.usage for one in calls(store, result.run_id)), Usage())
    kept = store.run(result.run_id).usage
    assert kept is not None
    for one in (kept, result.usage):
        assert (one.samples, one.tokens, one.usd) == (recorded.samples, recorded.tokens, pytest.approx(recorded.usd))
    return recorded.usd


def test_replies_that_failed_and_were_billed_are_in_the_result_and_in_the_record(store: Store) -> None:
    model = Priced([billed(), billed(), billed(), "word", "word"])
    result = Engine(model, planner=ONE, store=store).run("go", verify=False)
    assert result.output == "word"
    assert agreeing(store, result) == pytest.approx(1.0)
    failed = [one for one in calls(store, result.run_id) if one.completion is None]
    assert [(one.usage.usd, one.error, one.model) for one in failed] == [(0.25, "half a reply", "scripted")] * 3


def test_a_resumed_run_knows_what_failed_replies_cost(store: Store) -> None:
    first = Engine(Priced([billed() for _ in range(4)]), planner=ONE, store=store).run("go", verify=False)
    assert first.outcome is Outcome.FAILED
    assert agreeing(store, first) == pytest.approx(1.0)
    again = Priced([])
    result = Engine(again, planner=ONE, store=store).resume(first.run_id, budget=Budget(usd=1.1))
    assert result.outcome is Outcome.OUT_OF_BUDGET
    assert again.questions == []
    assert agreeing(store, result) == pytest.approx(1.0)


def test_a_budget_holds_what_failed_replies_cost(store: Store) -> None:
    model = Priced([billed() for _ in range(9)])
    result = Engine(model, planner=ONE, store=store).run("go", verify=False, budget=Budget(usd=0.6))
    assert result.outcome is Outcome.OUT_OF_BUDGET
    assert agreeing(store, result) == pytest.approx(0.5)


def test_asking_again_that_fails_is_billed_beside_the_first_reply(store: Store) -> None:
    model = Priced(["no number", billed(), "7"])
    result = Engine(model, planner=NUMBER, store=store).run("go", verify=False)
    assert result.output == 7
    assert agreeing(store, result) == pytest.approx(0.75)


def test_a_judge_that_fails_is_billed(store: Store) -> None:
    judge = Judge("is a word", Priced([billed(), {"verdict": "pass", "reason": "it is"}]))
    plan = Plan((Step("x", "name a word", checks=("judge",)),), ref("x"))
    result = Engine(Priced(lambda *_: "word"), planner=plan, checks=[judge], store=store, canaries=0).run("go")
    roles = [one.role for one in calls(store, result.run_id) if one.completion is None]
    assert roles == ["judge"]
    assert agreeing(store, result) == pytest.approx(0.25 * len(calls(store, result.run_id)))


def test_a_planner_that_fails_is_billed_for_each_of_its_requests(store: Store) -> None:
    model = Priced([billed(), "no plan at all", billed(), *["no plan"] * 20])
    result = Engine(model, store=store).run("go", verify=False, budget=Budget(usd=1.6))
    assert result.outcome is not Outcome.VERIFIED
    assert {one.role for one in calls(store, result.run_id)} == {"plan"}
    assert agreeing(store, result) == pytest.approx(0.25 * len(model.questions))


def test_a_planner_that_drops_replies_is_billed_for_them(store: Store) -> None:
    class Forgetful:
        name, sampled, checks = "forgetful", False, ()

        async def propose(self, request: Any, n: int = 1) -> Sequence[Any]:
            from surefoot.planners.planner import Proposal

            await request.model.ask(Question("plan", "go"), 1)
            return [Proposal(ONE, key="one")]

    result = Engine(Priced(["a plan", "word"]), planner=Forgetful(), store=store).run("go", verify=False)
    assert result.output == "word"
    assert agreeing(store, result) == pytest.approx(0.5)
    dropped, _ = calls(store, result.run_id)
    assert dropped.role == "plan" and dropped.completion is not None, "with what was said"


def api(url: str, **options: Any) -> ApiModel:
    return ApiModel("openai/test", base_url=url, api_key="k", price=(0, 0.25e6 / 7), **options)


def test_samples_of_which_some_fail_are_all_billed(store: Store) -> None:
    with ScriptedServer(lambda body: empty() if body["seed"] % 2 else say("word")) as server:
        model = api(server.url, retries=0)
        result = Engine(model, planner=ONE, store=store, votes=2, seed=1).run("go")
        assert result.output == "word"
        assert agreeing(store, result) == pytest.approx(0.25 * len(server.requests))


def test_replies_that_broke_off_are_billed_though_none_came_after_them(store: Store) -> None:
    with ScriptedServer([empty(), empty(), refuse(400)]) as server:
        result = Engine(api(server.url), planner=ONE, store=store).run("go", verify=False)
    assert result.outcome is Outcome.FAILED
    assert agreeing(store, result) == pytest.approx(0.5)


async def test_a_run_that_is_stopped_amid_its_requests_is_billed_for_those_that_were_answered(store: Store) -> None:
    loop, third = asyncio.get_running_loop(), asyncio.Event()

    def answers(body: Any) -> Any:
        if len(server.requests) < 3:
            return say("word")
        loop.call_soon_threadsafe(third.set)
        return stall()

    with ScriptedServer(answers) as server:
        # One at a time: the third request goes out when the others are answered.
        engine = Engine(api(server.url, concurrency=1), planner=ONE, store=store, votes=3)
        running = asyncio.ensure_future(engine.arun("go"))
        await third.wait()
        (run,) = engine.running
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    kept = store.run(run)
    assert kept.outcome is Outcome.CANCELED
    assert kept.usage is not None
    assert kept.usage.usd == pytest.approx(0.5)
    assert sum(one.usage.usd for one in calls(store, run)) == pytest.approx(0.5)


async def test_a_run_that_is_stopped_while_it_asks_again_keeps_the_first_reply(store: Store) -> None:
    class Hangs(Priced):
        async def ask(self, question: Question, n: int = 1) -> list[Reply]:
            if self.questions:
                asked.set()
                await asyncio.Event().wait()
            return await super().ask(question, n)

    asked = asyncio.Event()
    engine = Engine(Hangs(["no number"]), planner=NUMBER, store=store)
    running = asyncio.ensure_future(engine.arun("go", verify=False))
    await asked.wait()
    (run,) = engine.running
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    (call,) = calls(store, run)
    assert call.completion is not None
    kept = store.run(run).usage
    assert kept is not None and kept.usd == 0.25


def test_measuring_counts_what_failed_requests_cost(store: Store) -> None:
    model = Priced([billed(), *["word"] * 8])
    cases = [Labelled("word", goal="say word"), Labelled("word", goal="say it again")]
    with pytest.raises(ModelError, match="1 of 2 labelled steps"):
        calibrate(Engine(model, store=store), cases, samples=2)
    model = Priced(lambda question, index: billed() if "again" in question.goal else "word")
    measured = calibrate(Engine(model, store=store), cases[:1] * 3, samples=2, budget=Budget(usd=1.0))
    assert measured.usage.usd == pytest.approx(1.0)
