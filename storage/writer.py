"""The one thread that writes. What waits when a transaction ends goes into the next one: no timer, no fixed group."""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine, text
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

from surefoot.storage.bulk import bulk
from surefoot.storage.database import explain, transient
from surefoot.storage.errors import StoreError
from surefoot.storage.fork import PATIENCE
from surefoot.storage.rows import EDGES, Row

GROUP = 10_000
"""Queued items that go into one transaction at most. Where syncing the disk takes 20 ms, that is 2 us each."""

CROWD = 20_000
"""Waiting rows from which `room` holds its caller back, until half of them are written."""


@dataclass(slots=True)
class Job:
    """Something other than a record, in its turn. Without work it is a mark: done once all before it is durable."""

    work: Callable[[Connection], Any] | None = None
    vital: bool = False
    """Nobody waits for it: where it cannot be done, the writer fails, as it does for a record."""
    done: Future[Any] = field(default_factory=Future)
    result: Any = None


Item = tuple[str, Row, tuple[Row, ...]] | Job
"""A table, a row of it and the rows of `EDGES` that belong to it; or a job. Rows hold plain values only, so that the
garbage collector leaves them alone however many wait: as records they cost it 40 us a step."""


class Writer:
    """Owns the queue, the thread and the writing connection.

    `put` and `wake` are the hot path: append to `queue`, then set `wake` unless it is set.
    After a failure that trying again did not mend, `failure` is set, nothing is written any more, and every
    waiting job ends with it.
    """

    def __init__(self, engine: Engine, patience: float) -> None:
        self.queue: deque[Item] = deque()
        self.wake = threading.Event()
        self.failure: StoreError | None = None
        self.closed = StoreError("the store is closed: open it again")
        """What `failure` is after a stop in good order."""
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
        self.wake.set()
        if self.failure is not None:
            self._abandon(self.failure)
        return job

    def do(self, work: Callable[[Connection], Any]) -> Any:
        """Run `work` inside the next transaction and wait until that is durable. What it raises is raised here."""
        return self.put(Job(work)).done.result()

    def idle(self) -> bool:
        """Whether all that this thread queued is durable. The order of the two questions matters: see `_main`."""
        return not self.queue and not self._busy

    def mark(self) -> Future[Any]:
        """Done as soon as everything queued so far is durable."""
        return self.put(Job()).done

    def room(self) -> Future[None]:
        """Done as soon as less than half a crowd waits."""
        future: Future[None] = Future()
        self._waiting.append(future)
        self.wake.set()
        if self.failure is not None:
            self._abandon(self.failure)
        return future

    def stop(self) -> None:
        """Write what waits, then end the thread. Called again it does nothing."""
        self._stop = True
        self.wake.set()
        with self._starting:
            if self._thread is None:
                self.failure = self.failure or self.closed
        if self._thread not in (None, threading.current_thread()):  # the garbage collector may call from there
            self._thread.join()

    def check(self) -> None:
        """Raise what went wrong, if anything did."""
        if self.failure is not None and self.failure is not self.closed:
            raise StoreError(str(self.failure)) from self.failure

    # --- the writing thread -----------------------------------------------------------------------------------

    def _main(self) -> None:
        try:
            while self.failure is None and not (self._stop and not self.queue):
                self.wake.wait()
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
        queue = self.queue
        while queue and self.failure is None:
            batch = [queue.popleft() for _ in range(min(GROUP, len(queue)))]
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
            if isinstance(job.result, _Raised):
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
            before_sleep=self._reset,
            reraise=True,
        )
        self._token = None
        retrying(self._transact, batch)

    def _reset(self, _: RetryCallState) -> None:
        self._disconnect()

    def _disconnect(self) -> None:
        with self._turn:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.invalidate()
                connection.close()

    def _transact(self, batch: list[Item]) -> None:
        with self._turn:
            if self._connection is None:
                self._connection = self._engine.connect()
            connection = self._connection
            if self._token is not None and self._arrived(connection, self._token):
                return
            with connection.begin():
                self._apply(connection, batch)
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

    def _apply(self, connection: Connection, batch: list[Item]) -> None:
        rows: dict[str, list[Row]] = defaultdict(list)
        for item in batch:
            if isinstance(item, Job):
                if item.work is not None:
                    self._insert(connection, rows)
                    item.result = _attempt(connection, item.work, item.vital)
                continue
            table, row, needs = item
            rows[table].append(row)
            if needs:
                rows[EDGES[0]].extend(needs)
        self._insert(connection, rows)

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


def _attempt(connection: Connection, work: Callable[[Connection], Any], vital: bool) -> Any:
    """A job that is wrong fails alone; what else is in the transaction goes on."""
    try:
        with connection.begin_nested():
            return work(connection)
    except Exception as error:
        if vital or transient(error):
            raise
        return _Raised(explain("the store refused it", error))


def _settle(future: Future[Any], result: Any) -> None:
    if future.set_running_or_notify_cancel():
        future.set_result(result)


def _fail(future: Future[Any], error: Exception) -> None:
    if future.set_running_or_notify_cancel():
        future.set_exception(error)
