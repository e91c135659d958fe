"""Searches: what is merged, what is settled, what is spent, and what they find."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import given as examples
from hypothesis import settings
from hypothesis import strategies as st
from words import Letters, Open, Words, find

from surefoot.planners.search.drive import Problem, drive
from surefoot.planners.search.space import Budget, Offer
from surefoot.planners.search.strategies import STRATEGIES, gumbel_search, puct_search
from surefoot.planners.search.tree import PATIENCE, Node, Tree
from surefoot.storage.errors import SetupError


def tree(space: Any, start: Any, **options: Any) -> Tree:
    return Tree(Problem(space, start, Budget(), Random(0)), **options)


class Anagrams(Words):
    """Words whose letters may stand in any order."""

    def key(self, state: str) -> str:
        return "".join(sorted(state))


# --- merging ----------------------------------------------------------------------------------------------------


def test_offers_that_lead_to_the_same_state_are_one_child_and_their_counts_its_prior() -> None:
    made = tree(Words("444"), "")
    made.offer(made.root, [Offer("1"), Offer("2"), Offer("1"), Offer("1")])
    assert [child.state for child in made.root.children] == ["1", "2"]
    assert made.root.priors == [0.75, 0.25]
    made.offer(made.root, [Offer("2", prior=2.0)])
    assert made.root.priors == [0.5, 0.5], "priors of a policy that names them add up too"


def test_a_state_that_is_reached_in_several_ways_is_one_node() -> None:
    made = tree(Anagrams("444"), "")
    made.offer(made.root, [Offer("1"), Offer("2")])
    one, two = made.root.children
    made.offer(one, [Offer("2")])
    made.offer(two, [Offer("1")])
    assert one.children[0] is two.children[0]
    assert one.children[0].parents == [one, two]
    assert made.way(one.children[0]) == ("1", "2"), "as it was first reached"


# --- flags ------------------------------------------------------------------------------------------------------


def test_a_solved_child_solves_everything_above_it() -> None:
    made = tree(Words("12"), "")
    made.offer(made.root, [Offer("3"), Offer("1")])
    assert not made.root.solved
    made.offer(made.root.children[1], [Offer("1"), Offer("2")])
    assert made.root.children[1].solved and made.root.solved
    assert not made.root.children[0].solved
    found = made.found()
    assert found.solved and found.best is not None
    assert (found.best.actions, found.best.state) == (("1", "2"), "12")


def test_a_node_has_failed_when_all_its_children_have_and_nothing_more_is_offered() -> None:
    made = tree(Words("44"), "1")
    root = made.root
    made.offer(root, [Offer(one) for one in "123"])
    assert [child.failed for child in root.children] == [True] * 3
    assert not root.failed, "the policy may have more to offer"
    made.offer(root, [Offer("1")] * (PATIENCE - 1))
    assert not root.failed
    made.offer(root, [Offer("2")])
    assert root.failed, "so many offers in a row brought nothing new"


def test_failure_goes_up_to_every_parent() -> None:
    made = tree(Anagrams("444"), "")
    made.offer(made.root, [Offer("1"), Offer("2")])
    one, two = made.root.children
    for node, letter in ((one, "2"), (two, "1")):
        made.offer(node, [Offer(letter)])
        made.offer(node, [])
    made.offer(made.root, [])
    shared = one.children[0]
    assert not (one.failed or two.failed)
    made.offer(shared, [Offer("3")])
    made.offer(shared, [])
    assert shared.failed and one.failed and two.failed and made.root.failed
    assert made.found().exhausted


def test_a_failed_node_is_worth_nothing_and_is_not_walked_to() -> None:
    made = tree(Words("44"), "")
    made.offer(made.root, [Offer("1"), Offer("2")])
    one = made.root.children[0]
    one.visits, one.total = 1, 1.0
    made.offer(one, [Offer("1")])
    made.offer(one, [])
    assert one.failed and one.value == 0.0
    assert made.walk([made.root], lambda node, fresh: 1) is made.root.children[1]


# --- walking ----------------------------------------------------------------------------------------------------


def test_a_node_widens_no_faster_than_its_visits_allow() -> None:
    async def propose(states: Sequence[str], n: int, seeds: Sequence[int]) -> list[list[Offer]]:
        return [[Offer(f"{Random(seed + place).random()}") for place in range(n)] for seed in seeds]

    for search, width, alpha in ((puct_search, 3, 0.5), (puct_search, 2, 0.25), (gumbel_search, 3, 0.5)):
        space = Words("x" * 99, offer=0, price=0)
        space.propose = propose  # type: ignore[method-assign]
        made: list[Tree] = []
        problem = Problem(space, "", Budget(simulations=200), Random(0))
        run = search(problem, width=width, alpha=alpha)
        asyncio.run(drive(space, Letters(space), [(problem, watched(run, made))]))
        (nodes,) = [one.nodes.values() for one in made]
        assert max(len(node.children) for node in nodes) > width
        for node in nodes:
            alive = len(node.children) - node.lost
            assert alive <= width * max(node.visits, 1) ** alpha
            assert node.pending == 0, "nothing is under way when a search has ended"


def watched(run: Any, made: list[Tree]) -> Any:
    """The same search, whose tree is kept."""
    answer = None
    while True:
        try:
            need = run.send(answer)
        except StopIteration as end:
            return end.value
        made[:] = [run.gi_frame.f_locals["tree"]]
        answer = yield need


class Circle(Words):
    """Three places in a circle, none of which is the goal."""

    def apply(self, state: str, action: str) -> str:
        return {"": "a", "a": "b", "b": ""}[state] if action == "1" else state

    def dead(self, state: str) -> bool:
        return False


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_way_that_leads_in_a_circle_comes_to_an_end(strategy: str) -> None:
    found, budget = asyncio.run(find(Circle("never"), strategy, 3000))
    assert found.best is None and not found.solved
    assert budget.spent <= 3000


# --- what is spent ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Words, Open])
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("tokens", [0, 1, 7, 40, 333, 2000])
def test_a_budget_is_never_passed_and_what_is_said_to_be_spent_was(strategy: str, tokens: int, kind: type) -> None:
    for seed in range(6):
        words = kind("9999", offer=1 + 3 * seed, price=2 * seed)
        found, budget = asyncio.run(find(words, strategy, tokens, seed, batch=1 + seed % 3))
        assert words.paid == budget.spent == found.tokens <= tokens


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_simulations_are_limited_too(strategy: str) -> None:
    found, budget = asyncio.run(find(Words("9999", offer=0, price=0), strategy, 0, simulations=9))
    assert found.simulations == budget.made == 9


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_search_ends_with_the_solved_state(strategy: str) -> None:
    words = Words("1", offer=1, price=0)
    found, _ = asyncio.run(find(words, strategy, 10_000))
    assert found.solved and words.paid < 100


def test_a_space_that_costs_more_than_it_says_is_refused() -> None:
    words = Words("999")
    words.tokens = 1
    with pytest.raises(SetupError, match="an offer cost 3 tokens; its space says at most 1"):
        asyncio.run(find(words, "puct", 1000))


@pytest.mark.parametrize(
    ("said", "error"),
    [([0.5], "returned 1 values for"), ([1.5] * 9, "a chance is between"), ([float("nan")] * 9, "returned nan")],
)
def test_a_value_function_that_does_not_keep_its_promise_is_refused(said: list[float], error: str) -> None:
    words = Words("9999")

    class Wrong(Letters):
        async def __call__(self, states: Sequence[str]) -> list[float]:
            return said if len(said) == 1 else said[: len(states)]

    problem = Problem(words, "", Budget(1000), Random(0), words.price)
    with pytest.raises(SetupError, match=error):
        asyncio.run(drive(words, Wrong(words), [(problem, puct_search(problem))]))


# --- what is found ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_finds_what_a_true_value_function_points_at(strategy: str) -> None:
    found, _ = asyncio.run(find(Words("3214"), strategy, 20_000))
    assert found.solved and found.best is not None
    assert found.best.actions == tuple("3214")


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_where_no_rule_says_what_is_right_the_favourite_is_found_and_not_called_solved(strategy: str) -> None:
    found, _ = asyncio.run(find(Open("321"), strategy, 6000))
    assert found.best is not None and not found.solved
    assert (found.best.state, found.best.score) == ("321", 1.0)


def test_equally_good_ends_are_ranked_by_how_many_attempts_ended_there() -> None:
    words = Open("1111", offer=1)

    async def propose(states: Sequence[str], n: int, seeds: Sequence[int]) -> list[list[Offer]]:
        first = [[Offer("2" if seed % 4 else "3")] for seed in seeds]
        return [[] if state else offers for state, offers in zip(states, first, strict=True)]

    words.propose = propose  # type: ignore[method-assign]
    found, _ = asyncio.run(find(words, "best-of-n", 10_000, simulations=40))
    assert found.best is not None
    assert {one.state: one.score for one in found.ends} == {"2": 0.0, "3": 0.0}
    assert found.best.state == "2" and sum(one.support for one in found.ends) == 40


def test_no_attempt_is_made_whose_end_could_not_be_judged() -> None:
    class Uneven(Open):
        """Words that end with a 1, whatever their length."""

        async def propose(self, states: Sequence[str], n: int, seeds: Sequence[int]) -> list[list[Offer]]:
            ways = zip(states, seeds, strict=True)
            return [[] if state.endswith("1") else self._offers(n, Random(seed)) for state, seed in ways]

    for batch in (1, 5):
        for tokens in range(0, 300, 7):
            words = Uneven("9999", offer=4, price=9)
            found, budget = asyncio.run(find(words, "best-of-n", tokens, batch=batch))
            assert sum(one.support for one in found.ends) == found.simulations
            assert words.paid == budget.spent <= tokens


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_what_is_solved_at_the_start_needs_no_way(strategy: str) -> None:
    found, budget = asyncio.run(find(Words(""), strategy, 100))
    assert found.solved and found.best is not None
    assert (found.best.actions, found.best.state, budget.spent) == ((), "", 0)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_policy_that_has_only_dead_ends_to_offer_and_costs_nothing_comes_to_an_end(strategy: str) -> None:
    class Endless(Words):
        def dead(self, state: str) -> bool:
            return len(state) > 0

        def _offers(self, n: int, rng: Random) -> list[Offer]:
            return [Offer(f"{rng.random()}") for _ in range(n)]

    found, budget = asyncio.run(find(Endless("never", offer=0, price=0), strategy, 0, simulations=50))
    assert not found.solved and budget.made == 50


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_same_seed_finds_the_same_in_whatever_company(strategy: str) -> None:
    def run(seeds: Sequence[int]) -> dict[int, Any]:
        words = Words("2143", truth=False)
        problems = [Problem(words, "", Budget(900), Random(seed), words.price) for seed in seeds]
        searches = [(one, STRATEGIES[strategy](one)) for one in problems]
        return dict(zip(seeds, asyncio.run(drive(words, Letters(words), searches)), strict=True))

    alone = {seed: run([seed])[seed] for seed in range(4)}
    assert run(range(4)) == alone
    assert run([3, 1, 0, 2]) == alone
    assert len({(one.tokens, one.states) for one in alone.values()}) > 1, "other seeds search otherwise"


def test_leaves_of_several_trees_are_judged_in_one_call_and_leaves_of_one_tree_in_another_batch() -> None:
    words = Words("9999")

    def calls(trees: int, batch: int) -> list[int]:
        letters = Letters(words)
        problems = [Problem(words, "", Budget(300), Random(seed), words.price, batch=batch) for seed in range(trees)]
        asyncio.run(drive(words, letters, [(one, puct_search(one)) for one in problems]))
        return [len(one) for one in letters.calls]

    assert len(calls(6, 1)) < 2 * len(calls(1, 1)) and sum(calls(6, 1)) > 4 * sum(calls(1, 1))
    assert max(calls(1, 4)) > max(calls(1, 1))


class Graph:
    """A small graph whose policy lists its edges, in an order of its own. The last place is the goal."""

    tokens = 1

    def __init__(self, edges: list[list[int]]) -> None:
        self.edges = edges

    async def propose(self, states: Sequence[int], n: int, seeds: Sequence[int]) -> list[list[Offer]]:
        found = []
        for state, seed in zip(states, seeds, strict=True):
            ways = list(self.edges[state])
            Random(seed).shuffle(ways)
            found.append([Offer(way, tokens=1) for way in ways[:n]])
        return found

    def apply(self, state: int, action: int) -> int:
        return action

    def key(self, state: int) -> int:
        return state

    def solved(self, state: int) -> bool:
        return state == len(self.edges) - 1

    def dead(self, state: int) -> bool:
        return False


@settings(max_examples=60)
@examples(st.integers(2, 9), st.randoms(use_true_random=False), st.sampled_from(["puct", "gumbel"]))
def test_a_tree_search_finds_a_way_where_there_is_one_and_knows_where_there_is_none(
    size: int, rng: Random, strategy: str
) -> None:
    edges = [[way for way in range(place + 1, size) if rng.random() < 0.3] for place in range(size)]
    reached = {0}
    for place in range(size):
        reached |= set(edges[place]) if place in reached else set()
    space: Any = Graph(edges)

    class Noise:
        name, tokens = "noise", 0

        async def __call__(self, states: Sequence[int]) -> list[float]:
            return [Random(f"{state}").random() for state in states]

    problem = Problem(space, 0, Budget(1e9, 20_000), Random(1))
    (found,) = asyncio.run(drive(space, Noise(), [(problem, STRATEGIES[strategy](problem))]))
    assert found.solved == (size - 1 in reached)
    assert found.exhausted != found.solved
    if found.best is not None:
        way = [0, *found.best.actions]
        assert all(after in edges[before] for before, after in pairwise(way))


def test_nodes_hold_no_more_than_they_need() -> None:
    assert not hasattr(Node("key", None), "__dict__"), "a tree may have hundreds of thousands"
