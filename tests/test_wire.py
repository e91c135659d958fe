"""A whole run over real HTTP: what is asked, what is recorded of the answers, what happens when none come."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from servers import Body, Line, ScriptedServer, calls, error_in_200, limited, refuse, reset, say, schema_of

from surefoot.engine import Budget, Engine, Outcome
from surefoot.models.api.model import ApiModel
from surefoot.reflection import verifier
from surefoot.reflection.judge import Judge
from surefoot.storage.records import Contract, Json, Message, ModelCall, Plan, Step, ToolCall, Usage, ref
from surefoot.storage.store import Store
from surefoot.tools import tool


@tool(effect="pure")
def unit_price(sku: str) -> float:
    """Price of one unit in euros."""
    return {"A1": 1.5, "B2": 4.0}[sku]


@tool(effect="pure", timeout=None)
async def times(a: float, b: float) -> float:
    """Multiplies."""
    return a * b


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "runs.db") as store:
        yield store


Server = Callable[..., ScriptedServer]


@pytest.fixture
def serve() -> Iterator[Server]:
    servers: list[ScriptedServer] = []

    def start(script: Any) -> ScriptedServer:
        servers.append(ScriptedServer(script).__enter__())
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def engine(store: Store, server: ScriptedServer, **options: Any) -> Engine:
    options.setdefault("tools", [unit_price, times])
    return Engine("openai/test", base_url=server.url, store=store, **options)


def kept(store: Store, run_id: str, kind: type) -> list[Any]:
    return list(store.records(run_id, kinds=[kind]))


def role(body: Body) -> str:
    """Who is asked, read off the standing orders."""
    orders = body["messages"][0]["content"]
    return next(name for name in ("plan", "act", "judge") if f"Your role is to {name}" in orders)


PLAN: Json = {
    "steps": [
        {"id": "price", "tool": "unit_price", "args": {"sku": "A1"}},
        {"id": "total", "tool": "times", "args": {"a": {"$ref": "price"}, "b": 40}},
        {"id": "answer", "goal": "Say the total as a sentence.", "args": {"total": {"$ref": "total"}}},
    ],
    "output": {"$ref": "answer"},
}


def spent(prompt: int, completion: int, cached: int = 0, **more: Any) -> Body:
    usage = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    return usage | {"prompt_tokens_details": {"cached_tokens": cached}} | more


# --- the whole way --------------------------------------------------------------------------------------------


def test_a_task_is_planned_looked_up_computed_and_answered(store: Store, serve: Server) -> None:
    def script(body: Body) -> Line:
        if role(body) == "plan":
            return PLAN
        if body["messages"][-1]["role"] == "tool":
            return say("60 euros")
        return calls(("c1", "times", '{"a": 1.5, "b": 40}'))

    server = serve(script)
    result = engine(store, server).run("What do 40 units of A1 cost?")
    assert result.outcome is Outcome.AGREED, result.reason
    assert result.output == "60 euros"
    assert {step.id: step.output for step in result.steps[1:]} == {"price": 1.5, "total": 60.0, "answer": "60 euros"}
    planning = [body for body in server.requests if role(body) == "plan"]
    assert len(planning) == 2, "two plans that agree"
    assert schema_of(planning[0])["required"] == ["steps"]
    acting = [body for body in server.requests if role(body) == "act"]
    assert {one["function"]["name"] for one in acting[0]["tools"]} == {"unit_price", "times"}
    assert "60.0" in acting[0]["messages"][1]["content"], "the step sees the committed output"
    assert "A1" not in acting[0]["messages"][1]["content"], "and nothing else"
    tools = kept(store, result.run_id, ToolCall)
    asked = [one for one in tools if one.call is not None]
    assert [(one.name, one.call_id, one.result) for one in asked] == [("times", "c1", 60.0)] * 2
    assert [one.arguments for one in asked] == [{"a": 1.5, "b": 40}] * 2


def test_structured_output_is_asked_for_and_read(store: Store, serve: Server) -> None:
    plan = Plan((Step("n", "How many?", contract=Contract(gives={"type": "integer"})),), {"n": ref("n")})
    server = serve([say('{"answer": 7}')] * 2)
    result = engine(store, server, planner=plan, tools=[]).run("count", output={"type": "object"})
    assert result.output == {"n": 7}
    assert schema_of(server.requests[0])["properties"] == {"answer": {"type": "integer"}}


def test_each_role_has_its_own_model(store: Store, serve: Server) -> None:
    def script(body: Body) -> Line:
        if role(body) == "plan":
            return {"steps": [{"id": "a", "goal": "Name the capital of France.", "checks": ["judge"]}]}
        if role(body) == "judge":
            assert "is a city" in body["messages"][1]["content"]
            return {"verdict": "pass", "reason": "it is"}
        return say("Paris")

    server = serve(script)
    one = Engine(
        plan_model="openai/planner",
        act_model="openai/actor",
        judge_model="openai/judge",
        base_url=server.url,
        store=store,
        checks=[Judge("The result is a city.")],
    )
    result = one.run("capital of France")
    assert result.output == "Paris", result.reason
    assert {(role(body), body["model"]) for body in server.requests} == {
        ("plan", "planner"),
        ("act", "actor"),
        ("judge", "judge"),
    }
    recorded = kept(store, result.run_id, ModelCall)
    assert [call.role for call in recorded] == ["plan", "plan", "act", "act", "judge"]
    policies = store.policies()
    assert [policies[call.policy].model for call in recorded] == [
        *["openai/planner"] * 2,
        *["openai/actor"] * 2,
        "openai/judge",
    ]
    judged = next(verdict for verdict in result.steps[1].verdicts if verdict.verifier == "judge")
    assert (judged.ruling, judged.usage.prompt_tokens) == ("pass", 11)


# --- what it cost ---------------------------------------------------------------------------------------------


def test_usage_and_cost_are_what_the_server_said_call_by_call_and_in_all(store: Store, serve: Server) -> None:
    plan = Plan((Step("a", "Say a."), Step("b", "Say b.", needs=("a",))), [ref("a"), ref("b")])
    reported = [spent(100, 10, 64, cost=0.25), spent(101, 11, 0, cost=0.125), spent(7, 3, 1, cost=0.5)]
    server = serve([say("a", usage=reported[0]), say("a", usage=reported[1]), say("b", usage=reported[2]), say("b")])
    result = engine(store, server, planner=plan, tools=[]).run("both")
    assert result.output == ["a", "b"]
    recorded = kept(store, result.run_id, ModelCall)
    by_prompt = sorted((one.usage for one in recorded), key=lambda usage: -usage.prompt_tokens)
    assert by_prompt == [
        Usage(0, 1, 101, 11, 0, 0.125),
        Usage(0, 1, 100, 10, 64, 0.25),
        Usage(0, 1, 11, 7),
        Usage(0, 1, 7, 3, 1, 0.5),
    ]
    assert {one.usage_source for one in recorded} == {"provider"}
    wanted = Usage(5, 4, 219, 31, 65, 0.875)
    assert sum((one.usage for one in recorded), Usage()) == Usage(0, 4, 219, 31, 65, 0.875)
    assert (result.usage, store.run(result.run_id).usage) == (wanted, wanted), "four samples and one result"


def test_what_a_judge_spends_counts(store: Store, serve: Server) -> None:
    plan = Plan((Step("a", "Say a.", checks=("judge",), votes=1),), ref("a"))
    judging = {"verdict": "pass", "reason": "fine"}
    server = serve(lambda body: say("a") if role(body) == "act" else say(json.dumps(judging), usage=spent(500, 5)))
    result = engine(store, server, planner=plan, tools=[], checks=[Judge("Is it a?")]).run("say")
    assert result.usage == Usage(2, 2, 511, 12)


def test_what_a_judge_with_a_model_of_its_own_spends_counts_as_well(store: Store, serve: Server) -> None:
    plan = Plan((Step("a", "Say a.", checks=("judge",), votes=1),), ref("a"))
    server = serve(lambda body: say("a") if role(body) == "act" else {"verdict": "pass", "reason": "fine"})
    judge = Judge("Is it a?", ApiModel("openai/other", base_url=server.url))
    result = engine(store, server, planner=plan, tools=[], checks=[judge]).run("say")
    assert result.output == "a"
    assert [call.role for call in kept(store, result.run_id, ModelCall)] == ["act", "judge"]
    assert result.usage.samples == 2


def test_a_price_of_ones_own_is_held_against_the_budget_before_the_call(store: Store, serve: Server) -> None:
    server = serve(lambda body: say("a"))
    model = ApiModel("openai/test", base_url=server.url, price=(1_000.0, 2_000.0))
    plan = Plan((Step("a", "Say a."),), ref("a"))
    one = Engine(model, planner=plan, store=store)
    result = one.run("say", budget=Budget(usd=0.01))
    assert result.outcome is Outcome.OUT_OF_BUDGET
    assert "dollars" in result.reason
    assert server.requests == []
    paid = one.resume(result.run_id, budget=Budget(usd=1_000))
    assert paid.output == "a"
    assert paid.usage.usd == pytest.approx(2 * (11 * 1_000 + 7 * 2_000) / 1e6)


# --- what goes wrong ------------------------------------------------------------------------------------------


def test_a_plan_in_prose_is_asked_again_and_stays_on_record_word_for_word(store: Store, serve: Server) -> None:
    prose = "I would first look up the price — then multiply. \u2028 Easy! <b>No JSON here</b>"
    plan: Json = {"steps": [{"id": "p", "tool": "unit_price", "args": {"sku": "B2"}}]}
    server = serve([say(prose), plan])
    result = engine(store, server, votes=1).run("price of B2")
    assert result.output == 4.0
    assert server.requests[1]["messages"][-2] == {"role": "assistant", "content": prose}
    assert "cannot be used" in server.requests[1]["messages"][-1]["content"]
    said = [one for one in kept(store, result.run_id, Message) if one.sampled]
    assert [one.content for one in said] == [prose, json.dumps(plan)]
    first, second = kept(store, result.run_id, ModelCall)
    assert (first.completion, second.completion) == (said[0].seq, said[1].seq)
    assert "no JSON" in first.error
    assert second.error is None
    assert result.usage.samples == 2


def test_a_rate_limit_is_waited_out_and_counted(store: Store, serve: Server) -> None:
    server = serve([limited(0.05), error_in_200(), reset(), "a", "a"])
    plan = Plan((Step("a", "Say a.", votes=1),), ref("a"))
    result = engine(store, server, planner=plan, tools=[]).run("say")
    assert result.output == "a"
    [call] = kept(store, result.run_id, ModelCall)
    assert call.retries == 3
    assert result.usage.attempts == 2, "a retried request is one attempt"


def test_malformed_tool_arguments_go_back_to_the_model_and_are_kept_raw(store: Store, serve: Server) -> None:
    plan = Plan((Step("a", "Price of A1?", contract=Contract(gives={"type": "number"}), votes=1),), ref("a"))
    broken = '{"sku": "A1'
    server = serve(
        [
            calls(("c1", "unit_price", broken), ("c2", "nothing", "{}")),
            calls(("c3", "unit_price", '{"sku": 7}')),
            calls(("c4", "unit_price", '{"sku": "A1"}')),
            say('{"answer": 1.5}'),
        ]
    )
    result = engine(store, server, planner=plan).run("price")
    assert result.output == 1.5
    told = {one["tool_call_id"]: one["content"] for one in server.requests[-1]["messages"] if one["role"] == "tool"}
    assert "no JSON object" in told["c1"]
    assert "there is no tool nothing" in told["c2"]
    assert "valid string" in told["c3"]
    assert told["c4"] == "1.5"
    replied = [one for one in kept(store, result.run_id, Message) if one.sampled]
    assert replied[0].tool_calls[0]["arguments"] == broken


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (refuse(401, "bad key"), "check the provider's API key"),
        (refuse(404, "no model"), "check the name and base_url"),
    ],
)
def test_a_refusal_fails_the_run_at_once_and_says_what_to_do(
    store: Store, serve: Server, said: Line, reason: str
) -> None:
    server = serve(lambda body: said)
    result = engine(store, server).run("anything")
    assert result.outcome is Outcome.FAILED
    assert reason in result.reason
    assert len(server.requests) <= 2


def test_a_server_that_is_gone_fails_the_run_and_the_run_goes_on_when_it_is_back(store: Store, serve: Server) -> None:
    steps = (Step("a", "Say a.", votes=1), Step("b", "Say b.", args={"x": ref("a")}, votes=1))
    plan = Plan(steps, [ref("a"), ref("b")])
    seen: list[str] = []

    def script(body: Body) -> Line:
        if "Say b." in body["messages"][1]["content"]:
            return reset()
        return say("a")

    server = serve(script)
    model = ApiModel("openai/test", base_url=server.url, retries=1)
    failed = Engine(model, planner=plan, store=store).run("both")
    assert failed.outcome is Outcome.FAILED
    assert "b failed" in failed.reason
    assert "openai/test" in failed.reason
    server.close()
    gone = Engine(model, planner=plan, store=store).resume(failed.run_id)
    assert gone.outcome is Outcome.FAILED
    assert "check the address and that the server runs" in gone.reason

    def back(body: Body) -> Line:
        seen.append(body["messages"][1]["content"])
        return say("b")

    other = ApiModel("openai/test", base_url=serve(back).url)
    result = Engine(other, planner=plan, store=store).resume(failed.run_id)
    assert result.outcome is Outcome.AGREED, result.reason
    assert result.output == ["a", "b"]
    assert len(seen) == 1, "what was committed was not asked again"


def test_a_server_that_is_gone_while_planning_is_no_verdict_on_the_task(store: Store, serve: Server) -> None:
    server = serve([])
    server.close()
    model = ApiModel("openai/test", base_url=server.url, retries=0)
    failed = Engine(model, tools=[times], store=store).run("two times two")
    assert failed.outcome is Outcome.FAILED
    assert "check the address and that the server runs" in failed.reason
    plan: Json = {"steps": [{"id": "t", "tool": "times", "args": {"a": 2, "b": 2}}]}
    other = ApiModel("openai/test", base_url=serve(lambda body: plan).url)
    assert Engine(other, tools=[times], store=store).resume(failed.run_id).output == 4


@pytest.mark.parametrize("target", [None, 0.95])
def test_a_server_that_never_answers_is_named_and_the_model_not_blamed(
    store: Store, serve: Server, target: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SUREFOOT_PRIOR")  # as a newcomer's is: nothing is known of the model
    server = serve(lambda body: refuse(503, "no slot"))
    plan = Plan((Step("a", "Say a."),), ref("a"))
    model = ApiModel("openai/test", base_url=server.url, retries=0)
    for planner in (plan, None):
        result = Engine(model, planner=planner, tools=["calculator"], store=store, target=target).run("a")
        assert result.outcome is Outcome.FAILED
        assert "no slot" in result.reason and "evidence" not in result.reason


def test_a_reply_that_was_cut_off_is_no_answer(store: Store, serve: Server) -> None:
    plan = Plan((Step("a", "Count.", contract=Contract(gives={"type": "array"}), votes=1),), ref("a"))
    server = serve([say('{"answer": [1, 2', finish_reason="length"), say('{"answer": [1, 2, 3]}')])
    result = engine(store, server, planner=plan, tools=[]).run("count")
    assert result.output == [1, 2, 3]
    assert "cut off" in kept(store, result.run_id, ModelCall)[0].error


@verifier
def is_short(candidate: str) -> tuple[bool, str]:
    """The answer is short."""
    return len(candidate) < 10, "say it in fewer than ten letters"


def test_a_critique_reaches_the_model_over_the_wire(store: Store, serve: Server) -> None:
    plan = Plan((Step("a", "Say it.", checks=("is_short",), votes=1),), ref("a"))
    server = serve([say("much too long for anyone"), say("short")])
    result = engine(store, server, planner=plan, tools=[], checks=[is_short]).run("say")
    assert result.output == "short"
    assert "fewer than ten letters" in server.requests[1]["messages"][1]["content"]
    assert "much too long" in server.requests[1]["messages"][1]["content"]
