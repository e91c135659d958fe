"""Putting an accepted plan in place, and keeping of the last one what still stands."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import cast

from surefoot.engine.core.derived import twin
from surefoot.engine.core.state import StepState
from surefoot.engine.running.candidates import proposed
from surefoot.engine.running.runtime import StepRuntime
from surefoot.planners.refs import is_marker, siblings
from surefoot.planners.structure import needs
from surefoot.reflection.canonical import canonical
from surefoot.reflection.trust import EXACT, Support
from surefoot.storage.events import Backed, Planned
from surefoot.storage.records import Event, Json, Plan, PlannedStep, Step


def expand(run: StepRuntime, step: StepState, plan: Plan, backing: Support | None, attempt: int | None) -> None:
    """Puts an accepted plan in place: first its steps, then the event that brings them to life."""
    plan = typed(plan, step.step.contract.gives)
    extend = bool(step.children) and step.status == "expanded"
    places = {one.id: run.seq() for one in plan.steps}
    known = {**step.children, **places} if extend else places
    for ordinal, one in enumerate(plan.steps):
        wanted = tuple(sorted(known[need] for need in needs(one)))
        run.record(PlannedStep(places[one.id], step.seq, ordinal, step.version + 1, one, wanted))
    data: Planned = {"version": step.version + 1, "size": len(plan.steps), "output": plan.output}
    if plan.more:
        data["more"] = True
    if extend:
        data["extend"] = True
    weights = [run.context.budget_share(one) for one in plan.steps]
    if any(weights):
        data["weights"] = weights if len(set(weights)) > 1 else weights[0]
    if backing is not None:
        data = cast(Planned, {**data, **noted(backing)})
    run.let_go(step)
    run.record(Event(run.seq(), "planned", step.seq, attempt, data))


def noted(backing: Support) -> Backed:
    """A support as an event keeps it: what is at its default is left out."""
    said = {name: value for name, value in asdict(backing).items() if value or name in ("p", "bound", "doubt")}
    return cast(Backed, said)


TEXT: Json = {"type": "string"}


def typed(plan: Plan, gives: Json) -> Plan:
    """The plan with its wanted type given to the step whose output is all of its own: so that it is asked for.

    A tool delivers what it delivers, and plain text is what a model gives anyhow.
    """
    last = plan.output.get("$ref") if is_marker(plan.output) else None
    if gives is None or gives == TEXT or last is None:
        return plan

    def one(step: Step) -> Step:
        if step.id != last or step.tool is not None or step.contract.gives is not None:
            return step
        return replace(step, contract=replace(step.contract, gives=gives))

    return replace(plan, steps=tuple(map(one, plan.steps)))


def carried(run: StepRuntime, step: StepState, plan: Plan) -> Plan:
    """A new plan together with the committed steps of the last one that it refers to, or may yet refer to."""
    if step.status == "expanded" or not step.children:
        return plan
    mine = {one.id for one in plan.steps}
    old = {one.step.id: one.step for one in run.state.children(step) if one.status == "committed"}
    carried: dict[str, Step] = {}
    wanted = set().union(old if plan.more else (), siblings(plan.output), *(needs(one) for one in plan.steps)) - mine
    while wanted:
        name = wanted.pop()
        if name in old and name not in carried:
            carried[name] = old[name]
            wanted |= needs(old[name]) - mine
    return Plan((*carried.values(), *plan.steps), plan.output, plan.more)


def adopt(run: StepRuntime, step: StepState) -> bool:
    """Commits what a step of the last plan that computes the same has committed; false where there is none.

    It is done when the step's turn comes, not when the plan is accepted: so a kill in between loses nothing, and a
    tool that must run once does not run again.
    """
    found = twin(run.state, step)
    if found is None:
        return False
    if not step.adopted:  # else a kill came between the two records
        proposed(run, step, found.output, canonical(found.output), role="reused")
    run.commit(step, next(iter(step.candidates.values())), found.support or EXACT)
    return True
