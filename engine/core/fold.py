"""What each record does to the state of its run. Pure, and the only thing that ever changes the state."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import fields, replace

from surefoot.engine.core.observations import Observations
from surefoot.engine.core.state import QUESTION, UNKNOWN, Candidate, RunState, StepState
from surefoot.reflection.trust import EXACT, Support, Trust
from surefoot.storage.records import (
    Attempt,
    Event,
    JournalRecord,
    Json,
    ModelCall,
    PlannedStep,
    ToolCall,
    Verdict,
)


def fold(state: RunState, record: JournalRecord) -> None:
    """Applies one record. Records of steps that are no longer open are history and change nothing."""
    change = _FOLDS.get(type(record))
    if change is not None:
        change(state, record)


def _model_call(state: RunState, record: ModelCall) -> None:
    state.spent.add(record.usage)
    if record.finish_reason == "length" and (step := state.steps.get(record.step)) is not None:
        step.cut_calls = step.cut_calls or set()
        step.cut_calls.add(record.seq)


def _tool_call(state: RunState, record: ToolCall) -> None:
    if record.idempotency_key and record.error is None:
        state.effects[record.idempotency_key] = record.result
        state.in_doubt.discard(record.idempotency_key)


def _planned_step(state: RunState, record: PlannedStep) -> None:
    state.steps[record.seq] = StepState(record.seq, record.parent, record.step, record.needs)
    if record.parent is None:
        state.root = record.seq
        state.steps[record.seq].status = "ready"
    elif (parent := state.steps.get(record.parent)) is not None:
        parent.drafted.append(record.seq)


def _attempt(state: RunState, record: Attempt) -> None:
    state.spent.attempts += 1
    step = state.steps.get(record.step)
    if step is None:
        return
    step.attempts += 1
    step.tried += 1
    if step.paused:  # of stores of before, where an attempt said that the conversation had ended
        step.paused = {number: one for number, one in step.paused.items() if "results" in one} or None
    if step.source is None:
        step.source = record.source
    if record.source:
        step.others = step.others or {}
        step.others[record.source] = step.others.get(record.source, 0) + 1
    if record.status in ("proposed", "unknown"):
        key = record.key if record.status == "proposed" else UNKNOWN
        if (candidate := step.candidates.get(key)) is not None:
            candidate.votes += 1
        else:
            candidate = step.candidates[key] = Candidate(key, record.seq, record.output)
            state.judged[record.seq] = step.seq
        if record.role in ("sample", "plan"):
            step.samples = step.samples or []
            step.samples.append((record.source, key, record.form))
        if record.source:
            candidate.by = candidate.by or {}
            candidate.by[record.source] = candidate.by.get(record.source, 0) + 1
        step.errors = step.cut = 0
        step.adopted = record.role == "reused"
        if record.status == "unknown":
            step.critique = record.error or ""
    else:
        step.errors += 1
        step.cut = step.cut + 1 if record.call in (step.cut_calls or ()) else 0
        step.infrastructure_error = record.status == "error"
        step.critique = record.error or ""
        if record.status == "invalid":
            _hear(step)


def _verdict(state: RunState, record: Verdict) -> None:
    step = state.steps.get(state.judged.get(record.attempt, -1))
    if step is None:
        return
    for candidate in step.candidates.values():
        if candidate.attempt == record.attempt:
            candidate.verdicts[record.verifier] = record
            if record.nats is not None:
                candidate.nats += record.nats
            candidate.refuted = candidate.refuted or (record.ruling == "fail" and not weighs(record))
            if record.ruling != "pass" and record.critique:
                step.critique = record.critique
                if candidate.refuted:
                    _hear(step)


def _hear(step: StepState) -> None:
    """Keeps the critique for those that come after, if the step turns out right with it."""
    step.critiques = step.critiques or []
    if step.critique and step.critique not in step.critiques and len(step.critiques) < 8:
        step.critiques.append(step.critique)


def weighs(verdict: Verdict) -> bool:
    """Whether a fail is evidence against the candidate, not the end of it."""
    return verdict.nats is not None


def clear(state: RunState, step: StepState) -> None:
    if step.samples:
        state.observed.voted(step.step, step.samples, step.candidates)
    for candidate in step.candidates.values():
        state.judged.pop(candidate.attempt, None)
    step.candidates, step.samples, step.others, step.source, step.critiques = {}, None, None, None, None
    step.cut_calls = None
    step.excused = 0


def _hold(state: RunState, step: StepState, amount: float) -> None:
    """Keeps so much of the error budget for a step."""
    if amount != step.reserved:
        state.budget_shares = max(state.budget_shares + amount - step.reserved, 0.0)
        step.reserved = amount


def ahead_of(step: StepState) -> float:
    """What to keep for an open step: a plan's own share, and as much for the steps that it will have."""
    return step.budget_share * (2 if step.step.planner is not None and step.status != "expanded" else 1)


def _event(state: RunState, event: Event) -> None:
    step = state.steps.get(event.step) if event.step is not None else None
    if event.kind == "intent":
        state.in_doubt.add(event.data["key"])
    elif event.kind == "canary":
        state.observed.canary(event.data)
    elif event.kind == "answered":
        _answered(state, step, event.data["key"], event.data["answer"])
    elif event.kind == "finished":
        state.finished = True
        state.observed = Observations()  # the store has it now
    elif event.kind == "resumed":
        state.finished = False
        _revive(state)
    elif step is not None:
        _CHANGES[event.kind](state, step, event)


def _started(state: RunState, step: StepState, event: Event) -> None:
    """The run exists; its root step was planned just before."""
    step.budget_share = (event.data or {}).get("weight", 0.0)
    _hold(state, step, ahead_of(step))


def _escalated(state: RunState, step: StepState, event: Event) -> None:
    """The step goes on in another way: candidates stay, unless a planner takes it over."""
    data = event.data
    step.tried_fallbacks += (data.get("source") or data["planner"],)
    step.errors = 0
    step.excused = sum(one.refuted for one in step.candidates.values())
    if data.get("source"):
        step.source = data["source"]
    elif data["rung"] != "ask":
        clear(state, step)
        step.step = replace(step.step, planner=data["planner"], tool=None)
        step.attempts = 0


def _asked(state: RunState, step: StepState, event: Event) -> None:
    question = {name: value for name, value in event.data.items() if name != "conversation"}
    step.asked = {**(step.asked or {}), question["key"]: question}
    if "conversation" in event.data:  # of stores of before, where a step had one question
        step.paused = {event.seq: {"keys": [question["key"]], "conversation": event.data["conversation"]}}


def _paused(state: RunState, step: StepState, event: Event) -> None:
    """A sample waits for answers; without a conversation it waits no more."""
    number = event.data["sample"]
    others = {one: kept for one, kept in (step.paused or {}).items() if one != number}
    step.paused = ({**others, number: event.data} if "conversation" in event.data else others) or None


def _answered(state: RunState, step: StepState | None, key: str, answer: Json) -> None:
    """A person's word on a call: what was said before of the same call stands, as far as this does not change it."""
    call = key.removeprefix(QUESTION)
    state.answers[call] = {**state.answers.get(call, {}), **answer}
    state.in_doubt -= state.doubts(call)
    if step is not None and step.asked is not None and key in step.asked:
        if step.asked[key].get("wants") == "output":
            step.given = answer
        step.asked = {one: question for one, question in step.asked.items() if one != key} or None
        if not step.waits:
            _wake(state, step)


def _expand(state: RunState, step: StepState, event: Event) -> None:
    """A plan was accepted: its drafted steps come alive; those of an older version are let go."""
    data = event.data
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
        _credit(state, step, Support(**{name: data[name] for name in SUPPORT if name in data}))
    # Steps before these were drafted for a plan that a kill cut in half; nothing may bring them to life.
    size = data.get("size", len(step.drafted))
    drafted, cut = step.drafted[len(step.drafted) - size :], step.drafted[: len(step.drafted) - size]
    step.drafted = []
    drop(state, cut)
    for seq in drafted:
        child = state.steps[seq]
        step.children[child.step.id] = seq
    weights = data.get("weights", 0.0)
    _hold(state, step, step.budget_share if step.more else 0.0)
    for place, seq in enumerate(drafted):
        child = state.steps[seq]
        child.budget_share = weights[place] if isinstance(weights, list) else weights
        _place(state, child)
        if child.budget_share and child.status != "committed":
            _hold(state, child, ahead_of(child))
    step.open_children = sum(state.steps[seq].status != "committed" for seq in step.children.values())
    for seq in reversed(drafted):
        if state.steps[seq].status == "ready":
            state.ready.append(seq)
    if not step.open_children:
        _wake(state, step)


SUPPORT = tuple(one.name for one in fields(Support))


def _place(state: RunState, child: StepState) -> None:
    for need in child.needs:
        other = state.steps[need]
        if other.status != "committed":
            other.feeds.append(child.seq)
            child.pending += 1
    if not child.pending:
        child.status = "ready"


def _commit(state: RunState, step: StepState, event: Event) -> None:
    candidate = next(one for one in step.candidates.values() if one.attempt == event.attempt)
    step.output, step.status = candidate.output, "committed"
    if step.samples and not event.data and step.step.planner is None:
        state.observed.settled(step.step, step.samples, step.candidates)
        state.observed.critiqued(step.step, step.critiques or ())
    clear(state, step)
    _hold(state, step, 0.0)
    state.committed += 1
    step.support = Support(**event.data) if event.data else EXACT
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
            _wake(state, parent)


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


def _fail(state: RunState, step: StepState, event: Event) -> None:
    step.status, step.reason = "failed", event.data["reason"]
    step.out_of_scope, step.infrastructure_error = bool(event.data.get("beyond")), bool(event.data.get("fault"))
    clear(state, step)
    _hold(state, step, 0.0)
    if step.parent is not None and (parent := state.steps.get(step.parent)) is not None:
        parent.broken = step.seq
        _wake(state, parent)


def _revive(state: RunState) -> None:
    """What failed because a model or tool did is open again: it may be back."""
    for step in state.steps.values():
        if step.status == "failed" and step.infrastructure_error:
            step.status = "expanded" if step.children else "ready"
            step.broken, step.infrastructure_error, step.errors, step.attempts = None, False, 0, 0
            _hold(state, step, ahead_of(step))
            if step.status == "ready":
                _wake(state, step)
    for step in state.steps.values():
        if step.status == "expanded":  # it may have been killed before it noticed which child had failed
            failed = (child.seq for child in state.children(step) if child.status == "failed")
            step.broken = next(failed, None)


def _roll_back(state: RunState, step: StepState, event: Event) -> None:
    """Undoes commits of this step's children: the one to blame and everything that read it.

    Without any, it is the plan that is undone: the next one may use what is committed again.
    """
    clear(state, step)
    step.critique = event.data.get("critique", "")
    step.errors = step.attempts = 0
    if not event.data["steps"]:
        step.status, step.broken, step.more = "ready", None, False
        step.replans += 1
        _hold(state, step, ahead_of(step))
        _wake(state, step)
        return
    step.rollbacks += 1
    undone = [state.steps[seq] for seq in event.data["steps"]]
    for child in undone:
        if child.below is not None and step.below is not None:
            step.below.take(child.below, -1)
        if child.support is not None and child.support.basis == "exact":
            state.trust.remove(child.support)
        _discredit(state, child)
        child.status, child.pending, child.feeds, child.support = "waiting", 0, [], None
        child.attempts, child.inputs, child.critique, child.adopted = 0, None, step.critique, False
        child.tried_fallbacks, child.given, child.undone = (), None, child.undone + 1
        _hold(state, child, ahead_of(child))
    for child in undone:
        _place(state, child)
    step.open_children = sum(one.status != "committed" for one in state.children(step))
    state.ready += [child.seq for child in reversed(undone) if child.status == "ready"]


_CHANGES = {
    "started": _started,
    "asked": _asked,
    "paused": _paused,
    "planned": _expand,
    "committed": _commit,
    "failed": _fail,
    "rolled_back": _roll_back,
    "escalated": _escalated,
}
_FOLDS: dict[type, Callable[..., None]] = {
    PlannedStep: _planned_step,
    Attempt: _attempt,
    Verdict: _verdict,
    Event: _event,
    ModelCall: _model_call,
    ToolCall: _tool_call,
}


def _wake(state: RunState, step: StepState) -> None:
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
        _hold(state, step, 0.0)
        if step.status != "committed":
            _discredit(state, step)  # what is committed counts in its parent by now
        for child in (*step.children.values(), *step.drafted):
            _forget(state, child)
