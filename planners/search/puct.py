"""PUCT: walk down to the child with the best sum of value and of what its prior and its few visits promise.

argmax  Q~ + P sqrt(N) / (1 + n) (c1 + ln((N + c2 + 1) / c2))        c1 = 1.25, c2 = 19652

Q~ is the child's value, min-max normalised over the parent and its children; a child without a visit takes the least of
them. N and n count what is under way too. As in Schrittwieser et al. (2020) and mctx's muzero_policy, but for one
thing: values are chances here, so differences below `SPAN` are not blown up to the full range.
"""

from __future__ import annotations

from math import log, sqrt

from surefoot.planners.search.tree import NEW, SPAN, Node, alive, hoped

C1, C2 = 1.25, 19_652.0


def scores(node: Node) -> list[float]:
    """What PUCT thinks of each child."""
    count = node.visits + node.pending
    pull = sqrt(count) * (C1 + log((count + C2 + 1) / C2))
    low, span = limits(node)
    found = []
    for child, prior in zip(node.children, node.priors, strict=True):
        value = child.value if child is not None and (child.visits or child.solved) else None
        taken = child.visits + child.pending if child is not None else 0
        quality = 0.0 if value is None else (value - low) / span
        found.append(quality + prior * pull / (1 + taken))
    return found


def limits(node: Node) -> tuple[float, float]:
    """The least value among a node and its visited children, and how far the greatest is above it, or `SPAN`."""
    known = [child.value for child in node.children if child is not None and (child.visits or child.solved)]
    known.append(node.value)
    return min(known), max(max(known) - min(known), SPAN)


def pick(node: Node) -> int:
    """The child to go to; those that have failed are passed over.

    What the policy has not offered yet takes part as one more child: its prior is the chance of something new, its
    value what offers were worth so far, its visits the times that the policy was asked. So a tree widens where what it
    has is poor.
    """
    places = alive(node)
    if not places:  # a state that several ways lead to may have failed on another one
        return NEW
    ranked = scores(node)
    best = max(places, key=ranked.__getitem__)
    unseen = node.unseen
    if unseen <= 0:
        return best
    low, span = limits(node)
    count = node.visits + node.pending
    pull = sqrt(count) * (C1 + log((count + C2 + 1) / C2))
    fresh = (hoped(node) - low) / span + unseen * pull / (1 + node.asks)
    return NEW if fresh > ranked[best] else best
