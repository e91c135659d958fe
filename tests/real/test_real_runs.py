"""Runs over real servers: several at once, on several servers, stopped, killed on either side, and taken up again."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from real.asking import SLOW, kept, model, once, prices, same, unit_price
from real.llama import Llama, until
from real.proxy import Proxy

from surefoot.engine import Engine, Outcome
from surefoot.reflection.judge import Judge
from surefoot.storage.records import Contract, Event, Message, ModelCall, Plan, PlannedStep, Step, ref
from surefoot.storage.store import Store

pytestmark = [pytest.mark.real, pytest.mark.timeout(SLOW)]

Counting = Callable[[Llama], Proxy]
CHILD = Path(__file__).with_name("child.py")


def roles(proxy: Proxy) -> Counter[str]:
    """How often each role was asked, read off the standing orders."""
    orders = [request["messages"][0]["content"] for request in proxy.counts.requests]
    return Counter(name for one in orders for name in ("plan", "act", "judge") if f"Your role is to {name}" in one)


def commits(store: Store, run_id: str) -> Counter[str]:
    """How often each step of the plan was committed, by its id."""
    ids = {one.seq: one.step.id for one in kept(store, run_id, PlannedStep) if one.step.tool}
    return Counter(ids[one.step] for one in kept(store, run_id, Event) if one.kind == "committed" and one.step in ids)


def test_each_role_asks_the_server_that_it_was_given(
    smol: Llama, gemma: Llama, counting: Counting, store: Store
) -> None:
    acts, judges, plans = counting(smol), counting(gemma), counting(gemma)
    given: dict[str, Any] = {
        "plan_model": model(plans.url, max_tokens=24),
        "act_model": model(acts.url),
        "judge_model": model(judges.url, max_tokens=80),
        "store": store,
        "tools": [unit_price],
    }
    step = Step("s", "What does A1 cost?", tool="unit_price", checks=("judge",), votes=1)
    judged = Engine(planner=Plan((step,), ref("s")), checks=[Judge("It is a price.")], **given).run("price")
    planned = Engine(verify=False, **given).run("price")
    assert planned.output is None, "no plan fits into so few tokens"
    assert (set(roles(acts)), set(roles(judges)), set(roles(plans))) == ({"act"}, {"judge"}, {"plan"})
    calls = [call for run in (judged, planned) for call in kept(store, run.run_id, ModelCall)]
    for role, proxy in (("act", acts), ("judge", judges), ("plan", plans)):
        same([call for call in calls if call.role == role], proxy.counts)
    assert judged.usage.tokens + planned.usage.tokens == sum(call.usage.tokens for call in calls)


def test_a_run_that_is_stopped_frees_the_server_and_can_be_taken_up_again(
    smol: Llama, gemma: Llama, store: Store
) -> None:
    plan = Plan((Step("s", "Count from one to one hundred in words."),), ref("s"))
    endless = once(store, gemma.url, plan, model=model(gemma.url, max_tokens=1500), tools=[])

    async def stopped() -> None:
        run = asyncio.create_task(endless.arun("count"))
        await asyncio.to_thread(until, lambda: gemma.decoded > 2, "it never began")
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run

    asyncio.run(stopped())
    # A server that is asked too often does not come to see that a connection was closed.
    until(lambda: gemma.busy == 0, "the server went on with what nobody waits for", patience=30, every=2)
    run = store.resolve("last")
    assert store.run(run).outcome is Outcome.CANCELED
    result = once(store, smol.url, plan, tools=[]).resume(run)
    assert (result.run_id, result.outcome) == (run, Outcome.UNVERIFIED)
    (call,) = kept(store, run, ModelCall)
    assert result.usage.tokens == call.usage.tokens


def test_sixteen_runs_at_once_on_four_slots_each_get_their_own_answer(
    smol: Llama, counting: Counting, store: Store
) -> None:
    proxy, before = counting(smol), smol.counted
    number = Contract(gives={"type": "integer"})
    goals = [f"How much is {n} + 1?" for n in range(100, 116)]
    engines = [once(store, proxy.url, Plan((Step("s", goal, contract=number),), ref("s")), tools=[]) for goal in goals]

    async def together() -> list[Any]:
        return await asyncio.gather(*(engine.arun(goal) for engine, goal in zip(engines, goals, strict=True)))

    results = asyncio.run(together())
    assert {result.outcome for result in results} == {Outcome.UNVERIFIED}
    assert all(isinstance(result.output, int) for result in results)
    for goal, result in zip(goals, results, strict=True):
        asked = [one.content for one in kept(store, result.run_id, Message) if one.role == "user"]
        assert len(asked) == 1 and asked[0].startswith(goal)
    calls = [call for result in results for call in kept(store, result.run_id, ModelCall)]
    same(calls, proxy.counts)
    used = (
        sum(result.usage.prompt_tokens for result in results),
        sum(result.usage.completion_tokens for result in results),
    )
    assert used == (
        smol.counted.prompt_tokens - before.prompt_tokens,
        smol.counted.completion_tokens - before.completion_tokens,
    )


def test_a_server_that_is_killed_and_comes_back_costs_retries_and_nothing_else(
    own: Callable[..., Llama], counting: Counting, store: Store
) -> None:
    server = own("smol")
    proxy = counting(server)
    counts = proxy.counts

    def strike() -> None:
        until(lambda: len(counts.replies) >= 3 and server.busy, "the run made no progress", SLOW)
        server.kill()
        until(lambda: counts.broken >= 4, "nobody noticed", SLOW)
        server.start()

    striking = threading.Thread(target=strike)
    striking.start()
    patient = model(proxy.url, retries=100)
    result = once(store, proxy.url, prices(12), model=patient, concurrency=4).run("prices")
    striking.join()
    assert result.outcome is Outcome.UNVERIFIED, result.reason
    assert commits(store, result.run_id) == {f"s{n}": 1 for n in range(12)}
    calls = kept(store, result.run_id, ModelCall)
    assert len(calls) == 12
    assert sum(call.retries for call in calls) == counts.broken + len(counts.refused) >= 4
    assert len(counts.replies) == 12
    assert result.usage.prompt_tokens == counts.prompt_tokens
    assert result.usage.completion_tokens == counts.completion_tokens


def test_a_run_that_is_killed_in_mid_generation_goes_on_with_what_is_missing(
    smol: Llama, counting: Counting, store: Store, tmp_path: Path
) -> None:
    proxy = counting(smol)
    counts = proxy.counts
    command = [sys.executable, CHILD, tmp_path / "runs.db", proxy.url, "12"]
    child = subprocess.Popen(command)
    try:
        until(lambda: len(counts.replies) >= 4 and smol.busy > 0, "the run made no progress", SLOW)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    until(lambda: smol.busy == 0, "the server went on with what nobody waits for")
    time.sleep(0.5)  # what the proxy has in its hands goes nowhere
    run = store.resolve("last")
    before, heard, asked = commits(store, run), len(counts.replies), len(counts.requests)
    assert 0 < len(before) < 12
    result = once(store, proxy.url, prices(12), concurrency=4).resume(run)
    assert result.outcome is Outcome.UNVERIFIED
    assert commits(store, run) == {f"s{n}": 1 for n in range(12)}
    calls = kept(store, run, ModelCall)
    again = [request["messages"][-1]["content"].split(":")[0] for request in counts.requests[asked:]]
    assert not {f"Order {step[1:]}" for step in before} & set(again), "a committed step was asked again"
    lost = heard - (len(calls) - len(again))
    assert len(again) == len(counts.replies) - heard and 0 <= lost <= 4, "more was lost than was under way"
    assert result.usage.samples == len(calls) == 12
