"""What a run shows of its samples and verifiers, where the truth came out: counts for the runs after it.

Truth is an exact check's word, a known-good replay, or a known-bad mutant. Agreement is none: votes settle nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Protocol

from surefoot.reflection.calibration import FORMAL, step_class, subsets, tally
from surefoot.storage.records import Checking, Json, Learned, Lesson, Origin, Sampling, Step, Verdict

LESSONS, LONGEST = 20, 400
"""Critiques kept of a run for each class of steps, and their characters."""


class Judged(Protocol):
    """A candidate, as far as its truth is concerned."""

    refuted: bool
    verdicts: dict[str, Verdict]


@dataclass(slots=True)
class Taught:
    """Counts of one run. Nothing in it grows with the number of steps, only with the kinds of them."""

    samplings: dict[tuple[str, str, str], Sampling] = field(default_factory=dict)
    """By class of step, policy and source; a policy that is empty is filled in at the end."""
    checkings: dict[tuple[str, str, str, Origin, str], Checking] = field(default_factory=dict)
    firsts: dict[tuple[str, str], int] = field(default_factory=dict)
    """Steps by class and source whose only sample was right: what most are, and so counted apart."""
    lessons: dict[tuple[str, str], float] = field(default_factory=dict)
    """Steps by class and critique: told it, and right afterwards."""
    tokens: int = 0
    """Spent on canaries."""

    def settled(self, step: Step, samples: Sequence[tuple[str, str]], candidates: Mapping[str, Judged]) -> None:
        """A step whose output an exact check proved: the samples that the check judged are right or wrong."""
        kind = step_class(step)
        truth = {key: not one.refuted for key, one in candidates.items() if _exactly(one)}
        if len(samples) == len(truth) == 1 and truth.get(samples[0][1]):
            place = (kind, samples[0][0])
            self.firsts[place] = self.firsts.get(place, 0) + 1
        else:
            self._drawn(kind, samples, truth)
        for key, right in truth.items():
            said = [one for one in candidates[key].verdicts.values() if _tells(one)]
            if said:
                versions = {one.verifier: one.version for one in said}
                self.heard(kind, versions, {one.verifier: one.ruling == "pass" for one in said}, "audit", right)

    def _drawn(self, kind: str, samples: Sequence[tuple[str, str]], truth: Mapping[str, bool]) -> None:
        by_source: dict[str, list[tuple[str, bool]]] = {}
        for source, key in samples:
            if key in truth:
                by_source.setdefault(source, []).append((key, truth[key]))
        for source, known in by_source.items():
            self.sampled(tally(kind, "", source, known))

    def told(self, step: Step, critiques: Iterable[str]) -> None:
        """A step whose output an exact check proved, after these critiques of other attempts at it."""
        kind = step_class(step)
        for text in (one[:LONGEST] for one in critiques):
            if (kind, text) in self.lessons or sum(one == kind for one, _ in self.lessons) < LESSONS:
                self.lessons[kind, text] = self.lessons.get((kind, text), 0.0) + 1

    def canary(self, data: Json) -> None:
        """What verifiers said of a value that is known to be right, or wrong."""
        self.tokens += data["tokens"]
        words = data.get("said", {})  # absent from records of before verifiers were tried together
        versions = {name: version for name, (version, _) in words.items()}
        said = {name: passed for name, (_, passed) in words.items()}
        self.heard(data["class"], versions, said, "canary", data["good"])

    def sampled(self, one: Sampling) -> None:
        place = (one.step_class, one.policy, one.source)
        self.samplings[place] = add(self.samplings[place], one) if place in self.samplings else one

    def heard(
        self,
        kind: str,
        versions: Mapping[str, str],
        said: Mapping[str, bool],
        origin: Origin,
        good: bool,
        weight: float = 1.0,
    ) -> None:
        """What several verifiers said of one candidate: each counts alone, and after every choice of the others."""
        for name, passed in said.items():
            others = {other: word for other, word in said.items() if other != name}
            for after in subsets(others):
                place = (kind, name, versions[name], origin, after)
                old = self.checkings.get(place) or Checking(kind, name, versions[name], origin, after=after)
                count = ("good" if good else "bad") + ("_passed" if passed else "_failed")
                self.checkings[place] = replace(old, **{count: getattr(old, count) + weight})

    def learned(self, policy: Callable[[str], str]) -> list[Learned]:
        """What the store is to add; `policy` names the policy behind a source."""
        for (kind, source), count in self.firsts.items():
            self.sampled(Sampling(kind, "", source, count, count))
        self.firsts = {}
        found: list[Learned] = [
            Sampling(one.step_class, one.policy or policy(one.source), one.source, *_counts(one))
            for one in self.samplings.values()
        ]
        lessons = [Lesson(kind, text, seen) for (kind, text), seen in self.lessons.items()]
        return [*found, *self.checkings.values(), *lessons]


def _tells(verdict: Verdict) -> bool:
    """Whether a verdict says something of its verifier: of one that proves, or looks at the form alone, it does not."""
    return not verdict.exact and verdict.ruling != "abstain" and verdict.verifier not in FORMAL


def _exactly(candidate: Judged) -> bool:
    """Whether an exact verifier ruled on it."""
    return any(one.exact and one.ruling != "abstain" for one in candidate.verdicts.values())


def _counts(one: Sampling) -> tuple[float, ...]:
    return one.prompts, one.right, one.wrong, one.pairs, one.again, one.same, one.thrice


def add(one: Sampling, other: Sampling) -> Sampling:
    """The counts of both."""
    counts = (mine + theirs for mine, theirs in zip(_counts(one), _counts(other), strict=True))
    return Sampling(one.step_class, one.policy, one.source, *counts)


def summed(found: Iterable[Learned]) -> list[Learned]:
    """The counts of several parts, each kind of row once."""
    sums: dict[tuple[str, ...], Learned] = {}
    for one in found:
        words = {name: value for name, value in asdict(one).items() if isinstance(value, str)}
        key = (type(one).__name__, *words.values())
        if (old := sums.get(key)) is not None:
            mine = asdict(old)
            one = replace(one, **{name: value + mine[name] for name, value in asdict(one).items() if name not in words})
        sums[key] = one
    return list(sums.values())
