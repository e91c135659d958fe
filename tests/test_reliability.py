"""Reliability as a dial: what is measured, shared out, decorrelated, climbed, and refused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dial import adder, adds_up, answers, labelled, shifted, sums

from surefoot.engine import Engine, Outcome
from surefoot.engine.calibrate import calibrate
from surefoot.reflection.calibration import belief_of
from surefoot.reflection.evidence import Belief
from surefoot.storage.errors import SetupError
from surefoot.storage.learned import Sampling
from surefoot.storage.records import Attempt, Budget
from surefoot.storage.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "runs.db") as store:
        yield store


# --- what a first run costs -------------------------------------------------------------------------------------


def test_with_nothing_measured_ten_steps_cost_at_most_two_and_a_half_times_their_unverified_form(store: Store) -> None:
    drawn = []
    for seed in range(20):
        plan = sums(10, seed)
        result = Engine(adder(0.97), planner=plan, store=store, seed=seed).run("add")
        drawn.append(result.usage.samples)
        assert result.reliability.basis == "prior"
    assert sum(drawn) / len(drawn) <= 2.5 * 10


def test_a_run_out_of_its_budget_says_what_the_rest_costs_and_what_the_budget_buys(store: Store) -> None:
    engine = Engine(adder(1.0), planner=sums(10), store=store, concurrency=1)
    result = engine.run("add", target=0.99, budget=Budget(steps=20))
    assert result.outcome is Outcome.OUT_OF_BUDGET
    found = re.search(r"the (\d+) planned steps still open take about (\d+) more samples;", result.reason)
    assert found is not None, result.reason
    open_, samples = map(int, found.groups())
    assert 1 <= open_ < 10 and samples >= 2 * open_
    bought = re.search(r"for 10 steps, the whole budget buys about (0\.\d+) of the wanted 0.99", result.reason)
    assert bought is not None and 0.5 < float(bought[1]) < 0.99
    again = engine.run("add", target=float(bought[1]) - 0.01, budget=Budget(steps=20 + 2))
    assert again.outcome is Outcome.AGREED
    small = engine.run("add", target=0.99, budget=Budget(steps=5))
    assert "does not buy one sample for each of 10 steps" in small.reason


def test_the_prior_is_shown_and_can_be_overridden(store: Store) -> None:
    plan = sums(1)
    sure = Engine(adder(1.0), planner=plan, store=store, prior=0.99).run("add", target=0.99)
    wary = Engine(adder(1.0), planner=plan, store=store, prior=0.7).run("add", target=0.99)
    assert sure.usage.samples < wary.usage.samples
    assert sure.reliability.basis == wary.reliability.basis == "prior"
    assert sure.reliability.samples == sure.usage.samples
    with pytest.raises(SetupError, match=r"prior=0\.3"):
        Engine(adder(1.0), planner=plan, store=store, prior=0.3)


# --- what runs teach --------------------------------------------------------------------------------------------


def test_runs_with_an_exact_check_teach_what_samples_are_worth_without_it(store: Store) -> None:
    for seed in range(4):
        Engine(adder(0.9), planner=sums(25, seed, ("adds_up",)), checks=[adds_up], store=store, seed=seed).run("add")
    (counts,) = (one for one in store.learned() if isinstance(one, Sampling))
    assert (counts.step_class, counts.policy) == ("sum", "adder@script")
    assert counts.prompts == pytest.approx(100, rel=0.01)
    assert belief_of(counts, Belief()).p == pytest.approx(0.9, abs=0.08)
    after = Engine(adder(0.9), planner=sums(3, 77), store=store).run("add", target=0.9)
    assert after.reliability.basis == "measured"


def test_what_was_measured_makes_the_next_run_cheaper(store: Store) -> None:
    plan = sums(10, 5)
    before = Engine(adder(0.999), planner=plan, store=store).run("add", target=0.95)
    calibrate(Engine(adder(0.999), planner=plan, store=store), labelled(600))
    after = Engine(adder(0.999), planner=plan, store=store).run("add", target=0.95)
    assert after.usage.samples < before.usage.samples
    assert (before.reliability.basis, after.reliability.basis) == ("prior", "measured")
    assert after.reliability.predicted is not None and after.reliability.predicted >= 0.95


def test_a_run_decides_by_what_was_known_when_it_began(store: Store) -> None:
    plan = sums(5, 6)
    engine = Engine(adder(0.95), planner=plan, store=store)
    result = engine.run("add", target=0.95)
    calibrate(engine, labelled(200))
    assert engine.replay(result.run_id), "what was learned since changes nothing in its record"


def test_another_revision_of_the_model_starts_from_nothing(store: Store) -> None:
    calibrate(Engine(adder(0.95), planner=sums(1), store=store), labelled(100))
    result = Engine(adder(0.95, name="newer"), planner=sums(1), store=store).run("add")
    assert result.reliability.basis == "prior"


# --- predicted and observed -------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", [0.9, 0.99])
def test_what_is_predicted_is_what_is_observed(store: Store, target: float) -> None:
    calibrate(Engine(adder(0.85), planner=sums(1), store=store), labelled(1500))
    right, accepted, predicted = 0, 0, 0.0
    for seed in range(60):
        plan = sums(5, 1000 + seed)
        result = Engine(adder(0.85), planner=plan, store=store, seed=seed).run("add", target=target)
        accepted += bool(result)
        if result:
            right += result.output == answers(plan)
            predicted += result.reliability.predicted or 0
    assert accepted >= 55
    assert predicted / accepted >= target
    # A run is wrong with chance 1 - predicted: four standard deviations of that many runs.
    expected = accepted - predicted
    assert accepted - right <= expected + 4 * (expected + 0.25) ** 0.5


def test_where_errors_are_alike_no_measured_promise_is_made_that_is_not_kept(store: Store) -> None:
    """On one pair in twelve all samples agree on the same wrong sum: votes cannot see it, the measurement can."""
    model = adder(0.99, hard=1 / 12)
    calibrate(Engine(model, planner=sums(1), store=store), labelled(600))
    promised = 0
    for seed in range(10):
        result = Engine(model, planner=sums(10, seed), store=store, seed=seed).run("add", target=0.95)
        promised += bool(result)
        if not result:
            assert result.outcome is Outcome.ABSTAINED
            assert "err together" in result.reason or "disagree" in result.reason
    assert promised == 0


def test_another_representation_keeps_the_promise_where_errors_are_alike(store: Store) -> None:
    model = adder(0.99, hard=1 / 12)
    options: dict[str, Any] = {"store": store, "representations": [shifted]}
    calibrate(Engine(model, planner=sums(1), **options), labelled(600))
    right = 0
    for seed in range(10):
        plan = sums(10, seed)
        result = Engine(model, planner=plan, seed=seed, **options).run("add", target=0.95)
        assert result.outcome is Outcome.VERIFIED
        assert result.reliability.basis == "measured"
        right += result.output == answers(plan)
        sources = {one.source for one in store.records(result.run_id, kinds=(Attempt,)) if one.role == "sample"}  # type: ignore[union-attr]
        assert sources == {"shifted"}
    assert right == 10


def test_what_was_measured_at_one_temperature_says_nothing_of_another(store: Store) -> None:
    calibrate(Engine(adder(0.95), planner=sums(1), store=store, temperature=0.3), labelled(100))
    cold = Engine(adder(0.95), planner=sums(1), store=store, temperature=0.3).run("add")
    warm = Engine(adder(0.95), planner=sums(1), store=store).run("add")
    assert (cold.reliability.basis, warm.reliability.basis) == ("measured", "prior")
