"""Votes, by canonical form; and log-odds in nats, which is what votes and checks are counted in."""

from __future__ import annotations

from collections.abc import Mapping
from math import exp, log, log1p


def ahead(counts: Mapping[str, int]) -> tuple[str | None, int]:
    """The form with the most votes and its lead over the runner-up; (None, 0) for a tie and for no votes."""
    leader, best, second = None, 0, 0
    for form, votes in counts.items():
        if votes > best:
            leader, best, second = form, votes, best
        elif votes > second:
            second = votes
    return (leader, best - second) if best > second else (None, 0)


def logit(p: float) -> float:
    """Log-odds in nats: ln(p / (1-p)); infinite at 0 and 1. Raises ValueError outside."""
    if not 0 <= p <= 1:
        raise ValueError(f"a probability is between 0 and 1, not {p}")
    if p in (0, 1):
        return float("inf") if p else float("-inf")
    return log(p) - log1p(-p)


def sigmoid(nats: float) -> float:
    """The probability that has these log-odds."""
    return 1 / (1 + exp(-nats)) if nats >= 0 else exp(nats) / (1 + exp(nats))


def nats(accept: float, false_accept: float) -> float:
    """Evidence that one check gives about a right candidate on average, in nats.

    a ln(a/b) + (1-a) ln((1-a)/(1-b)) for a check that accepts right candidates with probability a and wrong
    ones with b. A vote of a model that is right with probability p is nats(p, 1-p).
    """
    rates = ((accept, false_accept), (1 - accept, 1 - false_accept))
    return sum(right * (log(right / wrong) if wrong > 0 else float("inf")) for right, wrong in rates if right > 0)
