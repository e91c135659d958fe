"""The queue of steps to label: in an order that teaches, one key each, and nothing comes twice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from dial import adder, sums
from terminal import Shell, on_a_terminal

from surefoot.engine import Engine
from surefoot.engine.review import answer, changed, queue
from surefoot.models import ScriptedModel
from surefoot.reflection.calibration import patterns
from surefoot.storage.errors import SetupError
from surefoot.storage.learned import Agreement
from surefoot.storage.records import Feedback, Plan, Step, given, ref
from surefoot.storage.store import Store


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.delenv("SUREFOOT_PRIOR")
    with Store.open(tmp_path / ".surefoot" / "surefoot.db") as store:
        yield store


def runs(store: Store, count: int, model: ScriptedModel | None = None) -> None:
    model = model or adder(0.9)
    model.card = {}
    for seed in range(count):
        Engine(model, planner=sums(1, seed=seed), store=store).run("add", seed=seed)


def test_labels_are_kept_beside_the_verdicts_and_teach(store: Store) -> None:
    runs(store, 12)
    asked = queue(store, 12)
    assert len(asked) == 12 and {one.step_class for one in asked} == {"sum"}
    assert sum(one.chosen == "random" for one in asked) == 2
    for one in asked:
        first = one.candidates[0]
        right = first.output == one.inputs["a"] + one.inputs["b"]
        before, after = answer(store, one, right, by="ann")
        assert after.truths == pytest.approx(before.truths + 1, abs=0.01)
        assert "label" in changed(one, before, after)
    assert queue(store, 12) == [], "what was labelled does not come again"
    labelled = sum(one.prompts for one in store.learned() if isinstance(one, Agreement) and one.truth)
    assert labelled == pytest.approx(12, abs=0.1)
    kept = [one for asked_ in asked for one in store.feedbacks(asked_.run_id)]
    assert {one.annotator for one in kept} == {"ann"} and len(kept) == 12


def test_a_step_that_was_given_up_can_be_labelled_too(store: Store) -> None:
    runs(store, 1)
    (one,) = queue(store)
    assert not one.accepted
    before, after = answer(store, one, True)
    assert after.p > before.p


def test_a_step_is_shown_with_what_it_was_given(store: Store) -> None:
    """Whoever labels it sees values, where its plan has references to inputs and to other steps."""
    first = Step("first", "Shorten.", args={"text": given("mail")}, kind="short")
    second = Step("second", "Translate.", args={"text": ref("first"), "to": "French"}, kind="french")
    model = ScriptedModel(lambda question, index: f"{question.goal} {question.inputs['text']}")
    Engine(model, planner=Plan((first, second), ref("second")), store=store, prior=0.99).run(
        "mail", inputs={"mail": "Dear shop"}
    )
    shown = {one.goal: one.inputs for one in queue(store)}
    assert shown["Shorten."] == {"text": "Dear shop"}
    assert shown["Translate."] == {"text": "Shorten. Dear shop", "to": "French"}


def test_a_correction_says_which_of_the_candidates_was_right(store: Store) -> None:
    plan = Plan((Step("s", "Guess.", kind="guess"),), ref("s"))
    model = ScriptedModel(["1", "2", "1"])
    model.card = {}
    Engine(model, planner=plan, store=store).run("guess")
    (one,) = queue(store)
    assert [(form.output, form.votes) for form in one.candidates] == [("1", 2), ("2", 1)]
    with pytest.raises(SetupError, match="no correction"):
        answer(store, one, True, correct="2")
    answer(store, one, False, correct="2")
    rows = [row for row in store.learned() if isinstance(row, Agreement)]
    found = patterns({(row.counts, row.truth): row.prompts for row in rows})
    assert found[((2, 1), "1")] == 1 and abs(found[((2, 1), "")]) < 0.001


def test_feedback_with_a_correction_teaches_what_a_review_would(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    plan = Plan((Step("s", "Guess.", kind="guess"),), ref("s"))
    model = ScriptedModel(["1", "2", "1"])
    model.card = {}
    Engine(model, planner=plan, store=store).run("guess")
    said = Shell(capsys)("feedback", "last", "--step", "s", "--score", "0", "--correction", '"2"')
    assert said.code == 0
    rows = [row for row in store.learned() if isinstance(row, Agreement)]
    found = patterns({(row.counts, row.truth): row.prompts for row in rows})
    assert found[((2, 1), "1")] == 1 and abs(found[((2, 1), "")]) < 0.001


def test_a_word_on_something_else_is_no_label(store: Store) -> None:
    runs(store, 1)
    (one,) = queue(store)
    store.feedback(Feedback(one.run_id, 0.2, one.step, "tone"))
    assert queue(store) == [one]
    store.feedback(Feedback(one.run_id, 0.2, one.step))
    assert queue(store) == []


def test_what_is_skipped_teaches_nothing_and_does_not_come_again(store: Store) -> None:
    runs(store, 3)
    first, *rest = queue(store, 3)
    before, after = answer(store, first, None)
    assert before is after and {one.run_id for one in queue(store, 3)} == {one.run_id for one in rest}


def test_a_run_that_a_person_judged_is_not_asked_about(store: Store) -> None:
    runs(store, 2)
    one, other = queue(store, 2)
    store.feedback(Feedback(one.run_id, 1.0))
    assert [left.run_id for left in queue(store, 2)] == [other.run_id]


def test_classes_that_are_known_come_last(store: Store) -> None:
    runs(store, 4)
    store.learn([Agreement("sum", "adder@script", "", "2", "2", 300.0)])
    model = adder(0.9, name="other")
    runs(store, 2, model)
    chosen = [one for one in queue(store, 6) if one.chosen == "value"]
    assert chosen[0].policy == "other@script"


def test_without_a_terminal_nobody_is_asked(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shell = Shell(capsys)
    empty = shell("review")
    assert empty.code == 0 and "nothing to label" in empty.err
    runs(store, 2)
    said = shell("review")
    assert said.code == 2 and "--json" in said.err
    rows = shell("review", "--json").rows
    assert len(rows) == 2 and rows[0].keys() >= {"run_id", "step", "inputs", "candidates", "accepted", "chosen"}
    assert json.dumps(rows[0])


def test_one_key_a_step_on_a_terminal(store: Store, tmp_path: Path) -> None:
    runs(store, 3)
    code, got = on_a_terminal("review", cwd=tmp_path, keys={"1 of 3": "r", "2 of 3": "xs", "3 of 3": "q"})
    assert code == 0, got
    for part in ("answer", "votes", "right: 'sum' on adder@script", "'x' means nothing here", "skipped", "1 labelled"):
        assert part in got
    code, got = on_a_terminal("review", cwd=tmp_path, keys={"1 of 1": "c", "it should be": "17\n"})
    assert code == 0 and "wrong: 'sum'" in got, got
    corrections = [one.correction for info in store.runs() for one in store.feedbacks(info.run_id)]
    assert 17 in corrections
