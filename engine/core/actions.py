"""What may be done next with a step."""

from __future__ import annotations

from surefoot.engine.core.state import Candidate
from surefoot.reflection.trust import Support
from surefoot.reflection.verifier import Verifier
from surefoot.storage.records import Json, record


@record
class Propose:
    """Sample, call the tool, or ask the planner, `n` times."""

    n: int
    source: str = ""


@record
class Check:
    candidate: Candidate
    verifiers: tuple[Verifier, ...]


@record
class Expand:
    """Accept a candidate plan."""

    candidate: Candidate
    support: Support


@record
class Deliver:
    """All steps of the plan are committed: form the plan's output as a candidate."""


@record
class Commit:
    candidate: Candidate
    support: Support


@record
class RollBack:
    children: tuple[int, ...]


@record
class Replan:
    """The plan itself is at fault: ask for another; what is committed may be used again."""

    reason: str


@record
class Escalate:
    """Go on with the next fallback: samples of another source, another planner, or a person."""

    fallback: str
    reason: str
    source: str = ""
    planner: str = ""


@record
class GiveUp:
    reason: str
    out_of_scope: bool = False
    """The model does not know tasks of this kind."""
    infrastructure_error: bool = False
    """A model or tool failed; it is not evidence that is missing."""


@record
class Accept:
    """A person gave the step's output."""

    output: Json


@record
class Continue:
    """Go on with samples that waited for a person, now that there is an answer."""

    samples: tuple[int, ...]


Action = Propose | Check | Expand | Deliver | Commit | RollBack | Replan | Escalate | Continue | Accept | GiveUp
