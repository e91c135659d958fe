"""Rewards: numbers that training may use, given by named rules to runs that ended. A new rule is an entry here.

What a rule has no opinion of gets none, which is not zero.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from surefoot.storage.outcome import Outcome
from surefoot.storage.records import Json, Reliability, Usage


@dataclass(frozen=True, slots=True)
class Ended:
    """A run that ended, as rules see it."""

    outcome: Outcome
    output: Json
    reliability: Reliability
    usage: Usage
    correct: bool | None = None
    """Whether the output is the known answer; None where none is known."""


class Rule(Protocol):
    """Pure: the same for the same run, whenever it is asked."""

    def __call__(self, run: Ended) -> float | None:
        """The reward; None where the rule says nothing of such a run."""
        ...


def verified(run: Ended) -> float | None:
    """1 for what was verified, 0 for an honest abstention."""
    return {Outcome.VERIFIED: 1.0, Outcome.ABSTAINED: 0.0}.get(run.outcome)


def answer(run: Ended) -> float | None:
    """1 for the known answer, 0 for another one."""
    return None if run.correct is None else float(run.correct)


RULES: dict[str, Rule] = {"verified": verified, "answer": answer}
"""By the name that its rewards have in the record."""


def rewards(run: Ended, *names: str) -> Iterator[tuple[str, float]]:
    """The rewards of a run, by rule; without names those of all rules."""
    for name in names or RULES:
        if (value := RULES[name](run)) is not None:
            yield name, value
