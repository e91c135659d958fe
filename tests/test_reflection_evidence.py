"""The ledger: what votes and checks come to, by formulas that are written out here a second time."""

from __future__ import annotations

from math import exp, gamma, inf, log
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_benchmarks import part

from surefoot.reflection.evidence import Belief, more, pace, posterior, race, wald

vote_error, votes_needed = part("formulas").vote_error, part("formulas").votes_needed
ALIKE = Belief(0.95, concentration=inf)


def one(ballot: dict[str, int], belief: Belief, key: str = "a") -> float:
    return posterior({"": ballot}, {"": belief}, key).p


@pytest.mark.parametrize(("p", "votes"), [(0.95, 1), (0.95, 3), (0.8, 5), (0.6, 18)])
def test_votes_alone_are_first_to_ahead_by_k(p: float, votes: int) -> None:
    assert 1 - one({"a": votes}, Belief(p, concentration=inf)) == pytest.approx(vote_error(p, votes), rel=1e-9)


@given(st.floats(0.55, 0.99), st.integers(0, 6), st.integers(0, 6), st.floats(1, 200))
def test_two_forms_are_weighed_by_the_beta_mixture(p: float, mine: int, theirs: int, c: float) -> None:
    """Straight from the definition: integrals of p^n (1-p)^m over the Beta density, for each hypothesis."""
    a, b = p * c, (1 - p) * c

    def moment(right: int, wrong: int) -> float:
        made = 1.0
        for i in range(right):
            made *= a + i
        for i in range(wrong):
            made *= b + i
        return made

    cast = mine + theirs
    weights = [moment(mine, theirs), moment(0, cast)] + ([moment(theirs, mine)] if theirs else [])
    ballot = {"a": mine, "b": theirs} if theirs else {"a": mine}
    assert one(ballot, Belief(p, concentration=c)) == pytest.approx(weights[0] / sum(weights), rel=1e-6)


def test_a_worked_number() -> None:
    """p = .95, c = 30, two votes: 1.5 * 2.5 / (28.5 * 29.5) against 1."""
    odds = (1.5 * 2.5) / (28.5 * 29.5)
    assert 1 - one({"a": 2}, Belief(0.95, concentration=30)) == pytest.approx(odds / (1 + odds))
    assert gamma(3) == 2  # the Gamma function of the formula is the usual one


def test_wrong_answers_that_seldom_agree_make_agreement_worth_more() -> None:
    alike, differing = Belief(0.8, concentration=20, same=1.0), Belief(0.8, concentration=20, same=0.1)
    assert one({"a": 3}, differing) > one({"a": 3}, alike)
    assert one({"a": 1}, differing) == one({"a": 1}, alike), "a single sample coincides with nothing"
    assert posterior({"": {"a": 3}}, {"": differing}, "a").bound == posterior({"": {"a": 3}}, {"": alike}, "a").bound


def test_the_bound_is_the_worst_case_of_the_careful_belief() -> None:
    belief = Belief(0.9, "measured", inf, low=0.8)
    stands = posterior({"": {"a": 3, "b": 1}}, {"": belief}, "a")
    assert stands.bound == pytest.approx(vote_error(0.8, 2))
    assert stands.doubt > 1 - stands.p


def test_a_ceiling_holds_however_many_votes_there_are() -> None:
    belief = Belief(0.99, "measured", inf, ceiling=0.999, ceiling_low=0.99)
    stands = posterior({"": {"a": 50}}, {"": belief}, "a")
    assert (stands.p, stands.doubt) == (0.999, pytest.approx(0.01))
    assert stands.bound == pytest.approx(0.01)


def test_checks_add_their_nats_to_votes() -> None:
    before = one({"a": 1}, ALIKE)
    after = posterior({"": {"a": 1}}, {"": ALIKE}, "a", {"a": 1.5}).p
    assert log(after / (1 - after)) == pytest.approx(log(before / (1 - before)) + 1.5)


def test_a_failed_check_turns_the_order_of_candidates() -> None:
    ballots, beliefs = {"": {"a": 2, "b": 1}}, {"": Belief(0.7, concentration=inf)}
    assert posterior(ballots, beliefs, "a", {"a": -3.0}).p < posterior(ballots, beliefs, "b", {"a": -3.0}).p


def test_sources_that_err_by_themselves_multiply() -> None:
    alike = Belief(0.9, concentration=5)
    twice = posterior({"x": {"a": 1}, "y": {"a": 1}}, {"x": alike, "y": alike}, "a").p
    assert twice > one({"a": 2}, alike), "two votes of one source share its difficulties"


def test_more_says_how_many_votes_are_missing() -> None:
    for error in (1e-2, 1e-4, 1e-6):
        assert more({"": {}}, {"": ALIKE}, "a", None, "", error, 50) == votes_needed(0.95, error)
    assert more({"": {}}, {"": Belief(0.5, concentration=inf)}, "a", None, "", 0.01, 50) is None


@pytest.mark.parametrize(
    "belief", [ALIKE, Belief(0.8, concentration=60, same=0.3), Belief(0.9, concentration=15, same=0.5)]
)
@pytest.mark.parametrize("error", [0.02, 0.002])
def test_a_race_predicts_what_simulated_prompts_do(belief: Belief, error: float) -> None:
    """Samples drawn, and winners that are wrong, over prompts drawn from the mixture itself."""
    rng, runs, samples, wrong = Random(7), 3000, 0, 0
    predicted = race(belief, error, 60)
    promised = 0.0
    for _ in range(runs):
        c = belief.concentration
        p = belief.p if c == inf else rng.betavariate(belief.p * c, (1 - belief.p) * c)
        ballot: dict[str, int] = {}
        for draw in range(60):
            if rng.random() < p:
                key = "right"
            else:
                key = "modal" if rng.random() < belief.same**0.5 else f"odd {draw}"
            ballot[key] = ballot.get(key, 0) + 1
            samples += 1
            best = max(ballot, key=lambda one: ballot[one])
            stands = posterior({"": ballot}, {"": belief}, best)
            if stands.doubt <= error:
                wrong += best != "right"
                promised += 1 - stands.p
                break
    assert samples / runs == pytest.approx(predicted.samples, rel=0.06)
    sigma = (promised + 1) ** 0.5
    assert wrong <= promised + 4 * sigma, "more winners were wrong than was promised"
    assert promised <= runs * error


def test_no_test_draws_fewer_samples_than_walds_bound() -> None:
    for p in (0.8, 0.9, 0.95):
        for error in (1e-2, 1e-4):
            found = race(Belief(p, concentration=inf), error, 400)
            # The bound allows an error of exactly `error`; whole votes overshoot it.
            assert found.samples >= wald(p, max(found.wrong, 1e-12)) * 0.999 or found.wrong < error
    assert wald(0.95, 0.001) == pytest.approx(2.604, abs=0.01)
    assert wald(0.5, 0.1) == inf


def test_the_pace_of_a_vote_is_its_drift() -> None:
    assert pace(ALIKE) == pytest.approx(2.65, abs=0.005)
    assert pace(Belief(0.8, concentration=inf, cost=2.0)) == pytest.approx(0.832 / 2, abs=0.001)
    assert pace(Belief(0.5, concentration=inf)) == 0
    assert exp(-inf) == 0
