"""How a run ended, read off its state. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from surefoot.engine.kit import Kit
from surefoot.engine.shortfall import shortfall
from surefoot.engine.state import RunState
from surefoot.storage.errors import OutOfBudget, RunError
from surefoot.storage.records import Json, Outcome, Reliability, Task


@dataclass(frozen=True, slots=True)
class Ending:
    outcome: Outcome
    output: Json
    reason: str
    reliability: Reliability


def ending(state: RunState, kit: Kit, task: Task, halt: RunError | None) -> Ending:
    """Verified only where the root's output is committed and the evidence reaches the target."""
    root = state.steps[state.root]
    trust = state.trust.reliability(task.target)
    if root.status == "committed":
        return _accepted(root.output, trust, kit.settings.verify)
    nothing = Reliability(task.target, None, None, "none")
    if isinstance(halt, OutOfBudget):
        missing = shortfall(state, kit, task)
        return Ending(Outcome.OUT_OF_BUDGET, None, f"{halt}{missing}", nothing)
    if halt is not None:
        return Ending(Outcome.CANCELED, None, str(halt), nothing)
    if root.status == "failed":
        outcome = Outcome.FAILED if root.fault else Outcome.ABSTAINED
        return Ending(outcome, None, root.reason, nothing)
    return Ending(Outcome.FAILED, None, "no step can go on, and none is at fault: please report this", nothing)


def _accepted(output: Json, trust: Reliability, verify: bool) -> Ending:
    if not verify:
        return Ending(Outcome.UNVERIFIED, output, "verification was turned off", trust)
    reached = trust.predicted if trust.predicted is not None else 0.0
    if trust.target is not None and reached < trust.target:
        reason = (
            f"the evidence reaches {reached:.4f} of the wanted {trust.target}: allow more samples, "
            "add a check that can prove a step, or lower the target"
        )
        return Ending(Outcome.ABSTAINED, None, reason, trust)
    return Ending(Outcome.VERIFIED, output, "", trust)
