"""The report's pictures: predicted against observed, reliability against cost, verifiers' rates."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from surefoot.reflection.rates import Beta
from surefoot.storage.errors import MissingExtra

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, BLUE, ORANGE, GREY = "#22272e", "#2563a8", "#c2571a", "#9aa4b0"


@dataclass(frozen=True, slots=True)
class Judged:
    """An accepted run whose truth is known."""

    predicted: float | None
    right: bool
    target: float | None
    samples: int
    usd: float
    outcome: str = "verified"


@dataclass(frozen=True, slots=True)
class Instrument:
    """A verifier, as it was measured."""

    name: str
    accept: Beta
    false_accept: Beta
    nats: float


def figure(runs: Sequence[Judged], instruments: Sequence[Instrument]) -> Figure:
    """All pictures on one sheet. Raises MissingExtra without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra("report", "pictures") from error
    height = 4.2 + 0.42 * max(len(instruments), 3)
    made = Figure(figsize=(11, height), layout="constrained", facecolor="white")
    grid = made.add_gridspec(2, 2, height_ratios=[4.2, height - 4.2])
    _predicted(made.add_subplot(grid[0, 0]), runs)
    _cost(made.add_subplot(grid[0, 1]), runs)
    _rates(made.add_subplot(grid[1, :]), instruments)
    return made


def png(drawn: Figure) -> bytes:
    stream = io.BytesIO()
    drawn.savefig(stream, format="png", dpi=130)
    return stream.getvalue()


def groups(runs: Sequence[Judged], most: int = 8) -> list[list[Judged]]:
    """Runs of about the same prediction, as many groups as have ten runs each, at most `most`.

    Groups whose predictions would lie on top of each other are one.
    """
    known = sorted((one for one in runs if one.predicted is not None), key=lambda one: one.predicted or 0)
    count = max(1, min(most, len(known) // 10))
    found: list[list[Judged]] = []
    for part in map(list, np.array_split(np.array(known, dtype=object), count)):
        if found and _mean(part) - _mean(found[-1]) < NEAR:
            found[-1] += part
        else:
            found.append(part)
    return [one for one in found if one]


COLOURS = {"verified": BLUE, "agreed": ORANGE}
"""Of accepted runs that predict something."""

NEAR = 0.01
"""Predictions that differ by less than this are one group."""


def _mean(runs: Sequence[Judged]) -> float:
    return sum(one.predicted or 0 for one in runs) / max(len(runs), 1)


def _bar(axes: Axes, x: float, group: Sequence[Judged], color: str) -> tuple[float, float]:
    """Draws the share that was right and its 95 % interval; gives the interval's lower end, and the share."""
    right = sum(one.right for one in group)
    low, high = Beta(right, len(group) - right).interval()
    axes.plot([x, x], [low, high], color=color, linewidth=1.5)
    axes.plot(x, right / len(group), "o", color=color, markersize=6)
    return low, right / len(group)


def _predicted(axes: Axes, runs: Sequence[Judged]) -> None:
    axes.set_title("Is what was predicted what came out?", loc="left", color=INK, fontsize=11)
    axes.set_ylabel("share that was right")
    found = [(name, group) for name in COLOURS for group in groups([one for one in runs if one.outcome == name])]
    if not found:
        _nothing(axes, "No accepted run has a known answer yet.\nsurefoot run --file ... --score, or surefoot feedback")
        return
    means = [_mean(group) for _, group in found]
    least = min(0.9, *means)
    for (name, group), mean in zip(found, means, strict=True):
        low, share = _bar(axes, mean, group, COLOURS[name])
        least = min(least, low)
        axes.annotate(f"{len(group)} {name}", (mean, share), xytext=(6, -12 - 12 * (name == "agreed")),
                      textcoords="offset points", fontsize=8, color=INK)  # fmt: skip
    axes.plot([0, 1], [0, 1], "--", color=GREY, linewidth=1, zorder=0)
    told = "predicted probability of being right\ndashed: as predicted; bars: 95 % intervals"
    if any(name == "agreed" for name, _ in found):
        told += "; agreed: by votes alone"
    axes.set_xlabel(told)
    least = max(0.0, least - 0.02)
    axes.set_xlim(max(0.0, min(means) - 0.05), 1.005)
    axes.set_ylim(least, 1.02)


def _cost(axes: Axes, runs: Sequence[Judged]) -> None:
    axes.set_title("What does reliability cost?", loc="left", color=INK, fontsize=11)
    axes.set_ylabel("share that was right")
    by_target: dict[tuple[str, float | None], list[Judged]] = {}
    for one in runs:
        by_target.setdefault((one.outcome, one.target), []).append(one)
    if not by_target:
        _nothing(axes, "Nothing to draw yet.")
        return
    paid = any(one.usd for one in runs)
    axes.set_xlabel("dollars a run" if paid else "samples a run")
    for (outcome, target), group in sorted(by_target.items(), key=lambda item: (item[0][0], item[0][1] or 0)):
        cost = sum(one.usd if paid else one.samples for one in group) / len(group)
        low, _ = _bar(axes, cost, group, ORANGE)
        asked = "no target" if target is None else f"target {target:g}"
        label = {"verified": asked, "agreed": f"{asked}, agreed"}.get(outcome, outcome)
        axes.annotate(f"{label}\n{len(group)} runs", (cost, low), xytext=(0, -6), textcoords="offset points",
                      fontsize=8, color=INK, ha="center", va="top")  # fmt: skip
        if outcome in COLOURS and target is not None:
            axes.plot(cost, target, "_", color=INK, markersize=16)
    axes.text(0.02, 0.96, "black dash: the target that was asked for", transform=axes.transAxes, fontsize=8, color=INK)
    axes.margins(x=0.3, y=0.25)
    axes.set_ylim(top=1.02)


def _rates(axes: Axes, instruments: Sequence[Instrument]) -> None:
    axes.set_title("How far can each verifier be trusted?", loc="left", color=INK, fontsize=11)
    axes.set_xlabel("share of answers that it passes: right ones (blue) and wrong ones (orange), with 95 % intervals")
    if not instruments:
        _nothing(axes, "No verifier was measured yet.\nsurefoot calibrate --file labelled.jsonl --check module:name")
        return
    for place, one in enumerate(reversed(instruments)):
        for rate, color, lift in ((one.accept, BLUE, 0.12), (one.false_accept, ORANGE, -0.12)):
            low, high = rate.interval()
            axes.plot([low, high], [place + lift] * 2, color=color, linewidth=2)
            axes.plot(rate.mean, place + lift, "o", color=color, markersize=5)
        axes.text(1.03, place, f"{one.nats:.2f} nats", va="center", fontsize=9, color=INK)
    axes.set_yticks(range(len(instruments)), [one.name for one in reversed(instruments)], fontsize=9)
    axes.set_xlim(-0.02, 1.16)
    axes.set_ylim(-0.6, len(instruments) - 0.4)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1])


def _nothing(axes: Any, text: str) -> None:
    axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes, color=INK, fontsize=9)
    axes.set_xticks([])
    axes.set_yticks([])
