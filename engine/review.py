"""Steps whose label would teach the most, for a person to say right or wrong.

A label teaches most where a class of steps is much in use and little is known of it, where samples disagreed, and where
the leading answer was close to what it takes. A few steps are chosen at random, so that what was labelled can be
weighed by how it was chosen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from random import Random

from surefoot.engine.labels import Voted, label, voted
from surefoot.planners.refs import resolve, siblings
from surefoot.reflection.calibration import Calibration, policy_of, step_class
from surefoot.reflection.vote_belief import VoteBelief, ordered
from surefoot.storage.records import (
    SETTLED,
    Attempt,
    Event,
    Feedback,
    JournalRecord,
    Json,
    ModelCall,
    PlannedStep,
    Policy,
    Reward,
)
from surefoot.storage.run import RunInfo
from surefoot.storage.run_store import RunStore

RUNS = 500
"""Runs that are looked at, the newest."""

AT_RANDOM = 0.2
"""Share of the queue that is chosen at random."""

SKIPPED = "skipped"
"""Key of the feedback that says that a person would not say."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One form of answer, and the samples that gave it."""

    output: Json
    votes: int


@dataclass(frozen=True, slots=True)
class ToLabel:
    """A step that a person is asked about."""

    run_id: str
    step: int
    """Its seq in the run."""
    step_class: str
    policy: str
    task: str
    goal: str
    inputs: Mapping[str, Json]
    """What the step was given, references resolved."""
    candidates: tuple[Candidate, ...]
    """The one in question first."""
    accepted: bool
    """Votes committed it; else it led when the step was given up."""
    chosen: str
    """"value" or "random": how it came into the queue."""

    def to_json(self) -> dict[str, Json]:
        said = {name: getattr(self, name) for name in ("run_id", "step", "step_class", "policy", "task", "goal")}
        candidates = [{"output": one.output, "votes": one.votes} for one in self.candidates]
        more = {"inputs": dict(self.inputs), "candidates": candidates, "accepted": self.accepted, "chosen": self.chosen}
        return said | more


@dataclass(slots=True)
class _Open:
    asked: ToLabel
    counts: tuple[int, ...]
    value: float = 0.0


def queue(store: RunStore, limit: int = 20, seed: int = 0) -> list[ToLabel]:
    """Steps to label, the one that teaches most first. What was labelled or skipped does not come again."""
    found = list(_open(store))
    if not found:
        return []
    known = Calibration(store.learned())
    _weigh(found, known)
    rng = Random(seed)
    some = min(limit, len(found))
    lucky = set(rng.sample(range(len(found)), round(AT_RANDOM * some)))
    best = sorted((one for place, one in enumerate(found) if place not in lucky), key=lambda one: -one.value)
    picked = [one.asked for one in best[: some - len(lucky)]]
    for place in sorted(lucky):
        one = found[place].asked
        picked.insert(rng.randrange(len(picked) + 1), replace(one, chosen="random"))
    return picked


def _weigh(found: list[_Open], known: Calibration) -> None:
    """How much a label may teach: use of the class, how little is known of it, and how open the answer is.

    Each further step of a class is worth less than the one before: labels of one class tell the same thing.
    """
    use = Counter((one.asked.step_class, one.asked.policy) for one in found)
    beliefs: dict[tuple[str, str], VoteBelief] = {}
    seen: Counter[tuple[str, str]] = Counter()
    for one in found:
        place = (one.asked.step_class, one.asked.policy)
        if place not in beliefs:
            beliefs[place] = known.votes(*place, "")
        belief = beliefs[place]
        low, high = belief.interval()
        right = belief.right(one.counts).all_in
        one.value = use[place] ** 0.5 * (high - low + belief.misconceived) * (0.25 + right * (1 - right))
    for one in sorted(found, key=lambda one: -one.value):
        place = (one.asked.step_class, one.asked.policy)
        one.value /= 1 + seen[place]
        seen[place] += 1


def asked_of(store: RunStore, run_id: str) -> list[ToLabel]:
    """The steps of one run that can be labelled, in plan order. Raises StoreError where there is no such run."""
    return [one.asked for one in _open_in(store, store.run(run_id), store.policies())]


def _open(store: RunStore) -> Iterator[_Open]:
    policies = store.policies()
    for info in store.runs(RUNS):
        yield from _open_in(store, info, policies)


def _open_in(store: RunStore, info: RunInfo, policies: Mapping[int, Policy]) -> Iterator[_Open]:
    if info.outcome is None:
        return
    said = [one for one in store.feedbacks(info.run_id) if one.right is not None or one.key == SKIPPED]
    told = {one.step for one in said}
    kinds = (PlannedStep, Attempt, ModelCall, Event, Reward)
    records = list(store.records(info.run_id, kinds=kinds))
    told |= {one.target_seq for one in records if isinstance(one, Reward) and one.name == SETTLED}
    if None in told:
        return
    outputs = {one.key: one.output for one in records if isinstance(one, Attempt)}
    given = _Given(records)
    for seq, one in voted(records).items():
        label = policies.get(one.policy[0]) if one.policy is not None and one.policy[0] is not None else None
        if seq in told or one.proved or label is None or one.step.planner is not None:
            continue
        policy = policy_of(label.model, label.revision, one.policy[1] if one.policy else None)
        yield _question(info.run_id, seq, one, policy, info.goal, outputs, given.inputs(seq))


class _Given:
    """What the steps of a run were given: their arguments, with committed outputs and inputs in place of references."""

    def __init__(self, records: Iterable[JournalRecord]) -> None:
        self._steps: dict[int, PlannedStep] = {}
        self._outputs: dict[int, Json] = {}
        attempts: dict[int | None, Json] = {}
        for one in records:
            if isinstance(one, PlannedStep):
                self._steps[one.seq] = one
            elif isinstance(one, Attempt):
                attempts[one.seq] = one.output
            elif isinstance(one, Event) and one.kind == "committed" and one.step is not None:
                self._outputs[one.step] = attempts.get(one.attempt)

    def inputs(self, seq: int) -> Mapping[str, Json]:
        """A reference to what was taken back since stays as it is."""
        planned = self._steps[seq]
        args = planned.step.args or {}
        if planned.parent is None:
            return args
        named = {self._steps[need].step.id: need for need in planned.needs}
        try:
            outputs = {id: self._outputs[named[id]] for id in siblings(args)}
            return dict(resolve(args, outputs, self.inputs(planned.parent)))
        except LookupError:
            return args


def _question(
    run_id: str,
    seq: int,
    one: Voted,
    policy: str,
    task: str,
    outputs: Mapping[str, Json],
    inputs: Mapping[str, Json],
) -> _Open:
    counts = Counter(key for key, *_ in one.samples)
    first = one.leader
    keys = [first, *(key for key, _ in counts.most_common() if key != first)]
    candidates = tuple(Candidate(outputs.get(key), counts[key]) for key in keys)
    place = (run_id, seq, step_class(one.step), policy, task, one.step.goal)
    asked = ToLabel(*place, inputs, candidates, one.key is not None, "value")
    return _Open(asked, ordered(counts.values()))


def answer(
    store: RunStore, asked: ToLabel, right: bool | None, *, correct: Json = None, by: str = ""
) -> tuple[VoteBelief, VoteBelief]:
    """Keeps what a person says of a step, and learns from it; what was believed of its class before, and after.

    right: of the first candidate; None skips. correct: what it should have been, where it is wrong and that is known.
    Raises SetupError for a correction that cannot be one.
    """
    place = (asked.step_class, asked.policy, "")
    before = Calibration(store.learned()).votes(*place)
    if right is None:
        store.feedback(Feedback(asked.run_id, None, asked.step, SKIPPED, annotator=by))
        return before, before
    comment = "" if asked.chosen == "value" else "chosen at random"
    score = 1.0 if right else 0.0
    label(store, Feedback(asked.run_id, score, asked.step, "correctness", comment, correct, annotator=by))
    return before, Calibration(store.learned()).votes(*place)


def changed(asked: ToLabel, before: VoteBelief, after: VoteBelief) -> str:
    """What an answer taught, in one line."""

    def told(belief: VoteBelief) -> str:
        low, high = belief.interval()
        return f"right {low:.2f} to {high:.2f} of the time"

    labels = f"{after.truths:.0f} label{'' if round(after.truths) == 1 else 's'}"
    said = f"{asked.step_class!r} on {asked.policy}: {told(before)} -> {told(after)} with {labels}"
    return f"{said}; misconceived {100 * before.misconceived:.1f} % -> {100 * after.misconceived:.1f} %"
