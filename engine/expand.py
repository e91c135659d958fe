"""Putting an accepted plan in place, and keeping of the last one what still stands."""

from __future__ import annotations

from collections.abc import Mapping

from surefoot.engine.act import proposed
from surefoot.engine.desk import Desk
from surefoot.engine.state import StepState
from surefoot.planners.canonical import step_digests
from surefoot.planners.refs import siblings
from surefoot.planners.structure import needs
from surefoot.reflection.canonical import canonical
from surefoot.reflection.trust import EXACT, Support
from surefoot.storage.records import Event, Json, Plan, PlannedStep, Step


def expand(desk: Desk, step: StepState, plan: Plan, backing: Support | None, attempt: int | None) -> None:
    """Puts an accepted plan in place: first its steps, then the event that brings them to life."""
    old = _reusable(desk, step)
    extend = bool(step.children) and step.status == "expanded"
    places = {one.id: desk.seq() for one in plan.steps}
    known = {**step.children, **places} if extend else places
    for ordinal, one in enumerate(plan.steps):
        wanted = tuple(sorted(known[need] for need in needs(one)))
        desk.record(PlannedStep(places[one.id], step.seq, ordinal, step.version + 1, one, wanted))
    data: dict[str, Json] = {"version": step.version + 1, "size": len(plan.steps), "output": plan.output}
    if plan.more:
        data["more"] = True
    if extend:
        data["extend"] = True
    if sampled := sum(desk.kit.sampled(one) for one in plan.steps):
        data["sampled"] = sampled
    if backing is not None:
        data |= {"p": backing.p, "bound": backing.bound, "basis": backing.basis}
    desk.let_go(step)
    desk.record(Event(desk.seq(), "planned", step.seq, attempt, data))
    if old and not extend:
        _reuse(desk, step, plan, old)


def carried(desk: Desk, step: StepState, plan: Plan) -> Plan:
    """A new plan together with the committed steps of the last one that it refers to, or may yet refer to."""
    if step.status == "expanded" or not step.children:
        return plan
    mine = {one.id for one in plan.steps}
    old = {one.step.id: one.step for one in desk.state.children(step) if one.status == "committed"}
    carried: dict[str, Step] = {}
    wanted = set().union(old if plan.more else (), siblings(plan.output), *(needs(one) for one in plan.steps)) - mine
    while wanted:
        name = wanted.pop()
        if name in old and name not in carried:
            carried[name] = old[name]
            wanted |= needs(old[name]) - mine
    return Plan((*carried.values(), *plan.steps), plan.output, plan.more)


def _reusable(desk: Desk, step: StepState) -> dict[str, StepState]:
    """Committed steps of the last plan, by what they compute. After a refuted result, only the exact ones."""
    if not step.children or step.status == "expanded":
        return {}
    children = list(desk.state.children(step))
    digests = step_digests(Plan(tuple(child.step for child in children)))
    broken = any(child.status == "failed" for child in children)
    return {
        digests[child.step.id]: child
        for child in children
        if child.status == "committed" and child.support is not None and (broken or child.support.p == 1)
    }


def _reuse(desk: Desk, step: StepState, plan: Plan, old: Mapping[str, StepState]) -> None:
    for name, digest in step_digests(plan).items():
        child = desk.state.steps[step.children[name]]
        if (source := old.get(digest)) is not None and child.status == "ready":
            desk.state.ready.remove(child.seq)
            proposed(desk, child, source.output, canonical(source.output), role="reused")
            backing = source.support or EXACT
            desk.commit(child, next(iter(child.candidates.values())), backing)
