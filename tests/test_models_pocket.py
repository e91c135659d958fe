"""The packaged models and the compact dialect: plans for word problems, and honesty about all else."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import tiny

from surefoot.models import Question, Reply, load
from surefoot.models.answer import answer
from surefoot.models.local.dialects import CompactDialect
from surefoot.models.local.model import KEPT
from surefoot.models.packaged import PocketModel
from surefoot.models.pocket import compact
from surefoot.models.question import ChatMessage, ToolSpec
from surefoot.storage.errors import SetupError

pytestmark = pytest.mark.anyio

TEXT = "Ann has 3 apples and buys 4 more. How many apples has she?"
PLAN = Question("plan", TEXT)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tiny.save(tmp_path)
    (tmp_path / "card.json").write_text(json.dumps({"name": "test", "thresholds": {"typical": -3.0}}))
    return tmp_path


def test_the_card_comes_along(folder: Path) -> None:
    model = PocketModel(folder=folder)
    assert model.card["thresholds"] == {"typical": -3.0}
    assert model.name == "pocket/word-problems" == model.policy.model and model.policy.weights_sha256


def test_a_card_that_is_missing_is_an_error_of_the_setup(folder: Path) -> None:
    (folder / "card.json").unlink()
    with pytest.raises(SetupError, match="card"):
        PocketModel(folder=folder)


@pytest.mark.parametrize(
    ("question", "reason"),
    [
        (Question("act", TEXT), "only plans"),
        (Question("judge", TEXT), "only plans"),
        (Question("plan", TEXT, tools=(ToolSpec("f", "", {}),)), "cannot call tools"),
        (Question("plan", TEXT, inputs={"inputs": {"rows": [1]}}), "no other inputs"),
    ],
)
async def test_what_is_beyond_it_is_unknown_and_says_what_would_help(
    folder: Path, question: Question, reason: str
) -> None:
    model = PocketModel(folder=folder)
    ((reply,), (_,)) = await answer(model, question, 2)
    assert reply.unknown and reason in (reply.error or "") and "SUREFOOT_MODEL" in (reply.error or "")
    assert reply.usage.tokens == 0 and model.prompt_tokens == 0
    assert model.estimate(question, 2).tokens == 0


async def test_a_text_that_is_longer_than_any_it_was_taught_is_unknown(folder: Path) -> None:
    (folder / "card.json").write_text(json.dumps({"max_prompt_tokens": 40}))
    model = PocketModel(folder=folder)
    (reply,) = await model.ask(Question("plan", TEXT * 9))
    assert reply.unknown and "longer than any" in (reply.error or "") and model.prompt_tokens == 0


class Counted(CompactDialect):
    """Counts how often each goal is put into words."""

    def __init__(self) -> None:
        super().__init__()
        self.prompts = Counter[str]()

    def prompt(self, question: Question, tokenizer: Any) -> tuple[tuple[ChatMessage, ...], str]:
        self.prompts[question.goal] += 1
        return super().prompt(question, tokenizer)


async def test_a_question_is_encoded_once_its_estimate_and_its_limits_included(folder: Path) -> None:
    (folder / "card.json").write_text(json.dumps({"max_prompt_tokens": 400}))
    counted = Counted()
    model = PocketModel(folder=folder, dialect=counted, max_tokens=2)
    questions = [Question("plan", f"{TEXT} {position}") for position in range(KEPT + 50)]
    await asyncio.gather(*(model.ask(question) for question in questions))
    assert counted.prompts.total() == len(counted.prompts) == len(questions)
    counted.prompts.clear()
    for question in questions[:KEPT]:
        model.estimate(question, 4)
        model.estimate(question, 2)
    await asyncio.gather(*(model.ask(question, 2) for question in questions[:KEPT]))
    assert counted.prompts.total() == len(counted.prompts) == KEPT
    assert not model._kept, "what was asked is not kept"
    for question in questions:
        model.estimate(question)
    assert len(model._kept) == KEPT


async def test_the_prompt_is_the_masked_text_and_nothing_else(folder: Path) -> None:
    model = PocketModel(folder=folder, max_tokens=4)
    (reply,) = await model.ask(PLAN)
    (message,) = reply.prompt
    assert message.content.startswith("<text> Ann has n0 apples and buys n1 more.")
    assert bytes(model._weights.tokenizer.decode(list(reply.prompt_ids or ())), "utf8") == message.content.encode()
    assert reply.prompt_logprobs is not None and reply.token_ids is not None


async def test_a_name_that_it_was_not_taught_is_read_as_another(folder: Path) -> None:
    (folder / "card.json").write_text(json.dumps({"names": {"known": ["How"], "stand_ins": ["Mia"]}}))
    (reply,) = await PocketModel(folder=folder, max_tokens=4).ask(PLAN)
    assert reply.prompt[0].content.startswith("<text> Mia has n0 apples and buys n1 more. How many apples")


def read(text: str, schema: Any = None) -> Reply:
    return CompactDialect().read(Question("plan", TEXT, output_schema=schema), Reply(text, ()))


def test_a_plan_is_read_into_calculator_steps() -> None:
    plan = read("s1 = n0 + n1 ; answer s1").parsed
    assert plan["output"] == {"$ref": "s1"}
    assert plan["steps"][0]["args"] == {"expression": "a + b", "values": {"a": "3", "b": "4"}}


def test_none_means_unknown() -> None:
    assert read("none").unknown and "SUREFOOT_MODEL" in (read("none").error or "")


@pytest.mark.parametrize("text", ["", "s1 = n0 +", "s1 = n9 + n0 ; answer s1", "hello"])
def test_a_reply_outside_the_grammar_is_an_error(text: str) -> None:
    reply = read(text)
    assert reply.parsed is None and "cannot be read" in (reply.error or "") and not reply.unknown


def test_another_form_than_a_plan_is_refused() -> None:
    schema = {"type": "object", "required": ["step"]}
    assert "another form was wanted" in (read("s1 = n0 + n1 ; answer s1", schema).error or "")


GARDEN = (
    "There are 32 girls in the garden. If there are 2 times the number of boys in the garden, how many kids are there?"
)


async def test_the_packaged_weights_solve_a_problem_of_a_kind_that_they_were_taught() -> None:
    model = load("pocket")
    assert isinstance(model, PocketModel) and model.card
    replies = await model.ask(Question("plan", GARDEN.replace("there?", "in the garden?"), seed=1), 16)
    programs = [compact.program(reply.text) for reply in replies if reply.parsed is not None]
    assert [one.run((Fraction(32), Fraction(2))) for one in programs if one is not None].count(Fraction(96)) >= 12


async def test_equal_seeds_do_not_tie_the_samples_of_different_prompts_together() -> None:
    model = PocketModel()
    prompts = [
        GARDEN.replace("32", str(n)).replace("garden", place) for n in (3, 5) for place in ("park", "yard", "zoo")
    ]
    drawn = [await model.ask(Question("plan", text, seed=7, temperature=3.0), 1) for text in prompts]
    assert len({reply.text for (reply,) in drawn}) >= 3
