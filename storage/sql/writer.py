"""The one thread that writes. What waits when a transaction ends goes into the next one: no timer, no fixed group."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, text
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

from surefoot.storage.errors import StoreError
from surefoot.storage.fork import PATIENCE
from surefoot.storage.sql.bulk import bulk
from surefoot.storage.sql.database import explain, particular, transient
from surefoot.storage.sql.rows import EDGES, Row

T = TypeVar("T")

LINGER = 0.02
"""Seconds for which records may wait for others, so that they share a transaction, while nobody waits for them."""

GROUP = 10_000
"""Queued items that go into one transaction at most. Where syncing the disk takes 20 ms, that is 2 us each."""

CROWD = 20_000
"""Waiting rows from which `room` holds its caller back, until half of them are written."""


@dataclass(slots=True)
class Job:
    """Something other than a record, in its turn. Without work it is a mark: done once all before it is durable."""

    work: Callable[[Connection], Any] | None = None
    run: int | None = None
    """The run that it belongs to: where its work cannot be done the run is refused, as it is for a record."""
    looks: bool = False
    """Its work looks at records: those queued before it are written first."""
    done: Future[Any] = field(default_factory=Future)
    result: Any = None


Item = tuple[str, Row, tuple[Row, ...]] | Job
"""A table, a row of it and the rows of `EDGES` that belong to it; or a job. Rows hold plain values only, so that the
garbage collector leaves them alone however many wait: as records they cost it 40 us a step."""


class Writer:
    """Owns the queue, the thread and the writing connection.

    `put` and `wake` are the hot path: append to `queue`, then set `wake` unless it is set.
    After a failure of the database that trying again did not mend, `failure` is set, nothing is written any more, and
    every waiting job ends with it. Where only what one run wrote is at fault, that run is `refused`; all others go on.
    """

    def __init__(self, engine: Engine, patience: float) -> None:
        self.queue: deque[Item] = deque()
        self.wake = threading.Event()
        """There is something to write."""
        self._urgent = threading.Event()
        """Somebody waits until it is written."""
        self.failure: StoreError | None = None
        self.closed = StoreError("the store is closed: open it again")
        """What `failure` is after a stop in good order."""
        self.refused: dict[int, StoreError] = {}
        """Runs whose records the database does not take, by number: nothing more is written of them."""
        self._engine = engine.execution_options(surefoot_write=True)
        self._patience = patience
        self._bulk = bulk(engine.dialect.name)
        self._connection: Connection | None = None
        self._turn = threading.RLock()
        """Held while the connection is used."""
        self._busy = False
        self._stop = False
        self._waiting: deque[Future[None]] = deque()
        self._token: int | None = None
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread. It is started by the first thing to write: a child of a fork may want none."""
        with self._starting:
            if self._thread is None and self.failure is None:
                self._thread = threading.Thread(target=self._main, name="surefoot-writer", daemon=True)
                self._thread.start()

    # --- around a fork ----------------------------------------------------------------------------------------

    def hold(self) -> bool:
        """Let go of the database and keep away from it; whether that could be had. `go_on` ends it."""
        held = self._turn.acquire(timeout=PATIENCE)
        if held:
            self._disconnect()
        return held

    def go_on(self) -> None:
        self._turn.release()

    def disown(self) -> None:
        """In a child: what waits here is written by the parent, and nothing more is taken."""
        self.failure = self.closed = StoreError(
            "this run was begun before the process forked, and goes on in the parent alone: begin another one here"
        )

    # --- any thread -------------------------------------------------------------------------------------------

    def put(self, job: Job) -> Job:
        """Queue a job behind everything appended so far."""
        if self._thread is None:
            self.start()
        self.queue.append(job)
        self._hurry()
        if self.failure is not None:
            self._abandon(self.failure)
        return job

    def do(self, work: Callable[[Connection], Any], *, looks: bool = False) -> Any:
        """Run `work` inside the next transaction and wait until that is durable. What it raises is raised here."""
        return self.put(Job(work, looks=looks)).done.result()

    def idle(self) -> bool:
        """Whether all that this thread queued is durable. The order of the two questions matters: see `_main`."""
        return not self.queue and not self._busy

    def mark(self, run: int | None = None) -> Future[Any]:
        """Done as soon as everything queued so far is durable; it fails where the run is refused."""
        return self.put(Job(run=run)).done

    def admit(self, run: int) -> None:
        """Write what comes of a run from here on, though it was refused."""
        self.refused.pop(run, None)

    def room(self) -> Future[None]:
        """Done as soon as less than half a crowd waits."""
        future: Future[None] = Future()
        self._waiting.append(future)
        self._hurry()
        if self.failure is not None:
            self._abandon(self.failure)
        return future

    def _hurry(self) -> None:
        self._urgent.set()
        self.wake.set()

    def stop(self) -> None:
        """Write what waits, then end the thread. Called again it does nothing."""
        self._stop = True
        self._hurry()
        with self._starting:
            if self._thread is None:
                self.failure = self.failure or self.closed
        if self._thread not in (None, threading.current_thread()):  # the garbage collector may call from there
            self._thread.join()

    def check(self, run: int | None = None) -> None:
        """Raise what went wrong, with the database or with this run, if anything did."""
        failure = self.refused.get(run) if run is not None and self.failure in (None, self.closed) else self.failure
        if failure is not None and failure is not self.closed:
            raise StoreError(str(failure)) from failure

    # --- the writing thread -----------------------------------------------------------------------------------

    def _main(self) -> None:
        try:
            while self.failure is None and not (self._stop and not self.queue):
                self.wake.wait()
                self._urgent.wait(LINGER)
                self._urgent.clear()
                self.wake.clear()
                self._busy = True  # before anything leaves the queue, for `idle`
                self._drain()
                self._busy = False
        except BaseException as error:
            self.failure = explain("the store's writer broke", error)
            self.failure.__cause__ = error
        finally:
            self.failure = self.failure or self.closed
            self._abandon(self.failure)
            self._disconnect()

    def _drain(self) -> None:
        queue, waiting = self.queue, len(self.queue)
        while waiting and self.failure is None:
            batch = [queue.popleft() for _ in range(min(GROUP, waiting))]
            waiting -= len(batch)
            self._write(batch)
            self._make_room()
        self._make_room()

    def _make_room(self) -> None:
        while self._waiting and len(self.queue) <= CROWD // 2:
            _settle(self._waiting.popleft(), None)

    def _write(self, batch: list[Item]) -> None:
        jobs = [item for item in batch if isinstance(item, Job)]
        try:
            if len(jobs) < len(batch) or any(job.work for job in jobs):
                self._persist(batch)
        except Exception as error:
            self.failure = explain("the run could not be recorded", error)
            self.failure.__cause__ = error
            for job in jobs:
                _fail(job.done, self.failure)
            return
        for job in jobs:
            if job.run in self.refused:
                _fail(job.done, self.refused[job.run])
            elif isinstance(job.result, _Raised):
                _fail(job.done, job.result.error)
            else:
                _settle(job.done, job.result)

    def _persist(self, batch: list[Item]) -> None:
        """Commit a batch, trying again while that may help. A transaction is all or nothing, so a second try is safe
        unless the first one's commit got lost on its way: then PostgreSQL is asked what became of it."""
        retrying = Retrying(
            retry=retry_if_exception(transient),
            wait=wait_random_exponential(0.05, max=2.0),
            stop=stop_after_delay(self._patience),
            before_sleep=lambda _: self._disconnect(),
            reraise=True,
        )
        self._token = None
        try:
            retrying(self._transact, batch, self._apart if self.refused else self._together)
        except Exception as error:
            if transient(error):
                raise
            self._token = None
            retrying(self._transact, batch, self._apart)

    def _disconnect(self) -> None:
        with self._turn:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.invalidate()
                connection.close()

    def _transact(self, batch: list[Item], apply: Callable[[Connection, list[Item]], None]) -> None:
        with self._turn:
            if self._connection is None:
                self._connection = self._engine.connect()
            connection = self._connection
            if self._token is not None and self._arrived(connection, self._token):
                return
            with connection.begin():
                apply(connection, batch)
                if connection.dialect.name == "postgresql":
                    self._token = connection.scalar(text("SELECT txid_current()"))

    def _arrived(self, connection: Connection, token: int) -> bool:
        """Whether an earlier try, whose answer was lost, was committed after all."""
        while True:
            with connection.begin():
                status = connection.scalar(text("SELECT txid_status(:token)"), {"token": token})
            if status != "in progress":
                return bool(status == "committed")
            time.sleep(0.05)

    def _together(self, connection: Connection, batch: list[Item]) -> None:
        """All of a batch, in as few statements as may be: what is wrong anywhere in it comes out."""
        rows: dict[str, list[Row]] = defaultdict(list)
        for item in batch:
            if isinstance(item, Job):
                if item.looks:
                    self._insert(connection, rows)
                if item.work is not None:
                    item.result = item.work(connection)
                continue
            table, row, needs = item
            rows[table].append(row)
            if needs:
                rows[EDGES[0]].extend(needs)
        self._insert(connection, rows)

    def _apart(self, connection: Connection, batch: list[Item]) -> None:
        """The same with a savepoint for each run, and for each job of none, so that what is wrong fails alone.

        A run that is refused leaves nothing of this batch. Raises what is wrong with the database.
        """
        parts: dict[tuple[int | None, int], list[Item]] = defaultdict(list)
        for place, item in enumerate(batch):
            run = item.run if isinstance(item, Job) else item[1][0]
            parts[run, place if run is None else 0].append(item)
        for (run, _), items in parts.items():
            if run in self.refused:
                continue
            try:
                with connection.begin_nested():
                    self._together(connection, items)
            except Exception as error:
                if transient(error) or (run is not None and not particular(error)):
                    raise
                if run is not None:
                    self.refused[run] = explain("the run could not be recorded", error)
                    self.refused[run].__cause__ = error
                for item in items:
                    if isinstance(item, Job):
                        item.result = _Raised(explain("the store refused it", error))

    def _insert(self, connection: Connection, rows: dict[str, list[Row]]) -> None:
        cursor = connection.connection.cursor()
        try:
            for table, waiting in rows.items():
                self._bulk(cursor, table, waiting)
        finally:
            cursor.close()
        rows.clear()

    def _abandon(self, error: StoreError) -> None:
        """Nothing will be written any more: end every wait."""
        while self.queue:
            item = self.queue.popleft()
            if isinstance(item, Job):
                _fail(item.done, error)
        while self._waiting:
            _fail(self._waiting.popleft(), error)


@dataclass(frozen=True, slots=True)
class _Raised:
    error: Exception


async def arrived(future: Future[T]) -> T:
    """The result of a job. Whoever is cancelled here takes it from nobody else who waits for it."""
    return future.result() if future.done() else await asyncio.shield(asyncio.wrap_future(future))


def _settle(future: Future[Any], result: Any) -> None:
    if future.set_running_or_notify_cancel():
        future.set_result(result)


def _fail(future: Future[Any], error: Exception) -> None:
    if future.set_running_or_notify_cancel():
        future.set_exception(error)
