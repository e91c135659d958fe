"""Gumbel with sequential halving at the root: for few simulations, which a search over steps has.

At the root m actions are drawn without replacement, by Gumbel noise g on top of the policy's logits; the simulations
are shared among them in rounds, after each of which the worse half by g + logits + sigma(q) is dropped. Below the root
the child is taken whose share of the visits lags most behind the improved policy. Danihelka et al., "Policy improvement
by planning with Gumbel", ICLR 2022, with the defaults of mctx's gumbel_muzero_policy.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from math import ceil, exp, log, log2
from random import Random

from surefoot.planners.search.puct import LEAST_SPAN
from surefoot.planners.search.tree import NEW, Node, alive

VISIT_INIT, VALUE_SCALE = 50.0, 0.1


def sigma(node: Node, values: Sequence[float]) -> list[float]:
    """Values as logits: (50 + max n) 0.1 q, with q min-max normalised."""
    most = max([child.visits for child in node.children], default=0)
    low = min(values, default=0.0)
    scale = (VISIT_INIT + most) * VALUE_SCALE / max(max(values, default=0.0) - low, LEAST_SPAN)
    return [scale * (one - low) for one in values]


def completed(node: Node) -> list[float]:
    """Value of each child, and last the mixed value, which those without a visit take too: (v + N q) / (1 + N), with
    the value function's word v on the node, and the mean q over the N visits of its children, weighed by priors."""
    visits, weight, summed = 0, 0.0, 0.0
    found: list[float | None] = []
    for child, prior in zip(node.children, node.priors, strict=True):
        value = child.total / child.visits if child.visits else None
        found.append(value)
        if value is not None:
            visits += child.visits
            weight += prior
            summed += prior * value
    own = node.value if node.said is None else node.said
    mixed = (own + visits * summed / weight) / (1 + visits) if weight else own
    return [*(mixed if one is None else one for one in found), mixed]


def improved(node: Node) -> list[float]:
    """The improved policy: softmax of logits + sigma(completed values). Last comes asking for more, as one more child
    without a visit, whose prior is 1."""
    values = completed(node)
    lifted = [one + add for one, add in zip([*node.logits, 0.0], sigma(node, values), strict=True)]
    top = max(lifted)
    weights = [exp(one - top) for one in lifted]
    total = sum(weights)
    return [one / total for one in weights]


def pick(node: Node, fresh: bool) -> int:
    """The child whose share of the visits lags most behind the improved policy: argmax pi' - n / (1 + sum n)."""
    places = alive(node)
    if not places:
        return NEW
    counts = [child.visits + child.pending for child in node.children]
    counts.append(node.asks)
    total = 1 + sum(counts)
    lag = [one - count / total for one, count in zip(improved(node), counts, strict=True)]
    best = max(places, key=lag.__getitem__)
    return NEW if fresh and lag[-1] > lag[best] else best


class Halving:
    """The root's candidates, halved from round to round."""

    def __init__(self, root: Node, rng: Random, simulations: int, considered: int) -> None:
        """simulations: to be shared. considered: m, the most candidates.

        The values of the root's children are known by now, one visit each, so that the draw heeds them as well.
        """
        self.root = root
        self.simulations = simulations
        noise = [-log(-log(rng.random() or 1e-300)) for _ in root.children]
        self.order = [one + add for one, add in zip(noise, root.logits, strict=True)]
        self.left = self._ranked(alive(root))[: max(1, min(considered, simulations))]

    def schedule(self) -> Iterator[list[int]]:
        """Candidates to simulate, one simulation each; those that have failed meanwhile are left out."""
        rounds = max(1, ceil(log2(max(len(self.left), 1))))
        for _ in range(rounds):
            for _ in range(max(1, self.simulations // (rounds * max(len(self.left), 1)))):
                if places := [place for place in self.left if not self.root.children[place].failed]:
                    yield places
            self.left = self._ranked(self.left)[: max(1, ceil(len(self.left) / 2))]

    def _ranked(self, places: Iterable[int]) -> list[int]:
        """By g + logits + sigma(q), the best first."""
        lifted = sigma(self.root, completed(self.root)[:-1])
        return sorted(places, key=lambda place: self.order[place] + lifted[place], reverse=True)
