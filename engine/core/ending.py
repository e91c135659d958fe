"""How a run ended, read off its state. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from surefoot.engine.core.rules import RulesOf
from surefoot.engine.core.shortfall import shortfall
from surefoot.engine.core.state import RunState
from surefoot.storage.errors import OutOfBudget, RunError
from surefoot.storage.records import Json, Outcome, Reliability, Task


@dataclass(frozen=True, slots=True)
class Ending:
    outcome: Outcome
    output: Json
    reason: str
    reliability: Reliability


def ending(state: RunState, rules: RulesOf, task: Task, halt: RunError | None, *, verify: bool, strict: bool) -> Ending:
    """Verified only where the root's output is committed, the evidence reaches the target, and it is no assumption."""
    root = state.steps[state.root]
    trust = state.trust.reliability(task.target)
    if root.status == "committed":
        return _accepted(root.output, trust, verify, strict)
    nothing = Reliability(task.target, None, None, "none")
    if halt is not None:
        missing = shortfall(state, rules, task) if isinstance(halt, OutOfBudget) else ""
        return Ending(halt.ends or Outcome.CANCELED, None, f"{halt}{missing}", nothing)
    if root.status == "failed":
        outcome = Outcome.FAILED if root.infrastructure_error else Outcome.ABSTAINED
        return Ending(outcome, None, root.reason, nothing)
    return Ending(Outcome.FAILED, None, "internal error: no step is ready and none failed; please report it", nothing)


def _accepted(output: Json, trust: Reliability, verify: bool, strict: bool) -> Ending:
    if not verify:
        return Ending(Outcome.UNVERIFIED, output, "verification was turned off", trust)
    reached = (trust.predicted if trust.by_votes is None or trust.basis == "measured" else trust.by_votes) or 0.0
    if trust.target is not None and reached < trust.target:
        reason = (
            f"the evidence reaches {reached:.4f} of the wanted {trust.target}: allow more samples, "
            "add a check that can prove a step, or lower the target"
        )
        return Ending(Outcome.ABSTAINED, None, reason, trust)
    if trust.basis in ("exact", "measured"):
        return Ending(Outcome.VERIFIED, output, "", trust)
    if strict:
        return Ending(Outcome.ABSTAINED, None, f"only votes speak for it, and strict asks for more: {MEASURE}", trust)
    return Ending(Outcome.AGREED, output, f"accepted by votes alone{_numbers(trust)}: no promise; {MEASURE}", trust)


MEASURE = "label some steps (`surefoot review`, `surefoot calibrate`), or add a check that can prove them"


def _numbers(trust: Reliability) -> str:
    """Both numbers, where votes taught them."""
    if trust.predicted is None or trust.by_votes is None:
        return ""
    return f" ({trust.predicted:.3g} all in; {trust.by_votes:.3g} if the model has no misconceptions of this kind)"
