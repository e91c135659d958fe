"""What runs teach: counts that the store adds up over runs, and that later runs stand on."""

from __future__ import annotations

from typing import Literal

from surefoot.storage.plan import record


@record
class Sampling:
    """How often samples were right: counts of one class of steps, policy and source of samples."""

    step_class: str
    policy: str
    """Model and revision."""
    source: str = ""
    prompts: float = 0.0
    right: float = 0.0
    wrong: float = 0.0
    pairs: float = 0.0
    """First samples that were wrong and were followed by another one of the same prompt."""
    again: float = 0.0
    """Of those, followed by one that was wrong again."""
    same: float = 0.0
    """Of those, wrong in the same way."""
    thrice: float = 0.0
    """Of those, followed by a third one that was wrong in the same way too."""


Origin = Literal["audit", "canary"]
"""audit: candidates of models whose truth came out; canary: known-good replays and known-bad mutants."""


@record
class Checking:
    """How often a verifier passed right and wrong candidates: alone, or after what others had said of them."""

    step_class: str
    verifier: str
    version: str
    origin: Origin = "audit"
    good_passed: float = 0.0
    good_failed: float = 0.0
    bad_passed: float = 0.0
    bad_failed: float = 0.0
    after: str = ""
    """Words of other verifiers on the same candidates, as `reflection.calibration.words` writes them."""


@record
class Lesson:
    """What failed attempts were told went wrong: a text for later attempts at steps of the class.

    What it is worth is kept as for any other way to ask: a `Sampling` whose source is `source_of(text)`.
    """

    step_class: str
    text: str
    seen: float = 0.0
    """Steps that were told this, and came out right afterwards."""


@record
class Agreement:
    """How the samples of prompts fell into forms: prompts of one pattern, by class, policy and source of samples."""

    step_class: str
    policy: str
    source: str
    counts: str
    """How often each answer came, as `reflection.forms.shape_of` writes it: "3+1" is three and one, "2/1+0/1" the
    same in two forms of the question."""
    truth: str = ""
    """What is known of the right form, in the words of `reflection.vote_belief`; empty: nothing."""
    prompts: float = 0.0


Learned = Sampling | Checking | Lesson | Agreement


@record
class Ruled:
    """How many candidates of a class of steps a verifier passed in runs, and how many it failed: truth is not in it."""

    step_class: str
    verifier: str
    version: str
    passed: int
    failed: int
