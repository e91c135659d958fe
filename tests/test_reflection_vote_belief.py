"""What counts of answers tell, with labels and without."""

from __future__ import annotations

from itertools import product
from math import exp

import numpy as np
import pytest
from scipy.special import betaln, gammaln

from surefoot.reflection.calibration import Calibration, belief_in
from surefoot.reflection.evidence import more, posterior
from surefoot.reflection.vote_belief import (
    LEFT,
    MEANS,
    MEDIUM,
    MISCONCEIVED,
    RIGHT,
    SHARES,
    SOME,
    SPREADS,
    STRONG,
    TABLES,
    UNKNOWN,
    WRONG,
    VoteBelief,
    grid,
    ordered,
)
from surefoot.storage.learned import Agreement

COUNTS = [(1,), (2,), (2, 1), (1, 1, 1), (4, 2, 1), (6, 6), (12,)]


def crp(sizes: tuple[int, ...], t: float) -> float:
    return float(len(sizes) * np.log(t) + sum(map(gammaln, sizes)) + gammaln(t) - gammaln(t + sum(sizes)))


def by_hand(counts: tuple[int, ...], right: int | None, cell: tuple[float, ...]) -> float:
    """The likelihood of one cell, written down as in the module's docstring."""
    p, c, t, s, u = cell
    mine, size = (counts[right] if right is not None else 0), sum(counts)
    others = tuple(count for place, count in enumerate(counts) if place != right)
    a, b = p * c, (1 - p) * c
    plain = exp(betaln(a + mine, b + size - mine) - betaln(a, b))
    usual = (1 - SOME) * exp(crp(others, t)) + SOME * exp(crp(others, MEDIUM))
    plain *= (1 - s) * usual + s * exp(crp(others, STRONG))
    misled = exp(betaln(RIGHT + mine, LEFT + size - mine) - betaln(RIGHT, LEFT) + crp(others, STRONG))
    return (1 - u) * plain + u * misled


@pytest.mark.parametrize("counts", COUNTS)
def test_the_sum_over_the_grid_is_that_of_the_formula(counts: tuple[int, ...]) -> None:
    cells = list(product(MEANS, SPREADS, TABLES, SHARES, MISCONCEIVED))
    weights = [MISCONCEIVED[cell[4]] for cell in cells]
    places: list[int | None] = [*range(len(counts)), None]
    sums = [
        sum(weight * by_hand(counts, place, cell) for weight, cell in zip(weights, cells, strict=True))
        for place in places
    ]
    assert VoteBelief().right(counts).all_in == pytest.approx(sums[0] / sum(sums), rel=1e-9)


def test_that_wrong_answers_hardly_met_so_far_does_not_make_three_of_eleven_right() -> None:
    """Counts of a real model that is right .1 of the time on capitals; here it said a capital that there is not."""
    seen = {((3,), UNKNOWN): 1.0, ((4, 1, 1, 1, 1, 1), UNKNOWN): 1.0, ((1,) * 11, UNKNOWN): 1.0}
    assert VoteBelief().learnt(seen).right((3, *(1,) * 8)).by_votes < 0.95


def test_forms_may_come_in_any_order() -> None:
    belief = VoteBelief()
    assert belief.right((1, 4, 2), 1) == belief.right((4, 2, 1), 0)
    assert ordered((1, 0, 4)) == (4, 1)


def test_what_is_believed_sums_to_one() -> None:
    found = [VoteBelief().right((3, 2, 1), place).all_in for place in (0, 1, 2)]
    assert 0 < sum(found) < 1, "the rest is that none of them is right"


def test_samples_that_never_agree_show_a_weak_model_without_a_label() -> None:
    weak = VoteBelief().learnt({((1, 1, 1), UNKNOWN): 9, ((2, 1), UNKNOWN): 1})
    assert weak.interval()[1] < 0.6, "known after ten prompts"
    assert weak.right((2, 1)).by_votes < 0.5


def test_samples_that_always_agree_are_trusted_by_votes_and_less_all_in() -> None:
    strong = VoteBelief().learnt({((2,), UNKNOWN): 30})
    found = strong.right((2,))
    assert found.by_votes > 0.99 > found.all_in, "agreement shows no misconception"
    told = strong.learnt({((2,), "2"): 100})
    assert told.right((2,)).all_in > 0.99 and told.misconceived < strong.misconceived / 2


def test_labels_of_the_two_kinds_pull_apart() -> None:
    start = VoteBelief().learnt({((3,), UNKNOWN): 20})
    right, wrong = (start.learnt({((3,), truth): 5.0}) for truth in ("3", WRONG))
    assert right.right((3,)).all_in > start.right((3,)).all_in > wrong.right((3,)).all_in
    assert (right.truths, wrong.truths, start.truths, right.prompts) == (5, 5, 0, 25)


def test_a_label_never_allows_more_than_none() -> None:
    """The labelled likelihoods of a pattern add up to the unlabelled one."""
    start = VoteBelief()
    shares = [start.right((3, 1), place).all_in for place in (0, 1)]
    neither = 1 - sum(shares)
    mixed = sum(
        share * start.learnt({((3, 1), truth): 1}).p for share, truth in zip([*shares, neither], "310", strict=True)
    )
    assert mixed == pytest.approx(start.learnt({((3, 1), UNKNOWN): 1}).p, rel=1e-6)


def test_means_of_the_grid_are_those_of_its_cells() -> None:
    axes, belief = grid(), VoteBelief()
    assert belief.misconceived == pytest.approx(sum(u * weight for u, weight in MISCONCEIVED.items()))
    plain = (1 - belief.misconceived) * float(np.mean(axes.p))
    assert belief.p == pytest.approx(plain + belief.misconceived * RIGHT / (RIGHT + LEFT))
    assert 0 < belief.same < 1 and 0 < belief.concentration < 40


def test_what_other_classes_showed_is_a_hint_and_no_more() -> None:
    rows = [Agreement("colours", "m@1", "", "2", "2", 1000.0)]
    known = Calibration(rows)
    young, own = known.votes("places", "m@1", ""), known.votes("colours", "m@1", "")
    assert VoteBelief().p < young.p < own.p
    assert (young.prompts, young.truths, own.truths) == (0, 0, 1000), "no truth of this class was seen"
    assert belief_in(young).basis == "prior" and belief_in(own).basis == "measured"
    assert known.votes("colours", "m@2", "").p == VoteBelief().p, "another policy starts from nothing"
    again = Calibration.from_json(known.to_json(["m@1"]))
    assert again.votes("colours", "m@1", "").p == pytest.approx(own.p)


def test_the_ledger_takes_both_numbers_and_counts_votes_by_the_weaker_one() -> None:
    belief = belief_in(VoteBelief().learnt({((2,), UNKNOWN): 30}))
    stands = posterior({"": {"a": 2}}, {"": belief}, "a")
    found = belief.votes.right((2,)) if belief.votes is not None else None
    assert found is not None and stands.by_votes is not None
    assert (stands.p, stands.by_votes) == pytest.approx((found.all_in, found.by_votes))
    assert stands.doubt > stands.agreed and stands.bound >= stands.doubt
    assert more({"": {}}, {"": belief}, "a", None, "", 0.01, 12, by_votes=True) == 2
    assert more({"": {}}, {"": belief}, "a", None, "", 0.001, 12) is None, "no vote shows a misconception"
    checked = posterior({"": {"a": 2}}, {"": belief}, "a", {"a": 3.0})
    assert checked.p > stands.p, "a measured check says more than votes can"
