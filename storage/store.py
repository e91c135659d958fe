"""Where everything rests: runs, their journals, policies, feedback."""

from __future__ import annotations

import time
import weakref
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cache
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, cast

from sqlalchemy import Connection, Engine, Select, Table, insert, select, text
from sqlalchemy.dialects import postgresql, sqlite

from surefoot.storage import schema
from surefoot.storage.database import DEFAULT, Tuning, address, connect, describe, explained
from surefoot.storage.errors import StoreError
from surefoot.storage.fork import Forked, abandon, watch
from surefoot.storage.ids import run_id as new_run_id
from surefoot.storage.journal import Journal
from surefoot.storage.jsonable import to_json
from surefoot.storage.learned import Ruled, add, learned, ruled
from surefoot.storage.reader import UNREADABLE, Reader, last
from surefoot.storage.records import Feedback, JournalRecord, Json, Learned, Outcome, Policy, Reward, Task
from surefoot.storage.run import RunInfo, info, task, task_row
from surefoot.storage.table_journal import TableJournal
from surefoot.storage.tables import FEEDBACK, POLICY, REWARD, RUN, TASK
from surefoot.storage.writer import Writer

Columns = Mapping[str, Any]


class Store(Forked):
    """One database of runs. `open` makes one; it is safe to share between threads, and goes on in a forked child.

    Every method raises StoreError where the database fails, or knows nothing of what is asked for.
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
                _migrate(engine, create)
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

    def begin(
        self,
        task: Task,
        *,
        config: Json = None,
        seed: int = 0,
        target: float | None = None,
        purpose: str = "prod",
        parent: str | None = None,
        source: str | None = None,
        workspace: str | None = None,
        policies: Iterable[Policy] = (),
    ) -> Journal:
        """A new run, durable before this returns. `parent` is the run that it is forked from.

        `policies` are those that it may use: they get their numbers in the same transaction, not in one each.
        """
        if not -(2**63) <= seed < 2**63:
            raise StoreError(f"the seed {seed} is too long: give one of 64 bits")
        asked = task_row(task, source)
        row = {
            "run_id": new_run_id(),
            "parent": None if parent is None else self._number(parent),
            "purpose": purpose,
            "engine_version": _version(),
            "config": to_json(config),
            "seed": seed,
            "target": target,
            "budget": asked["budget"],
            "workspace": workspace,
            "created_at": time.time(),
        }
        fresh = [policy for policy in policies if _key(policy) not in self._ids]

        def work(connection: Connection) -> tuple[int, list[int]]:
            numbers = [_policy_number(connection, policy) for policy in fresh]
            task_id = _get_or_insert(connection, TASK, {"digest": asked["digest"]}, asked)
            return _insert(connection, RUN, {"task": task_id, **row}), numbers

        run, numbers = self._writer.do(work)
        for policy, number in zip(fresh, numbers, strict=True):
            self._know(policy, number)
        return TableJournal(self._writer, row["run_id"], run, 0, self._known, self)

    def reopen(self, run_id: str) -> Journal:
        """Go on with a run: numbers continue behind its last durable record."""
        number = self._number(run_id)
        with explained(UNREADABLE), self._engine.connect() as connection, connection.begin():
            return TableJournal(self._writer, run_id, number, last(connection, number), self._known, self)

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
            raise _unknown(run_id)
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
                raise _unknown(name)
            case [only]:
                return str(only)
            case several:
                raise StoreError(f"{name!r} could be {', '.join(several[:3])}: give more characters")

    def task(self, run_id: str) -> Task:
        """What the run was asked to do."""
        found = self._select(select(TASK).join(RUN, RUN.c.task == TASK.c.id).where(RUN.c.run_id == run_id))
        if not found:
            raise _unknown(run_id)
        return task(found[0])

    # --- policies -------------------------------------------------------------------------------------------

    def policy(self, policy: Policy) -> int:
        """Its number in this store, given to it at the first call. The parent does not tell policies apart."""
        key = _key(policy)
        if key not in self._ids:
            self._know(policy, self._writer.do(lambda connection: _policy_number(connection, policy)))
        return self._ids[key]

    def _know(self, policy: Policy, number: int) -> None:
        self._known.setdefault(number, policy)
        self._ids[_key(policy)] = number

    def policies(self) -> dict[int, Policy]:
        """Every policy of the store, by number."""
        for row in self._select(select(POLICY).order_by(POLICY.c.id)):
            number, *columns = row.values()
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
        columns["score"] = _number_or_none(feedback.score)
        return cast(int, self._writer.do(lambda connection: _insert(connection, FEEDBACK, columns)))

    def feedbacks(self, run_id: str) -> list[Feedback]:
        """In the order given."""
        query = select(FEEDBACK).where(FEEDBACK.c.run == self._number(run_id)).order_by(FEEDBACK.c.id)
        names = ("score", "step", "key", "comment", "correction", "source", "annotator", "created_at")
        return [Feedback(run_id, **{name: row[name] for name in names}) for row in self._select(query)]

    def reward(self, run_id: str, reward: Reward) -> int:
        """Add a reward behind the run's records; its `seq` is given here and returned. Not while it is written."""
        columns = asdict(reward) | {"run": self._number(run_id), "value": _number_or_none(reward.value)}

        def work(connection: Connection) -> int:
            seq = last(connection, columns["run"]) + 1
            connection.execute(insert(REWARD).values(columns | {"seq": seq}))
            return seq

        return cast(int, self._writer.do(work))

    # --- what runs teach ------------------------------------------------------------------------------------

    def learn(self, learned: Iterable[Learned]) -> None:
        """Adds counts to those of earlier runs, which lose a little weight for it."""
        counts = tuple(learned)
        self._writer.do(lambda connection: add(connection, counts))

    def learned(self) -> list[Learned]:
        """The counts of all runs, calibrations included."""
        with explained(UNREADABLE), self._engine.connect() as connection, connection.begin():
            return learned(connection)

    def ruled(self) -> list[Ruled]:
        """What verifiers said in all runs, by class of step."""
        with explained(UNREADABLE), self._engine.connect() as connection, connection.begin():
            return ruled(connection)

    # --- plumbing -------------------------------------------------------------------------------------------

    def _number(self, run_id: str) -> int:
        found = self._select(select(RUN.c.id).where(RUN.c.run_id == run_id))
        if not found:
            raise _unknown(run_id)
        return int(found[0]["id"])

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


def _insert(connection: Connection, table: Table, columns: Columns) -> int:
    return int(connection.execute(insert(table).values(columns).returning(table.c.id)).scalar_one())


def _key(policy: Policy) -> Policy:
    """What tells policies apart: all but the parent."""
    return replace(policy, parent=None)


def _policy_number(connection: Connection, policy: Policy) -> int:
    columns = asdict(policy)
    return _get_or_insert(
        connection, POLICY, {name: value for name, value in columns.items() if name != "parent"}, columns
    )


def _get_or_insert(connection: Connection, table: Table, same: Columns, columns: Columns) -> int:
    """id of the row where `same` holds. Two processes may come here at once: both get the row of the first."""
    query = select(table.c.id).where(*(table.c[name] == value for name, value in same.items()))
    found = connection.scalar(query)
    if found is None:
        dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
        connection.execute(dialect.insert(table).values(columns).on_conflict_do_nothing())
        found = connection.execute(query).scalar_one()
    return int(found)


def _unknown(name: str) -> StoreError:
    return StoreError(f"the store holds no run {name!r}: `surefoot list` shows those that it holds")


def _number_or_none(value: float | None) -> float | None:
    """NaN says nothing, and databases disagree on how to keep it."""
    return None if value is None or value != value else value


def _end(writer: Writer, engine: Engine) -> None:
    writer.stop()
    engine.dispose()


def _migrate(engine: Engine, create: bool) -> None:
    with engine.connect() as connection, connection.begin():
        found = schema.version(connection)
    if schema.check(found):
        return
    if found is None and not create:
        raise StoreError("the database is empty: run a task first, or give the address of an existing store")
    with engine.execution_options(surefoot_write=True).connect() as connection, connection.begin():
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(7302563)"))  # any number that is always the same
        # Asked again: another process may have been at it since.
        if not schema.check(schema.version(connection)):
            schema.upgrade(connection)


@cache
def _version() -> str:
    return metadata.version("surefoot")
