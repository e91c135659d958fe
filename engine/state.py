"""What is known of a run, and how one record changes it.

`fold` is the only thing that changes a `RunState`. A live run folds each record as it is appended to the
journal; a resumed run folds the journal again and stands where it stood. Nothing here awaits, reads a clock or
touches a store, so the whole flow can be tested on records alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from surefoot.engine.budget import Tally
from surefoot.reflection.trust import EXACT, Support, Trust
from surefoot.reflection.votes import ahead
from surefoot.storage.records import (
    Attempt,
    Event,
    JournalRecord,
    Json,
    ModelCall,
    PlannedStep,
    Step,
    ToolCall,
    Verdict,
)

UNKNOWN = "\0unknown"
"""Key of the candidate "I do not know tasks of this kind"."""

Status = Literal["waiting", "ready", "expanded", "committed", "failed"]


@dataclass(slots=True)
class Candidate:
    """One proposed output; attempts with equal keys are votes for it."""

    key: str
    attempt: int
    """seq of the first attempt that proposed it."""
    output: Json
    votes: int = 1
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    """The latest verdict of each verifier."""
    refuted: bool = False


@dataclass(slots=True)
class StepState:
    """A step of the part of the plan that is still open."""

    seq: int
    parent: int | None
    step: Step
    needs: tuple[int, ...]
    status: Status = "waiting"
    pending: int = 0
    """Needs that are not committed yet."""
    feeds: list[int] = field(default_factory=list)
    """Siblings that wait for this step."""
    tried: int = 0
    """Attempts in all; numbers them."""
    attempts: int = 0
    """Attempts since the step was last opened, planned or rolled back."""
    errors: int = 0
    """Attempts without a candidate since the last candidate."""
    candidates: dict[str, Candidate] = field(default_factory=dict)
    critique: str = ""
    reason: str = ""
    """Why it failed."""
    beyond: bool = False
    """It failed because the model does not know tasks of its kind."""
    fault: bool = False
    """It failed because a model or tool did, not for lack of evidence."""
    output: Json = None
    support: Support | None = None
    below: Trust | None = None
    """What its plan and everything committed under it stand on, itself included; None where all of it is exact."""
    asked: Json = None
    """The question that a person must answer before this step goes on."""
    stopped: Json = None
    """The conversation with the model that waits for that answer."""
    version: int = 0
    """Version of the plan that it was expanded into; 0: not expanded."""
    children: dict[str, int] = field(default_factory=dict)
    drafted: list[int] = field(default_factory=list)
    """Steps of a plan whose `planned` event has not come yet."""
    open_children: int = 0
    broken: int | None = None
    """A child that failed."""
    delivers: Json = None
    """The plan's output, with references to its steps."""
    more: bool = False
    rollbacks: int = 0
    replans: int = 0
    inputs: dict[str, Json] | None = None
    """Its arguments with references resolved, once they were needed."""
    spare: list[StepState] = field(default_factory=list)
    """Steps of the last plan: what they committed may stand in this one."""
    mended: bool = False
    """The last plan had a step that failed; else it was its result that was refuted."""
    twins: dict[str, StepState] | None = None
    """Those of `spare` that stand for a step of this plan, by its id, once they were needed."""
    adopted: bool = False
    """Its output is that of its twin."""

    @property
    def open(self) -> bool:
        return self.status in ("ready", "expanded")

    def ballot(self) -> dict[str, int]:
        """Votes by candidate, refuted ones left out."""
        return {key: one.votes for key, one in self.candidates.items() if not one.refuted}

    def lead(self, candidate: Candidate) -> int:
        """Votes that a candidate is ahead of the runner-up; 0 where another one leads."""
        if len(self.candidates) == 1:
            return candidate.votes
        key, lead = ahead(self.ballot())
        return lead if key == candidate.key else 0


@dataclass(slots=True)
class RunState:
    """A run, as far as it is still open: what is committed inside a committed step has been let go."""

    steps: dict[int, StepState] = field(default_factory=dict)
    root: int = 0
    ready: list[int] = field(default_factory=list)
    """Steps that can be driven on, deepest last: taking from the end keeps the open part of the plan small."""
    spent: Tally = field(default_factory=Tally)
    committed: int = 0
    expected: int = 1
    """Steps with sampled outputs, planned so far: the error budget is shared over them."""
    trust: Trust = field(default_factory=Trust)
    answers: dict[str, Json] = field(default_factory=dict)
    """A person's answers, by the key of what was asked."""
    effects: dict[str, Json] = field(default_factory=dict)
    """Results of tools that must not run again, by idempotency key."""
    in_doubt: set[str] = field(default_factory=set)
    """Intents without a result: the tool may have run."""
    judged: dict[int, int] = field(default_factory=dict)
    """Step of each attempt that proposed a candidate which is still open."""
    finished: bool = False

    def children(self, of: StepState) -> Iterator[StepState]:
        return (self.steps[seq] for seq in of.children.values())


def fold(state: RunState, record: JournalRecord) -> None:
    """Applies one record. Records of steps that are no longer open are history and change nothing."""
    change = _FOLDS.get(type(record))
    if change is not None:
        change(state, record)


def _model_call(state: RunState, record: ModelCall) -> None:
    state.spent.add(record.usage)


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
    step.stopped = None
    if record.status in ("proposed", "unknown"):
        key = record.key if record.status == "proposed" else UNKNOWN
        if (candidate := step.candidates.get(key)) is not None:
            candidate.votes += 1
        else:
            step.candidates[key] = Candidate(key, record.seq, record.output)
            state.judged[record.seq] = step.seq
        step.errors = 0
        step.adopted = record.role == "reused"
        if record.status == "unknown":
            step.critique = record.error or ""
    else:
        step.errors += 1
        step.fault = record.status == "error"
        step.critique = record.error or ""


def _verdict(state: RunState, record: Verdict) -> None:
    step = state.steps.get(state.judged.get(record.attempt, -1))
    if step is None:
        return
    for candidate in step.candidates.values():
        if candidate.attempt == record.attempt:
            candidate.verdicts[record.verifier] = record
            candidate.refuted = candidate.refuted or record.ruling == "fail"
            if record.ruling != "pass" and record.critique:
                step.critique = record.critique


def _clear(state: RunState, step: StepState) -> None:
    for candidate in step.candidates.values():
        state.judged.pop(candidate.attempt, None)
    step.candidates = {}


def _event(state: RunState, event: Event) -> None:
    step = state.steps.get(event.step) if event.step is not None else None
    if event.kind == "intent":
        state.in_doubt.add(event.data["key"])
    elif event.kind == "answered":
        state.answers[event.data["key"]] = event.data["answer"]
        if step is not None:
            step.asked = None
            _wake(state, step)
    elif event.kind == "finished":
        state.finished = True
    elif event.kind == "resumed":
        state.finished = False
        _revive(state)
    elif step is not None:
        _CHANGES[event.kind](state, step, event)


def _started(state: RunState, step: StepState, event: Event) -> None:
    """The run exists; its root step was planned just before."""


def _asked(state: RunState, step: StepState, event: Event) -> None:
    step.asked = event.data
    step.stopped = event.data.get("conversation")


def _expand(state: RunState, step: StepState, event: Event) -> None:
    """A plan was accepted: its drafted steps come alive; those of an older version are let go."""
    data = event.data
    if not data.get("extend"):
        step.spare = list(state.children(step))
        step.mended = any(one.status == "failed" for one in step.spare)
        _discredit(state, step)
        for seq in step.children.values():
            _forget(state, seq)
        step.children = {}
    step.twins = None
    step.status, step.version, step.broken = "expanded", data["version"], None
    step.delivers, step.more = data.get("output"), bool(data.get("more"))
    _clear(state, step)
    step.errors = step.attempts = 0
    if (p := data.get("p")) is not None:
        _credit(state, step, Support(p, data["bound"], data["basis"]))
    # Steps before these were drafted for a plan that a kill cut in half; nothing may bring them to life.
    size = data.get("size", len(step.drafted))
    drafted, cut = step.drafted[len(step.drafted) - size :], step.drafted[: len(step.drafted) - size]
    step.drafted = []
    drop(state, cut)
    for seq in drafted:
        child = state.steps[seq]
        step.children[child.step.id] = seq
    state.expected += data.get("sampled", 0)
    for seq in drafted:
        _place(state, state.steps[seq])
    step.open_children = sum(state.steps[seq].status != "committed" for seq in step.children.values())
    for seq in reversed(drafted):
        if state.steps[seq].status == "ready":
            state.ready.append(seq)
    if not step.open_children:
        _wake(state, step)


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
    _clear(state, step)
    state.committed += 1
    step.support = Support(**event.data) if event.data else EXACT
    _credit(state, step, step.support)
    for seq in step.children.values():
        _forget(state, seq)
    step.children, step.spare, step.twins = {}, [], None
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
    step.beyond, step.fault = bool(event.data.get("beyond")), bool(event.data.get("fault"))
    _clear(state, step)
    if step.parent is not None and (parent := state.steps.get(step.parent)) is not None:
        parent.broken = step.seq
        _wake(state, parent)


def _revive(state: RunState) -> None:
    """What failed because a model or tool did is open again: it may be back."""
    for step in state.steps.values():
        if step.status == "failed" and step.fault:
            step.status = "expanded" if step.children else "ready"
            step.broken, step.fault, step.errors, step.attempts = None, False, 0, 0
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
    _clear(state, step)
    step.critique = event.data.get("critique", "")
    step.errors = step.attempts = 0
    if not event.data["steps"]:
        step.status, step.broken, step.more = "ready", None, False
        step.replans += 1
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
    for child in undone:
        _place(state, child)
    step.open_children = sum(one.status != "committed" for one in state.children(step))
    state.ready += [child.seq for child in reversed(undone) if child.status == "ready"]


_CHANGES = {
    "started": _started,
    "asked": _asked,
    "planned": _expand,
    "committed": _commit,
    "failed": _fail,
    "rolled_back": _roll_back,
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
        _clear(state, step)
        if step.status != "committed":
            _discredit(state, step)  # what is committed counts in its parent by now
        for child in (*step.children.values(), *step.drafted):
            _forget(state, child)
