"""Sharing out an error budget: how much evidence each step gets, and what a limited amount of money buys.

A task of n steps reaches target t where the product of (1 - eps_i) does: the error budget is E = -ln t. With a cost
per nat of c_i / D_i, the total cost sum (c_i / D_i) ln(1 / eps_i) is least for eps_i = E (c_i / D_i) / sum (c_j / D_j):
error is spent where nats are dear. Evidence comes in whole votes and checks, though; the greedy rule buys, again and
again, what lowers the total error most for its cost.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, inf, log, log1p


@dataclass(frozen=True, slots=True)
class Menu:
    """What the evidence for one step can be: its error after 1, 2, 3, ... purchases, each at `cost`.

    Errors fall from one to the next; `count` equal steps share a menu.
    """

    cost: float
    errors: tuple[float, ...]
    count: int = 1


@dataclass(frozen=True, slots=True)
class Allotment:
    """What was bought, and what it comes to."""

    cost: float
    reliability: float
    """The product of (1 - eps)."""


def allot(menus: Sequence[Menu], target: float, money: float = inf) -> Allotment:
    """Whole purchases that reach the target at about the least cost, one at least for every step.

    With less money than that, the most reliable that it buys. Raises ValueError where even one
    purchase a step is too dear.
    """
    if not 0 < target < 1:
        raise ValueError(f"a target is between 0 and 1, not {target}")
    least = sum(menu.cost * menu.count for menu in menus)
    if least > money:
        raise ValueError(f"one try at each step costs {least:.4g}, and there is {money:.4g}: raise the budget")
    cost, error = _greedy(menus, -log(target), money)
    return Allotment(cost, exp(-error))


def _greedy(menus: Sequence[Menu], budget: float, money: float) -> tuple[float, float]:
    """The cost of what is bought, and the error -ln(product of 1 - eps) that is left."""
    counts = [[1] * menu.count for menu in menus]
    cost = sum(menu.cost * menu.count for menu in menus)
    error = sum(_loss(menu.errors[0]) * menu.count for menu in menus)
    heap = [(*_gain(menu, 1), place, one) for place, menu in enumerate(menus) for one in range(menu.count)]
    heap = [entry for entry in heap if entry[0] < 0]
    heapq.heapify(heap)
    while error > budget and heap:
        _, size, place, one = heapq.heappop(heap)
        menu, had = menus[place], counts[place][one]
        if cost + menu.cost * size > money:
            continue
        counts[place][one] = had + size
        cost += menu.cost * size
        error -= _loss(menu.errors[had - 1]) - _loss(menu.errors[had + size - 1])
        if (gain := _gain(menu, had + size))[0] < 0:
            heapq.heappush(heap, (*gain, place, one))
    return _trim(menus, budget, counts, cost, error)


def _gain(menu: Menu, had: int) -> tuple[float, int]:
    """The best error lost per cost, negative, and over how many more purchases: a second may be worth more than one."""
    now = _loss(menu.errors[had - 1])
    steps = range(1, len(menu.errors) - had + 1)
    rates = [((_loss(menu.errors[had + size - 1]) - now) / (menu.cost * size), size) for size in steps]
    return min(rates, default=(0.0, 1))


def _loss(error: float) -> float:
    return -log1p(-min(error, 1 - 1e-15))


def _trim(
    menus: Sequence[Menu], budget: float, counts: list[list[int]], cost: float, error: float
) -> tuple[float, float]:
    """Gives back the dearest purchases that the target does not need after all."""
    order = sorted(range(len(menus)), key=lambda place: -menus[place].cost)
    for place in order:
        menu = menus[place]
        for one in range(menu.count):
            while counts[place][one] > 1:
                had = counts[place][one]
                more = _loss(menu.errors[had - 2]) - _loss(menu.errors[had - 1])
                if error + more > budget:
                    break
                counts[place][one], error, cost = had - 1, error + more, cost - menu.cost
    return cost, error


def spacing(check: float, error: float) -> int:
    """Steps between two exact checks, each at the cost of `check` steps, where a step goes wrong with chance `error`.

    The whole number with the least cost per good step, (L + V) / (L (1-q)^L); about sqrt(V/q). The rule is that of
    checkpoints against silent errors: Aupy, Benoit, Herault, Robert, Vivien, Zaidouni (2013).
    """
    if check < 0 or not 0 < error < 1:
        raise ValueError("a check costs 0 or more, and an error has a chance between 0 and 1")
    best = 1
    while _per_step(best + 1, check, error) < _per_step(best, check, error):
        best += 1
    return best


def _per_step(length: int, check: float, error: float) -> float:
    return (length + check) / (length * (1 - error) ** length)
