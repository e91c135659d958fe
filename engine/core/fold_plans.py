"""What becomes of steps and plans: put in place, committed, failed, undone, let go. A part of `fold`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

from surefoot.engine.core.state import RunState, StepState
from surefoot.reflection.trust import EXACT, Support, Trust
from surefoot.storage.events import Backed, Failed, Planned, RolledBack
from surefoot.storage.records import Event


def clear(state: RunState, step: StepState) -> None:
    if step.samples:
        state.observed.voted(step.step, step.samples, step.candidates)
    for candidate in step.candidates.values():
        state.judged.pop(candidate.attempt, None)
    step.candidates, step.samples, step.others, step.source, step.critiques = {}, None, None, None, None
    step.cut_calls = None
    step.excused = 0


def hold(state: RunState, step: StepState, amount: float) -> None:
    """Keeps so much of the error budget for a step."""
    if amount != step.reserved:
        state.budget_shares = max(state.budget_shares + amount - step.reserved, 0.0)
        step.reserved = amount


def ahead_of(step: StepState) -> float:
    """What to keep for an open step: a plan's own share, and as much for the steps that it will have."""
    return step.budget_share * (2 if step.step.planner is not None and step.status != "expanded" else 1)


def expand(state: RunState, step: StepState, event: Event) -> None:
    """A plan was accepted: its drafted steps come alive; those of an older version are let go."""
    data: Planned = event.data
    if not data.get("extend"):
        step.spare = tuple(state.children(step))
        step.mended = any(one.status == "failed" for one in step.spare)
        _discredit(state, step)
        for seq in step.children.values():
            _forget(state, seq)
        step.children = {}
    step.twins = None
    step.status, step.version, step.broken = "expanded", data["version"], None
    step.delivers, step.more = data.get("output"), bool(data.get("more"))
    clear(state, step)
    step.errors = step.attempts = 0
    if "p" in data:
        _credit(state, step, support_of(data))
    # Steps before these were drafted for a plan that a kill cut in half; nothing may bring them to life.
    size = data.get("size", len(step.drafted))
    drafted, cut = step.drafted[len(step.drafted) - size :], step.drafted[: len(step.drafted) - size]
    step.drafted = []
    drop(state, cut)
    for seq in drafted:
        child = state.steps[seq]
        step.children[child.step.id] = seq
    weights = data.get("weights", 0.0)
    hold(state, step, step.budget_share if step.more else 0.0)
    for place, seq in enumerate(drafted):
        child = state.steps[seq]
        child.budget_share = weights[place] if isinstance(weights, list) else weights
        _place(state, child)
        if child.budget_share and child.status != "committed":
            hold(state, child, ahead_of(child))
    step.open_children = sum(state.steps[seq].status != "committed" for seq in step.children.values())
    for seq in reversed(drafted):
        if state.steps[seq].status == "ready":
            state.ready.append(seq)
    if not step.open_children:
        wake(state, step)


SUPPORT = tuple(one.name for one in fields(Support))


def support_of(data: Backed) -> Support:
    said: Mapping[str, Any] = data
    return Support(**{name: said[name] for name in SUPPORT if name in said})


def _place(state: RunState, child: StepState) -> None:
    for need in child.needs:
        other = state.steps[need]
        if other.status != "committed":
            other.feeds.append(child.seq)
            child.pending += 1
    if not child.pending:
        child.status = "ready"


def commit(state: RunState, step: StepState, event: Event) -> None:
    candidate = next(one for one in step.candidates.values() if one.attempt == event.attempt)
    step.output, step.status = candidate.output, "committed"
    if step.samples and not event.data and step.step.planner is None:
        state.observed.settled(step.step, step.samples, step.candidates)
        state.observed.critiqued(step.step, step.critiques or ())
    clear(state, step)
    hold(state, step, 0.0)
    state.committed += 1
    step.support = support_of(event.data) if event.data else EXACT
    if not event.data and any(one.exact and one.ruling == "pass" for one in candidate.verdicts.values()):
        _discredit(state, step)  # what is proved as a whole stands on its proof, not on the steps that led to it
    _credit(state, step, step.support)
    for seq in step.children.values():
        _forget(state, seq)
    step.children, step.spare, step.twins = {}, (), None
    for seq in step.feeds:
        fed = state.steps.get(seq)
        if fed is not None:
            fed.pending -= 1
            if not fed.pending and fed.status == "waiting":
                fed.status = "ready"
                state.ready.append(seq)
    step.feeds = []
    if step.parent is not None and (parent := state.steps.get(step.parent)) is not None:
        if step.below is not None:
            parent.below = parent.below or Trust()
            parent.below.take(step.below)
        parent.open_children -= 1
        if not parent.open_children:
            wake(state, parent)


def _credit(state: RunState, step: StepState, support: Support) -> None:
    state.trust.add(support)
    if support.basis != "exact":
        step.below = step.below or Trust()
        step.below.add(support)


def _discredit(state: RunState, step: StepState) -> None:
    """What a step stood on counts no more: it is undone, or its plan is."""
    if step.below is not None:
        state.trust.take(step.below, -1)
        step.below = None


def fail(state: RunState, step: StepState, event: Event) -> None:
    data: Failed = event.data
    step.status, step.reason = "failed", data["reason"]
    step.out_of_scope, step.infrastructure_error = data.get("beyond", False), data.get("fault", False)
    clear(state, step)
    hold(state, step, 0.0)
    if step.parent is not None and (parent := state.steps.get(step.parent)) is not None:
        parent.broken = step.seq
        wake(state, parent)


def revive(state: RunState) -> None:
    """What failed because a model or tool did is open again: it may be back."""
    for step in state.steps.values():
        if step.status == "failed" and step.infrastructure_error:
            step.status = "expanded" if step.children else "ready"
            step.broken, step.infrastructure_error, step.errors, step.attempts = None, False, 0, 0
            hold(state, step, ahead_of(step))
            if step.status == "ready":
                wake(state, step)
    for step in state.steps.values():
        if step.status == "expanded":  # it may have been killed before it noticed which child had failed
            failed = (child.seq for child in state.children(step) if child.status == "failed")
            step.broken = next(failed, None)


def roll_back(state: RunState, step: StepState, event: Event) -> None:
    """Undoes commits of this step's children: the one to blame and everything that read it.

    Without any, it is the plan that is undone: the next one may use what is committed again.
    """
    clear(state, step)
    data: RolledBack = event.data
    step.critique = data.get("critique", "")
    step.errors = step.attempts = 0
    if not data["steps"]:
        step.status, step.broken, step.more = "ready", None, False
        step.replans += 1
        hold(state, step, ahead_of(step))
        wake(state, step)
        return
    step.rollbacks += 1
    undone = [state.steps[seq] for seq in data["steps"]]
    for child in undone:
        if child.below is not None and step.below is not None:
            step.below.take(child.below, -1)
        if child.support is not None and child.support.basis == "exact":
            state.trust.remove(child.support)
        _discredit(state, child)
        child.status, child.pending, child.feeds, child.support = "waiting", 0, [], None
        child.attempts, child.inputs, child.critique, child.adopted = 0, None, step.critique, False
        child.tried_fallbacks, child.given, child.undone = (), None, child.undone + 1
        hold(state, child, ahead_of(child))
    for child in undone:
        _place(state, child)
    step.open_children = sum(one.status != "committed" for one in state.children(step))
    state.ready += [child.seq for child in reversed(undone) if child.status == "ready"]


def wake(state: RunState, step: StepState) -> None:
    """The root is driven by the phases, every other step from `ready`."""
    if step.seq != state.root and step.open:
        state.ready.append(step.seq)


def drop(state: RunState, seqs: Iterable[int]) -> None:
    """Lets go of steps and of everything below them."""
    for seq in seqs:
        _forget(state, seq)


def _forget(state: RunState, seq: int) -> None:
    step = state.steps.pop(seq, None)
    if step is not None:
        clear(state, step)
        hold(state, step, 0.0)
        if step.status != "committed":
            _discredit(state, step)  # what is committed counts in its parent by now
        for child in (*step.children.values(), *step.drafted):
            _forget(state, child)
