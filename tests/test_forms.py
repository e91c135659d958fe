"""A question in two forms, in turn: a model that follows the form and not the question does not agree with itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surefoot.engine import Engine
from surefoot.models import ScriptedModel
from surefoot.models.chat import messages, reordered
from surefoot.models.question import Question
from surefoot.storage.errors import ModelRefused
from surefoot.storage.learned import Agreement
from surefoot.storage.records import Attempt, Json, Message, ModelCall, Outcome, Plan, Step, ref
from surefoot.storage.store import Store


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.delenv("SUREFOOT_PRIOR")
    with Store.open(tmp_path / "runs.db") as store:
        store.learn([Agreement("owner", "m@script", "", "2", "", 30.0)])  # it has agreed with itself so far
        yield store


OWNER = "Anna has a hat. Emma has a door. Who has the hat? Answer with the name."


def engine(store: Store, script: Any, **options: Any) -> tuple[Engine, ScriptedModel]:
    model = ScriptedModel(script, name="m")
    model.card = {}
    plan = Plan((Step("s", OWNER, kind="owner"),), ref("s"))
    return Engine(model, planner=plan, store=store, **options), model


def last_named(question: Question, index: int) -> Json:
    """A misconception of order: whoever was named last."""
    text = messages(question)[-1].content
    return "Anna" if text.index("Anna has") > text.index("Emma has") else "Emma"


def test_a_misconception_of_order_is_not_agreed_upon_in_two_forms(store: Store) -> None:
    one, _ = engine(store, last_named, forms=False)
    assert one.run("who", target=0.95).output == "Emma", "in one form it agrees with itself, and is wrong"
    both, model = engine(store, last_named)
    result = both.run("who", target=0.95)
    assert result.outcome is Outcome.ABSTAINED, result.output
    assert [question.form for question in model.questions][:2] == [0, 1]


def test_a_model_that_understands_the_question_pays_nothing_for_two_forms(store: Store) -> None:
    both, model = engine(store, lambda question, index: "Anna")
    result = both.run("who", target=0.95)
    assert (result.outcome, result.output, result.usage.samples) == (Outcome.AGREED, "Anna", 2)
    prompts = {one.content for one in store.records(result.run_id, kinds=(Message,)) if one.role == "user"}  # type: ignore[union-attr]
    assert len(prompts) == 2, "the record has both forms as the model saw them"
    assert len({one.seed for one in model.questions}) == 2


def test_what_is_stated_or_measured_is_asked_as_it_is(store: Store) -> None:
    stated, model = engine(store, lambda question, index: "Anna", prior=0.95)
    assert stated.run("who").output == "Anna"
    assert {question.form for question in model.questions} == {0}


def test_where_one_form_cannot_be_asked_what_the_other_said_is_kept(store: Store) -> None:
    def script(question: Question, index: int) -> Json:
        return ModelRefused("too long") if question.form else "Anna"

    broken, _ = engine(store, script)
    result = broken.run("who")
    assert result.outcome is Outcome.FAILED and "too long" in result.reason
    assert len(list(store.records(result.run_id, kinds=(ModelCall,)))) == 1
    tried = [one for one in store.records(result.run_id, kinds=(Attempt,)) if isinstance(one, Attempt)]
    assert [one.output for one in tried if one.role == "sample" and one.status == "proposed"] == ["Anna"]


def test_the_second_form_has_the_same_parts() -> None:
    schema = {"type": "integer"}
    first, second = (
        messages(Question("act", OWNER, inputs={"a": 1, "b": 2}, output_schema=schema, form=form)) for form in (0, 1)
    )
    assert first[0] == second[0] and first[1] != second[1]
    assert sorted(first[1].content.replace('"a": 1, "b": 2', "").split()) == sorted(
        second[1].content.replace('"b": 2, "a": 1', "").split()
    )


@pytest.mark.parametrize(
    ("goal", "other"),
    [
        (OWNER, "Emma has a door. Anna has a hat. Who has the hat? Answer with the name."),
        ("The ball is red. What colour is it?", "What colour is it? The ball is red."),
        ("Add the two numbers.", "Add the two numbers."),
        ("Tom has 3 pens. Then he buys one. How many has he?", "Tom has 3 pens. Then he buys one. How many has he?"),
        ("Is it so? Is it not? Say.", "Is it so? Is it not? Say."),
        ("Read this.\nWhat is it?", "Read this.\nWhat is it?"),
    ],
)
def test_only_statements_that_lean_on_nothing_change_their_order(goal: str, other: str) -> None:
    assert reordered(goal) == other


@given(st.text())
def test_no_word_is_lost_whatever_the_goal(goal: str) -> None:
    assert sorted(reordered(goal).split()) == sorted(goal.split())


def test_what_forms_show_is_kept_and_said_and_once_truth_is_known_the_worse_one_is_dropped(store: Store) -> None:
    both, _ = engine(store, last_named)
    for seed in range(3):
        both.run("who", target=0.95, seed=seed)
    attempts = [one for one in store.records(store.runs(1)[0].run_id, kinds=(Attempt,)) if isinstance(one, Attempt)]
    assert {one.form for one in attempts} == {0, 1}
    shapes = [one.counts for one in store.learned() if isinstance(one, Agreement)]
    assert any("/" in shape for shape in shapes), shapes
    store.learn([Agreement("owner", "m@script", "", "0/3+3/0", "", 12.0)])
    said = both.run("who", target=0.95, seed=4).reason
    assert "hangs on the form of the question" in said
    store.learn([Agreement("owner", "m@script", "", "0/2+3/0", "0/2", 20.0)])
    known, model = engine(store, last_named)
    assert known.run("who", target=0.95, seed=5).output == "Anna"
    assert {question.form for question in model.questions} == {1}
