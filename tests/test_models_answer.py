"""Answers of a wanted type: what counts as one, what is mended, and when the model is asked again."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from surefoot.models import Question, Reply, ScriptedModel
from surefoot.models.answer import answer, read
from surefoot.models.question import ToolSpec
from surefoot.models.schema import check
from surefoot.models.scripted import call
from surefoot.storage.errors import ModelUnavailable, SetupError

pytestmark = pytest.mark.anyio

NUMBER = {"type": "number"}
POINT = {
    "type": "object",
    "properties": {"x": {"type": "integer"}, "y": {"type": "integer"}},
    "required": ["x", "y"],
    "additionalProperties": False,
}


def reading(text: str, schema: Any = None, **options: Any) -> Reply:
    return read(Question("act", "go", output_schema=schema), Reply(text, (), **options))


def test_without_a_schema_the_text_is_the_answer() -> None:
    assert reading(" Paris ").parsed == " Paris "
    assert reading('{"a": 1}').parsed == '{"a": 1}'


@pytest.mark.parametrize(
    ("schema", "text", "value"),
    [
        (NUMBER, "42", 42),
        (NUMBER, " -1.5e3\n", -1500.0),
        (NUMBER, '{"answer": 7}', 7),
        ({"type": "integer"}, "2.0", 2.0),
        ({"type": "string"}, '"Paris"', "Paris"),
        ({"type": "boolean"}, '{"answer": true}', True),
        ({"type": "null"}, '{"answer": null}', None),
        ({"type": "array", "items": NUMBER}, "[1, 2]", [1, 2]),
        ({"type": "array"}, '{"answer": [1]}', [1]),
        ({}, '{"answer": 3}', 3),
        ({"enum": ["a", 1]}, "1", 1),
        (POINT, '{"x": 1, "y": 2}', {"x": 1, "y": 2}),
        ({"type": "object"}, '{"answer": 3}', {"answer": 3}),
        ({"anyOf": [{"const": {"answer": 3}}]}, '{"answer": 3}', {"answer": 3}),
    ],
)
def test_json_that_fits_is_taken_as_it_is(schema: Any, text: str, value: Any) -> None:
    reply = reading(text, schema)
    assert (reply.parsed, reply.error, reply.repaired) == (value, None, False)


@pytest.mark.parametrize(
    ("schema", "text", "value"),
    [
        (POINT, 'Here it is:\n```json\n{"x": 1, "y": 2}\n```\nDone.', {"x": 1, "y": 2}),
        (POINT, 'The point is {"x": 1, "y": 2}, I think.', {"x": 1, "y": 2}),
        (POINT, 'See [1]. {"x": 1, "y": 2}', {"x": 1, "y": 2}),
        (POINT, "{'x': 1, 'y': 2,}", {"x": 1, "y": 2}),
        (POINT, '{"x": 1, "y": 2', {"x": 1, "y": 2}),
        (POINT, '{"x": 1, // first\n "y": 2}', {"x": 1, "y": 2}),
        (POINT, "```\n{x: 1, y: 2}\n```", {"x": 1, "y": 2}),
        (NUMBER, "```json\n12\n```", 12),
        ({"type": "string"}, "Paris", "Paris"),
        ({"type": "string"}, "42", "42"),
        ({"type": "string", "enum": ["yes", "no"]}, "yes", "yes"),
    ],
)
def test_slips_of_syntax_are_mended_and_flagged(schema: Any, text: str, value: Any) -> None:
    reply = reading(text, schema)
    assert (reply.parsed, reply.error, reply.repaired) == (value, None, True)


@pytest.mark.parametrize(
    ("schema", "text", "reason"),
    [
        (NUMBER, '"42"', "is not of type 'number'"),
        (NUMBER, "true", "is not of type 'number'"),
        (NUMBER, "The answer is 42.", "no JSON"),
        (NUMBER, "NaN", "no JSON value"),
        (POINT, '{"x": 1, "y": "2"}', r"\$.y: '2' is not of type 'integer'"),
        (POINT, '{"x": 1}', "'y' is a required property"),
        (POINT, "{'x': 1}", "no JSON"),
        (POINT, 'First {"x": 1, "y": 2}, or rather {"x": 1, "y": 3}', "several different"),
        (POINT, "I would rather not.", "no JSON"),
        ({"type": "string"}, '{"city": "Paris"', "no JSON"),
        ({"type": "string", "enum": ["yes", "no"]}, "perhaps", "no JSON"),
        (NUMBER, "1" * 5000, "no JSON"),
        (POINT, "[" * 100_000, "no JSON"),
    ],
)
def test_anything_else_is_an_error_that_says_why(schema: Any, text: str, reason: str) -> None:
    reply = reading(text, schema)
    assert reply.parsed is None and reply.error is not None
    assert re.search(reason, reply.error)


def test_the_same_value_twice_is_one_answer() -> None:
    assert reading('{"x": 1, "y": 2} and so {"y": 2, "x": 1}', POINT).parsed == {"x": 1, "y": 2}


@pytest.mark.parametrize("text", ['{"x": 1, "y": 2', "", "  "])
def test_a_reply_that_was_cut_off_is_never_mended(text: str) -> None:
    reply = reading(text, POINT, finish_reason="length")
    assert reply.parsed is None and "tokens ran out" in (reply.error or "")


def test_an_empty_reply_says_so() -> None:
    assert "empty" in (reading("").error or "")
    assert "empty" in (reading("\n", NUMBER).error or "")


def test_a_call_of_a_tool_needs_no_reading() -> None:
    tool = ToolSpec("add", "", {"type": "object"})
    question = Question("act", "go", output_schema=NUMBER, tools=(tool,))
    reply = Reply("", (), tool_calls=(call("add", {"a": 1}),))
    assert read(question, reply) is reply
    assert read(question, Reply("4", ())).parsed == 4


def test_a_required_tool_call_that_is_missing_is_an_error() -> None:
    question = Question("act", "go", tools=(ToolSpec("add", "", {}), ToolSpec("sub", "", {})), tool_choice="required")
    assert read(question, Reply("4", ())).error == "no tool was called; call one of: add, sub"


@pytest.mark.parametrize("own", [{"parsed": 3}, {"error": "no"}, {"unknown": True}])
async def test_what_the_model_has_read_itself_is_left_alone(own: dict[str, Any]) -> None:
    reply = Reply("text", (), **own)
    model = ScriptedModel([reply])
    ((got,),) = await answer(model, Question("act", "go", output_schema=POINT))
    assert (got.parsed, got.error, got.unknown) == (reply.parsed, reply.error, reply.unknown)
    assert len(model.questions) == 1


# --- asking again -------------------------------------------------------------------------------------------


async def test_it_asks_once_more_with_the_error() -> None:
    model = ScriptedModel(["dunno", "12"])
    ((first, second),) = await answer(model, Question("act", "go", output_schema=NUMBER))
    assert first.error is not None and second.parsed == 12 and second.error is None
    said, critique = model.questions[1].follow_up
    assert (said.role, said.content) == ("assistant", "dunno")
    assert critique.role == "user" and first.error in critique.content
    assert second.prompt[-2:] == (said, critique)


async def test_an_empty_reply_is_not_sent_back() -> None:
    model = ScriptedModel(["", "12"])
    await answer(model, Question("act", "go", output_schema=NUMBER))
    assert [message.role for message in model.questions[1].follow_up] == ["user"]


async def test_only_the_samples_that_failed_are_asked_again_each_with_its_own_seed() -> None:
    model = ScriptedModel(["1", "x", "3", "y", "2", "4"])
    samples = await answer(model, Question("act", "go", output_schema=NUMBER, seed=5), 4)
    assert [len(sample) for sample in samples] == [1, 2, 1, 2]
    assert [sample[-1].parsed for sample in samples] == [1, 2, 3, 4]
    seeds = [question.seed for question in model.questions]
    assert len(set(seeds)) == 3


@pytest.mark.parametrize("reasks", [0, 1, 2])
async def test_it_gives_up_after_as_many_tries_as_allowed(reasks: int) -> None:
    model = ScriptedModel(lambda question, index: "never")
    ((*_, last),) = samples = await answer(model, Question("act", "go", output_schema=NUMBER), reasks=reasks)
    assert len(samples[0]) == len(model.questions) == reasks + 1
    assert last.error is not None and last.parsed is None


async def test_a_reply_that_was_paid_for_stays_when_asking_again_fails() -> None:
    model = ScriptedModel(["x", ModelUnavailable("the line is dead")])
    ((reply,),) = await answer(model, Question("act", "go", output_schema=NUMBER))
    assert reply.text == "x" and "asking again failed: the line is dead" in (reply.error or "")


async def test_a_first_request_that_fails_raises() -> None:
    with pytest.raises(ModelUnavailable):
        await answer(ScriptedModel([ModelUnavailable("down")]), Question("act", "go"))


# --- schemas ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["number", "integer", "string", "boolean", "null", "array", "object"])
@pytest.mark.parametrize("value", [0, 1, 1.0, 1.5, True, None, "", "a", [], [1], {}, {"a": 1}, 10**400])
def test_the_quick_check_agrees_with_the_validator(kind: str, value: Any) -> None:
    from jsonschema import Draft202012Validator

    schema = {"type": kind, "description": "x"}
    assert (check(schema)(value) is None) == Draft202012Validator(schema).is_valid(value)


def test_equal_schemas_share_a_check_and_a_kept_one_is_found_by_identity() -> None:
    schema = {"type": "object", "required": ["only here"]}
    assert check(schema) is check(schema) is check(json.loads(json.dumps(schema)))


def test_many_schemas_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("surefoot.models.schema.KEPT", 8)
    for limit in range(50):
        assert check({"maximum": limit})(limit + 1) is not None
        assert check({"maximum": limit})(limit) is None


@pytest.mark.parametrize(
    ("schema", "reason"),
    [({"type": "nonsense"}, "not a JSON Schema"), ({"const": {1, 2}}, "must be a JSON value")],
)
def test_a_schema_that_is_none_is_an_error_of_the_setup(schema: Any, reason: str) -> None:
    with pytest.raises(SetupError, match=reason):
        check(schema)


def test_a_reference_out_of_the_schema_is_not_fetched() -> None:
    with pytest.raises(SetupError, match="leads out of it"):
        check({"$ref": "https://example.com/schema.json"})(1)


def test_a_boolean_schema_is_one() -> None:
    assert check(True)(1) is None and check(False)(1) is not None


def test_a_value_that_is_nested_too_deeply_is_a_misfit() -> None:
    schema = {"$ref": "#/$defs/list", "$defs": {"list": {"items": {"$ref": "#/$defs/list"}}}}
    value: Any = []
    for _ in range(3000):
        value = [value]
    assert "nested too deeply" in (check(schema)(value) or "")


async def test_a_reply_that_was_cut_off_at_a_limit_nobody_knows_is_told_so_and_asked_once_more() -> None:
    class Cut(ScriptedModel):
        async def ask(self, question: Question, n: int = 1) -> list[Reply]:
            replies = await super().ask(question, n)
            return [Reply("half", (), finish_reason="length")] if len(self.questions) == 1 else list(replies)

    model = Cut(["", "whole"])
    ((first, second),) = await answer(model, Question("act", "go"))
    assert "cut off" in (first.error or "") and second.parsed == "whole"
    assert "cut off" in model.questions[1].follow_up[-1].content
    ((only,),) = await answer(Cut(["", "whole"]), Question("act", "go"), strict=True)
    assert only.error is not None, "votes are not mended"
