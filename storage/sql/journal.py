"""The journal whose records become rows, through the store's one writer."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, bindparam, update

from surefoot.storage.errors import StoreError
from surefoot.storage.jsonable import to_json
from surefoot.storage.learned import Learned
from surefoot.storage.records import JournalRecord, Json, ModelCall, Outcome, PlannedStep, Policy, Reliability, Usage
from surefoot.storage.sql.database import explain
from surefoot.storage.sql.learned import add
from surefoot.storage.sql.rows import KINDS, Row, edges, known_model
from surefoot.storage.sql.tables import RUN
from surefoot.storage.sql.writer import CROWD, Job, Writer, arrived

END = update(RUN).where(RUN.c.id == bindparam("number"))

DURABLE: Future[Any] = Future()
DURABLE.set_result(None)


class TableJournal:
    """Made by `Store.begin` and `Store.reopen`; the promises are those of `Journal`."""

    def __init__(
        self, writer: Writer, run_id: str, number: int, last: int, policies: Mapping[int, Policy], owner: object = None
    ) -> None:
        self.run_id = run_id
        self._owner = owner  # keeps the store open for as long as the journal is used
        self._writer = writer
        self._queue = writer.queue
        self._wake = writer.wake
        self._policies = policies
        self._number = number
        self._last = last
        self._closed = False
        self._flushed: Future[Any] | None = DURABLE
        """Done once everything appended is durable; None where something was appended since it was last asked."""
        writer.start()

    def seq(self) -> int:
        self._last += 1
        return self._last

    def append(self, record: JournalRecord) -> None:
        if self._closed or self._writer.failure is not None or self._writer.refused:
            self._check()
        kind = KINDS[type(record)]
        try:
            row = kind.encode(self._number, record)
        except (TypeError, ValueError) as error:
            raise explain(f"a record of the kind {kind.table} cannot be kept", error) from error
        needs: tuple[Row, ...] = ()
        if type(record) is PlannedStep:
            needs = edges(self._number, record)
        elif type(record) is ModelCall:
            row = known_model(row, self._policies)
        self._flushed = None
        self._queue.append((kind.table, row, needs))
        if not self._wake.is_set():
            self._wake.set()

    async def barrier(self) -> None:
        await arrived(self._flush())
        self._check()

    async def room(self) -> None:
        if len(self._queue) > CROWD:
            await arrived(self._writer.room())
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
        values = {
            "outcome": outcome.value,
            "reason": reason or None,
            "output": to_json(output),
            "reliability": asdict(reliability) if reliability else None,
            "usage": asdict(usage) if usage else None,
            "ended_at": time.time(),
        }

        def work(connection: Connection) -> None:
            connection.execute(END, {"number": self._number, **values})
            add(connection, learned)

        self._flushed = None
        self._writer.put(Job(work, self._number))

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._writer.failure is None:
            self._flush().result()
        self._writer.check(self._number)

    def _flush(self) -> Future[Any]:
        if self._flushed is None:
            self._flushed = DURABLE if self._writer.idle() else self._writer.mark(self._number)
        return self._flushed

    def _check(self) -> None:
        failure = self._writer.failure or self._writer.refused.get(self._number)
        if failure is not None:
            raise StoreError(str(failure)) from failure
        if self._closed:
            raise StoreError("this journal is closed: reopen the run to go on with it")
