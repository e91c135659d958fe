"""What each record does to the state of its run. Pure, and the only thing that ever changes the state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from surefoot.engine.core.fold_plans import ahead_of, clear, commit, expand, fail, hold, revive, roll_back, wake
from surefoot.engine.core.observations import Observations
from surefoot.engine.core.rules import PERSON
from surefoot.engine.core.state import QUESTION, UNKNOWN, Candidate, RunState, StepState
from surefoot.storage.events import Answered, Asked, Escalated, Intent, Paused, Started
from surefoot.storage.records import Attempt, Event, JournalRecord, Json, ModelCall, PlannedStep, ToolCall, Verdict


def fold(state: RunState, record: JournalRecord) -> None:
    """Applies one record. Records of steps that are no longer open are history and change nothing."""
    change = _FOLDS.get(type(record))
    if change is not None:
        change(state, record)


def replay(state: RunState, record: JournalRecord) -> None:
    """Applies a record of the past: nobody is about to take up the steps that it made ready."""
    fold(state, record)
    state.ready.clear()


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


def _event(state: RunState, event: Event) -> None:
    step = state.steps.get(event.step) if event.step is not None else None
    if event.kind == "intent":
        intent: Intent = event.data
        state.in_doubt.add(intent["key"])
    elif event.kind == "canary":
        state.observed.canary(event.data)
    elif event.kind == "answered":
        said: Answered = event.data
        _answered(state, step, said["key"], said["answer"])
    elif event.kind == "finished":
        state.finished = True
        state.observed = Observations()  # the store has it now
    elif event.kind == "resumed":
        state.finished = False
        revive(state)
    elif step is not None:
        _CHANGES[event.kind](state, step, event)


def _started(state: RunState, step: StepState, event: Event) -> None:
    """The run exists; its root step was planned just before."""
    data: Started = event.data or {}
    step.budget_share = data.get("weight", 0.0)
    hold(state, step, ahead_of(step))


def _escalated(state: RunState, step: StepState, event: Event) -> None:
    """The step goes on in another way: candidates stay, unless a planner takes it over."""
    data: Escalated = event.data
    step.tried_fallbacks += (data.get("source") or data["planner"],)
    step.errors = 0
    step.excused = sum(one.refuted for one in step.candidates.values())
    if data.get("source"):
        step.source = data["source"]
    elif data["planner"] != PERSON:
        clear(state, step)
        step.step = replace(step.step, planner=data["planner"], tool=None)
        step.attempts = 0


def _asked(state: RunState, step: StepState, event: Event) -> None:
    data: Asked = event.data
    question = {name: value for name, value in data.items() if name != "conversation"}
    step.asked = {**(step.asked or {}), data["key"]: question}
    if "conversation" in data:
        step.paused = {event.seq: {"keys": [data["key"]], "conversation": data["conversation"]}}


def _paused(state: RunState, step: StepState, event: Event) -> None:
    """A sample waits for answers; without a conversation it waits no more."""
    data: Paused = event.data
    number = data["sample"]
    others = {one: kept for one, kept in (step.paused or {}).items() if one != number}
    step.paused = ({**others, number: data} if "conversation" in data else others) or None


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
            wake(state, step)


_CHANGES = {
    "started": _started,
    "asked": _asked,
    "paused": _paused,
    "planned": expand,
    "committed": commit,
    "failed": fail,
    "rolled_back": roll_back,
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
