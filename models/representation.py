"""Other representations of a question: the same thing asked in other words, so that samples do not err together.

Votes of one prompt share its difficulties: where the model is wrong on a prompt more often than right, more votes only
make that surer. Asked in another form each time, its errors fall elsewhere, and what the votes agree on is the answer.
For functions like addition, a random form gives a provable gain: a program that is right on most inputs becomes right
on every input with high probability (Blum, Luby, Rubinfeld, "Self-testing/correcting with applications to numerical
problems", 1990).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random

from surefoot.storage.errors import SetupError
from surefoot.storage.records import Json

Back = Callable[[Json], Json]
"""Turns the answer to the other question into the answer to the first. May raise ValueError: then it is dropped."""

Change = Callable[[Mapping[str, Json], Random], tuple[Mapping[str, Json], Back]]


@dataclass(frozen=True)
class Representation:
    """One way to ask a class of steps in another form."""

    name: str
    kind: str
    """Class of the steps that it is for; empty for all that a model answers."""
    change: Change
    """From the step's inputs, and a source of chance, to the inputs to ask with and the way back."""

    def ask(self, inputs: Mapping[str, Json], rng: Random) -> tuple[Mapping[str, Json], Back]:
        """The inputs to ask with, and the way back. Raises SetupError where the function fails, or returns neither."""
        try:
            other, back = self.change(inputs, rng)
        except Exception as error:
            raise self._wrong(f"{type(error).__name__}: {error}") from error
        if not isinstance(other, Mapping) or not callable(back):
            raise self._wrong(f"it returned {type(other).__name__} and {type(back).__name__}")
        return other, back

    def _wrong(self, why: str) -> SetupError:
        return SetupError(
            f"the representation {self.name!r} failed ({why}): from a step's inputs and a Random it must make other "
            "inputs and a function from their answer to that of the step"
        )


def representation(kind: str = "", name: str = "") -> Callable[[Change], Representation]:
    """Makes a representation of a function::

    @representation(kind="sum")
    def swapped(inputs, rng):
        return {"a": inputs["b"], "b": inputs["a"]}, lambda answer: answer
    """

    def made(change: Change) -> Representation:
        return Representation(name or change.__name__, kind, change)

    return made
