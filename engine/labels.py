"""Truth that comes late: a person's word, or a known answer, flows back to the samples that a run stood on.

A result that was right settles every step and plan under it that votes had committed: what was committed was right, and
samples that said otherwise were wrong. A result that was wrong settles a step only where it alone rested on votes.

Only runs that were accepted come to be judged, and those whose samples disagreed most were not. So this truth tells how
often samples are right, a little too kindly; it does not tell how alike errors are, and pairs are not counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from surefoot.engine.core.observations import Observations, summed
from surefoot.engine.result import receipts
from surefoot.reflection.calibration import policy_of, step_class, tally
from surefoot.reflection.canonical import canonical
from surefoot.reflection.forms import shape_of, split_of, truth_of
from surefoot.reflection.schema import check_schema
from surefoot.reflection.vote_belief import MOST, UNKNOWN, WRONG
from surefoot.storage.errors import SetupError
from surefoot.storage.events import Backed
from surefoot.storage.learned import Agreement, Learned
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
    Step,
)
from surefoot.storage.run_store import RunStore
from surefoot.trajectories.standing import Standing

SampledBy = tuple[int | None, float | None]
"""Number of the policy of a sample, and its temperature."""

NOBODY: SampledBy = (None, None)


@dataclass(slots=True)
class Voted:
    """A step or plan that samples voted on."""

    step: Step
    samples: list[tuple[str, str, SampledBy, int]] = field(default_factory=list)
    """Key, source, policy and form of each sample."""
    key: str | None = None
    """Of the one that votes committed; None where they did not, or it stands no more."""
    proved: bool = False
    """An exact check spoke for it."""

    @property
    def leader(self) -> str:
        """The key in question: what was committed, else what had the most votes."""
        return self.key or Counter(key for key, *_ in self.samples).most_common(1)[0][0]

    @property
    def policy(self) -> SampledBy | None:
        """Who gave the first sample."""
        return self.samples[0][2] if self.samples else None


def label(store: RunStore, said: Feedback) -> Feedback:
    """Keeps what somebody says of a run or a step of it, and learns from it where it says whether that was right.

    Raises SetupError for a score that is none, and for a correction that cannot be
    one: of what is right, of a type that the step does not give, or the same as the answer itself.
    """
    if said.score is not None and not 0 <= said.score <= 1:
        raise SetupError(f"a score of {said.score} is not between 0 and 1")
    if said.correction is not None:
        _fits(store, said)
    store.feedback(said)
    if said.right is not None:
        known = said.step is not None and not said.right and said.correction is not None
        backfill_labels(store, said.run_id, said.right, said.step, canonical(said.correction) if known else None)
    return said


def _fits(store: RunStore, said: Feedback) -> None:
    if said.right:
        raise SetupError("an answer that is right needs no correction: give a score below .5, or no correction")
    if said.step is None:
        gives, given = store.task(said.run_id).output_schema, store.run(said.run_id).output
    else:
        gives, given = _given(store, said.run_id, said.step)
    if problem := check_schema(said.correction, gives):
        raise SetupError(f"the correction {said.correction!r:.100} cannot be right here: {problem}")
    if given is not None and canonical(given) == canonical(said.correction):
        raise SetupError(f"the correction {said.correction!r:.100} is what was answered: say what is right instead")


def _given(store: RunStore, run_id: str, step: int) -> tuple[Json, Json]:
    """The schema of what a step gives, and what stands as its output; None where nothing does."""
    records = list(store.records(run_id, kinds=(PlannedStep, Attempt, Event)))
    planned = next(one.step for one in records if isinstance(one, PlannedStep) and one.seq == step)
    return planned.contract.gives, next(one.output for one in receipts(records) if one.seq == step)


def backfill_labels(
    store: RunStore, run_id: str, right: bool, step: int | None = None, answer: str | None = None
) -> list[Learned]:
    """Adds to the store what a run's result, or the output of one of its steps (by seq), turned out to be worth.

    Of a step that was given up it is the leading candidate that was right or wrong. answer: canonical form of what
    would have been right, where that is known of a step.

    Returns the counts; none where nothing rested on votes, or it was settled before.
    """
    rewards = (one for one in store.records(run_id, kinds=(Reward,)) if isinstance(one, Reward))
    done = {one.target_seq for one in rewards if one.name == SETTLED}
    if None in done or step in done:
        return []
    kinds = (PlannedStep, Attempt, ModelCall, Event)
    learned = read(store.records(run_id, kinds=kinds), store.policies(), right, step, answer)
    if learned:
        store.learn(learned)
        target = "run" if step is None else "step"
        store.reward(run_id, Reward(0, target, step, SETTLED, float(right), "settled"))  # type: ignore[arg-type]
    return learned


def read(
    records: Iterable[JournalRecord],
    policies: Mapping[int, Policy],
    right: bool,
    step: int | None = None,
    answer: str | None = None,
) -> list[Learned]:
    """The counts that records give, once it is known whether their result was right."""
    found = {seq: one for seq, one in voted(records).items() if not one.proved}
    if step is None:
        found = {seq: one for seq, one in found.items() if one.key is not None}
        if not right and len(found) != 1:
            return []
    else:
        found = {step: found[step]} if step in found else {}
    observed = Observations()
    labels: list[Learned] = []
    for one in found.values():
        kind = step_class(one.step)
        for (source, (policy, temperature)), asked in _asked(one).items():
            keys = [key for key, _ in asked]
            label = policies.get(policy) if policy is not None else None
            if label is not None:
                name = policy_of(label.model, label.revision, temperature)
                known = [(key, right and key == one.leader) for key in keys if right or key == one.leader]
                counts = tally(kind, name, source, known)
                observed.sampled(replace(counts, pairs=0.0, again=0.0, same=0.0, thrice=0.0))
                labels += _labels(kind, name, source, asked, one.leader if right else answer, one.leader)
    return summed([*observed.samplings.values(), *labels])


def _labels(
    kind: str, policy: str, source: str, asked: list[tuple[str, int]], right: str | None, leader: str
) -> list[Learned]:
    """A prompt whose pattern was counted without a label when its step ended: now it has one.

    right: the form that is known to be right; None: all that is known is that the leader is wrong.
    """
    counts = Counter(key for key, _ in asked[:MOST])
    split = split_of(asked[:MOST])
    (first, most), *rest = counts.most_common(2)
    if right is not None:
        truth = truth_of(split, right)
    elif leader == first and (not rest or most > rest[0][1]):
        truth = WRONG
    else:
        return []
    pattern = shape_of(asked[:MOST])
    return [
        Agreement(kind, policy, source, pattern, UNKNOWN, -1.0),
        Agreement(kind, policy, source, pattern, truth, 1.0),
    ]


def _asked(one: Voted) -> dict[tuple[str, SampledBy], list[tuple[str, int]]]:
    """Samples in order, with their forms, by source and policy.

    Where the committed one is wrong, of the others nothing is known.
    """
    found: dict[tuple[str, SampledBy], list[tuple[str, int]]] = {}
    for key, source, policy, form in one.samples:
        found.setdefault((source, policy), []).append((key, form))
    return found


def voted(records: Iterable[JournalRecord]) -> dict[int, Voted]:
    """Steps and plans that samples voted on, by seq."""
    steps: dict[int, Voted] = {}
    policies: dict[int, SampledBy] = {}
    attempts: dict[int, tuple[int, str]] = {}
    standing, accepted = Standing(), list[PlannedStep | Event]()
    for record in records:
        standing.add(record)
        if isinstance(record, PlannedStep):
            accepted.append(record)
            steps[record.seq] = Voted(record.step)
        elif isinstance(record, ModelCall):
            policies[record.seq] = record.policy, (record.sampling or {}).get("temperature")
        elif isinstance(record, Attempt) and record.status == "proposed" and record.role in ("sample", "plan"):
            policy = policies.get(record.call, NOBODY) if record.call is not None else NOBODY
            steps[record.step].samples.append((record.key, record.source, policy, record.form))
            attempts[record.seq] = (record.step, record.key)
        elif isinstance(record, Event) and record.kind in ("committed", "planned") and record.attempt in attempts:
            backed: Backed = record.data or {}
            if backed.get("basis") in ("prior", "measured"):
                accepted.append(record)
            else:
                steps[attempts[record.attempt][0]].proved = True
    for attempt in filter(None, map(standing.accepts, accepted)):
        seq, key = attempts[attempt]
        steps[seq].key = key
    return {seq: one for seq, one in steps.items() if one.samples}
