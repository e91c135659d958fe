"""What asking one question in two forms shows: whether answers hang on the form, and which form is the better one.

Both comparisons are made inside a prompt, so that hard prompts, which are asked more often, tell no more than others.
When sampling stops depends on how often each answer came, never on the form it came in. That leaves little bias: of
forms that make no difference the ratio was .94 to 1.005, and their shares of right answers at most .017 apart, for
policies right .5 to .95 of the time that stopped at a lead of two or three (20,000 prompts each). Prompts that lack one
side of a comparison do not enter it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from surefoot.reflection.rates import Beta

Split = Sequence[tuple[float, float]]
"""How often each answer of a prompt came in the first form, and in the second."""

ENOUGH = 8.0
"""Prompts from which on a comparison is told."""

SLACK = 0.02
"""What early stopping alone may put between two forms."""

FORMS = (0, 1)


@dataclass(frozen=True, slots=True)
class FormCounts:
    """Sums over prompts."""

    prompts: float = 0.0
    """With two samples in one form at least, and one in the other."""
    within: float = 0.0
    """Share of pairs in one form that agree."""
    across: float = 0.0
    """Share of pairs in two forms that agree."""
    known: float = 0.0
    """Prompts asked in both forms whose right answer is known."""
    right: tuple[float, float] = (0.0, 0.0)
    """Share of samples of each form that gave it."""

    @property
    def ratio(self) -> float | None:
        """Agreement across forms divided by that within one; 1 where the form makes no difference. None: too few."""
        return self.across / self.within if self.prompts >= ENOUGH and self.within > 0 else None

    @property
    def kept(self) -> tuple[int, ...]:
        """Forms to ask in: both, or the better one where truth showed that the other is worse."""
        if self.known < ENOUGH:
            return FORMS
        first, second = (Beta(right, self.known - right) for right in self.right)
        if first.lower() > second.upper() + SLACK:
            return (0,)
        return (1,) if second.lower() > first.upper() + SLACK else FORMS

    def plus(self, split: Split, right: int | None, prompts: float) -> FormCounts:
        """With so many more prompts. right: place of the right answer in the split, where it is known; -1: it did not
        come."""
        first, second = sum(one for one, _ in split), sum(other for _, other in split)
        found = self
        within = first * (first - 1) + second * (second - 1)
        if first and second and within:
            alike = sum(one * (one - 1) + other * (other - 1) for one, other in split) / within
            across = sum(one * other for one, other in split) / (first * second)
            found = replace(
                found,
                prompts=found.prompts + prompts,
                within=found.within + prompts * alike,
                across=found.across + prompts * across,
            )
        if first and second and right is not None:
            one, other = split[right] if right >= 0 else (0.0, 0.0)
            rights = (found.right[0] + prompts * one / first, found.right[1] + prompts * other / second)
            found = replace(found, known=found.known + prompts, right=rights)
        return found


@dataclass(frozen=True, slots=True)
class Openings:
    """How often the first two samples of a prompt agree: what they bound holds whatever errors are like.

    The first two are free of the choice when to stop. In one form, (E p)^2 <= E p^2 <= P(they agree) by Jensen's
    inequality. In two forms, a prompt has one right answer, so that p_1 + p_2 <= 1 + P(they agree) on average.
    """

    within: tuple[float, float] = (0.0, 0.0)
    """Prompts whose first two samples, in one form, agree; and do not."""
    across: tuple[float, float] = (0.0, 0.0)
    """The same for two forms."""

    @property
    def at_most(self) -> float | None:
        """How often a sample is right, at most: a bound of 97.5 %; None where too little was seen."""
        found = []
        if sum(self.within) >= ENOUGH:
            found.append(Beta(*self.within).upper() ** 0.5)
        if sum(self.across) >= ENOUGH:
            found.append((1 + Beta(*self.across).upper()) / 2)
        return min(found, default=None)

    def plus(self, shape: str, prompts: float) -> Openings:
        """With so many more prompts of a shape, as `shape_of` writes it."""
        alike = opening_in(shape)
        if alike is None:
            return self
        split = split_in(shape)
        across = any(one for one, _ in split) and any(other for _, other in split)
        agree, differ = self.across if across else self.within
        found = (agree + prompts, differ) if alike else (agree, differ + prompts)
        return replace(self, across=found) if across else replace(self, within=found)


def shape_of(samples: Sequence[tuple[str, int]]) -> str:
    """The split of samples in the order drawn as text; where it leaves open whether the first two agree, "=" at its end
    says that they do, and "~" that they do not."""
    text = text_of_split(split_of(samples).values())
    if len(samples) < 2 or opening_in(text) is not None:
        return text
    return text + ("=" if samples[0][0] == samples[1][0] else "~")


def opening_in(shape: str) -> bool | None:
    """Whether the first two samples of a prompt agree; None where there were not two, or the shape does not say."""
    counts = [sum(one) for one in split_in(shape)]
    if shape[-1:] in MARKS:
        return shape.endswith("=")
    if sum(counts) < 2:
        return None
    return True if len(counts) == 1 else False if max(counts) == 1 else None


MARKS = ("=", "~")


def split_of(samples: Iterable[tuple[str, int]]) -> dict[str, tuple[int, int]]:
    """How often each answer came in either form; samples are answers with the form they were asked in."""
    found: dict[str, tuple[int, int]] = {}
    for key, form in samples:
        first, second = found.get(key, (0, 0))
        found[key] = (first + (form == 0), second + (form != 0))
    return found


def text_of_split(split: Iterable[tuple[int, int]]) -> str:
    """ "2/1+0/1": one answer came twice in the first form and once in the second, another once in the second.

    Where all came in the first form, "2+1".
    """
    found = sorted(split, key=lambda one: (-sum(one), one))
    if not any(second for _, second in found):
        return "+".join(str(first) for first, _ in found)
    return "+".join(f"{first}/{second}" for first, second in found)


def truth_of(split: Mapping[str, tuple[int, int]], right: str) -> str:
    """The right answer's own part of the text of a split; "0": it did not come."""
    if right not in split:
        return "0"
    first, second = split[right]
    return f"{first}/{second}" if any(other for _, other in split.values()) else str(first)


def split_in(text: str) -> list[tuple[int, int]]:
    """Undoes `text_of_split`, and reads `shape_of`."""
    parts = (part.partition("/") for part in text.rstrip("=~").split("+"))
    return [(int(first), int(second or 0)) for first, _, second in parts]


def right_in(split: Split, truth: str) -> int | None:
    """Place of the right answer in a split, from `truth_of`; -1: it did not come; None: it is not known which it is."""
    if not truth[:1].isdigit():
        return None
    ((first, second),) = split_in(truth)
    return next((place for place, one in enumerate(split) if one == (first, second)), -1)
