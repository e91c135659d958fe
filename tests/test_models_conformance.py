"""What every model promises, whatever stands behind it: the suite that each implementation runs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
import tiny
from servers import ScriptedServer, say

from surefoot.models import Model, Question, ReplayModel, ScriptedModel
from surefoot.models.answer import answer
from surefoot.models.api.model import ApiModel
from surefoot.models.local.model import LocalModel

pytestmark = pytest.mark.anyio

GOAL = "Say something about 3 apples and 4 pears."
QUESTION = Question("plan", GOAL, seed=11, max_tokens=20)


@pytest.fixture(params=["scripted", "replay", "api", "local", "compact"])
async def model(request: pytest.FixtureRequest) -> Iterator[Model]:  # type: ignore[misc]
    kind = request.param
    if kind == "scripted":
        yield ScriptedModel(lambda question, index: f"{question.goal} {index}")
    elif kind == "replay":
        source = ScriptedModel(lambda question, index: f"{question.goal} {index}")
        yield ReplayModel([reply for _ in range(60) for reply in await source.ask(QUESTION, 1)])
    elif kind == "api":
        with ScriptedServer(lambda body: say(f"seed {body['seed']}")) as server:
            yield ApiModel("openai/test", base_url=server.url, api_key="k")
    else:
        yield LocalModel(tiny.weights(end_bias=1.0), dialect="chat" if kind == "local" else "compact")


async def test_it_is_a_model_with_a_name_and_a_policy(model: Model) -> None:
    assert isinstance(model, Model)
    assert model.name and model.policy.model == model.name


@pytest.mark.parametrize("n", [1, 5])
async def test_it_draws_as_many_samples_as_asked(model: Model, n: int) -> None:
    replies = await model.ask(QUESTION, n)
    assert len(replies) == n
    for reply in replies:
        assert isinstance(reply.text, str) and reply.finish_reason in ("stop", "length")
        assert reply.model and reply.usage.samples == 1 and reply.usage.attempts == 0
        assert any("apples and" in message.content for message in reply.prompt)


async def test_it_records_ids_and_logprobs_of_equal_length_or_none(model: Model) -> None:
    for reply in await model.ask(QUESTION, 3):
        assert (reply.token_ids is None) == (reply.logprobs is None)
        if reply.token_ids is not None and reply.logprobs is not None:
            assert len(reply.token_ids) == len(reply.logprobs) == reply.usage.completion_tokens
            assert reply.prompt_ids is not None and len(reply.prompt_ids) == reply.usage.prompt_tokens
            assert all(value <= 0 for value in reply.logprobs)


async def test_it_spends_no_more_than_its_estimate(model: Model) -> None:
    bound = model.estimate(QUESTION, 4)
    spent = sum((reply.usage for reply in await model.ask(QUESTION, 4)), start=type(bound)())
    assert spent.samples <= bound.samples or not bound.samples
    assert spent.prompt_tokens <= bound.prompt_tokens
    assert spent.completion_tokens <= bound.completion_tokens
    assert spent.usd <= bound.usd


async def test_it_may_be_asked_many_things_at_once(model: Model) -> None:
    answers = await asyncio.gather(*(model.ask(QUESTION, 2) for _ in range(20)))
    assert [len(replies) for replies in answers] == [2] * 20


async def test_a_wait_that_is_canceled_leaves_it_fit_for_the_next(model: Model) -> None:
    waiting = asyncio.create_task(asyncio.wait_for(model.ask(QUESTION), 30))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert await model.ask(QUESTION)


async def test_its_replies_can_be_read_as_answers(model: Model) -> None:
    ((*_, last),) = await answer(model, QUESTION, reasks=0)
    assert (last.parsed is not None) + (last.error is not None) + last.unknown == 1
