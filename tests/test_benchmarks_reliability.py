"""The benchmarks of reliability on a small scale: their fields, truth from outside, and what is never claimed."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from random import Random
from statistics import mean, variance
from typing import Any

import pytest
from test_benchmarks import ROOT, part

from surefoot.models.question import Question

reliability, ceiling, million, sums = part("reliability"), part("ceiling"), part("million"), part("sums")
policies = part("policies")

FIELDS = {
    "method", "policy_p", "steps", "target", "runs", "accepted", "correct", "silent_errors", "unverified", "predicted",
    "observed", "observed_low", "observed_high", "samples_per_step", "bound_samples_per_step",
}  # fmt: skip


def rows(*words: str) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-m", *words, "--json"], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    found: list[dict[str, Any]] = json.loads(line)["rows"]
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("cells")
    reliability.measure(str(made), "p95", 5, 300)
    return made


@pytest.mark.parametrize("method", ["surefoot", "maker", "plurality", "critique", "unverified"])
def test_a_cell_has_every_field_and_is_scored_from_outside(folder: Path, method: str) -> None:
    row = reliability.cell(str(folder), method, "p95", 5, 0.9, 12, 5)
    assert set(row) >= FIELDS
    assert row["runs"] == 12 == row["accepted"] + row["abstained"]
    assert row["correct"] + row["silent_errors"] == row["accepted"]
    assert 0.85 < row["policy_p"] < 0.99
    assert row["observed_low"] <= row["observed"] <= row["observed_high"]
    if method == "surefoot":
        assert row["basis"] == {"measured": 12}
        assert 0.9 <= row["predicted"] <= 1
        assert row["samples_per_step"] > 1
    if method == "unverified":
        assert row["samples_per_step"] == 1


def test_chains_are_made_of_their_seed_and_no_labelled_step_is_in_them() -> None:
    one = sums.chain("7 run 3", 10)
    assert one == sums.chain("7 run 3", 10) != sums.chain("8 run 3", 10)
    assert one.answer == one.first + sum(one.added) < 10**6
    total = one.first
    pairs = set()
    for add in one.added:
        pairs.add((total, add))
        total += add
    labelled = {(case.inputs["total"], case.inputs["add"]) for case in sums.labelled("7", 500, (10, 100))}
    assert not pairs & labelled


def test_what_casting_out_says_is_no_truth() -> None:
    nines = sums.casting_out(9)
    assert not nines.exact
    inputs = {"total": 100, "add": 23}
    assert nines(123, inputs) is True
    assert nines(132, inputs) is True, "two digits changed places"
    assert nines(124, inputs) is False


def test_a_ceiling_of_a_check_is_what_its_rates_say(folder: Path) -> None:
    retry, ours = ceiling.checks("p80", 9, {"4": 10}, 3, 80)
    assert retry["check"] == ours["check"] == "cast9"
    assert 0 < retry["false_accept"] < 0.5
    theory = retry["p"] / (retry["p"] + (1 - retry["p"]) * retry["false_accept"])
    assert retry["ceiling"] == pytest.approx(theory**4, abs=1e-3)
    assert retry["method"] == "retry" and retry["accepted"] == 10
    assert ours["method"] == "surefoot" and ours["target"] == 0.99


def test_where_samples_are_copies_of_each_other_nothing_is_promised() -> None:
    voted, ours = ceiling.votes("p80", 0.0, {"5": 10}, 3, 200)
    assert voted["promise"] > 0.999, "what the formula for independent samples says"
    assert voted["ceiling"] < 0.95
    assert ours["accepted"] == 0


def test_two_checks_that_are_one_have_one_false_accept_rate() -> None:
    (row,) = ceiling.copies("p80", (9, 9), {"3": 4}, 3, 80)
    assert row["together"] == row["false_accept"] == row["common_cause"]
    assert row["multiplied"] < row["together"]
    assert row["shared_cause"] == 1


def test_a_tower_is_killed_resumed_and_right() -> None:
    (row,) = rows("benchmarks.million", "--disks", "8", "--kills", "1", "--seed", "3")
    assert row["outcome"] == "verified"
    assert (row["moves"], row["wrong"], row["kills"]) == (255, 0, 1)
    assert row["bytes_per_step"] > 0


def test_votes_alone_move_a_small_tower_and_what_they_promise_for_a_tall_one_is_told() -> None:
    row, *foreseen = rows("benchmarks.million", "--mode", "votes", "--disks", "5", "--kills", "0")
    assert (row["outcome"], row["moves"], row["wrong"], row["lead"]) == ("verified", 31, 0, 3)
    assert row["samples"] == 93
    tall = next(one for one in foreseen if one["disks"] == 20)
    assert 0 < tall["predicted"] <= tall["independent"] <= 1


# --- policies drawn at random -----------------------------------------------------------------------------------


def test_a_policy_drawn_at_random_is_what_it_is_said_to_be() -> None:
    model = policies.policy("x", 0.8, 8, 2, 1)
    rng = Random(1)
    rates, wrong = [], Counter()
    for a, b in policies.pairs(rng, 400):
        questions = (Question("act", "", inputs={"a": a, "b": b}, seed=seed) for seed in range(25))
        said = [int(asyncio.run(model.ask(question))[0].text) - a - b for question in questions]
        rates.append(said.count(0) / 25)
        wrong.update(one for one in said if one)
    assert mean(rates) == pytest.approx(0.8, abs=0.03)
    assert variance(rates) == pytest.approx(0.8 * 0.2 * (1 / 9 + 8 / 9 / 25), rel=0.3)
    assert wrong[1] / wrong.total() == pytest.approx(2 / 3, abs=0.05) and set(wrong) == {1, 2}


def test_its_cell_is_scored_from_outside_and_a_prediction_that_is_wrong_shows() -> None:
    assert policies.drawn(5, 1) == policies.drawn(5, 1) != policies.drawn(5, 2)
    number = next(n for n in range(99) if policies.drawn(3, n)["p"] == 0.95 and policies.drawn(3, n)["steps"] == 3)
    row = policies.cell(3, number, 30)
    assert row["runs"] == 30 >= row["accepted"] > 0
    assert row["predicted"] >= row["target"] and policies.sound(row)
    assert not policies.sound(row | {"predicted": 0.5})
    assert not policies.sound(row | {"observed": 0.5, "observed_low": 0.4, "observed_high": 0.6})
    assert "1 of 1 policies had runs accepted; 1 of these" in policies.told([row])
