"""Rates, allocation and correlation, against the worked numbers of the formulas' sources."""

from __future__ import annotations

from itertools import product
from math import inf, log, prod
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_benchmarks import part

from surefoot.reflection.allocation import Menu, allot, spacing
from surefoot.reflection.calibration import Calibration, belief_of, subsets, tally, words
from surefoot.reflection.canonical import canonical
from surefoot.reflection.correlation import concentration
from surefoot.reflection.evidence import Belief
from surefoot.reflection.mutants import mutants
from surefoot.reflection.rates import Beta, Rates, rogan_gladen
from surefoot.storage.learned import Checking, Sampling
from surefoot.storage.records import Json

formulas = part("formulas")
again, ceiling, hard, vote_error = formulas.again, formulas.ceiling, formulas.hard, formulas.vote_error
Retried, common_cause, shared_cause = formulas.Retried, formulas.common_cause, formulas.shared_cause

# --- rates ------------------------------------------------------------------------------------------------------


def test_a_verifier_that_passes_three_quarters_of_wrong_answers_weighs_little() -> None:
    assert Rates(Beta(900, 100), Beta(760, 240)).drift() == pytest.approx(0.065, abs=0.005)
    assert Rates(Beta(950, 50), Beta(50, 950)).drift() == pytest.approx(2.65, abs=0.05)


def test_a_verifier_that_nobody_measured_weighs_nothing() -> None:
    unknown = Rates(Beta(), Beta())
    assert (unknown.passes(), unknown.fails(), unknown.drift()) == (0.0, 0.0, 0.0)


def test_careful_rates_come_nearer_to_the_means_with_more_counts() -> None:
    few, many = Rates(Beta(19, 1), Beta(1, 19)), Rates(Beta(1900, 100), Beta(100, 1900))
    assert few.passes() < many.passes() < log(0.95 / 0.05)
    assert 0 > few.fails() > many.fails() > log(0.05 / 0.95)


def test_no_miss_in_so_many_canaries_certifies() -> None:
    assert Beta(0, 59).upper() < 0.05


def test_only_accept_rates_are_seen() -> None:
    assert rogan_gladen(0.86, 0.9, 0.1) == pytest.approx(0.95)
    assert rogan_gladen(0.05, 0.9, 0.1) == 0
    with pytest.raises(ValueError, match="tells nothing"):
        rogan_gladen(0.5, 0.7, 0.7)


@pytest.mark.parametrize(("shared", "reliability"), [(0.1, 0.969), (0.6, 0.832)])
def test_copies_of_one_judge_stop_helping(shared: float, reliability: float) -> None:
    three = Retried(0.95, 0.95**3, common_cause(0.05, shared, 3))
    assert three.right**100 == pytest.approx(reliability, abs=2e-3)
    assert shared_cause(common_cause(0.05, shared, 2), 0.05) == pytest.approx(shared, abs=1e-6)


@pytest.mark.parametrize(
    ("p", "a", "b", "ten", "thousand"),
    [(0.95, 0.95, 0.05, 0.9727, 0.0629), (0.99, 0.95, 0.01, 0.9989, 0.8991)],
)
def test_retrying_until_accepted_has_a_ceiling(p: float, a: float, b: float, ten: float, thousand: float) -> None:
    tried = Retried(p, a, b)
    assert tried.right**10 == pytest.approx(ten, abs=1e-4)
    assert tried.right**1000 == pytest.approx(thousand, abs=1e-4)


# --- allocation -------------------------------------------------------------------------------------------------


def menu(p: float, cost: float, count: int, most: int = 8) -> Menu:
    return Menu(cost, tuple(vote_error(p, k) for k in range(1, most + 1)), count)


@pytest.mark.parametrize("target", [0.9, 0.99, 0.999])
def test_whole_votes_are_shared_out_almost_as_well_as_by_trying_everything(target: float) -> None:
    menus = [menu(0.95, 1, 2, 5), menu(0.8, 3, 2, 7)]
    found = allot(menus, target)
    best = inf
    ranges = [range(1, 6)] * 2 + [range(1, 8)] * 2
    for counts in product(*ranges):
        ok = prod(1 - menus[0].errors[k - 1] for k in counts[:2]) * prod(1 - menus[1].errors[k - 1] for k in counts[2:])
        if ok >= target:
            best = min(best, sum(counts[:2]) + 3 * sum(counts[2:]))
    assert found.reliability >= target
    assert best <= found.cost <= best + 3, "within one purchase of the best"


def test_what_money_buys() -> None:
    menus = [menu(0.95, 1, 10)]
    full, poor = allot(menus, 0.99), allot(menus, 0.99, money=25)
    assert poor.cost <= 25 < full.cost and poor.reliability < 0.99 <= full.reliability
    assert allot([menu(0.4, 1, 1)], 0.99).reliability < 0.99, "no number of votes is enough"
    with pytest.raises(ValueError, match="raise the budget"):
        allot(menus, 0.99, money=5)


@pytest.mark.parametrize(("error", "check", "steps"), [(0.05, 1, 4), (0.01, 5, 20), (0.001, 20, 132)])
def test_dear_checks_are_spaced_out(error: float, check: float, steps: int) -> None:
    assert spacing(check, error) == steps
    assert spacing(0, error) == 1


# --- correlation ------------------------------------------------------------------------------------------------


def test_shares_of_prompts_that_votes_cannot_mend() -> None:
    table = {1: 3.7e-2, 2: 2.3e-2, 5: 4.7e-3, 10: 3.4e-4, 20: 1.9e-6}
    for c, share_ in table.items():
        assert hard(0.95, c) == pytest.approx(share_, rel=0.03)
    assert ceiling(0.95, 5, 10) == pytest.approx(0.954, abs=1e-3)
    assert ceiling(0.95, 10, 1000) == pytest.approx(0.713, abs=1e-3)
    assert (hard(0.9, inf), hard(0.4, inf)) == (0, 1)


@given(st.floats(0.55, 0.99), st.floats(0.5, 500))
def test_the_concentration_is_found_again(p: float, c: float) -> None:
    assert concentration(p, again(p, c)) == pytest.approx(c, rel=1e-6)
    assert concentration(p, 1 - p) == inf


@pytest.mark.parametrize("complete", [True, False])
@pytest.mark.parametrize("c", [4.0, 20.0])
def test_collisions_tell_the_concentration_without_any_true_rate(complete: bool, c: float) -> None:
    """Samples of 6,000 prompts: eight each, or until the first right one."""
    rng, p = Random(3), 0.85
    total = Sampling("", "")
    for _ in range(6000):
        mine = rng.betavariate(p * c, (1 - p) * c)
        known: list[tuple[str, bool]] = []
        while len(known) < 8 and (complete or not (known and known[-1][1])):
            right = rng.random() < mine
            known.append(("right" if right else f"wrong {rng.random() < 0.5}", right))
        one = tally("", "", "", known, complete=complete)
        total = Sampling("", "", "", *(getattr(total, name) + getattr(one, name) for name in Sampling.__slots__[3:]))
    found = belief_of(total, Belief())
    assert found.basis == "measured"
    assert found.p == pytest.approx(p, abs=0.015)
    assert found.low is not None and found.low < found.p
    assert found.low_concentration is not None and found.low_concentration <= c * 1.05
    assert found.concentration == pytest.approx(c, rel=0.35)
    assert found.same == pytest.approx(0.5, abs=0.08)


# --- what was measured ------------------------------------------------------------------------------------------


def test_too_few_counts_leave_the_stated_belief() -> None:
    stated = Belief(0.8)
    known = Calibration([Sampling("sum", "m@1", "", 10, 10, 0)])
    assert known.belief("sum", "m@1", "", stated) is stated
    assert Calibration().belief("sum", "m@1", "", stated) is stated


def test_what_was_measured_of_one_version_says_nothing_of_another() -> None:
    known = Calibration(
        [Sampling("sum", "m@1", "", 100, 90, 10, 10, 1, 1), Checking("sum", "v", "1", "audit", 50, 0, 1, 49)]
    )
    assert known.belief("sum", "m@1", "", Belief()).basis == "measured"
    assert known.belief("sum", "m@2", "", Belief()).basis == "prior"
    assert known.belief("sum", "m@1", "split", Belief()).basis == "prior"
    assert known.rates("sum", "v", "1") is not None
    assert known.rates("sum", "v", "2") is None
    assert Calibration.from_json(known.to_json(["m@1"])).belief("sum", "m@1", "", Belief()).basis == "measured"


def test_mutants_alone_make_no_measured_rate() -> None:
    canary = Checking("sum", "v", "1", "canary", 40, 0, 2, 78)
    audit = Checking("sum", "v", "1", "audit", 40, 0, 20, 20)
    rates = Calibration([canary]).rates("sum", "v", "1")
    assert rates is not None and rates[1] == "prior"
    both = Calibration([canary, audit]).rates("sum", "v", "1")
    assert both is not None and both[1] == "measured"
    assert both[0].false_accept.mean == pytest.approx(0.5), "where models' own errors were seen, they count"


def test_a_verifier_is_worth_what_it_adds_to_those_before_it() -> None:
    alone = [Checking("sum", name, "1", "audit", 200, 0, 20, 180) for name in ("one", "two")]
    after = Checking("sum", "two", "1", "audit", 200, 0, 10, 10, after=words({"one": True}))
    said = {"one": True}

    def of(known: Calibration, passed: bool = True, nats: float = 2.0) -> float:
        found = known.weight("sum", "two", "1", passed, said, nats)
        assert found is not None
        return found[0]

    own = Calibration(alone).weight("sum", "two", "1", True, {}, 0.0)
    assert own is not None and own[0] == pytest.approx(log(10), abs=0.4)
    assert of(Calibration(alone)) == pytest.approx(max(0.0, own[0] - 2.0)), "unmeasured: only beyond what was given"
    assert of(Calibration(alone), nats=0.0) == own[0]
    assert of(Calibration([*alone, after])) == pytest.approx(log(2), abs=0.4)
    copy = Checking("sum", "two", "1", "audit", 200, 0, 20, 0, after=words({"one": True}))
    assert of(Calibration([*alone, copy])) == 0.0
    assert Calibration(alone).weight("sum", "three", "1", True, said, 2.0) is None
    both = Calibration([*alone, after])
    assert both.seen("sum", "two", "1", "one") == (200, 20)
    assert Calibration.from_json(both.to_json([])).rates("sum", "two", "1", words(said)) == both.rates(
        "sum", "two", "1", words(said)
    )


def test_words_are_the_same_in_any_order() -> None:
    assert words({"b": False, "a": True}) == words({"a": True, "b": False}) == "a=pass b=fail"
    assert sorted(subsets({"a": True, "b": False})) == ["", "a=pass", "a=pass b=fail", "b=fail"]


# --- mutants ----------------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-1000, 1000) | st.text("ab1 +", max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("xyz"), inner, max_size=3),
    max_leaves=8,
)


@given(JSON, st.integers(0, 100))
def test_a_mutant_is_never_the_good_value(value: Json, seed: int) -> None:
    made = list(mutants(value, Random(seed), 4))
    keys = [canonical(one) for one in made]
    assert len(made) <= 4 and len(set(keys)) == len(keys)
    assert canonical(value) not in keys
    assert made == list(mutants(value, Random(seed), 4))


@pytest.mark.parametrize("value", [12, "12 units", "x + y", "the red house", True, [1, 2], {"a": {"b": 3}}])
def test_what_can_be_changed_is_changed(value: Json) -> None:
    assert list(mutants(value, Random(1), 2))
    assert not list(mutants(None, Random(1), 2))
