"""A store in memory: the promises of `RunStore` in lists and dicts, for as long as the process lives."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, Unpack

from surefoot.storage.errors import StoreError
from surefoot.storage.ids import run_id as new_run_id
from surefoot.storage.journal import Journal
from surefoot.storage.jsonable import to_json
from surefoot.storage.learned import Learned, Ruled
from surefoot.storage.outcome import Outcome
from surefoot.storage.records import (
    Attempt,
    Event,
    Feedback,
    JournalRecord,
    Json,
    Message,
    ModelCall,
    PlannedStep,
    Policy,
    Reliability,
    Reward,
    Task,
    ToolCall,
    Usage,
    Verdict,
)
from surefoot.storage.run import RunInfo
from surefoot.storage.run_store import Beginning

JSON = {"output", "evidence", "tool_calls", "extra", "sampling", "arguments", "result", "data", "correction", "args"}
"""Fields that hold JSON values; `takes` and `gives` of a contract do, too."""


@dataclass
class Run:
    """All that is known of one run."""

    info: RunInfo
    task: Task
    records: dict[int, JournalRecord] = field(default_factory=dict)
    feedback: list[Feedback] = field(default_factory=list)

    def last(self) -> int:
        return max(self.records, default=0)


@dataclass
class Memory:
    """What stores that are opened on it share, as they would a file."""

    runs: dict[str, Run] = field(default_factory=dict)
    tasks: list[tuple[Task, str | None]] = field(default_factory=list)
    policies: dict[Policy, int] = field(default_factory=dict)
    learned: dict[tuple[object, ...], Learned] = field(default_factory=dict)
    feedbacks: int = 0
    lock: threading.RLock = field(default_factory=threading.RLock)


def kept(value: Any) -> Any:
    """A record or a task as it is now, with its JSON values as JSON has them."""
    try:
        return _kept(value)
    except (TypeError, ValueError) as error:
        raise StoreError(f"a record of the kind {type(value).__name__} cannot be kept: {error}") from error


def _kept(value: Any) -> Any:
    changed = {one.name: to_json(getattr(value, one.name)) for one in fields(value) if one.name in JSON}
    if isinstance(value, PlannedStep):
        contract = replace(value.step.contract, **to_json(value.step.contract))
        changed["step"] = replace(_kept(value.step), contract=contract)
    if isinstance(value, Task):
        changed |= {"inputs": to_json(value.inputs), "output_schema": to_json(value.output_schema)}
    return replace(value, **changed)


class MemoryJournal:
    """What is appended is in the memory at once, so that nothing ever waits."""

    def __init__(self, store: MemoryStore, run: Run) -> None:
        self.run_id = run.info.run_id
        self._store = store
        self._run = run
        self._last = run.last()
        self._failure: str | None = None

    def seq(self) -> int:
        self._last += 1
        return self._last

    def append(self, record: JournalRecord) -> None:
        self._check()
        taken = kept(record)
        with self._store.memory.lock:
            if record.seq in self._run.records:
                self._failure = f"the run has a record {record.seq}: another one records it; let one of the two go on"
                return
            self._run.records[record.seq] = taken

    async def barrier(self) -> None:
        self._check()

    async def room(self) -> None:
        self._check()

    def finish(
        self,
        outcome: Outcome,
        reason: str = "",
        output: Json = None,
        reliability: Reliability | None = None,
        usage: Usage | None = None,
        learned: Sequence[Learned] = (),
    ) -> None:
        self._check()
        self._run.info = replace(
            self._run.info,
            outcome=outcome,
            reason=reason,
            output=to_json(output),
            reliability=reliability,
            usage=usage,
            ended_at=time.time(),
        )
        self._store.learn(learned)

    def close(self) -> None:
        if self._failure is None:
            self._failure = "this journal is closed: reopen the run to go on with it"
        elif "closed" not in self._failure:
            raise StoreError(self._failure)

    def _check(self) -> None:
        if failure := self._failure or self._store.failure:
            raise StoreError(failure)


class MemoryStore:
    """One view of a memory; stores on the same memory are as two openings of one file."""

    def __init__(self, memory: Memory | None = None) -> None:
        self.memory = memory or Memory()
        self.failure: str | None = None

    # --- runs -----------------------------------------------------------------------------------------------

    def begin(self, task: Task, **options: Unpack[Beginning]) -> Journal:
        self._open()
        return self._begin(task, **options)

    def _begin(
        self,
        task: Task,
        *,
        config: Json = None,
        seed: int = 0,
        target: float | None = None,
        purpose: str = "prod",
        parent: str | None = None,
        source: str | None = None,
        policies: Iterable[Policy] = (),
    ) -> Journal:
        if not -(2**63) <= seed < 2**63:
            raise StoreError(f"the seed {seed} is too long: give one of 64 bits")
        above = None if parent is None else self._run(parent).info.run_id
        asked = kept(task)
        with self.memory.lock:
            if (asked, source) not in self.memory.tasks:
                self.memory.tasks.append((asked, source))
            info = RunInfo(
                new_run_id(),
                self.memory.tasks.index((asked, source)) + 1,
                task.goal,
                time.time(),
                purpose,
                above,
                "memory",
                to_json(config),
                seed,
                target,
            )
            for policy in policies:
                self.policy(policy)
            run = self.memory.runs[info.run_id] = Run(info, asked)
        return MemoryJournal(self, run)

    async def abegin(self, task: Task, **options: Unpack[Beginning]) -> Journal:
        return self.begin(task, **options)

    def reopen(self, run_id: str) -> Journal:
        return MemoryJournal(self, self._run(run_id))

    def records(
        self, run_id: str, kinds: Sequence[type] | None = None, after: int = 0, steps: Collection[int] | None = None
    ) -> Iterator[JournalRecord]:
        return self._records(self._run(run_id), kinds, after, steps)

    def _records(
        self, run: Run, kinds: Sequence[type] | None, after: int, steps: Collection[int] | None
    ) -> Iterator[JournalRecord]:
        with self.memory.lock:
            found = sorted(run.records.values(), key=lambda record: record.seq)
        wanted = None if steps is None else _of_steps(found, frozenset(steps))
        for record in found:
            asked = kinds is None or type(record) in kinds
            if record.seq > after and asked and (wanted is None or record.seq in wanted):
                yield record

    def run(self, run_id: str) -> RunInfo:
        return self._run(run_id).info

    def runs(
        self, limit: int = 100, before: str | None = None, outcome: Outcome | Literal["running"] | None = None
    ) -> list[RunInfo]:
        self._open()
        names = list(self.memory.runs)
        names = names if before is None else names[: names.index(self._run(before).info.run_id)]
        found = [self.memory.runs[name].info for name in reversed(names)]
        if outcome is not None:
            found = [info for info in found if info.outcome == (None if outcome == "running" else outcome)]
        return found[:limit]

    def resolve(self, name: str) -> str:
        self._open()
        names = list(self.memory.runs)
        if not isinstance(name, str):
            raise StoreError(f"{name!r} names no run: give its id, a text")
        wanted = name.strip().lower()
        if wanted == "last" and names:
            return names[-1]
        found = [one for one in names if one.startswith(wanted) or one.endswith(wanted)]
        if len(wanted) < 4 or len(found) != 1:
            raise StoreError(f"{name!r} names {len(found)} runs: give more characters, or 'last'")
        return found[0]

    def step(self, run_id: str, name: str | int) -> int:
        planned = [one for one in self.records(run_id) if isinstance(one, PlannedStep)]
        numbered = [one.seq for one in planned if str(one.seq) == str(name)]
        found = numbered or [one.seq for one in planned if one.step.id == name]
        if len(found) != 1:
            raise StoreError(f"{len(found)} steps are called {name!r}")
        return found[0]

    def task(self, run_id: str) -> Task:
        return self._run(run_id).task

    # --- what they share --------------------------------------------------------------------------------------

    def policy(self, policy: Policy) -> int:
        self._open()
        with self.memory.lock:
            return self.memory.policies.setdefault(policy, len(self.memory.policies) + 1)

    def policies(self) -> Mapping[int, Policy]:
        self._open()
        return {number: policy for policy, number in self.memory.policies.items()}

    def feedback(self, feedback: Feedback) -> int:
        run = self._run(feedback.run_id)
        with self.memory.lock:
            run.feedback.append(kept(feedback))
            self.memory.feedbacks += 1
            return self.memory.feedbacks

    def feedbacks(self, run_id: str) -> Sequence[Feedback]:
        return list(self._run(run_id).feedback)

    def reward(self, run_id: str, reward: Reward) -> int:
        run = self._run(run_id)
        with self.memory.lock:
            seq = run.last() + 1
            run.records[seq] = replace(reward, seq=seq)
        return seq

    def learn(self, learned: Iterable[Learned]) -> None:
        self._open()
        with self.memory.lock:
            for one in learned:
                words = {name: value for name, value in asdict(one).items() if isinstance(value, str)}
                kind: Any = type(one)
                place = (kind, *words.values())
                before = asdict(self.memory.learned[place]) if place in self.memory.learned else {}
                counts = {name: value for name, value in asdict(one).items() if name not in words}
                counts = {name: value + before.get(name, 0.0) for name, value in counts.items()}
                self.memory.learned[place] = kind(**words, **counts)

    def learned(self) -> Sequence[Learned]:
        self._open()
        return list(self.memory.learned.values())

    def ruled(self) -> Sequence[Ruled]:
        self._open()
        counts: Counter[tuple[str, str, str, bool]] = Counter()
        for run in self.memory.runs.values():
            records = list(run.records.values())
            steps = {one.seq: one.step for one in records if isinstance(one, PlannedStep)}
            attempts = {one.seq: steps[one.step] for one in records if isinstance(one, Attempt)}
            for one in records:
                if isinstance(one, Verdict) and one.ruling != "abstain" and not one.exact:
                    step = attempts[one.attempt]
                    kind = step.kind or step.tool or step.planner or "answer"
                    counts[kind, one.verifier, one.version, one.ruling == "pass"] += 1
        places = sorted({place[:3] for place in counts})
        return [Ruled(*place, counts[(*place, True)], counts[(*place, False)]) for place in places]

    async def alearned(self) -> Sequence[Learned]:
        return self.learned()

    def close(self) -> None:
        self.failure = "the store is closed: open it again"

    def _open(self) -> None:
        if self.failure is not None:
            raise StoreError(self.failure)

    def _run(self, run_id: str) -> Run:
        self._open()
        if run_id not in self.memory.runs:
            raise StoreError(f"the store holds no run {run_id!r}")
        return self.memory.runs[run_id]


def _of_steps(records: list[JournalRecord], steps: frozenset[int]) -> set[int]:
    """seqs of what belongs to these steps."""
    attempts = {one.seq for one in records if isinstance(one, Attempt) and one.step in steps}
    calls = [one for one in records if isinstance(one, ModelCall) and one.step in steps]
    known = {one.seq for one in records if isinstance(one, PlannedStep)} & steps | attempts | {one.seq for one in calls}
    parents = {one.seq: one.parent for one in records if isinstance(one, Message)}
    for tip in [tip for one in calls for tip in (one.prompt, one.completion)]:
        while tip is not None and tip not in known:
            known.add(tip)
            tip = parents.get(tip)
    for one in records:
        match one:
            case ToolCall() | Event() if one.step in steps:
                known.add(one.seq)
            case Verdict() if one.attempt in attempts:
                known.add(one.seq)
            case Message() if one.call in known:
                known.add(one.seq)
            case Reward() if one.target_seq in {"step": steps, "attempt": attempts}.get(one.target, ()):
                known.add(one.seq)
    return known
