"""Four ways to search: best-of-n, beam, PUCT, and Gumbel with sequential halving. All stop at a solved state."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from random import Random

from surefoot.planners.search import gumbel, puct
from surefoot.planners.search.space import Action, Budget, Found, Space, State, Value
from surefoot.planners.search.tree import Node, Path, Tree, alive, grow, walk

DEPTH = 64
"""Steps after which a rollout or beam is cut off."""

FEW = 64
"""Simulations below which Gumbel is the better choice."""

Strategy = Callable[[Space, State, Value, Budget, Random], Awaitable[Found]]


async def best_of(space: Space, start: State, value: Value, budget: Budget, rng: Random, *, batch: int = 1) -> Found:
    """Whole attempts, one after another (or `batch` at once), until one is solved or the budget is spent.

    The value function sees final states only: it ranks what was not solved.
    """
    ends: list[tuple[tuple[Action, ...], State]] = []
    cost = 1
    while budget.affords(cost * batch):
        before = budget.spent
        for actions, state in await _rollouts(space, start, budget, rng, batch):
            if space.solved(state):
                return _found(budget, actions, state, ends)
            ends.append((actions, state))
        if budget.spent == before:
            break  # the policy has nothing to say
        cost = max(cost, (budget.spent - before) // batch)
    return await _ranked(value, budget, ends)


async def _rollouts(
    space: Space, start: State, budget: Budget, rng: Random, batch: int
) -> list[tuple[tuple[Action, ...], State]]:
    going: list[tuple[tuple[Action, ...], State]] = [((), start)] * batch
    done: list[tuple[tuple[Action, ...], State]] = []
    for _ in range(DEPTH):
        if not going:
            break
        offered = await space.propose([state for _, state in going], 1, rng)
        coming: list[tuple[tuple[Action, ...], State]] = []
        for (actions, state), offers in zip(going, offered, strict=True):
            if not offers:
                done.append((actions, state))
                continue
            budget.spent += offers[0].tokens
            budget.made += 1
            after = space.apply(state, offers[0].action)
            ended = space.solved(after) or space.dead(after)
            (done if ended else coming).append(((*actions, offers[0].action), after))
        going = coming
    return done + going


async def _ranked(value: Value, budget: Budget, ends: list[tuple[tuple[Action, ...], State]]) -> Found:
    """No solved state: the value function's favourite among the final ones, as far as its tokens go."""
    seen = ends[: int(max(0.0, (budget.tokens - budget.spent) // max(value.tokens, 1)))] if value.tokens else ends
    if not seen:
        return _found(budget, None, None, ends)
    said = await value([state for _, state in seen])
    budget.spent += value.tokens * len(seen)
    best = max(range(len(seen)), key=said.__getitem__)
    return Found(None, seen[best][1], said[best], budget.spent, budget.made, tuple(ends))


def _found(
    budget: Budget,
    actions: tuple[Action, ...] | None,
    state: State,
    ends: list[tuple[tuple[Action, ...], State]],
) -> Found:
    return Found(actions, state, float(actions is not None), budget.spent, budget.made, tuple(ends))


async def beam(
    space: Space, start: State, value: Value, budget: Budget, rng: Random, *, size: int = 4, width: int = 8
) -> Found:
    """The `size` best distinct states of each depth go on, each with `width` offers; then anew with twice the size."""
    ends: list[tuple[tuple[Action, ...], State]] = []
    while True:
        before = budget.spent
        solved = await _beam(space, start, value, budget, rng, size, width, ends)
        if solved is not None:
            return _found(budget, *solved, ends)
        if budget.spent == before or not budget.affords(budget.spent - before):
            return await _ranked(value, budget, ends)
        size *= 2


async def _beam(
    space: Space,
    start: State,
    value: Value,
    budget: Budget,
    rng: Random,
    size: int,
    width: int,
    ends: list[tuple[tuple[Action, ...], State]],
) -> tuple[tuple[Action, ...], State] | None:
    level: list[tuple[tuple[Action, ...], State]] = [((), start)]
    cost = 0
    for _ in range(DEPTH):
        if not level or not budget.affords(cost):
            return None
        before = budget.spent
        fresh: dict[object, tuple[tuple[Action, ...], State]] = {}
        for (actions, state), offers in zip(
            level, await space.propose([state for _, state in level], width, rng), strict=True
        ):
            for one in offers:
                budget.spent += one.tokens
                after = space.apply(state, one.action)
                fresh.setdefault(space.key(after), ((*actions, one.action), after))
        budget.made += len(fresh)
        for actions, state in fresh.values():
            if space.solved(state):
                return actions, state
        ends += [one for one in fresh.values() if space.dead(one[1])]
        open_ = [one for one in fresh.values() if not space.dead(one[1])]
        if open_:
            said = await value([state for _, state in open_])
            budget.spent += value.tokens * len(open_)
            order = sorted(range(len(open_)), key=said.__getitem__, reverse=True)
            open_ = [open_[place] for place in order[:size]]
        level = open_
        cost = budget.spent - before
    return None


async def puct_search(
    space: Space, start: State, value: Value, budget: Budget, rng: Random, *, width: int = 8, batch: int = 1
) -> Found:
    """Tree search with PUCT, `batch` leaves at a time."""
    (found,) = await many([Tree(space, start, budget, rng, width=width)], value, batch=batch)
    return found


async def many(trees: list[Tree], value: Value, *, batch: int = 1) -> list[Found]:
    """PUCT on several trees at once: their leaves are asked for together, `batch` of each."""
    costs = [0] * len(trees)
    while open_ := [place for place, tree in enumerate(trees) if _open(tree, costs[place])]:
        before = [tree.budget.spent for tree in trees]
        leaves = [(trees[place], *_leaf(trees[place])) for place in open_ for _ in range(batch)]
        await grow(leaves, value)
        for place in open_:
            costs[place] = max(costs[place], trees[place].budget.spent - before[place])
    return [_result(tree) for tree in trees]


def _leaf(tree: Tree) -> tuple[Path, Node]:
    tree.root.pending += 1
    return walk(tree, [], tree.root, puct.pick)


def _open(tree: Tree, cost: int) -> bool:
    return not (tree.root.solved or tree.root.failed) and tree.budget.affords(cost)


async def gumbel_search(
    space: Space, start: State, value: Value, budget: Budget, rng: Random, *, width: int = 8, simulations: int = 8
) -> Found:
    """Gumbel with sequential halving, begun anew on the tree that is there until the budget is spent."""
    tree = Tree(space, start, budget, rng, width=width)
    root, cost = tree.root, 0
    while _open(tree, cost):
        if root.wants:
            before = budget.spent
            root.pending += 1
            await grow([(tree, [], root)], value)
            cost = max(cost, budget.spent - before)
            continue
        halving = gumbel.Halving(tree, simulations)
        for _ in range(halving.rounds):
            for place in halving.round():
                if not _open(tree, cost):
                    return _result(tree)
                if root.wants or place not in alive(root):
                    continue
                before = budget.spent
                root.pending += 1
                child = tree.child(root, place)
                child.pending += 1
                await grow([(tree, *walk(tree, [(root, place)], child, gumbel.pick))], value)
                cost = max(cost, budget.spent - before)
            halving.halve()
        root.wants = root.wants or root.unseen > 0  # the next halving has more to choose from
    return _result(tree)


def _result(tree: Tree) -> Found:
    way = tree.way()
    state = None
    if way is not None:
        state = tree.root.state
        for action in way:
            state = tree.space.apply(state, action)
    ends = tuple(((), node.state) for node in tree.nodes.values() if node.failed and not node.actions)
    return Found(way, state, float(way is not None), tree.budget.spent, len(tree.nodes), ends)


STRATEGIES: Mapping[str, Strategy] = {
    "best-of-n": best_of,
    "beam": beam,
    "puct": puct_search,
    "gumbel": gumbel_search,
}
