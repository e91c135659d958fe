"""What the counts of a policy's answers tell about it, with labels and without.

The samples of one prompt fall into forms that occurred n_1 >= n_2 >= ... times. On most prompts the right form has the
chance q ~ Beta(p c, (1-p) c). The wrong ones share the rest as in a Chinese restaurant process, so that a prompt has
wrong answers of its own that come again: of concentration t (two wrong samples agree with chance 1 / (1+t)), on a
share s of the prompts of concentration `STRONG`, and on a share `SOME` of the others of concentration `MEDIUM`: that
wrong answers hardly ever met so far does not say that one which came three times of eleven is right. On a share u of
all prompts the policy is *misconceived*: the right answer hardly ever comes, q ~ Beta(.6, 6), and one wrong answer
nearly always does. The likelihood of counts of which the j-th belongs to the right form (j = none: it was not seen) is

    (1-u) B(pc + n_j, (1-p)c + n - n_j) / B(pc, (1-p)c) ((1-s) usual(others; t) + s crp(others; STRONG))
    + u B(.6 + n_j, 6 + n - n_j) / B(.6, 6) crp(others; STRONG)

    usual(m; t) = (1-SOME) crp(m; t) + SOME crp(m; MEDIUM)
    crp(m_1 .. m_d; t) = t^d product of (m_i - 1)! Gamma(t) / Gamma(t + sum m_i)       (Ewens, 1972; Aldous, 1985)

p, c, t, s and u are unknown. They lie on a grid, and its weights are the belief. Every prompt moves them, labelled or
not: a label only leaves out the rows that it excludes. When sampling stops depends on the counts alone, so that
rule cancels, and all samples of a prompt may be used.

What is believed comes in two numbers. *All in* counts misconceptions, and it alone is a prediction. *By votes* leaves
them out: no vote of one policy can show one, only truth can.

The sum over the grid factors: what depends on (p, c), on (t, s) and on u are three axes, so that asking costs a product
of a vector, a matrix and a vector.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import exp, lgamma, log
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

Counts = tuple[int, ...]
"""How often each form of one prompt came; the order does not matter."""

Truth = str
"""What is known of a prompt: UNKNOWN, WRONG, or the right form's own count as digits ("0": it did not come)."""

UNKNOWN: Truth = ""
WRONG: Truth = "wrong"
"""The form with the most votes is wrong, and no more is known."""

Pattern = tuple[Counts, Truth]

MEANS = (0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.87, 0.92, 0.95, 0.97, 0.985, 0.995)
SPREADS = (0.3, 1.0, 4.0, 40.0)
TABLES = (0.5, 1.5, 5.0, 20.0, 300.0)
SHARES = (0.0, 0.03, 0.1, 0.2, 0.4)
STRONG = 0.15
"""Concentration of the wrong answers of a prompt that has a strong favourite among them."""

SOME, MEDIUM = 0.15, 10.0
"""Share of the other prompts whose wrong answers come again a little, whatever the rest are like, and how much."""

MISCONCEIVED = {
    0.0: 0.12,
    0.003: 0.12,
    0.01: 0.14,
    0.02: 0.14,
    0.04: 0.14,
    0.08: 0.12,
    0.15: 0.1,
    0.3: 0.07,
    0.5: 0.03,
    0.8: 0.02,
}
"""Share of misconceived prompts: its weight before anything was seen. A statement about models in general."""

EXCUSED = sum(share * weight for share, weight in MISCONCEIVED.items()) / sum(MISCONCEIVED.values())
"""Doubt that votes may leave out: the share of misconceived prompts before anything was seen. What labels show beyond
it counts."""

RIGHT, LEFT = 0.6, 6.0
"""The right answer's chance on a misconceived prompt is Beta(RIGHT, LEFT)."""

MOST = 12
"""Samples of a prompt that are learnt from, the first ones: patterns stay few."""

TAIL = 0.05


@dataclass(frozen=True, slots=True)
class Grid:
    """The axes: means and spreads (64), wrong answers (25), misconceptions (10)."""

    a: Array
    """[64] p c."""
    b: Array
    """[64] (1-p) c."""
    p: Array
    t: Array
    """[25]"""
    s: Array
    u: Array
    """[10]"""
    start: Array
    """[64, 25, 10] log-weights before anything was seen."""


@lru_cache(maxsize=1)
def grid() -> Grid:
    import numpy as np

    p = np.repeat(np.array(MEANS), len(SPREADS))
    c = np.tile(np.array(SPREADS), len(MEANS))
    t = np.repeat(np.array(TABLES), len(SHARES))
    s = np.tile(np.array(SHARES), len(TABLES))
    u = np.array(list(MISCONCEIVED))
    prior = np.log(np.array(list(MISCONCEIVED.values()))) - log(len(p) * len(t))
    return Grid(p * c, (1 - p) * c, p, t, s, u, np.broadcast_to(prior, (len(p), len(t), len(u))).copy())


@dataclass(frozen=True, slots=True)
class Row:
    """The likelihood of counts, given which form is right, divided by exp(`scale`)."""

    by_mean: Array
    """[64]"""
    by_wrong: Array
    """[25]"""
    misled: float


@lru_cache(maxsize=1024)
def _rows(counts: Counts) -> tuple[list[Row], float]:
    """A row for each form, and the last for none of them; and the logarithm that all are divided by."""
    import numpy as np

    axes = grid()
    size = sum(counts)
    found = []
    for place in range(len(counts) + 1):
        mine = counts[place] if place < len(counts) else 0
        others = tuple(count for other, count in enumerate(counts) if other != place)
        mean = _beta(axes.a, axes.b, mine, size - mine)
        medium, hard = (float(_crp(np.array([t]), others)[0]) for t in (MEDIUM, STRONG))
        soft = np.logaddexp(log(1 - SOME) + _crp(axes.t, others), log(SOME) + medium)
        with np.errstate(divide="ignore"):
            wrong = np.logaddexp(np.log1p(-axes.s) + soft, np.log(axes.s) + hard)
        misled = float(_beta(np.array([RIGHT]), np.array([LEFT]), mine, size - mine)[0]) + hard
        found.append((mean, wrong, misled))
    scale = max(max(float(mean.max() + wrong.max()), misled) for mean, wrong, misled in found)
    return [Row(np.exp(mean - scale), np.exp(wrong), exp(misled - scale)) for mean, wrong, misled in found], scale


def _beta(a: Array, b: Array, right: int, wrong: int) -> Array:
    """ln B(a + right, b + wrong) / B(a, b), as rising factorials."""
    import numpy as np

    total: Array = np.zeros_like(a)
    for start, count in ((a, right), (b, wrong)):
        for step in range(count):
            total = total + np.log(start + step)
    for step in range(right + wrong):
        total = total - np.log(a + b + step)
    return total


def _crp(t: Array, sizes: Counts) -> Array:
    """ln crp(sizes; t)."""
    import numpy as np

    total: Array = len(sizes) * np.log(t) + sum(lgamma(size) for size in sizes)
    for step in range(sum(sizes)):
        total = total - np.log(t + step)
    return total


def _allowed(counts: Counts, truth: Truth) -> list[int]:
    """Rows that a label leaves."""
    if truth == UNKNOWN:
        return list(range(len(counts) + 1))
    if truth == WRONG:
        return list(range(1, len(counts) + 1))
    if truth == "0":
        return [len(counts)]
    return [counts.index(int(truth))]


@lru_cache(maxsize=512)
def _likelihood(counts: Counts, truth: Truth) -> Array:
    """[64, 25, 10] ln of the likelihood of a pattern, up to a constant."""
    import numpy as np

    rows, _ = _rows(counts)
    plain: Array = np.zeros((len(grid().a), len(grid().t)))
    misled = 0.0
    for place in _allowed(counts, truth):
        plain += np.outer(rows[place].by_mean, rows[place].by_wrong)
        misled += rows[place].misled
    u = grid().u
    found: Array = np.log(plain[:, :, None] * (1 - u) + misled * u + 1e-300)
    return found


def ordered(counts: Iterable[int]) -> Counts:
    return tuple(sorted((count for count in counts if count > 0), reverse=True))


@dataclass(frozen=True, slots=True)
class Chances:
    """Of one form being right."""

    all_in: float
    """Misconceptions counted: a prediction."""
    by_votes: float
    """What it would be if there were no misconceptions."""


class VoteBelief:
    """What is believed of one policy on one class of steps, asked in one way. Immutable; `learnt` makes another."""

    def __init__(self, weights: Any = None, prompts: float = 0.0, truths: float = 0.0, hinted: bool = False) -> None:
        self._weights = grid().start if weights is None else weights
        self.prompts = prompts
        """Prompts that it has learnt from."""
        self.truths = truths
        """Those of them whose leading form is known to be right or wrong."""
        self.hinted = hinted
        """Whether other classes, or a probe, showed something of the policy."""
        self._known: dict[Counts, list[tuple[float, float]]] = {}
        self._bounds: dict[tuple[Counts, int], float] = {}

    def learnt(self, patterns: Mapping[Pattern, float], most: float | None = None) -> VoteBelief:
        """The belief after so many prompts of each pattern.

        most: prompts that all of them together may be worth; for what was seen elsewhere, which is only a hint.
        """
        import numpy as np

        total = sum(patterns.values())
        if total <= 0:
            return self
        worth = 1.0 if most is None else min(1.0, most / total)
        weights = self._weights.copy()
        for (counts, truth), prompts in patterns.items():
            weights += worth * prompts * _likelihood(ordered(counts), truth)
        weights -= weights.max()
        weights -= np.log(np.exp(weights).sum())
        truths = sum(prompts for (_, truth), prompts in patterns.items() if truth != UNKNOWN)
        if most is not None:
            return VoteBelief(weights, self.prompts, self.truths, hinted=True)
        return VoteBelief(weights, self.prompts + total, self.truths + truths, self.hinted)

    # --- what is believed -----------------------------------------------------------------------------------

    @cached_property
    def _mass(self) -> Array:
        import numpy as np

        mass: Array = np.exp(self._weights - self._weights.max())
        mass /= mass.sum()
        return mass

    @cached_property
    def _plain(self) -> Array:
        """[64, 25] mass times (1 - u)."""
        plain: Array = self._mass @ (1 - grid().u)
        return plain

    @cached_property
    def misconceived(self) -> float:
        """Mean share of misconceived prompts."""
        return float((self._mass.sum((0, 1)) * grid().u).sum())

    @cached_property
    def p(self) -> float:
        """Mean chance that a sample is right."""
        return float(self._plain.sum(1) @ grid().p) + self.misconceived * RIGHT / (RIGHT + LEFT)

    @cached_property
    def concentration(self) -> float:
        """c of the Beta mixture over prompts that has the same mean and variance, misconceptions counted."""
        axes = grid()
        plain = self._plain.sum(1)
        square = float(plain @ (axes.a * (axes.a + 1) / ((axes.a + axes.b) * (axes.a + axes.b + 1))))
        square += self.misconceived * RIGHT * (RIGHT + 1) / ((RIGHT + LEFT) * (RIGHT + LEFT + 1))
        alike = (square - self.p**2) / (self.p * (1 - self.p))
        return 1 / max(alike, 1e-6) - 1

    @cached_property
    def same(self) -> float:
        """Chance that two wrong samples of one prompt agree."""
        axes = grid()
        usual = (1 - SOME) / (1 + axes.t) + SOME / (1 + MEDIUM)
        agree = (1 - axes.s) * usual + axes.s / (1 + STRONG)
        plain = (self._plain * (axes.b / (axes.a + axes.b))[:, None]).sum(0)
        misled = self.misconceived * LEFT / (RIGHT + LEFT)
        return (float(plain @ agree) + misled / (1 + STRONG)) / (float(plain.sum()) + misled)

    def interval(self, tail: float = TAIL / 2) -> tuple[float, float]:
        """Quantiles of the chance that a sample is right."""
        import numpy as np

        u = grid().u
        rate = grid().p[:, None] * (1 - u) + u * RIGHT / (RIGHT + LEFT)
        mass = self._mass.sum(1)
        order = np.argsort(rate, axis=None)
        below = np.cumsum(mass.ravel()[order])
        low, high = np.searchsorted(below, (tail, 1 - tail))
        ends = rate.ravel()[order]
        return float(ends[low]), float(ends[min(high, len(ends) - 1)])

    def supports(self, counts: Counts) -> list[tuple[float, float]]:
        """ln of the likelihood that each form is right, and last that none is: all in, and by votes.

        counts: in any order, none of them 0; the answer keeps it.
        """
        key = ordered(counts)
        if key not in self._known:
            self._known[key] = self._supports(key)
        found = self._known[key]
        return [*(found[key.index(count)] for count in counts), found[-1]]

    def _supports(self, counts: Counts) -> list[tuple[float, float]]:
        rows, scale = _rows(counts)
        found = []
        for row in rows:
            plain = float(row.by_mean @ self._plain @ row.by_wrong)
            both = plain + self.misconceived * row.misled
            found.append((log(max(both, 1e-300)) + scale, log(max(plain, 1e-300)) + scale))
        return found

    def right(self, counts: Counts, place: int = 0) -> Chances:
        """How likely the form at `place` of the counts is right."""
        found = self.supports(counts)
        best = max(one for one, _ in found), max(one for _, one in found)
        all_in = exp(found[place][0] - best[0]) / sum(exp(one - best[0]) for one, _ in found)
        by_votes = exp(found[place][1] - best[1]) / sum(exp(one - best[1]) for _, one in found)
        return Chances(all_in, by_votes)

    def bound(self, counts: Counts, place: int = 0) -> float:
        """Of the chance that the form at `place` is wrong: the upper end of what is believed, in one tail of `TAIL`."""
        key, mine = ordered(counts), counts[place]
        if (key, mine) not in self._bounds:
            self._bounds[key, mine] = self._bound(key, key.index(mine))
        return self._bounds[key, mine]

    def _bound(self, counts: Counts, place: int) -> float:
        import numpy as np

        right, total = self._cells(counts, place)
        mass = self._mass * total
        wrong = 1 - right / total
        order = np.argsort(wrong, axis=None)
        above = np.cumsum((mass / mass.sum()).ravel()[order])
        return float(wrong.ravel()[order][min(int(np.searchsorted(above, 1 - TAIL)), wrong.size - 1)])

    def _cells(self, counts: Counts, place: int) -> tuple[Array, Array]:
        """[64, 25, 10] the likelihood with the form at `place` right, and that of the counts."""
        import numpy as np

        rows, _ = _rows(counts)
        u = grid().u
        total: Array = np.full((len(grid().a), len(grid().t), len(u)), 1e-300)
        right = total
        for at, row in enumerate(rows):
            one = np.outer(row.by_mean, row.by_wrong)[:, :, None] * (1 - u) + row.misled * u
            total = total + one
            right = one if at == place else right
        return right, total
