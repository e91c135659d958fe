"""The tree: nodes merged by state, flags for what is settled, and counts of what is under way.

Values are backed up as means along the path that was walked. A solved child solves its parent; a parent whose children
have all failed, and whose policy has no more to offer, has failed. Leaves under way are counted as pending (Liu et al.,
"Watch the unobserved", ICLR 2020): they lower the urge to go there again, and leave the value alone, as a virtual loss
does not.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from math import log
from random import Random

from surefoot.planners.search.space import Action, Budget, Offer, Space, State, Value


class Node:
    """A state in the tree."""

    __slots__ = (
        "actions",
        "asked",
        "asks",
        "children",
        "counts",
        "failed",
        "key",
        "pending",
        "priors",
        "solved",
        "state",
        "total",
        "visits",
        "wants",
    )

    def __init__(self, key: Hashable, state: State, solved: bool, failed: bool) -> None:
        self.key = key
        self.state = state
        self.actions: list[Action] = []
        self.priors: list[float] = []
        self.counts: list[int] = []
        """How often the policy offered each action."""
        self.children: list[Node | None] = []
        """None where nobody has been yet."""
        self.visits = 0
        self.pending = 0
        self.total = 0.0
        """Sum of the values of its visits."""
        self.solved = solved
        self.failed = failed
        self.asked = 0
        """Offers that the policy was asked for."""
        self.asks = 0
        self.wants = not (solved or failed)
        """Whether the policy is to be asked for more."""

    @property
    def unseen(self) -> float:
        """Chance that the policy's next offer is a new one: the share of offers that came once (Good and Turing)."""
        return self.counts.count(1) / self.asked if 0 < self.asked < ENOUGH else 0.0

    @property
    def value(self) -> float:
        """Mean of its visits; 1 where it is solved, 0 where it has failed."""
        if self.solved or self.failed:
            return float(self.solved)
        return self.total / self.visits if self.visits else 0.0


Path = list[tuple[Node, int]]
"""Nodes from the root down, each with the place of the child that was taken."""


class Tree:
    """One search problem's tree."""

    def __init__(self, space: Space, root: State, budget: Budget, rng: Random, *, width: int = 8) -> None:
        """width: offers that are asked for at a new node."""
        self.space = space
        self.budget = budget
        self.rng = rng
        self.width = width
        self.nodes: dict[Hashable, Node] = {}
        self.root = self.node(root)

    def node(self, state: State) -> Node:
        """The node of a state: the one that is there, or a new one."""
        key = self.space.key(state)
        found = self.nodes.get(key)
        if found is None:
            solved = self.space.solved(state)
            found = self.nodes[key] = Node(key, state, solved, not solved and self.space.dead(state))
            self.budget.made += 1
        return found

    def child(self, parent: Node, place: int) -> Node:
        found = parent.children[place]
        if found is None:
            found = parent.children[place] = self.node(self.space.apply(parent.state, parent.actions[place]))
        return found

    def offer(self, node: Node, offers: Sequence[Offer], known: dict[Action, int] | None = None) -> None:
        """Adds what the policy proposes; equal actions add up, so that how often it says them is the prior."""
        places = known if known is not None else {action: place for place, action in enumerate(node.actions)}
        for one in offers:
            place = places.get(one.action)
            if place is None:
                places[one.action] = len(node.actions)
                node.actions.append(one.action)
                node.priors.append(one.prior)
                node.counts.append(1)
                node.children.append(None)
            else:
                node.priors[place] += one.prior
                node.counts[place] += 1
        total = sum(node.priors)
        if total > 0:
            node.priors = [prior / total for prior in node.priors]
        node.asked += max(len(offers), 1)
        node.asks += 1
        node.wants = False
        for place in range(len(node.children)):  # exact rules cost nothing: what they settle is settled at once
            node.solved = node.solved or self.child(node, place).solved
        self._settle(node)

    def _settle(self, node: Node) -> None:
        """A node whose children have all failed asks for more, and has failed where that was often enough."""
        if all(child is not None and child.failed for child in node.children):
            node.failed = not node.actions or node.asked >= ENOUGH
            node.wants = not node.failed

    def back_up(self, path: Path, leaf: Node, value: float) -> None:
        """Counts a visit along the path, and settles what is settled by it."""
        if leaf.solved or leaf.failed:
            value = float(leaf.solved)
        leaf.visits += 1
        leaf.total += value
        leaf.pending -= 1
        below = leaf
        for parent, _ in reversed(path):
            parent.visits += 1
            parent.total += value
            parent.pending -= 1
            if below.solved or parent.solved:
                parent.solved = True
            elif below.failed and not (parent.failed or parent.solved):
                self._settle(parent)
            below = parent

    def way(self) -> tuple[Action, ...] | None:
        """Actions from the root to a solved state, along solved nodes; None where the root is not solved."""
        node = self.root
        actions: list[Action] = []
        while not self.space.solved(node.state):
            if not node.solved or len(actions) > len(self.nodes):
                return None
            place = next(at for at, child in enumerate(node.children) if child is not None and child.solved)
            actions.append(node.actions[place])
            node = self.child(node, place)
        return tuple(actions)


ENOUGH = 64
"""Offers after which a node has nothing more to say."""
SPAN = 0.5
"""Values are chances, 0 to 1: what differs by less than this is not blown up to the full range by normalising."""

NEW = -1
"""In place of a child: ask the policy for more."""


def hoped(node: Node) -> float:
    """What an offer that is yet to come may be worth: the mean of those that were visited."""
    known = [child.value for child in node.children if child is not None and (child.visits or child.failed)]
    return sum(known) / len(known) if known else node.value


def logits(priors: Sequence[float]) -> list[float]:
    return [log(max(prior, 1e-12)) for prior in priors]


Pick = Callable[["Node"], int]
"""The place of the child to go to, or `NEW`."""


def walk(tree: Tree, path: Path, node: Node, pick: Pick) -> tuple[Path, Node]:
    """On from a node, already counted as pending, to the next leaf; every node on the way is counted too."""
    seen = {id(one) for one, _ in path} | {id(node)}
    while not (node.wants or node.solved or node.failed):
        place = pick(node)
        if place == NEW:
            node.wants = True
            break
        path.append((node, place))
        node = tree.child(node, place)
        node.pending += 1
        if id(node) in seen:  # two ways lead in a circle: what is walked twice leads nowhere new
            break
        seen.add(id(node))
    return path, node


def alive(node: Node) -> list[int]:
    """Places of children that have not failed."""
    return [place for place, child in enumerate(node.children) if child is None or not child.failed]


async def grow(leaves: Sequence[tuple[Tree, Path, Node]], value: Value) -> None:
    """One simulation each: the policy is asked for ways on from all leaves together, across trees, and the value
    function for all states that these lead to. What is backed up is the best of them: the way that would be taken."""
    grown = await _expand([(tree, leaf) for tree, _, leaf in leaves])
    await _judge(grown, value)
    for tree, path, leaf in leaves:
        known = [child.value for child in leaf.children if child is not None]
        tree.back_up(path, leaf, max(known, default=leaf.value))


async def _expand(leaves: Sequence[tuple[Tree, Node]]) -> list[tuple[Tree, Node]]:
    """Asks the policy once for each node; returns those that it was asked for."""
    groups: dict[int, tuple[Tree, dict[int, Node]]] = {}
    for tree, leaf in leaves:
        if leaf.wants:
            groups.setdefault(id(tree), (tree, {}))[1][id(leaf)] = leaf
    for tree, found in groups.values():
        nodes = list(found.values())
        offered = await tree.space.propose([one.state for one in nodes], tree.width, tree.rng)
        for node, offers in zip(nodes, offered, strict=True):
            tree.budget.spent += sum(one.tokens for one in offers)
            tree.offer(node, offers)
    return [(tree, node) for tree, found in groups.values() for node in found.values()]


async def _judge(grown: Sequence[tuple[Tree, Node]], value: Value) -> None:
    """The first value of every child that is new. What is settled is not asked for."""
    fresh: dict[int, tuple[Tree, Node]] = {}
    for tree, node in grown:
        if not node.solved:
            for child in node.children:
                if child is not None and not (child.visits or child.solved or child.failed):
                    fresh[id(child)] = (tree, child)
    if fresh:
        said = await value([child.state for _, child in fresh.values()])
        for (tree, child), one in zip(fresh.values(), said, strict=True):
            child.visits, child.total = 1, one
            tree.budget.spent += value.tokens
