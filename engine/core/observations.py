"""What a run shows of its samples and verifiers, where the truth came out: counts for the runs after it.

Truth is an exact check's word, a known-good replay, or a known-bad mutant. Agreement is none: votes settle nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Protocol

from surefoot.reflection.calibration import FORMAL, Shape, patterns, step_class, subsets, tally
from surefoot.reflection.forms import shape_of, split_of, truth_of
from surefoot.reflection.vote_belief import MOST, UNKNOWN, WRONG, Pattern, Truth
from surefoot.storage.events import Canary
from surefoot.storage.learned import Agreement, Checking, Learned, Lesson, Origin, Sampling
from surefoot.storage.records import Role, Step, Verdict

LESSONS, LONGEST = 20, 400
"""Critiques kept of a run for each class of steps, and their characters."""


class Judged(Protocol):
    """A candidate, as far as its truth is concerned."""

    refuted: bool
    verdicts: dict[str, Verdict]


@dataclass(slots=True)
class Observations:
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
    agreements: dict[tuple[str, Role, str], dict[Shape, float]] = field(default_factory=dict)
    """Prompts by class, role of the model that was asked, and source; then by shape of the samples, as `shape_of`
    writes it, and by what is known of them."""
    heard_of: dict[tuple[str, Role], int] = field(default_factory=dict)
    """How many patterns were counted, by class and role."""
    known: dict[tuple[str, Role], dict[str, dict[Pattern, float]]] = field(default_factory=dict)
    """Patterns by source as they were when their number last reached a power of two: what the run goes by until
    the next, so that few beliefs are made, and a replay makes the same ones."""

    def settled(self, step: Step, samples: Sequence[tuple[str, str, int]], candidates: Mapping[str, Judged]) -> None:
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
                self.ruled(kind, versions, {one.verifier: one.ruling == "pass" for one in said}, "audit", right)

    def _drawn(self, kind: str, samples: Sequence[tuple[str, str, int]], truth: Mapping[str, bool]) -> None:
        by_source: dict[str, list[tuple[str, bool]]] = {}
        for source, key, _ in samples:
            if key in truth:
                by_source.setdefault(source, []).append((key, truth[key]))
        for source, known in by_source.items():
            self.sampled(tally(kind, "", source, known))

    def voted(self, step: Step, samples: Sequence[tuple[str, str, int]], candidates: Mapping[str, Judged]) -> None:
        """A step that ends, or begins anew: how its samples fell into forms, and what is known of them."""
        if len(samples) == 1 and len(candidates) == 1:  # most steps that a check proves
            ((source, key, form),) = samples
            if (only := candidates.get(key)) is not None and not only.refuted and _exactly(only):
                self.agreed(step_class(step), _role(step), source, *(("0/1", "0/1") if form else ("1", "1")))
                return
        proved = {key for key, one in candidates.items() if _exactly(one) and not one.refuted}
        failed = {key for key, one in candidates.items() if _exactly(one) and one.refuted}
        by_source: dict[str, list[tuple[str, int]]] = {}
        for source, key, form in samples:
            if key in candidates and not key.startswith("\0"):  # "I do not know" is a vote for nothing
                by_source.setdefault(source, []).append((key, form))
        for source, asked in by_source.items():
            counts = Counter(key for key, _ in asked[:MOST])
            split = split_of(asked[:MOST])
            right = next((truth_of(split, key) for key in proved), None)
            self.agreed(step_class(step), _role(step), source, shape_of(asked[:MOST]), right or _wrong(counts, failed))

    def agreed(self, kind: str, role: Role, source: str, shape: str, truth: Truth, prompts: float = 1.0) -> None:
        found = self.agreements.setdefault((kind, role, source), {})
        found[shape, truth] = found.get((shape, truth), 0.0) + prompts
        number = self.heard_of[kind, role] = self.heard_of.get((kind, role), 0) + 1
        if not number & (number - 1):
            mine = {place[2]: patterns(one) for place, one in self.agreements.items() if place[:2] == (kind, role)}
            self.known[kind, role] = mine

    def epoch(self, kind: str, role: Role) -> int:
        """Changes when `known` does; 0 before the first prompt."""
        return self.heard_of.get((kind, role), 0).bit_length()

    def critiqued(self, step: Step, critiques: Iterable[str]) -> None:
        """A step whose output an exact check proved, after these critiques of other attempts at it."""
        kind = step_class(step)
        for text in (one[:LONGEST] for one in critiques):
            if (kind, text) in self.lessons or sum(one == kind for one, _ in self.lessons) < LESSONS:
                self.lessons[kind, text] = self.lessons.get((kind, text), 0.0) + 1

    def canary(self, data: Canary) -> None:
        """What verifiers said of a value that is known to be right, or wrong."""
        self.tokens += data["tokens"]
        words = data.get("said", {})  # absent from records of before verifiers were tried together
        versions = {name: version for name, (version, _) in words.items()}
        said = {name: passed for name, (_, passed) in words.items()}
        self.ruled(data["class"], versions, said, "canary", data["good"])

    def sampled(self, one: Sampling) -> None:
        place = (one.step_class, one.policy, one.source)
        self.samplings[place] = add(self.samplings[place], one) if place in self.samplings else one

    def ruled(
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

    def learned(self, policy: Callable[..., str]) -> list[Learned]:
        """What the store is to add; `policy(source, role)` names the policy behind a source."""
        for (kind, source), count in self.firsts.items():
            self.sampled(Sampling(kind, "", source, count, count))
        self.firsts = {}
        found: list[Learned] = [
            Sampling(one.step_class, one.policy or policy(one.source), one.source, *_counts(one))
            for one in self.samplings.values()
        ]
        lessons = [Lesson(kind, text, seen) for (kind, text), seen in self.lessons.items()]
        agreements = [
            Agreement(kind, policy(source, role), source, shape, truth, prompts)
            for (kind, role, source), shapes in self.agreements.items()
            for (shape, truth), prompts in shapes.items()
        ]
        return [*found, *self.checkings.values(), *lessons, *agreements]


def _role(step: Step) -> Role:
    return "plan" if step.planner is not None else "act"


def _wrong(counts: Counter[str], failed: set[str]) -> Truth:
    """What is known where nothing was proved: that no form was right, or that the leading one was wrong, or nothing."""
    if failed.issuperset(counts):
        return "0"
    (leader, most), *rest = counts.most_common(2)
    return WRONG if leader in failed and (not rest or most > rest[0][1]) else UNKNOWN


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
