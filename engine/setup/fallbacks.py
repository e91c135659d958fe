"""The fallbacks of a step that does not get its evidence: the registry. A new one is an entry here.

What `decide` knows of one is its place in the ladder and what it brings: further sources of samples, a planner that
takes the step over, or a person.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from surefoot.engine.core.rules import PERSON, Ask
from surefoot.models.question import Model
from surefoot.models.representation import Representation
from surefoot.reflection.calibration import Calibration, source_of, step_class
from surefoot.reflection.evidence import Belief
from surefoot.storage.records import Step


class Set(Protocol):
    """What `Settings` say of them."""

    @property
    def ladder(self) -> tuple[str, ...]: ...
    @property
    def prior(self) -> float | None: ...


class Given(Protocol):
    """What an engine was given that fallbacks draw on. `RunContext` has it."""

    @property
    def settings(self) -> Set: ...
    @property
    def calibration(self) -> Calibration: ...
    @property
    def representations(self) -> tuple[Representation, ...]: ...
    @property
    def alternates(self) -> Mapping[str, Model]: ...

    def policy(self, source: str) -> str: ...
    def alternate(self, name: str) -> Belief | None: ...


@dataclass(frozen=True, slots=True)
class Variant:
    """A further source of samples, before anything that was measured of it is known."""

    name: str
    stated: Belief | None
    lesson: str = ""
    """What its questions say of earlier attempts; such a source competes with the first instead of following it."""
    ask: Ask | None = None
    """How it asks, where it asks otherwise than the first."""


Variants = Callable[[Given, Step, Belief | None], Iterator[Variant]]
"""The sources for a step that a model answers. The belief is what is stated of its model, asked in another form."""


def _none(given: Given, step: Step, stated: Belief | None) -> Iterator[Variant]:
    return iter(())


@dataclass(frozen=True, slots=True)
class Fallback:
    """What a fallback brings."""

    variants: Variants = _none
    first: bool = False
    """A source of it may be what the step begins with, where it was measured to be cheaper."""
    hands_to: str = ""
    """The planner, by its name, or the person, that the step is handed to."""
    usual: bool = True
    """It is in the ladder unless somebody names another one."""


def _lessons(given: Given, step: Step, stated: Belief | None) -> Iterator[Variant]:
    for lesson in given.calibration.lessons(step_class(step), given.policy("")):
        yield Variant(source_of(lesson.text), stated, lesson.text)


def _representations(given: Given, step: Step, stated: Belief | None) -> Iterator[Variant]:
    for one in given.representations:
        if one.kind in ("", step.kind):
            yield Variant(one.name, stated, ask=_in_words_of(one))


@lru_cache(maxsize=256)  # one object each: beliefs of sources are kept by what they are equal to
def _in_words_of(other: Representation) -> Ask:
    return lambda goal, inputs, chance: (goal, *other.ask(inputs, chance))


def _alternates(given: Given, step: Step, stated: Belief | None) -> Iterator[Variant]:
    prior = None if given.settings.prior is None else Belief(given.settings.prior)
    return (Variant(name, prior or given.alternate(name)) for name in given.alternates)


FALLBACKS: dict[str, Fallback] = {
    "critique": Fallback(_lessons),
    "representation": Fallback(_representations, first=True),
    "model": Fallback(_alternates),
    "decompose": Fallback(hands_to="decompose"),
    "search": Fallback(hands_to="search"),
    "ask": Fallback(hands_to=PERSON, usual=False),
}
"""By name, in their usual order. `critique` also is what it takes to try again after a refuted answer."""

USUAL = tuple(name for name, one in FALLBACKS.items() if one.usual)
