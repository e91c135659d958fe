"""The tree: nodes merged by state, flags for what is settled, and counts of what is under way.

What a walk found is added along its path, and a node's value is the mean. Flags are exact, and go up to every parent:
a solved child solves it; it has failed when all its children have and its policy has no more to offer. Walks under way
are counted as pending (Liu et al., "Watch the unobserved", ICLR 2020): they lower the urge to go there again, and leave
the value alone, as a virtual loss does not.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from math import log

from surefoot.planners.search.drive import Problem
from surefoot.planners.search.space import Action, End, Found, Offer, State

PATIENCE = 16
"""Offers in a row without a new one after which a node has no more to offer: then a new one has, at 95 %, a chance
below 3/16 (the rule of three)."""

LEAST_PRIOR = 1e-12

NEW = -1
"""In place of a child: ask the policy for more."""

Pick = Callable[["Node", bool], int]
"""The place of the child to go to, never a failed one; or `NEW`, where that is allowed or nothing else is left."""


class Node:
    """A state in the tree."""

    __slots__ = (
        "actions", "asks", "children", "dry", "failed", "key", "logits", "lost", "more", "origin", "parents", "pending",
        "priors", "said", "solved", "state", "total", "via", "visits", "weights",
    )  # fmt: skip

    def __init__(self, key: Hashable, state: State, origin: tuple[Node, Action] | None = None) -> None:
        self.key = key
        self.state = state
        self.origin = origin
        """The node that it was first reached from, and by which action."""
        self.parents: list[Node] = []
        self.actions: list[Action] = []
        self.children: list[Node] = []
        self.weights: list[float] = []
        """Sums of the priors of each child's offers, the same normalised, and the logarithms of those."""
        self.priors: list[float] = []
        self.logits: list[float] = []
        self.visits = 0
        self.pending = 0
        self.total = 0.0
        """Sum of the values of its visits."""
        self.said: float | None = None
        """The value function's word on it."""
        self.solved = False
        self.failed = False
        """Nothing is left to try here. It is proved then that nothing leads to a solved state from here, as far as the
        policy's offers are all there is."""
        self.lost = 0
        """Children that have failed."""
        self.via = NEW
        """The child by which it was solved."""
        self.more = True
        """Whether the policy may offer something new."""
        self.asks = 0
        """How often the policy was asked."""
        self.dry = 0
        """Offers in a row that were not new."""

    @property
    def value(self) -> float:
        """Mean of its visits."""
        return self.total / self.visits if self.visits else 0.0


class Tree:
    """One search problem's tree.

    A node of N visits has at most `width` N^`alpha` children that have not failed (progressive widening, Couetoux et
    al., 2011); whether it is worth while to ask for one more is the picking rule's decision.
    """

    def __init__(self, problem: Problem, *, width: int = 4, alpha: float = 0.5) -> None:
        self.problem = problem
        self.space = problem.space
        self.width = width
        self.alpha = alpha
        self.nodes: dict[Hashable, Node] = {}
        self.stopped = False
        """The budget does not reach for what comes next."""
        self.root = self._node(problem.start, self.space.key(problem.start), None)

    @property
    def running(self) -> bool:
        root, budget = self.root, self.problem.budget
        return not (root.solved or root.failed or self.stopped) and budget.made < budget.simulations

    def room(self, node: Node) -> int:
        """How many more children the node may have."""
        if not node.more:
            return 0
        most = int(self.width * max(node.visits + node.pending, 1) ** self.alpha)
        return max(0, most - len(node.children) + node.lost)

    # --- growing --------------------------------------------------------------------------------------------

    def _node(self, state: State, key: Hashable, origin: tuple[Node, Action] | None) -> Node:
        """The node of a state: the one that is there, or a new one. What exact rules settle is settled at once."""
        found = self.nodes.get(key)
        if found is None:
            found = self.nodes[key] = Node(key, state, origin)
            found.solved = self.space.solved(state)
            found.failed = not found.solved and self.space.dead(state)
        return found

    def offer(self, node: Node, offers: Sequence[Offer]) -> None:
        """Adds what the policy offers. Offers that lead to the same state are one child, however they are worded."""
        places = {child.key: place for place, child in enumerate(node.children)}
        for one in offers:
            state = self.space.apply(node.state, one.action)
            key = self.space.key(state)
            node.dry += 1
            if key == node.key:
                continue  # it leads nowhere
            place = places.setdefault(key, len(places))
            if place < len(node.children):
                node.weights[place] += one.prior
            else:
                node.dry = 0
                self._add(node, self._node(state, key, (node, one.action)), one)
        total = sum(node.weights)
        node.priors = [one / total if total > 0 else 1 / len(node.weights) for one in node.weights]
        node.logits = [log(max(one, LEAST_PRIOR)) for one in node.priors]
        node.asks += 1
        node.more = bool(offers) and node.dry < PATIENCE
        self._settle(node)

    def _add(self, node: Node, child: Node, offer: Offer) -> None:
        node.actions.append(offer.action)
        node.children.append(child)
        node.weights.append(offer.prior)
        child.parents.append(node)
        node.lost += child.failed

    def _settle(self, node: Node) -> None:
        """Flags of a node and of all that lead to it, as far as its children settle them."""
        todo = [node]
        while todo:
            one = todo.pop()
            if one.solved or one.failed:
                continue
            one.via = next((place for place, child in enumerate(one.children) if child.solved), NEW)
            one.solved = one.via != NEW
            one.failed = not (one.solved or one.more) and one.lost == len(one.children)
            if one.solved:
                todo += one.parents
            elif one.failed:
                if not self.problem.ranked:
                    one.total = 0.0
                for parent in one.parents:
                    parent.lost += 1
                todo += one.parents

    # --- walking --------------------------------------------------------------------------------------------

    def walk(self, path: list[Node], pick: Pick) -> Node | None:
        """Down from the end of a path to the node whose policy is to be asked; every node is counted as pending.

        None where there is none to ask: the way leads in a circle.
        """
        for node in path:
            node.pending += 1
        seen = set(map(id, path))
        node = path[-1]
        while node.asks:
            place = pick(node, self.room(node) > 0)
            if place == NEW:
                break
            node = node.children[place]
            node.pending += 1
            path.append(node)
            if id(node) in seen:
                return None
            seen.add(id(node))
        return node

    def back_up(self, path: Sequence[Node]) -> None:
        """Counts a visit along the path. What it says is the best of the leaf's children: the way that one would go."""
        leaf = path[-1]
        known = [child.value for child in leaf.children if child.visits]
        value = max(known, default=leaf.value if self.problem.ranked and leaf.said is not None else 0.0)
        for node in path:
            node.pending -= 1
            node.visits += 1
            node.total += value

    # --- what was found -------------------------------------------------------------------------------------

    def way(self, node: Node) -> tuple[Action, ...]:
        """Actions from the root to a node, as it was first reached."""
        actions: list[Action] = []
        while node.origin is not None:
            node, action = node.origin
            actions.append(action)
        return tuple(reversed(actions))

    def found(self) -> Found:
        root, budget = self.root, self.problem.budget
        ends = tuple(self._ends()) if self.problem.ranked else ()
        best = self._solved() if root.solved else max(ends, key=lambda one: (one.score, one.support), default=None)
        return Found(best, root.solved, root.failed, budget.spent, budget.made, len(self.nodes), ends)

    def _solved(self) -> End:
        node, actions = self.root, []
        while node.via != NEW:
            actions.append(node.actions[node.via])
            node = node.children[node.via]
        return End(tuple(actions), node.state, 1.0, 1.0)

    def _ends(self) -> Iterator[End]:
        """Nodes that the policy had nothing to offer for."""
        for node in self.nodes.values():
            if node.asks and not node.children and node.said is not None and node.origin is not None:
                yield End(self.way(node), node.state, node.said, node.origin[0].value)


def alive(node: Node) -> Sequence[int]:
    """Places of children that have not failed."""
    if not node.lost:
        return range(len(node.children))
    return [place for place, child in enumerate(node.children) if not child.failed]
