"""How a run ended, and what each ending means: the only place that says so."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal


@dataclass(frozen=True, slots=True)
class Meaning:
    """What follows from an outcome, whoever asks."""

    exit_code: int
    """Of the command that ran the task."""
    style: str
    """How it is written on a terminal, in rich's words."""
    accepted: bool = False
    """There is an output, which evidence accepted, or whoever turned verification off."""
    true: bool = False
    """The result is what was asked for: it is true where Python asks (`if result:`)."""
    resume: Literal["", "plain", "answers", "budget", "mended"] = ""
    """What it takes to go on: no more than to resume it, answers to its questions, a larger budget, or that what failed
    was mended. Empty: it has ended, and resuming hands it back as it did."""
    asks: bool = False
    """Questions to a person that were open stay open."""

    @property
    def ended(self) -> bool:
        return not self.resume


class Outcome(StrEnum):
    """How a run ended, or why it stands still."""

    VERIFIED = "verified"
    """Proved, or accepted at rates that were measured; nothing else."""
    AGREED = "agreed"
    """Accepted by votes alone: no promise, for nobody measured the model on such steps."""
    ABSTAINED = "abstained"
    FAILED = "failed"
    OUT_OF_BUDGET = "out_of_budget"
    INPUT_REQUIRED = "input_required"
    CANCELED = "canceled"
    UNVERIFIED = "unverified"

    @property
    def means(self) -> Meaning:
        return MEANINGS[self]


MEANINGS = {
    Outcome.VERIFIED: Meaning(0, "bold green", accepted=True, true=True),
    Outcome.UNVERIFIED: Meaning(0, "bold yellow", accepted=True, true=True),
    Outcome.AGREED: Meaning(6, "bold cyan", accepted=True),
    Outcome.ABSTAINED: Meaning(3, "bold yellow"),
    Outcome.FAILED: Meaning(1, "bold red", resume="mended"),
    Outcome.OUT_OF_BUDGET: Meaning(5, "bold red", resume="budget", asks=True),
    Outcome.INPUT_REQUIRED: Meaning(4, "bold magenta", resume="answers", asks=True),
    Outcome.CANCELED: Meaning(130, "bold yellow", resume="plain", asks=True),
}


STOPPED = (Outcome.CANCELED, "stopped; it can be resumed")
"""Outcome and reason of a run whose caller was cancelled."""
