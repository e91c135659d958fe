"""Where everything rests: runs, their journals, policies, feedback."""

from __future__ import annotations

import asyncio
import threading
import time
import weakref
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import asdict
from functools import cache
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, Unpack, cast

from sqlalchemy import Connection, Engine, Select, insert, select

from surefoot.storage.errors import StoreError
from surefoot.storage.fork import Forked, abandon, watch
from surefoot.storage.ids import run_id as new_run_id
from surefoot.storage.journal import Journal
from surefoot.storage.jsonable import to_json
from surefoot.storage.learned import Learned, Ruled
from surefoot.storage.outcome import STOPPED
from surefoot.storage.records import Feedback, JournalRecord, Outcome, PlannedStep, Policy, Reward, Task
from surefoot.storage.run import RunInfo, info, task, task_row
from surefoot.storage.run_store import Beginning
from surefoot.storage.sql import schema
from surefoot.storage.sql.database import DEFAULT, Tuning, address, connect, describe, explained
from surefoot.storage.sql.journal import TableJournal
from surefoot.storage.sql.learned import add, learned, ruled
from surefoot.storage.sql.numbers import (
    ADD_FEEDBACK,
    ADD_RUN,
    Columns,
    found_or_inserted,
    inserted,
    policy_number,
    run_number,
    unknown,
)
from surefoot.storage.sql.reader import UNREADABLE, Reader, last
from surefoot.storage.sql.tables import FEEDBACK, POLICY, REWARD, RUN, TASK
from surefoot.storage.sql.values import numeric
from surefoot.storage.sql.writer import Job, Writer, arrived

T = TypeVar("T")


class Store(Forked):
    """One database of runs. `open` makes one; it is safe to share between threads, and goes on in a forked child.

    What its methods promise, `RunStore` says. Every method raises StoreError where the database fails, or knows
    nothing of what is asked for.
    """

    def __init__(self, engine: Engine, mode: str, tuning: Tuning) -> None:
        self.mode = mode
        """Kind of database and how it is used, for people."""
        self._engine = engine
        self._known: dict[int, Policy] = {}
        self._ids: dict[Policy, int] = {}
        self._patience = tuning.patience
        self._writer, self._end = self._writing()
        self._held = False
        self._reader = Reader(engine, self._policies_with)
        self._lock = threading.Lock()
        self._reading: Job | None = None
        """Of what was learned, queued and not begun: whoever asks now shares it."""
        watch(self)

    def _writing(self) -> tuple[Writer, weakref.finalize[[Writer, Engine], Self]]:
        writer = Writer(self._engine, self._patience)
        # Runs at the latest when the interpreter exits, so that what waits is written then.
        return writer, weakref.finalize(self, _end, writer, self._engine)

    def hold(self) -> None:
        self._held = self._writer.hold()

    def go_on(self) -> None:
        if self._held:
            self._writer.go_on()

    def renew(self) -> None:
        abandon(self._writer)
        self._writer.disown()
        if self._end.detach() is not None:
            self._writer, self._end = self._writing()
        self._lock, self._reading = threading.Lock(), None

    @classmethod
    def open(cls, url: str | Path | None = None, *, create: bool = True, tuning: Tuning = DEFAULT) -> Self:
        """Open the store at a path or an address of SQLAlchemy's, made or migrated where it needs that.

        None is `./.surefoot/surefoot.db`. Raises StoreError where it cannot be opened, or is not there and
        `create` is off; SchemaTooNew where a newer surefoot wrote it; MissingExtra without PostgreSQL's driver.
        """
        place = address(url)
        engine = connect(place, create, tuning)
        try:
            with explained(f"the store {place.render_as_string()} cannot be opened"):
                schema.migrate(engine, create)
                mode = describe(engine)
        except BaseException:
            engine.dispose()
            raise
        return cls(engine, mode, tuning)

    def close(self) -> None:
        """Write what waits and let go of the database. Raises StoreError where that failed."""
        self._end()
        self._writer.check()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if error is None:
            self.close()
        else:
            self._end()

    # --- runs -----------------------------------------------------------------------------------------------

    def begin(self, task: Task, **options: Unpack[Beginning]) -> Journal:
        """The same as `abegin`, for callers that have no event loop."""
        job, made = self._begin(task, options)
        return made(job.done.result())

    async def abegin(self, task: Task, **options: Unpack[Beginning]) -> Journal:
        """A new run, durable before this returns. Runs that begin at once share a transaction.

        The policies of `options` get their numbers in the same transaction, not in one each.
        Where the caller is cancelled, the run is kept as canceled.
        """
        job, made = self._begin(task, options)

        def stop(done: Future[Any]) -> None:
            if done.exception() is None:
                made(done.result()).finish(*STOPPED)

        try:
            return made(await arrived(job.done))
        except asyncio.CancelledError:
            job.done.add_done_callback(stop)
            raise

    def _begin(self, task: Task, options: Beginning) -> tuple[Job, Callable[[tuple[int, dict[Policy, int]]], Journal]]:
        """Queues what begins a run; and what makes a journal of its result."""
        if strange := options.keys() - Beginning.__annotations__.keys():
            raise TypeError(f"a run does not begin with {', '.join(strange)}")
        seed, parent = options.get("seed", 0), options.get("parent")
        if not -(2**63) <= seed < 2**63:
            raise StoreError(f"the seed {seed} is too long: give one of 64 bits")
        asked = task_row(task, options.get("source"))
        row = {
            "run_id": new_run_id(),
            "purpose": options.get("purpose", "prod"),
            "engine_version": _version(),
            "config": to_json(options.get("config")),
            "seed": seed,
            "target": options.get("target"),
            "budget": asked["budget"],
            "created_at": time.time(),
        }
        wanted = dict.fromkeys(options.get("policies", ()))

        def work(connection: Connection) -> tuple[int, dict[Policy, int]]:
            numbers = {one: policy_number(connection, one) for one in wanted if one not in self._ids}
            above = None if parent is None else run_number(connection, parent)
            task_number = found_or_inserted(connection, TASK, ("digest",), asked)
            return inserted(connection, ADD_RUN, {"task": task_number, "parent": above, **row}), numbers

        def made(result: tuple[int, dict[Policy, int]]) -> Journal:
            run, numbers = result
            for policy, number in numbers.items():
                self._know(policy, number)
            return TableJournal(self._writer, row["run_id"], run, 0, self._known, self)

        return self._writer.put(Job(work)), made

    def reopen(self, run_id: str) -> Journal:
        """Go on with a run: numbers continue behind its last durable record."""
        number = self._number(run_id)

        def work(connection: Connection) -> int:
            self._writer.admit(number)
            return last(connection, number)

        return TableJournal(self._writer, run_id, number, self._writer.do(work, looks=True), self._known, self)

    def records(
        self,
        run_id: str,
        kinds: Sequence[type] | None = None,
        after: int = 0,
        steps: Collection[int] | None = None,
    ) -> Iterator[JournalRecord]:
        """The durable records with a seq above `after`, in order of seq; memory does not grow with the run.

        `kinds` keeps those types only. `steps`, seqs of steps, keeps what belongs to these steps, and the whole
        conversations that their model calls saw; finding those takes time linear in the run from the first step on.
        Ends at the last record that was durable at the first `next`. Writers are not kept waiting.
        """
        return self._reader.records(self._number(run_id), kinds, after, steps)

    def run(self, run_id: str) -> RunInfo:
        found = self._select(_infos().where(RUN.c.run_id == run_id))
        if not found:
            raise unknown(run_id)
        return info(found[0])

    def runs(
        self, limit: int = 100, before: str | None = None, outcome: Outcome | Literal["running"] | None = None
    ) -> list[RunInfo]:
        """Newest first; `before` is the last run of the page before this one."""
        query = _infos().order_by(RUN.c.id.desc()).limit(limit)
        if before is not None:
            query = query.where(RUN.c.id < self._number(before))
        if outcome is not None:
            query = query.where(RUN.c.outcome == (None if outcome == "running" else outcome.value))
        return [info(row) for row in self._select(query)]

    def resolve(self, name: str) -> str:
        """The run that a person means: its whole id, at least 4 characters of either end, or `last`."""
        names = select(RUN.c.run_id).order_by(RUN.c.id.desc())
        if not isinstance(name, str):
            raise StoreError(f"{name!r} names no run: give its id, a text")
        wanted = name.strip().lower()
        if wanted == "last":
            found = self._select(names.limit(1))
            if not found:
                raise StoreError("the store holds no run yet: run a task first")
            return str(found[0]["run_id"])
        if len(wanted) < 4:
            raise StoreError(f"{name!r} is too short to name a run: give 4 characters or more, or 'last'")
        either = RUN.c.run_id.startswith(wanted, autoescape=True) | RUN.c.run_id.endswith(wanted, autoescape=True)
        match [row["run_id"] for row in self._select(names.where(either).limit(4))]:
            case []:
                raise unknown(name)
            case [only]:
                return str(only)
            case several:
                raise StoreError(f"{name!r} could be {', '.join(several[:3])}: give more characters")

    def step(self, run_id: str, name: str | int) -> int:
        """seq of the step that a person means, by its id or seq. Raises StoreError where there is none, or several."""
        found = []
        for record in self.records(run_id, kinds=(PlannedStep,)):
            if isinstance(record, PlannedStep):
                if str(record.seq) == str(name):
                    return record.seq
                if record.step.id == name:
                    found.append(record.seq)
        if not found:
            raise StoreError(f"the run has no step {name!r}: `surefoot show` lists them")
        if len(found) > 1:
            raise StoreError(f"{len(found)} steps are called {name!r}: name one by number, {found[:8]}")
        return found[0]

    def task(self, run_id: str) -> Task:
        """What the run was asked to do."""
        found = self._select(select(TASK).join(RUN, RUN.c.task == TASK.c.id).where(RUN.c.run_id == run_id))
        if not found:
            raise unknown(run_id)
        return task(found[0])

    # --- policies -------------------------------------------------------------------------------------------

    def policy(self, policy: Policy) -> int:
        """Its number in this store, given to it at the first call."""
        if policy not in self._ids:
            self._know(policy, self._writer.do(lambda connection: policy_number(connection, policy)))
        return self._ids[policy]

    def _know(self, policy: Policy, number: int) -> None:
        self._known.setdefault(number, policy)
        self._ids[policy] = number

    def policies(self) -> dict[int, Policy]:
        """Every policy of the store, by number."""
        for row in self._select(select(POLICY).order_by(POLICY.c.id)):
            number, *columns, _ = row.values()
            self._known[number] = Policy(*columns)
        return dict(sorted(self._known.items()))

    def _policies_with(self, number: int) -> Mapping[int, Policy]:
        if number not in self._known:
            self.policies()
        return self._known

    # --- what is said of a run afterwards ---------------------------------------------------------------------

    def feedback(self, feedback: Feedback) -> int:
        """Keep a person's word; returns its number."""
        columns = asdict(feedback)
        columns["run"] = self._number(columns.pop("run_id"))
        columns["correction"] = to_json(columns["correction"])
        columns["score"] = numeric(feedback.score)
        return cast(int, self._writer.do(lambda connection: inserted(connection, ADD_FEEDBACK, columns)))

    def feedbacks(self, run_id: str) -> list[Feedback]:
        """In the order given."""
        query = select(FEEDBACK).where(FEEDBACK.c.run == self._number(run_id)).order_by(FEEDBACK.c.id)
        names = ("score", "step", "key", "comment", "correction", "source", "annotator", "created_at")
        return [Feedback(run_id, **{name: row[name] for name in names}) for row in self._select(query)]

    def reward(self, run_id: str, reward: Reward) -> int:
        """Add a reward behind the run's records; its `seq` is given here and returned. Not while it is written."""
        columns = asdict(reward) | {"run": self._number(run_id), "value": numeric(reward.value)}

        def work(connection: Connection) -> int:
            seq = last(connection, columns["run"]) + 1
            connection.execute(insert(REWARD).values(columns | {"seq": seq}))
            return seq

        return cast(int, self._writer.do(work, looks=True))

    # --- what runs teach ------------------------------------------------------------------------------------

    def learn(self, learned: Iterable[Learned]) -> None:
        """Adds counts to those of earlier runs, which lose a little weight for it."""
        counts = tuple(learned)
        self._writer.do(lambda connection: add(connection, counts))

    def learned(self) -> Sequence[Learned]:
        """The counts of all runs, calibrations included."""
        return self._read(learned)

    async def alearned(self) -> Sequence[Learned]:
        """The counts of all runs that ended before this call.

        Who asks while a reading waits for its turn shares it, and its very object.
        """
        with self._lock:
            if self._reading is None:
                self._reading = self._writer.put(Job(self._learned))
            reading = self._reading
        return cast(Sequence[Learned], await arrived(reading.done))

    def _learned(self, connection: Connection) -> Sequence[Learned]:
        with self._lock:
            self._reading = None  # who asks from here on may know of a run that has ended since
        return learned(connection)

    def ruled(self) -> list[Ruled]:
        """What verifiers said in all runs, by class of step."""
        return self._read(ruled)

    # --- plumbing -------------------------------------------------------------------------------------------

    def _number(self, run_id: str) -> int:
        return self._read(lambda connection: run_number(connection, run_id))

    def _read(self, ask: Callable[[Connection], T]) -> T:
        with explained(UNREADABLE), self._engine.connect() as connection, connection.begin():
            return ask(connection)

    def _select(self, query: Select[Any]) -> list[Columns]:
        with explained("the store cannot be read"), self._engine.connect() as connection, connection.begin():
            return [dict(row._mapping) for row in connection.execute(query)]


def _infos() -> Select[Any]:
    parent = RUN.alias("parent_run")
    return (
        select(RUN, TASK.c.goal, parent.c.run_id.label("parent_id"))
        .join(TASK, RUN.c.task == TASK.c.id)
        .outerjoin(parent, RUN.c.parent == parent.c.id)
    )


def _end(writer: Writer, engine: Engine) -> None:
    writer.stop()
    engine.dispose()


@cache
def _version() -> str:
    return metadata.version("surefoot")
