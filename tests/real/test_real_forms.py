"""What a real model says has the form that it was asked for, and what was cut off is said to be."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from real.asking import SLOW, kept, model, once, same
from real.llama import Llama
from real.proxy import Proxy

from surefoot.models.answer import answer
from surefoot.models.question import Question, Reply
from surefoot.storage.records import Attempt, Contract, Json, ModelCall, Plan, Step, ref
from surefoot.storage.store import Store

pytestmark = [pytest.mark.real, pytest.mark.timeout(SLOW)]

Counting = Callable[[Llama], Proxy]


def closed(**properties: Json) -> Json:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


WORD: Json = {"type": "string", "maxLength": 12}
FORMS: dict[str, tuple[str, Json]] = {
    "integer": ("How much is 2 + 2?", {"type": "integer"}),
    "number": ("How tall is a house, in metres?", {"type": "number"}),
    "choice": ("Which city is the capital of France?", {"enum": ["Paris", "Rome", "Madrid"]}),
    "truth": ("Is Paris in France?", {"type": "boolean"}),
    "list": ("Give the first two even numbers.", {"type": "array", "items": {"type": "integer"}, "maxItems": 3}),
    "nested": (
        "Where is Rome?",
        closed(city=WORD, place=closed(country=WORD, side={"enum": ["north", "south"]}), sizes={"const": [1, 2]}),
    ),
    "either": ("Name a colour, or nothing.", {"anyOf": [{"enum": ["red", "blue"]}, {"type": "null"}]}),
}


def ask(url: str, question: Question, *, strict: bool = False, **options: Any) -> list[Reply]:
    """All replies of one sample."""
    return asyncio.run(answer(model(url, **options), question, strict=strict))[0]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("who", ["smol", "gemma"])
def test_a_reply_has_the_form_of_its_schema_at_once(request: pytest.FixtureRequest, who: str, form: str) -> None:
    server: Llama = request.getfixturevalue(who)
    goal, schema = FORMS[form]
    (reply,) = ask(server.url, Question("act", goal, output_schema=schema), max_tokens=120)
    assert reply.error is None and not reply.repaired
    Draft202012Validator(schema).validate(reply.parsed)


def test_the_limit_that_was_asked_for_holds_and_the_attempt_names_it(
    gemma: Llama, counting: Counting, store: Store
) -> None:
    proxy = counting(gemma)
    story = Step("story", "Tell a long story about a house.")
    engine = once(store, proxy.url, Plan((story,), ref("story")), model=model(proxy.url, max_tokens=12), tools=[])
    result = engine.run("a story")
    assert result.output is None
    calls = kept(store, result.run_id, ModelCall)
    assert [call.usage.completion_tokens for call in calls[:2]] == [12, 24]
    assert {call.finish_reason for call in calls} == {"length"}
    assert "at most 24" in kept(store, result.run_id, Attempt)[0].error
    same(calls, proxy.counts)


def test_json_that_was_cut_off_is_asked_for_once_more_with_twice_the_room(smol: Llama) -> None:
    question = Question("act", "Where is Rome?", output_schema=FORMS["nested"][1])
    first, second = ask(smol.url, question, max_tokens=6)
    assert first.error is not None and "at most 6" in first.error
    assert second.usage.completion_tokens == 12


def test_a_window_that_ends_before_the_limit_is_named_and_not_run_into_twice(own: Callable[..., Llama]) -> None:
    question = Question("act", "Tell a long story about a house.")
    (reply,) = ask(own("gemma", window=256).url, question, strict=True, max_tokens=2000)
    assert reply.finish_reason == "length"
    assert f"after {reply.usage.completion_tokens}: the server gave no more" in (reply.error or "")


def test_a_prompt_that_is_too_long_is_refused_at_once_and_said_to_be(
    smol: Llama, counting: Counting, store: Store
) -> None:
    proxy = counting(smol)
    plan = Plan((Step("s", "How many words are these?", args={"text": "word " * 3000}),), ref("s"))
    result = once(store, proxy.url, plan, tools=[]).run("count")
    assert "prompt is too long" in result.reason
    assert len(proxy.counts.requests) == 1


def test_every_sampled_token_comes_with_its_log_probability(smol: Llama) -> None:
    question = Question("act", "Which city is the capital of France?")
    (reply,) = ask(smol.url, question, extra={"logprobs": True})
    assert reply.logprobs is not None and len(reply.logprobs) == reply.usage.completion_tokens
    assert all(value <= 0 for value in reply.logprobs)


def test_what_the_record_does_not_know_exactly_is_not_called_trainable(smol: Llama, store: Store) -> None:
    plan = Plan((Step("s", "How much is 2 + 2?", contract=Contract(gives={"type": "integer"})),), ref("s"))
    asked = model(smol.url, extra={"logprobs": True})
    result = once(store, smol.url, plan, model=asked, tools=[]).run("sum")
    assert [call.trainable for call in kept(store, result.run_id, ModelCall)] == [False]
