"""Dynamic batching: what waits while a batch is being worked on becomes the next batch."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from surefoot.storage.fork import Forked, abandon, watch

Asked = TypeVar("Asked")
Told = TypeVar("Told")


@dataclass(eq=False)
class Job(Generic[Asked, Told]):
    """Something asked, and the place for what is told."""

    asked: Asked
    weight: int
    """Its share of a batch: rows."""
    future: Future[Told] = field(default_factory=Future)

    # Whoever asked may cancel at any moment, also between a look at the future and its setting.

    def tell(self, told: Told) -> None:
        with suppress(InvalidStateError):
            self.future.set_result(told)

    def fail(self, error: BaseException) -> None:
        with suppress(InvalidStateError):
            self.future.set_exception(error)


class Batcher(Forked, Generic[Asked, Told]):
    """Collects what is asked at the same time and has one worker thread work on it together.

    `work` gets a batch of jobs and tells or fails each of them. A batch is closed when nothing more came for
    `window` seconds, or when it weighs `most`; a single heavier job is a batch by itself.
    """

    def __init__(self, work: Callable[[list[Job[Asked, Told]]], None], *, most: int, window: float = 0.001) -> None:
        self._work = work
        self._most = most
        self._window = window
        self._begin()
        watch(self)

    def _begin(self) -> None:
        self._waiting: deque[Job[Asked, Told]] = deque()
        self._changed = threading.Condition()
        self._busy = False
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="surefoot-local")

    def renew(self) -> None:
        abandon(self._waiting)
        abandon(self._worker)
        self._begin()

    async def ask(self, asked: Asked, weight: int = 1) -> Told:
        """What the batch's work tells; cancelling takes the question back."""
        job: Job[Asked, Told] = Job(asked, weight)
        with self._changed:
            self._waiting.append(job)
            self._changed.notify()
            if not self._busy:
                self._busy = True
                self._worker.submit(self._drain)
        return await asyncio.wrap_future(job.future)

    def _drain(self) -> None:
        while batch := self._collect():
            jobs = [job for job in batch if not job.future.cancelled()]
            try:
                if jobs:
                    self._work(jobs)
            except BaseException as error:  # handed on to everybody who waits: it is theirs to classify
                for job in jobs:
                    job.fail(error)

    def _collect(self) -> list[Job[Asked, Told]]:
        """The next batch; empty when nothing waits, and then the worker is free."""
        with self._changed:
            while self._waiting and self._weight() < self._most and self._changed.wait(self._window):
                pass
            batch: list[Job[Asked, Told]] = []
            weight = 0
            while self._waiting and (not batch or weight + self._waiting[0].weight <= self._most):
                job = self._waiting.popleft()
                weight += job.weight
                batch.append(job)
            self._busy = bool(batch)
            return batch

    def _weight(self) -> int:
        return sum(job.weight for job in self._waiting)
