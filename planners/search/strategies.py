"""The ways to search: best-of-n, beam, PUCT, and Gumbel with sequential halving. All stop at a solved state."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any

from surefoot.planners.search import gumbel, puct
from surefoot.planners.search.drive import Ask, Judge, Problem, Search, ask, judge
from surefoot.planners.search.flat import beam, best_of
from surefoot.planners.search.tree import NEW, Node, Pick, Tree, alive

WIDTH, ALPHA = 4, 0.5

Strategy = Callable[[Problem], Search]


def simulations(problem: Problem, width: int = WIDTH) -> float:
    """Simulations that the budget is enough for, at least: each may ask for `width` offers and judge as many states."""
    return problem.budget.left(width * (problem.space.tokens + problem.price))


def puct_search(problem: Problem, *, width: int = WIDTH, alpha: float = ALPHA) -> Search:
    """Tree search with PUCT."""
    tree = Tree(problem, width=width, alpha=alpha)
    while tree.running:
        yield from simulate(tree, [[tree.root] for _ in range(problem.batch)], puct.pick)
    return tree.found()


def gumbel_search(
    problem: Problem, *, considered: int | None = None, width: int = WIDTH, alpha: float = ALPHA
) -> Search:
    """Gumbel with sequential halving, anew on the grown tree until the budget is spent.

    Each halving shares two simulations a candidate among `considered` of the root's actions, of which it first gets as
    many new ones as widening allows. By default so many are considered that the budget is enough for eight halvings.
    """
    tree = Tree(problem, width=width, alpha=alpha)
    root = tree.root
    if considered is None:
        considered = max(2, min(16, int(simulations(problem, width) // 16)))
    while tree.running:
        if tree.room(root) or not alive(root):
            yield from simulate(tree, [[root]], lambda node, fresh: NEW)
        halving = gumbel.Halving(root, problem.rng, 2 * considered, considered)
        for places in halving.schedule():
            if tree.running:
                yield from simulate(tree, [[root, root.children[place]] for place in places], gumbel.pick)
    return tree.found()


def simulate(tree: Tree, paths: list[list[Node]], pick: Pick) -> Generator[Ask | Judge, Any, None]:
    """One simulation for each path, all leaves together: down the tree, offers and their values, and back up."""
    budget = tree.problem.budget
    paths = paths[: int(min(len(paths), budget.simulations - budget.made))]
    leaves: dict[int, Node] = {}
    for path in paths:
        leaf = tree.walk(path, pick)
        if leaf is not None:
            leaves[id(leaf)] = leaf
    yield from _expand(tree, list(leaves.values()))
    for path in paths:
        tree.back_up(path)
    budget.made += len(paths)


def _expand(tree: Tree, nodes: Sequence[Node]) -> Generator[Ask | Judge, Any, None]:
    """Offers for nodes, and values of all states that these lead to, as far as the budget reaches for both."""
    problem = tree.problem
    able: list[tuple[Node, int]] = []
    kept = 0
    for node in nodes:
        count = min(tree.width, max(tree.room(node), 1))
        count = problem.budget.room(problem.space.tokens + problem.price, count, kept)
        kept += count * (problem.space.tokens + problem.price)
        if count:
            able.append((node, count))
    tree.stopped = len(able) < len(nodes)
    if able:
        offered = yield from ask(problem, [node.state for node, _ in able], [count for _, count in able])
        for (node, _), offers in zip(able, offered, strict=True):
            tree.offer(node, offers)
    fresh = {id(one): one for node, _ in able for one in node.children if not (one.visits or one.failed)}
    if fresh and not tree.root.solved:
        said = yield from judge(problem, [one.state for one in fresh.values()])
        for one, value in zip(fresh.values(), said, strict=True):
            one.visits, one.total, one.said = 1, value, value


STRATEGIES: Mapping[str, Strategy] = {
    "best-of-n": best_of,
    "beam": beam,
    "puct": puct_search,
    "gumbel": gumbel_search,
}
