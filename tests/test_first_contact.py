"""A model that nobody measured: believed by what its votes teach, never called verified for them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from dial import adder, labelled, sums

from surefoot.engine import Engine
from surefoot.engine.calibrate import calibrate
from surefoot.engine.labels import backfill_labels
from surefoot.models import ScriptedModel
from surefoot.models.question import Question
from surefoot.reflection.forms import split_in
from surefoot.storage.learned import Agreement
from surefoot.storage.records import Json, Outcome, Plan, Step, ref
from surefoot.storage.store import Store


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.delenv("SUREFOOT_PRIOR")
    with Store.open(tmp_path / "runs.db") as store:
        yield store


def stranger(model: ScriptedModel) -> ScriptedModel:
    """The same model, of which nothing is stated."""
    model.card = {}
    return model


def outcomes(store: Store, model: ScriptedModel, runs: int, target: float = 0.95, first: int = 0) -> list[Outcome]:
    engines = ((seed, Engine(model, planner=sums(1, seed=seed), store=store)) for seed in range(first, first + runs))
    return [engine.run("add", seed=seed, target=target).outcome for seed, engine in engines]


def test_a_strong_model_is_agreed_with_after_a_few_runs_and_never_called_verified(store: Store) -> None:
    found = outcomes(store, stranger(adder(0.99)), 16)
    assert found[0] is Outcome.ABSTAINED, "nothing is known of it yet"
    assert found[6:].count(Outcome.AGREED) >= 9
    assert Outcome.VERIFIED not in found


def test_a_weak_model_is_told_to_be_one_and_costs_little(store: Store) -> None:
    model = stranger(adder(0.25))
    assert Outcome.AGREED not in outcomes(store, model, 12)
    asked = len(model.questions)
    result = Engine(model, planner=sums(1, seed=99), store=store).run("add", target=0.95)
    assert result.outcome is Outcome.ABSTAINED and result.usage.samples <= 4
    assert "by its votes this model is right" in result.reason and "label ten answers" in result.reason
    assert len(model.questions) > asked, "it is looked at again, for it may have been bad luck"


def test_labels_make_a_promise_of_agreement(store: Store) -> None:
    model = stranger(adder(0.99))
    outcomes(store, model, 10)
    for seed in range(100, 140):
        result = Engine(model, planner=sums(1, seed=seed), store=store).run("add", seed=seed, target=0.9)
        if result.output is not None:
            assert backfill_labels(store, result.run_id, True)
    found = outcomes(store, model, 10, target=0.95, first=500)
    assert found.count(Outcome.VERIFIED) >= 8, found


def test_a_strong_model_that_was_measured_without_an_error_is_verified(store: Store) -> None:
    engine = Engine(stranger(adder(1.0)), planner=sums(2), store=store)
    calibrate(engine, labelled(60), samples=4)
    result = engine.run("add", target=0.9)
    assert (result.outcome, result.reliability.basis) == (Outcome.VERIFIED, "measured")
    assert result.reliability.by_votes is not None
    assert (result.reliability.predicted or 0) < result.reliability.by_votes


def test_a_long_run_learns_from_its_own_beginning_and_decides_the_same_when_replayed(store: Store) -> None:
    model = stranger(adder(0.995))
    outcomes(store, model, 8)
    engine = Engine(model, planner=sums(40), store=store, target=0.5, concurrency=1)
    result = engine.run("add")
    assert result.outcome is Outcome.AGREED, result.reason
    doubts = [one.support["doubt"] for one in result.steps if one.parent is not None and len(one.attempts) == 2]
    assert doubts[-1] < 0.7 * doubts[0], "the same two votes are worth more when thirty others have agreed"
    replayed = engine.replay(result.run_id)
    assert replayed, replayed.divergences


def test_a_systematic_error_is_agreed_upon_but_never_promised(store: Store) -> None:
    found = outcomes(store, stranger(adder(0.99, hard=1.0)), 14)
    assert Outcome.VERIFIED not in found and Outcome.AGREED in found, "votes cannot show it; so they promise nothing"


def test_a_systematic_error_that_labels_showed_is_not_agreed_upon_any_more(store: Store) -> None:
    model = stranger(adder(0.99, hard=1.0))
    outcomes(store, model, 10)
    for info in [one for one in store.runs(10) if one.outcome is Outcome.AGREED][:4]:
        assert backfill_labels(store, info.run_id, False)
    result = Engine(model, planner=sums(1, seed=77), store=store).run("add", target=0.9)
    assert result.outcome is Outcome.ABSTAINED
    assert "% of such questions wrong in the same way each time" in result.reason


def test_every_prompt_is_counted_whatever_became_of_its_run(store: Store) -> None:
    rng = Random(0)

    def script(question: Question, index: int) -> Json:
        return str(rng.randrange(10**6))

    plan = Plan((Step("s", "Guess.", kind="guess"),), ref("s"))
    result = Engine(stranger(ScriptedModel(script)), planner=plan, store=store).run("guess")
    assert result.outcome is Outcome.ABSTAINED
    (row,) = [one for one in store.learned() if isinstance(one, Agreement)]
    assert (row.step_class, row.truth, row.prompts) == ("guess", "", 1)
    assert {sum(one) for one in split_in(row.counts)} == {1}
