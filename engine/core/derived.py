"""What follows from the state, and is kept once it was worked out: inputs of steps, and what the last plan had done."""

from __future__ import annotations

from surefoot.engine.core.state import RunState, StepState
from surefoot.planners.canonical import step_digests
from surefoot.planners.refs import resolve
from surefoot.storage.records import Json, Plan


def inputs(state: RunState, step: StepState) -> dict[str, Json]:
    """The step's arguments, references resolved. Raises LookupError for a path that does not exist."""
    if step.inputs is None:
        args = step.step.args
        if step.parent is None:
            step.inputs = dict(args or {})
        else:
            parent = state.steps[step.parent]
            if args is not None:
                step.inputs = dict(resolve(args, state.outputs(args, parent.children), inputs(state, parent)))
            else:
                seen = {need: state.steps[parent.children[need]].output for need in step.step.needs}
                step.inputs = {**inputs(state, parent), **seen}
    return step.inputs


def twin(state: RunState, step: StepState) -> StepState | None:
    """The committed step of the last plan that computes the same; after a refuted result, only an exact one."""
    parent = state.steps.get(step.parent or 0)
    if parent is None or not parent.spare or (step.tried and not step.adopted):
        return None
    if parent.twins is None:
        parent.twins = _twins(parent, Plan(tuple(child.step for child in state.children(parent))))
    found = parent.twins.get(step.step.id)
    # What its needs have computed anew since, the twin has not seen.
    return found if all(state.steps[need].adopted for need in step.needs) else None


def _twins(parent: StepState, plan: Plan) -> dict[str, StepState]:
    """By the id of the same step in this plan."""
    digests = step_digests(Plan(tuple(one.step for one in parent.spare)))
    kept = {
        digests[one.step.id]: one
        for one in parent.spare
        if one.status == "committed" and one.support is not None and (parent.mended or one.support.basis == "exact")
    }
    return {name: kept[digest] for name, digest in step_digests(plan).items() if digest in kept}
