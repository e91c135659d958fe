"""Search over steps: what the formulas say by hand, and what is never done."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from collections.abc import Sequence
from math import log, sqrt
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any

import pytest

from surefoot.engine import Engine, Outcome
from surefoot.planners.search import gumbel, puct
from surefoot.planners.search.planner import SearchPlanner
from surefoot.planners.search.router import Router, measure
from surefoot.planners.search.space import Budget, Offer
from surefoot.planners.search.strategies import STRATEGIES, many
from surefoot.planners.search.tree import NEW, Node, Tree
from surefoot.reflection import verifier
from surefoot.reflection.rates import Beta
from surefoot.storage.errors import SetupError
from surefoot.storage.records import Plan, Step, ref


@pytest.fixture(scope="module")
def example() -> ModuleType:
    """The example's Countdown."""
    path = Path(__file__).parent.parent / "examples" / "countdown_search.py"
    spec = importlib.util.spec_from_file_location("countdown_search", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


class Digits:
    """Write a word of three digits; `goal` is the one to find. A value function may be told how many fit."""

    tokens = 2

    def __init__(self, goal: str = "321", accurate: bool = True) -> None:
        self.goal = goal
        self.accurate = accurate
        self.name = "fit"
        self.asked: list[int] = []
        self.judged: list[int] = []

    def start(self, inputs: Any) -> str:
        return ""

    async def propose(self, states: Sequence[str], n: int, rng: Random) -> list[list[Offer]]:
        self.asked.append(len(states))
        return [[Offer(str(rng.randrange(1, 5)), 1.0, 3) for _ in range(n)] for _ in states]

    def apply(self, state: str, action: str) -> str:
        return state + action

    def key(self, state: str) -> str:
        return state

    def solved(self, state: str) -> bool:
        return state == self.goal

    def dead(self, state: str) -> bool:
        return len(state) >= 3

    def plan(self, inputs: Any, actions: Sequence[str]) -> Plan:
        word = "".join(actions)
        return Plan((Step("s", tool="calculator", args={"expression": f"{word} + 0"}),), ref("s"))

    async def __call__(self, states: Sequence[str]) -> list[float]:
        self.judged.append(len(states))
        return [float(self.goal.startswith(state) == self.accurate) for state in states]


def parent(priors: Sequence[float], visits: Sequence[int], values: Sequence[float]) -> Node:
    node = Node("root", None, False, False)
    node.wants, node.asked = False, 64
    for place, (prior, count, value) in enumerate(zip(priors, visits, values, strict=True)):
        child = Node(place, None, False, False)
        child.visits, child.total = count, count * value
        node.actions.append(place)
        node.priors.append(prior)
        node.counts.append(2)
        node.children.append(child)
    node.visits = sum(visits)
    node.total = sum(count * value for count, value in zip(visits, values, strict=True))
    return node


# --- formulas ---------------------------------------------------------------------------------------------------


def test_the_score_of_a_child_is_that_of_the_formula() -> None:
    node = parent([0.5, 0.3, 0.2], [3, 1, 0], [0.9, 0.2, 0.0])
    mean = (3 * 0.9 + 0.2) / 4
    low, high = min(0.9, 0.2, mean), max(0.9, 0.2, mean)
    pull = sqrt(4) * (1.25 + log((4 + 19_652 + 1) / 19_652))
    wanted = [(0.9 - low) / (high - low) + 0.5 * pull / 4, 0.0 + 0.3 * pull / 2, 0.0 + 0.2 * pull / 1]
    assert puct.scores(node) == pytest.approx(wanted)


def test_what_is_under_way_lowers_the_urge_and_leaves_the_value_alone() -> None:
    node = parent([0.5, 0.5], [2, 2], [0.5, 0.5])
    assert puct.pick(node) == 0
    child = node.children[0]
    assert child is not None
    child.pending += 1
    node.pending += 1
    assert puct.pick(node) == 1
    assert child.value == 0.5


def test_a_tree_widens_where_what_it_has_is_poor_and_more_is_to_come() -> None:
    poor, rich = parent([0.5, 0.5], [12, 12], [0.05, 0.05]), parent([0.5, 0.5], [12, 12], [0.9, 0.1])
    for node in (poor, rich):
        node.counts, node.asked, node.asks = [7, 1], 8, 1
    assert (puct.pick(poor), puct.pick(rich)) == (NEW, 0)


def test_unvisited_children_take_the_mixed_value() -> None:
    node = parent([0.6, 0.4], [2, 0], [0.8, 0.0])
    node.total, node.visits = 1.0, 2  # its own mean is .5
    mixed = (0.5 + 2 * 0.8) / 3
    assert gumbel.completed(node) == pytest.approx([0.8, mixed])


def test_sequential_halving_shares_its_simulations_and_drops_the_worse_half() -> None:
    tree = Tree(Digits(), "", Budget(), Random(1))
    tree.offer(tree.root, [Offer(str(one)) for one in (1, 2, 3, 4)])
    for child, value in zip(tree.root.children, (0.1, 0.2, 0.9, 0.3), strict=True):
        assert child is not None
        child.visits, child.total = 1, value
    halving = gumbel.Halving(tree, simulations=8, considered=4)
    assert sorted(halving.round()) == [0, 1, 2, 3], "8 simulations in 2 rounds of 4 candidates: one each"
    halving.halve()
    assert len(halving.left) == 2 and 2 in halving.left
    assert sorted(halving.round()) == sorted(halving.left * 2)
    halving.halve()
    assert halving.left == [2]


# --- trees ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_finds_what_a_true_value_function_points_at(strategy: str) -> None:
    space, budget = Digits(), Budget(tokens=4000)
    found = asyncio.run(STRATEGIES[strategy](space, "", space, budget, Random(3)))
    assert found.actions == ("3", "2", "1")
    assert found.tokens == budget.spent <= 4000


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_same_seed_searches_the_same(strategy: str) -> None:
    def go() -> Any:
        space = Digits()
        return asyncio.run(STRATEGIES[strategy](space, "", space, Budget(tokens=600), Random(5))), space.asked

    assert go() == go()


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("tokens", [0, 60, 400])
def test_a_budget_is_not_passed_by_more_than_one_round(strategy: str, tokens: int) -> None:
    space = Digits("999")  # is never offered
    budget = Budget(tokens=tokens)
    found = asyncio.run(STRATEGIES[strategy](space, "", space, budget, Random(2)))
    assert found.actions is None
    assert budget.spent <= tokens + 150


def test_states_that_are_the_same_are_one_node() -> None:
    class Sets(Digits):
        def key(self, state: str) -> str:
            return "".join(sorted(state))

    tree = Tree(Sets(), "", Budget(), Random(0))
    one, two = tree.node("12"), tree.node("21")
    assert one is two
    tree.offer(tree.root, [Offer("1"), Offer("1"), Offer("2")])
    assert tree.root.actions == ["1", "2"]
    assert tree.root.priors == pytest.approx([2 / 3, 1 / 3]), "how often an action is offered is its prior"
    assert tree.root.unseen == pytest.approx(1 / 3)


def test_failure_is_backed_up_only_when_nothing_more_is_to_come() -> None:
    tree = Tree(Digits("444"), "11", Budget(), Random(0))
    root = tree.root
    tree.offer(root, [Offer("1"), Offer("2")])
    assert not root.failed and root.wants, "all that was offered is dead: ask for more"
    tree.offer(root, [Offer(str(1 + one % 4)) for one in range(64)])
    assert root.failed


def test_leaves_of_several_trees_are_asked_for_together() -> None:
    space = Digits("999")
    trees = [Tree(space, "", Budget(tokens=200), Random(seed)) for seed in range(4)]
    asyncio.run(many(trees, space))
    assert max(space.judged) > 8, "one call of the value function judges the new states of all trees"


# --- when to search ---------------------------------------------------------------------------------------------


def test_the_router_declines_to_search_with_a_judge_that_is_not_known_to_be_good() -> None:
    assert Router().choose() == "best-of-n"
    assert Router(Beta(85, 15)).choose() == "best-of-n"
    assert Router(Beta(18, 1)).choose() == "best-of-n", "nineteen states are too few to know"
    assert Router(Beta(970, 30)).choose() == "puct"
    assert Router(Beta(970, 30)).choose(simulations=16) == "gumbel"


def test_a_judge_is_measured_on_states_whose_truth_is_known() -> None:
    space = Digits()
    states = [("", True), ("3", True), ("1", False), ("32", True), ("31", False)]
    assert asyncio.run(measure(space, states)).mean > 0.85
    assert asyncio.run(measure(Digits(accurate=False), states)).mean < 0.15


# --- in the engine ----------------------------------------------------------------------------------------------


def test_what_was_found_is_carried_out_and_verified(tmp_path: Path, example: ModuleType) -> None:
    @verifier(exact=True)
    def reached(candidate: float) -> bool:
        return candidate == 24

    search = SearchPlanner(example.Countdown(), example.Nearness(), strategy="puct")
    with Engine(planner=search, verifiers=[reached], store=tmp_path / "runs.db") as engine:
        result = engine.run("reach 24", inputs={"target": 24, "numbers": [3, 8, 9, 1]})
    assert (result.outcome, result.output) == (Outcome.VERIFIED, 24)
    assert result.reliability.basis == "exact"


def test_where_nothing_is_found_the_run_abstains(tmp_path: Path, example: ModuleType) -> None:
    search = SearchPlanner(example.Countdown(), example.Nearness(), strategy="gumbel", tokens=3000)
    with Engine(planner=search, store=tmp_path / "runs.db") as engine:
        result = engine.run("reach 999", inputs={"target": 999, "numbers": [1, 1, 1, 1]})
    assert result.outcome is Outcome.ABSTAINED
    assert "found no way" in result.reason


def test_one_step_of_a_plan_may_be_searched_for(tmp_path: Path) -> None:
    space = Digits("321")
    plan = Plan((Step("find", planner="search", args={}), Step("b", tool="calculator", args={
        "expression": "x + 1", "values": {"x": ref("find")}})), ref("b"))  # fmt: skip
    search = SearchPlanner(space, space, strategy="beam")
    with Engine(planner=plan, planners=[search], tools=["calculator"], store=tmp_path / "runs.db") as engine:
        assert engine.run("find").output == 322


def test_what_guides_may_not_accept(tmp_path: Path) -> None:
    @verifier(name="fit")
    def fit(candidate: float) -> bool:
        return True

    search = SearchPlanner(Digits(), Digits())
    with pytest.raises(SetupError, match="guided by 'fit', which would accept its result too"):
        Engine(planner=search, verifiers=[fit], store=tmp_path / "runs.db")
    with pytest.raises(SetupError, match="no strategy 'luck'"):
        SearchPlanner(Digits(), Digits(), strategy="luck")
