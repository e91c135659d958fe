"""Formulas that results are held against: votes that are independent, retries until a check accepts, alike errors.

First to ahead by k: samples are grouped by canonical form; a form has won once it is k votes ahead of the runner-up.
The formulas hold for independent samples that are right with probability p, against the worst case in which all wrong
ones agree (Meyerson et al., "Solving a Million-Step LLM Task with Zero Errors", arXiv 2511.09030). Votes that err
together are worth less, and no count of votes can show it: agreement is not accuracy.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, expm1, inf, log, log1p

from surefoot.reflection.votes import logit, sigmoid

_ROUNDING = 1 + 1e-12
"""p = .99 reaches an error of .01 with one vote, although 1 - .99 is a little more in binary."""


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


def step_error(target: float, steps: int) -> float:
    """The error that each of `steps` equal steps may have so that all are right with probability `target`.

    1 - target^(1/steps), exact for millions of steps. Raises ValueError unless 0 < target < 1.
    """
    if not 0 < target < 1 or steps < 1:
        raise ValueError(f"a target is between 0 and 1 and steps are at least 1, not {target} and {steps}")
    return -expm1(log(target) / steps)


def common_cause(false_accept: float, shared: float, copies: int) -> float:
    """Rate at which a wrong candidate passes all copies of one verifier: g b + ((1 - g) b)^m, the beta-factor model.

    shared: g, the part of false accepts that all copies make together. Its floor is g b, however many there are.
    """
    return shared * false_accept + ((1 - shared) * false_accept) ** copies


def shared_cause(both: float, false_accept: float) -> float:
    """g of `common_cause` from the rate at which a wrong candidate passes two copies; in 0..1."""
    from scipy.optimize import brentq

    if false_accept <= 0 or both <= false_accept**2:
        return 0.0
    if both >= false_accept:
        return 1.0
    # On 0..1 the two-copy rate is not monotone at its very beginning; its root above is the one wanted.
    least = max(0.0, (2 * false_accept - 1) / (2 * false_accept))
    return float(brentq(lambda g: common_cause(false_accept, g, 2) - both, least, 1.0))


@dataclass(frozen=True, slots=True)
class Retried:
    """Retry until a check accepts: p of samples right, the check's rates a and b."""

    p: float
    accept: float
    false_accept: float

    @property
    def accepted(self) -> float:
        """Chance that one attempt is accepted."""
        return self.p * self.accept + (1 - self.p) * self.false_accept

    @property
    def right(self) -> float:
        """Chance that what is accepted is right: the ceiling of a step. n steps have its n-th power."""
        return self.p * self.accept / self.accepted


def again(p: float, c: float) -> float:
    """The rate at which a wrong sample is followed by another wrong one."""
    return (1 - p) + p / (c + 1)


def hard(p: float, c: float) -> float:
    """Share of prompts on which wrong samples outnumber right ones, P(p_i < 1/2): many votes fail there."""
    from scipy.special import betainc

    if c == inf:
        return 0.0 if p > 0.5 else 1.0
    return float(betainc(p * c, (1 - p) * c, 0.5))


def ceiling(p: float, c: float, steps: int) -> float:
    """The most that votes can do for a chain of steps, all of whose wrong samples agree: (1 - hard)^steps."""
    return 1 + expm1(steps * log1p(-min(hard(p, c), 1 - 1e-15)))
