"""What it takes to commit a step: its checks, where samples may come from, and its share of the error budget."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from functools import lru_cache
from math import ceil, exp, expm1, floor, inf, log, log2
from random import Random
from typing import Literal

from surefoot.engine.core.observations import Observations
from surefoot.engine.core.state import RunState, StepState
from surefoot.reflection.evidence import Belief, Race, coarse, more, race
from surefoot.reflection.forms import FORMS
from surefoot.reflection.verifier import Verifier
from surefoot.reflection.votes import logit, sigmoid
from surefoot.storage.errors import SetupError
from surefoot.storage.records import Json, Step, record

Mode = Literal["plan", "tool", "arguments", "answer"]

PERSON = "person"
"""Whom a step is handed to where no planner takes it over."""

USUAL_TARGET = 0.95
"""The target that evidence is allotted for where none was named. It is then no promise: no run abstains for it."""

FIRST = "\0first"
"""Key of a candidate that nobody has proposed yet."""


Ask = Callable[[str, Mapping[str, Json], Random], tuple[str, Mapping[str, Json], Callable[[Json], Json]]]
"""Another way to ask: from the goal and the inputs those that are asked with, and the way back from an answer."""


@record
class SampleSource:
    """Where samples of a step come from, and what is believed of them."""

    name: str = ""
    """As attempts record it; empty for the step's model, asked as it is."""
    belief: Belief = Belief()
    fallback: str | None = None
    """That it belongs to; None for the first."""
    first: bool = False
    """The step may begin with it, where it was measured to be cheaper."""
    lesson: str = ""
    """What its questions say of earlier attempts at other steps."""
    ask: Ask | None = None
    """How it asks, where it asks in words of its own."""
    forms: tuple[int, ...] = FORMS
    """In which its questions are asked, in turn, where votes alone decide."""
    ratio: float | None = None
    """Agreement of answers across forms, divided by that within one; None where too little was seen."""
    at_most: float | None = None
    """How often a sample is right at most, whatever its errors are like; None where too little was seen."""
    tried: tuple[float, float] = (0.0, 0.0)
    """First samples that were right, and wrong, as far as truth came out."""


PLAIN = (SampleSource(),)


@record
class StepRules:
    """Fixed for the step's life."""

    mode: Mode
    sampled: bool
    """Another try may propose another candidate, so votes mean something."""
    checks: tuple[Verifier, ...]
    """Of the output. Every one must pass, unless it was measured: then it is evidence."""
    plan_checks: tuple[Verifier, ...] = ()
    votes: int | None = None
    """Lead that a candidate needs where no exact check passed it; None derives its evidence from the target."""
    sources: tuple[SampleSource, ...] = PLAIN
    target: float | None = None
    tries: int = 4
    """Attempts in a row without any candidate, and rounds of retry after a refuted one."""
    samples: int | None = None
    """Attempts in all from each source; None derives them from what the evidence takes."""
    replans: int = 2
    verify: bool = True
    seed: int = 0
    handovers: tuple[tuple[str, str], ...] = ()
    """Fallbacks that hand the step to a planner, by that planner's name, or to a person."""
    fallbacks: tuple[str, ...] = ()
    """Those that may be tried, in their order."""
    watched: tuple[Verifier, ...] = ()
    """Verifiers whose rates are not known well enough yet: they are tried on canaries."""
    check_nats: float = 0.0
    """Nats that the checks which must pass, and prove nothing, give to a candidate that passes them all."""
    soft_checks: Mapping[str, float] = field(default_factory=dict)
    """Nats per unit of cost of the checks that are evidence only: those whose rates were measured."""

    learning: bool = False
    """Whether what votes teach inside the run changes what is believed of them, and no exact check decides instead."""

    @property
    def lessons(self) -> tuple[SampleSource, ...]:
        return tuple(one for one in self.sources if one.lesson)

    @property
    def proved(self) -> bool:
        """Whether an exact check speaks for candidates, so that one is enough, and the truth of each comes out."""
        return self.votes is None and any(one.exact for one in self.checks)

    @property
    def voted(self) -> bool:
        """Whether samples are votes: then what is malformed is dropped, not mended."""
        return self.verify and self.sampled and not self.proved and self.votes != 1

    def _drawn(self, step: StepState) -> SampleSource:
        """With a lesson or without: each as often as it is likely to be the best (Thompson, Biometrika 1933)."""
        rng = Random(f"{self.seed} {step.seq}")
        ways = (self.sources[0], *self.lessons)
        return max(ways, key=lambda one: rng.betavariate(one.tried[0] + 0.5, one.tried[1] + 0.5))

    @property
    def others(self) -> tuple[SampleSource, ...]:
        """Sources on the rungs of the ladder, in its order."""
        found = (one for one in self.sources if one.fallback is not None and one.fallback in self.fallbacks)
        return tuple(sorted(found, key=lambda one: self.fallbacks.index(one.fallback)))

    def source(self, name: str) -> SampleSource:
        """Raises SetupError where an engine takes up a run of one that was given more."""
        for one in self.sources:
            if one.name == name:
                return one
        raise SetupError(
            f"the run goes on with samples of {name!r}, which this engine was not given: "
            "pass the same alternates and representations as the engine that began it"
        )

    def beliefs(self) -> dict[str, Belief]:
        return {one.name: one.belief for one in self.sources}

    def error(self, state: RunState, step: StepState) -> float:
        """The step's share of what is left of the error budget: -ln target is shared over the open steps by weight.

        What committed steps did not use flows on to the others.
        """
        budget = -log(self.target or USUAL_TARGET)
        left = budget - state.trust.spent
        if self.target is None:
            left = max(left, budget / 20)
        if left <= 0:
            return 0.0
        return -expm1(-left / self.share(state, step))

    def share(self, state: RunState, step: StepState) -> float:
        """How many times what the step may err is what all open steps may, itself among them."""
        mine = step.budget_share or 1.0
        return max(state.budget_shares, mine) / mine

    def eased(self, error: float) -> float:
        """The error that votes are left with, where the checks bring what they bring."""
        return error if not self.check_nats or error <= 0 else sigmoid(logit(min(error, 0.5)) + self.check_nats)

    def first(self, state: RunState, step: StepState, error: float) -> SampleSource:
        """The source to begin with: as it is, unless asking in another form makes a run that ends well cheaper.

        A step whose output was taken back begins with another form or model: the first is likely to err again.
        """
        if step.undone and (others := self.others):
            return others[(step.undone - 1) % len(others)]
        if self.lessons and self.proved and self.verify:
            return self._drawn(step)
        if len(self.sources) == 1 or error <= 0 or self.votes is not None or not self.verify:
            return self.sources[0]
        steps = max(state.budget_shares / step.budget_share, 1.0) if step.budget_share else 1.0
        return first(self.sources, rounded(self.eased(error)), ceil(log2(steps)))

    def patience(self, source: SampleSource, error: float) -> int:
        """Candidates that may be refuted before the step goes on in another way.

        Where it is measured how often samples are right, as many as it may take to meet a right one.
        """
        if self.tries == 1:
            return 1
        known = self.mode != "plan" and measured(source)
        return max(self.tries, self.cap(source, error)) if known else self.tries

    def cap(self, source: SampleSource, error: float) -> int:
        """The most attempts of a source."""
        if self.samples is not None:
            return self.samples
        if self.votes is not None:
            return max(LEAST_SAMPLES, 4 * self.votes)
        return cap(source.belief, rounded(self.eased(error)))


RulesOf = Callable[[Step, Observations | None], StepRules]
"""The rules of a step, as far as the run has shown."""

LEAST_SAMPLES = 12
LOOK = 3
"""Samples that a step gets although no number of votes may be enough: disagreement teaches, too."""
MOST_VOTES = 200
"""A candidate that needs more votes than this, all for it, is not looked at."""
STATED_VOTES = 12
"""The same for a source that was not measured: what is only stated can promise no more than these say."""


def rounded(error: float) -> float:
    """To a quarter of a nat, downwards: races are worked out for few errors, not for each anew."""
    return exp(floor(4 * log(error)) / 4) if error > 0 else 0.0


def needed(belief: Belief, error: float) -> int | None:
    """Votes that bring a candidate without rivals to an error; None where no number does."""
    return more({"": {}}, {"": belief}, FIRST, None, "", error, most_votes(belief)) if error > 0 else None


def most_votes(belief: Belief) -> int:
    return MOST_VOTES if belief.basis == "measured" and belief.votes is None else STATED_VOTES


def estimate(belief: Belief, error: float, most: int) -> Race:
    """About what votes of a source come to; kept for whatever is near."""
    return race(coarse(belief), rounded(error), most)


@lru_cache(maxsize=1024)
def cap(belief: Belief, error: float) -> int:
    """Enough that hardly a race ends for want of samples, where its length is known; else a few more than it takes."""
    if belief.votes is not None:
        return LEAST_SAMPLES
    votes = needed(belief, error) or 1
    return max(LEAST_SAMPLES, 10 * votes + 10 if belief.basis == "measured" else 2 * votes + 2)


@lru_cache(maxsize=1024)
def first(sources: tuple[SampleSource, ...], error: float, doublings: int) -> SampleSource:
    """The source with the least cost of a run of 2^doublings steps, divided by its chance not to abstain.

    Without a measured rate nothing speaks for another form; the first one stays.
    """

    def price(one: SampleSource) -> float:
        if needed(one.belief, error) is None:
            return inf
        found = estimate(one.belief, error, cap(one.belief, error))
        decided: float = (1 - found.undecided) ** (2.0**doublings)
        return found.samples * one.belief.cost / max(decided, 1e-300)

    able = [one for one in sources if one is sources[0] or ((one.fallback is None or one.first) and measured(one))]
    return min(able, key=price)


def measured(source: SampleSource) -> bool:
    return source.belief.basis == "measured"
