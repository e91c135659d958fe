"""PUCT and Gumbel say what their formulas say, worked out by hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import exp, log
from random import Random

import pytest

from surefoot.planners.search import gumbel, puct
from surefoot.planners.search.tree import NEW, Node


def parent(priors: Sequence[float], visits: Sequence[int], values: Sequence[float], said: float | None = None) -> Node:
    """A node that was asked once and whose visits are those of its children."""
    node = Node("parent", None)
    for place, (prior, count, value) in enumerate(zip(priors, visits, values, strict=True)):
        child = Node(place, None)
        child.visits, child.total = count, count * value
        node.actions.append(place)
        node.priors.append(prior)
        node.logits.append(log(prior))
        node.children.append(child)
    node.asks, node.said = 1, said
    node.visits = sum(visits)
    node.total = sum(count * value for count, value in zip(visits, values, strict=True))
    return node


# --- PUCT -------------------------------------------------------------------------------------------------------


def test_puct_scores_children_as_the_formula_does() -> None:
    node = parent([0.5, 0.3, 0.2], [3, 1, 0], [0.9, 0.2, 0.0])
    # sqrt(4) (1.25 + ln((4 + 19652 + 1) / 19652)) = 2.500509; values lie between .2 and .9, the parent's is .725.
    first = 1.0 + 0.5 * 2.500509 / 4
    second = 0.0 + 0.3 * 2.500509 / 2
    third = 0.0 + 0.2 * 2.500509  # no visit: the least value
    fresh = 0.0 + 1.0 * 2.500509 / 2  # asking for more: asked once
    assert puct.scores(node) == pytest.approx([first, second, third, fresh], abs=1e-6)
    assert puct.scores(node) == pytest.approx([1.312564, 0.375076, 0.500102, 1.250254], abs=1e-6)


def test_a_parent_that_is_worse_than_all_children_is_the_floor() -> None:
    node = parent([0.5, 0.5], [1, 1], [0.8, 0.6])
    node.total = 0.0
    first, second, _ = puct.scores(node)
    assert first - second == pytest.approx(0.25), "(0.8 - 0.6) / (0.8 - 0)"


def test_what_is_under_way_lowers_the_urge_and_leaves_the_value_alone() -> None:
    node = parent([0.5, 0.5], [2, 2], [0.5, 0.5])
    assert puct.pick(node, False) == 0
    node.children[0].pending = node.pending = 1
    assert puct.pick(node, False) == 1
    assert node.children[0].value == 0.5


def test_more_is_asked_for_where_what_there_is_is_poor_and_where_it_is_allowed() -> None:
    poor, rich = parent([0.5, 0.5], [4, 4], [0.0, 0.0]), parent([0.9, 0.1], [4, 4], [1.0, 0.0])
    poor.asks = rich.asks = 4
    assert puct.pick(poor, True) == NEW
    assert puct.pick(poor, False) in (0, 1)
    assert puct.pick(rich, True) == 0


@pytest.mark.parametrize("module", [puct, gumbel])
def test_what_has_failed_is_never_picked(module: object) -> None:
    pick = module.pick  # type: ignore[attr-defined]
    node = parent([0.9, 0.1], [3, 1], [0.9, 0.1])
    node.children[0].failed, node.lost = True, 1
    assert pick(node, False) == 1
    node.children[1].failed, node.lost = True, 2
    assert pick(node, False) == NEW, "nothing else is left"


# --- Gumbel -----------------------------------------------------------------------------------------------------


def test_a_child_without_a_visit_takes_the_mixed_value() -> None:
    node = parent([0.6, 0.4], [2, 0], [0.8, 0.0], said=0.5)
    # The node's own word .5 and two visits whose mean is .8: (.5 + 2 * .8) / 3 = .7. The last is asking for more.
    assert gumbel.completed(node) == pytest.approx([0.8, 0.7, 0.7])
    node = parent([0.6, 0.2, 0.2], [1, 3, 0], [0.9, 0.1, 0.0], said=0.3)
    # q = (.6 * .9 + .2 * .1) / .8 = .7, so (.3 + 4 * .7) / 5 = .62
    assert gumbel.completed(node) == pytest.approx([0.9, 0.1, 0.62, 0.62])


def test_sigma_scales_values_by_the_most_visits() -> None:
    node = parent([0.5, 0.5], [3, 1], [0.8, 0.2])
    assert gumbel.sigma(node, [0.8, 0.2, 0.5]) == pytest.approx([5.3, 0.0, 2.65]), "(50 + 3) * 0.1 * (q - .2) / .6"


def test_the_improved_policy_is_the_softmax_of_logits_and_sigma() -> None:
    node = parent([0.75, 0.25], [1, 1], [0.0, 1.0], said=0.5)
    # Mixed: (.5 + 2 * .25) / 3 = 1/3. Sigma: (50 + 1) * .1 * q = 0, 5.1 and 1.7; asking for more has prior 1.
    weights = [0.75, 0.25 * exp(5.1), exp(1.7)]
    assert gumbel.improved(node) == pytest.approx([one / sum(weights) for one in weights])


def test_below_the_root_visits_follow_the_improved_policy() -> None:
    node = parent([0.5, 0.5], [0, 0], [0.0, 0.0], said=0.5)
    node.children[0].visits, node.children[1].visits = 6, 2
    node.children[0].total, node.children[1].total = 3.0, 1.0
    assert gumbel.pick(node, False) == 1, "equal values and priors, and the second has been seen less"


def test_candidates_are_drawn_without_replacement_and_by_their_priors() -> None:
    node = parent([0.6, 0.3, 0.1], [1, 1, 1], [0.5, 0.5, 0.5])
    draws = [gumbel.Halving(node, Random(seed), 8, 2).left for seed in range(3000)]
    assert all(len(set(one)) == 2 for one in draws)
    first = Counter(one[0] for one in draws)
    second = Counter(one[1] for one in draws if one[0] == 0)
    # Five standard deviations of 3000 draws are .045; of those whose first was 0, .057.
    assert first[0] / 3000 == pytest.approx(0.6, abs=0.045)
    assert second[1] / sum(second.values()) == pytest.approx(0.75, abs=0.057), ".3 / (.3 + .1)"


@pytest.mark.parametrize(
    ("simulations", "considered", "counts"),
    [
        (8, 4, [1, 1, 3, 3]),  # 8 / (2 rounds * 4) = 1 each, then 8 / (2 * 2) = 2 each of the better two
        (24, 8, [1, 1, 1, 1, 3, 3, 7, 7]),  # three rounds of 8 simulations
        (16, 2, [8, 8]),
        (5, 1, [5]),
        (2, 8, [1, 1]),  # never more candidates than simulations
    ],
)
def test_sequential_halving_shares_its_simulations(simulations: int, considered: int, counts: list[int]) -> None:
    node = parent([1 / 8] * 8, [1] * 8, [0.5] * 8)
    visits = Counter[int]()
    for places in gumbel.Halving(node, Random(0), simulations, considered).schedule():
        visits.update(places)
    assert sorted(visits.values()) == counts


def test_sequential_halving_keeps_the_better_half_by_what_is_known_by_then() -> None:
    node = parent([0.25] * 4, [1] * 4, [0.5] * 4)
    rounds = gumbel.Halving(node, Random(0), 8, 4).schedule()
    assert sorted(next(rounds)) == [0, 1, 2, 3]
    for place, value in enumerate((0.1, 0.9, 0.8, 0.2)):
        node.children[place].total = value
    assert sorted(next(rounds)) == [1, 2]
    node.children[1].failed, node.lost = True, 1
    assert next(rounds) == [2], "what has failed meanwhile is left out"
