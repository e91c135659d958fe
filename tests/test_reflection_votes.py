"""Votes: leads, the formulas of first-to-ahead-by-k, and their published numbers."""

from __future__ import annotations

import math
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_benchmarks import part

from surefoot.reflection.votes import ahead, logit, nats, sigmoid

formulas = part("formulas")
step_error, votes_needed = formulas.step_error, formulas.votes_needed
vote_error, vote_reliability = formulas.vote_error, formulas.vote_reliability

COUNTS = st.dictionaries(st.text(max_size=2), st.integers(0, 9), max_size=5)


@pytest.mark.parametrize(
    ("counts", "leader", "lead"),
    [
        ({}, None, 0),
        ({"a": 0}, None, 0),
        ({"a": 1}, "a", 1),
        ({"a": 2, "b": 5, "c": 4}, "b", 1),
        ({"a": 3, "b": 3}, None, 0),
        ({"a": 3, "b": 3, "c": 1}, None, 0),
        ({"c": 1, "a": 3, "b": 7}, "b", 4),
    ],
)
def test_the_lead_is_counted_over_the_runner_up(counts: dict[str, int], leader: str | None, lead: int) -> None:
    assert ahead(counts) == (leader, lead)


@given(COUNTS)
def test_the_lead_agrees_with_sorting(counts: dict[str, int]) -> None:
    votes = sorted([*counts.values(), 0, 0], reverse=True)
    leader, lead = ahead(counts)
    assert lead == votes[0] - votes[1]
    assert (leader is None) == (lead == 0)
    assert leader is None or counts[leader] == votes[0]


@pytest.mark.parametrize(("k", "ten_steps"), [(2, 0.9727), (3, 0.99854), (4, 0.99992)])
def test_ten_steps_at_95_percent(k: int, ten_steps: float) -> None:
    assert vote_reliability(0.95, k) ** 10 == pytest.approx(ten_steps, abs=5e-5)


@pytest.mark.parametrize(
    ("p", "leads"),
    [
        (0.99, (2, 3, 3, 5)),
        (0.95, (3, 4, 4, 7)),
        (0.9, (4, 5, 6, 9)),
        (0.8, (5, 7, 9, 14)),
        (0.6, (18, 23, 29, 46)),
    ],
)
def test_the_lead_needed_for_99_percent_of_10_to_a_million_steps(p: float, leads: tuple[int, ...]) -> None:
    assert tuple(votes_needed(p, step_error(0.99, n)) for n in (10, 100, 1000, 10**6)) == leads


@pytest.mark.parametrize(
    ("wrong", "k"),
    [
        (0.3571, 29),
        (0.0040, 4),
        (0.0022, 3),
        (0.0018, 3),
        (0.1839, 12),
        (0.0358, 6),
        (0.2342, 15),
        (0.0569, 6),
        (0.0393, 6),
    ],
)
def test_the_lead_needed_for_a_million_steps_as_published(wrong: float, k: int) -> None:
    assert votes_needed(1 - wrong, step_error(0.95, 2**20 - 1)) == k


@given(st.floats(0.51, 0.999), st.floats(1e-12, 0.4))
def test_the_lead_needed_is_the_smallest_that_suffices(p: float, eps: float) -> None:
    k = votes_needed(p, eps)
    assert k is not None
    assert vote_error(p, k) <= eps * (1 + 1e-9)
    assert k == 1 or vote_error(p, k - 1) > eps


def test_an_exact_quotient_needs_no_extra_vote() -> None:
    assert votes_needed(0.99, 0.01) == 1
    assert votes_needed(0.9, 1 / (1 + 9**3)) == 3


def test_votes_do_not_help_a_model_that_is_mostly_wrong() -> None:
    assert votes_needed(0.5, 0.1) is None
    assert votes_needed(0.3, 0.1) is None
    assert votes_needed(0.0, 0.1) is None
    assert votes_needed(0.3, 0.8) == 1
    assert votes_needed(1.0, 1e-9) == 1
    assert vote_reliability(0.3, 4) < vote_reliability(0.3, 1)


@pytest.mark.parametrize("eps", [0.0, 1.0, -0.1])
def test_a_permitted_error_outside_zero_to_one_is_refused(eps: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        votes_needed(0.9, eps)


def test_the_error_of_a_vote_is_exact_where_its_complement_is_not() -> None:
    assert vote_error(0.99, 20) == pytest.approx(99.0**-20, rel=1e-9)
    assert vote_reliability(0.99, 20) == 1.0
    assert vote_error(0.01, 20) == 1.0


def test_simulated_votes_behave_as_the_formulas_say() -> None:
    p, k, runs = 0.8, 3, 20_000
    chance = random.Random(7)
    right = 0
    for _ in range(runs):
        counts: Counter[str] = Counter()
        while ahead(counts)[1] < k:
            counts["right" if chance.random() < p else "wrong"] += 1
        right += ahead(counts)[0] == "right"
    assert right / runs == pytest.approx(vote_reliability(p, k), abs=4 * math.sqrt(0.015 / runs))


@pytest.mark.parametrize(
    ("target", "needed"),
    [(0.95, (5.27, 7.58, 9.88, 16.79)), (0.99, (6.90, 9.21, 11.51, 18.42)), (0.999, (9.21, 11.51, 13.82, 20.72))],
)
def test_the_log_odds_that_steps_need(target: float, needed: tuple[float, ...]) -> None:
    for steps, wanted in zip((10, 100, 1000, 10**6), needed, strict=True):
        assert -logit(step_error(target, steps)) == pytest.approx(wanted, abs=6e-3)


@given(st.floats(0.01, 0.999), st.integers(1, 10**6))
def test_steps_within_their_error_reach_the_target(target: float, steps: int) -> None:
    assert math.exp(steps * math.log1p(-step_error(target, steps))) == pytest.approx(target, rel=1e-9)


@pytest.mark.parametrize(("target", "steps"), [(0.0, 3), (1.0, 3), (0.9, 0)])
def test_a_target_that_cannot_be_shared_out_is_refused(target: float, steps: int) -> None:
    with pytest.raises(ValueError, match="target"):
        step_error(target, steps)


@given(st.floats(1e-12, 1 - 1e-12))
def test_log_odds_and_probability_are_inverse(p: float) -> None:
    assert sigmoid(logit(p)) == pytest.approx(p, rel=1e-9)


def test_log_odds_at_the_ends() -> None:
    assert (logit(0), logit(1), logit(0.5)) == (-math.inf, math.inf, 0)
    assert (sigmoid(-math.inf), sigmoid(math.inf), sigmoid(-1000), sigmoid(1000)) == (0, 1, 0, 1)
    with pytest.raises(ValueError, match="between 0 and 1"):
        logit(1.1)


@pytest.mark.parametrize(
    ("accept", "false_accept", "worth"),
    [
        (0.6, 0.4, 0.081),
        (0.7, 0.3, 0.339),
        (0.8, 0.2, 0.832),
        (0.9, 0.1, 1.76),
        (0.95, 0.05, 2.65),
        (0.99, 0.01, 4.50),
        (0.99, 0.001, 6.78),
        (0.9, 0.76, 0.065),
        (0.5, 0.5, 0.0),
        (1.0, 0.5, math.log(2)),
        (1.0, 0.0, math.inf),
    ],
)
def test_what_a_check_is_worth_in_nats(accept: float, false_accept: float, worth: float) -> None:
    assert nats(accept, false_accept) == pytest.approx(worth, abs=6e-3)
