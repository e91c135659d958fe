"""Votes: first to ahead by k.

Samples of a model are grouped by canonical form; a form is accepted once it is k votes ahead of the
runner-up. There is no fallback: without that lead nobody has won, however many votes were cast.

The formulas hold for independent samples that are right with probability p, against the worst case in which
all wrong ones agree (Meyerson et al., "Solving a Million-Step LLM Task with Zero Errors", arXiv 2511.09030).
Votes that err together are worth less, and no count of votes can show it: agreement is not accuracy.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil, exp, expm1, log, log1p

_ROUNDING = 1 + 1e-12
"""p = .99 reaches an error of .01 with one vote, although 1 - .99 is a little more in binary."""


def ahead(counts: Mapping[str, int]) -> tuple[str | None, int]:
    """The form with the most votes and its lead over the runner-up; (None, 0) for a tie and for no votes."""
    leader, best, second = None, 0, 0
    for form, votes in counts.items():
        if votes > best:
            leader, best, second = form, votes, best
        elif votes > second:
            second = votes
    return (leader, best - second) if best > second else (None, 0)


def first_to_ahead(counts: Mapping[str, int], k: int) -> str | None:
    """The form that is at least `k` votes ahead, or None: then more votes are needed, or there is no answer."""
    if k < 1:
        raise ValueError(f"a lead is at least one vote, not {k}")
    leader, lead = ahead(counts)
    return leader if lead >= k else None


def vote_error(p: float, k: int) -> float:
    """Probability that a winner by `k` votes is wrong: 1/(1 + (p/(1-p))^k). Exact far below 1e-16."""
    return sigmoid(-k * logit(p))


def vote_reliability(p: float, k: int) -> float:
    """Probability that a winner by `k` votes is right: 1/(1 + ((1-p)/p)^k)."""
    return sigmoid(k * logit(p))


def votes_needed(p: float, eps: float) -> int | None:
    """The smallest lead whose winner is wrong with probability at most `eps`.

    None where p <= 1/2 does not reach it: then more votes make it worse. Raises ValueError unless
    0 < eps < 1.
    """
    if not 0 < eps < 1:
        raise ValueError(f"a permitted error is between 0 and 1, not {eps}")
    if vote_error(p, 1) <= eps * _ROUNDING:
        return 1
    if p <= 0.5:
        return None
    k = max(1, ceil(-logit(eps) / logit(p)) - 1)  # one less: rounding may have lifted an exact quotient
    while vote_error(p, k) > eps * _ROUNDING:
        k += 1
    return k


def expected_samples(p: float, k: int) -> float:
    """Votes cast on average until one of two forms is `k` ahead (gambler's ruin): k (2w - 1) / (2p - 1).

    At p = 1/2 its limit, k squared.
    """
    if abs(2 * p - 1) < 1e-9:
        return float(k * k)
    return k * (2 * vote_reliability(p, k) - 1) / (2 * p - 1)


def step_error(target: float, steps: int) -> float:
    """The error that each of `steps` equal steps may have so that all are right with probability `target`.

    1 - target^(1/steps), exact for millions of steps. Raises ValueError unless 0 < target < 1.
    """
    if not 0 < target < 1 or steps < 1:
        raise ValueError(f"a target is between 0 and 1 and steps are at least 1, not {target} and {steps}")
    return -expm1(log(target) / steps)


# --- log-odds ---------------------------------------------------------------------------------------------------


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
