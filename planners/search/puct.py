"""PUCT: walk down to the child with the best sum of value and of what its prior and its few visits promise.

argmax  Q~ + P sqrt(N) / (1 + n) (c1 + ln((N + c2 + 1) / c2))        c1 = 1.25, c2 = 19652

Q~ is the child's value, min-max normalised over the parent and its visited children; a child without a visit takes the
least of them. N and n count what is under way too. Schrittwieser et al. (2020), with the defaults of mctx's
muzero_policy.

To ask the policy for more is one more child. Nobody has seen what will come, so it takes the least value; its prior is
1, for the policy would offer something; its visits are the times that the policy was asked.
"""

from __future__ import annotations

from math import log, sqrt

from surefoot.planners.search.tree import NEW, Node, alive

C1, C2 = 1.25, 19_652.0
LEAST_SPAN = 1e-8


def scores(node: Node) -> list[float]:
    """What PUCT thinks of each child, and, last, of asking for more."""
    count = node.visits + node.pending
    pull = sqrt(count) * (C1 + log((count + C2 + 1) / C2))
    values = [child.total / child.visits if child.visits else None for child in node.children]
    known = [one for one in values if one is not None]
    if node.visits:
        known.append(node.total / node.visits)
    low = min(known, default=0.0)
    span = max(max(known, default=0.0) - low, LEAST_SPAN)
    found = [
        (0.0 if value is None else (value - low) / span) + prior * pull / (1 + child.visits + child.pending)
        for child, prior, value in zip(node.children, node.priors, values, strict=True)
    ]
    found.append(pull / (1 + node.asks))
    return found


def pick(node: Node, fresh: bool) -> int:
    """The child to go to, or `NEW` where that is allowed and more promising, or nothing else is left."""
    places = alive(node)
    if not places:
        return NEW
    ranked = scores(node)
    best = max(places, key=ranked.__getitem__)
    return NEW if fresh and ranked[-1] > ranked[best] else best
