"""Gumbel with sequential halving at the root: the right choice for few simulations, which a search over steps has.

At the root m actions are drawn without replacement, by Gumbel noise g on top of the policy's logits; the simulations
are shared among them in rounds, after each of which the worse half by g + logits + sigma(q) is dropped. Below the root
the child is taken whose share of the visits lags most behind the improved policy. Danihelka et al., "Policy improvement
by planning with Gumbel", ICLR 2022.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil, exp, log, log2

from surefoot.planners.search.tree import NEW, SPAN, Node, Tree, alive, hoped, logits

VISIT_INIT, VALUE_SCALE = 50.0, 0.1


def sigma(node: Node, values: list[float]) -> list[float]:
    """Values as logits: (50 + max n) 0.1 q, with q min-max normalised."""
    most = max((child.visits for child in node.children if child is not None), default=0)
    low, high = min(values, default=0.0), max(values, default=0.0)
    span = max(high - low, SPAN)
    return [(VISIT_INIT + most) * VALUE_SCALE * (one - low) / span for one in values]


def completed(node: Node) -> list[float]:
    """Value of each child; those without a visit take the mixed value of node, priors and visited children."""
    visited = [
        (prior, child.visits, child.value)
        for prior, child in zip(node.priors, node.children, strict=True)
        if child is not None and child.visits
    ]
    if not visited:
        return [node.value] * len(node.children)
    visits, weight = sum(one[1] for one in visited), sum(one[0] for one in visited)
    mean = sum(prior * value for prior, _, value in visited) / weight if weight > 0 else node.value
    mixed = (node.value + visits * mean) / (1 + visits)
    return [child.value if child is not None and child.visits else mixed for child in node.children]


def improved(node: Node) -> list[float]:
    """The improved policy: softmax of logits + sigma(completed values). Last comes what is not offered yet."""
    unseen = node.unseen
    priors = [*(prior * (1 - unseen) for prior in node.priors), unseen]
    values = [*completed(node), hoped(node)]
    lifted = [one + add for one, add in zip(logits(priors), sigma(node, values), strict=True)]
    top = max(lifted)
    weights = [exp(one - top) for one in lifted]
    total = sum(weights)
    return [one / total for one in weights]


def pick(node: Node) -> int:
    """The child whose share of the visits lags most behind the improved policy; argmax pi' - n / (1 + sum n)."""
    places = alive(node)
    if not places:  # a state that several ways lead to may have failed on another one
        return NEW
    wanted = improved(node)
    counts = [child.visits + child.pending if child is not None else 0 for child in node.children]
    total = sum(counts) + node.asks
    best = max(places, key=lambda place: wanted[place] - counts[place] / (1 + total))
    lag = wanted[best] - counts[best] / (1 + total)
    return NEW if node.unseen and wanted[-1] - node.asks / (1 + total) > lag else best


class Halving:
    """The root's candidates, halved from round to round."""

    def __init__(self, tree: Tree, simulations: int, considered: int = 4) -> None:
        node = tree.root
        noise = [-log(-log(tree.rng.random() or 1e-300)) for _ in node.actions]
        self.node = node
        self.order = [one + add for one, add in zip(noise, logits(node.priors), strict=True)]
        ranked = self._ranked(range(len(node.actions)))
        self.left = ranked[: max(1, min(considered, simulations, len(ranked)))]
        self.rounds = max(1, ceil(log2(len(self.left)))) if len(self.left) > 1 else 1
        self.simulations = simulations

    def round(self) -> list[int]:
        """Places of root children to simulate now, each as often as it is listed."""
        each = max(1, self.simulations // (self.rounds * len(self.left)))
        return [place for place in self.left if not self._failed(place) for _ in range(each)]

    def halve(self) -> None:
        ranked = self._ranked(self.left)
        alive = [place for place in ranked if not self._failed(place)] or ranked[:1]
        self.left = alive[: max(1, ceil(len(self.left) / 2))]

    def _ranked(self, places: Iterable[int]) -> list[int]:
        lifted = sigma(self.node, completed(self.node))
        return sorted(places, key=lambda place: self.order[place] + lifted[place], reverse=True)

    def _failed(self, place: int) -> bool:
        child = self.node.children[place]
        return child is not None and child.failed
