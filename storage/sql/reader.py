"""Reading a run back: the tables of its records, merged in order of seq, page by page."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from operator import attrgetter

from sqlalchemy import Connection, Engine, text

from surefoot.storage.records import (
    Attempt,
    Event,
    JournalRecord,
    Message,
    ModelCall,
    PlannedStep,
    Policy,
    Reward,
    ToolCall,
    Verdict,
)
from surefoot.storage.sql.database import explained
from surefoot.storage.sql.rows import EDGES, KINDS, Row, named_model

PAGE = 1024
"""Numbers of records that one read transaction covers."""

UNREADABLE = "the run cannot be read"

Read = Callable[..., list[Row]]
Wanted = Mapping[type, Callable[[Row], bool]]


def last(connection: Connection, run: int, kinds: Sequence[type] = tuple(KINDS)) -> int:
    """Greatest seq among the run's records; 0 where there are none."""
    each = [f"SELECT MAX(seq) FROM {KINDS[kind].table} WHERE run = {int(run)}" for kind in kinds]
    return max(filter(None, connection.scalars(text(" UNION ALL ".join(each)))), default=0) if each else 0


class Reader:
    """Pages through records. Between pages it holds neither a transaction nor a connection."""

    def __init__(self, engine: Engine, policies: Callable[[int], Mapping[int, Policy]]) -> None:
        if engine.dialect.name == "postgresql":  # a page's tables as of one moment; SQLite does it anyhow
            engine = engine.execution_options(isolation_level="REPEATABLE READ")
        self._engine = engine
        self._policies = policies
        """Given the id of a policy, all known ones, that one among them."""
        self._mark = "?" if engine.dialect.name == "sqlite" else "%s"

    def records(
        self, run: int, kinds: Sequence[type] | None, after: int, steps: Collection[int] | None
    ) -> Iterator[JournalRecord]:
        chosen = list(KINDS) if kinds is None else list(dict.fromkeys(kinds))
        with explained(UNREADABLE), self._engine.connect() as connection, connection.begin():
            end = last(connection, run, chosen)
        wanted = None
        if steps is not None:
            first, wanted = self._wanted(run, frozenset(steps), end)
            after = max(after, first - 1)
        for low in range(after, end, PAGE):
            yield from self._page(run, chosen, low, min(low + PAGE, end), wanted)

    def _page(self, run: int, kinds: Sequence[type], low: int, high: int, wanted: Wanted | None) -> list[JournalRecord]:
        with self._reading() as read:
            found = {kind: self._rows(read, run, kind, low, high) for kind in kinds}
        page: list[JournalRecord] = []
        for kind, rows in found.items():
            page += map(KINDS[kind].decode, rows if wanted is None else filter(wanted[kind], rows))
        page.sort(key=attrgetter("seq"))
        return page

    def _rows(self, read: Read, run: int, kind: type, low: int, high: int) -> Iterable[Row]:
        columns = ", ".join(f'"{name}"' for name in KINDS[kind].columns[1:])
        rows = read(self._range(columns, KINDS[kind].table, "seq"), run, low, high)
        if kind is PlannedStep:
            needs = defaultdict(list)
            for dst, src in read(self._range("dst, src", EDGES[0], "dst") + " ORDER BY dst, ordinal", run, low, high):
                needs[dst].append(src)
            return [(*row, tuple(needs[row[0]]) if row[0] in needs else ()) for row in rows]
        if kind is ModelCall:
            return [named_model(row, self._policies(row[3])) if row[4] is None else row for row in rows]
        return rows

    def _range(self, columns: str, table: str, key: str) -> str:
        where = f"run = {self._mark} AND {key} > {self._mark} AND {key} <= {self._mark}"
        return f"SELECT {columns} FROM {table} WHERE {where}"

    # --- the records of some steps ------------------------------------------------------------------------------

    def _wanted(self, run: int, steps: frozenset[int], last: int) -> tuple[int, Wanted]:
        """The least seq to look at, and what to keep of each kind. Only messages may come before their step."""
        low = min(steps, default=last) - 1
        attempts = {seq for seq, step in self._scan(run, "seq, step", "attempt", low, last) if step in steps}
        calls: set[int] = set()
        tips: set[int | None] = set()
        for seq, step, prompt, completion in self._scan(run, "seq, step, prompt, completion", "model_call", low, last):
            if step in steps:
                calls.add(seq)
                tips |= {prompt, completion}
        messages = self._conversations(run, tips)
        return min({low + 1, *messages}), {
            PlannedStep: lambda row: row[0] in steps,
            Attempt: lambda row: row[1] in steps,
            Verdict: lambda row: row[1] in attempts,
            Message: lambda row: row[0] in messages or row[7] in calls,
            ModelCall: lambda row: row[1] in steps,
            ToolCall: lambda row: row[1] in steps,
            Event: lambda row: row[2] in steps,
            Reward: lambda row: row[2] in {"step": steps, "attempt": attempts}.get(row[1], ()),
        }

    def _scan(self, run: int, columns: str, table: str, low: int, high: int) -> Iterator[Row]:
        for start in range(low, high, 16 * PAGE):
            with self._reading() as read:
                rows = read(self._range(columns, table, "seq"), run, start, min(start + 16 * PAGE, high))
            yield from rows

    def _conversations(self, run: int, tips: set[int | None]) -> set[int]:
        """These messages and all before them in their conversations."""
        sql = f"SELECT parent FROM message WHERE run = {self._mark} AND seq = {self._mark}"
        known: set[int] = set()
        with self._reading() as read:
            for tip in tips:
                while tip is not None and tip not in known:
                    known.add(tip)
                    parents = read(sql, run, tip)
                    tip = parents[0][0] if parents else None
        return known

    @contextmanager
    def _reading(self) -> Iterator[Read]:
        """A read transaction. Rows are the driver's own tuples: SQLAlchemy's would cost as much as the rest."""
        with explained(UNREADABLE), self._engine.connect() as connection, connection.begin():

            def read(sql: str, *values: int) -> list[Row]:
                cursor = connection.exec_driver_sql(sql, values).cursor
                return [] if cursor is None else list(cursor.fetchall())

            yield read
