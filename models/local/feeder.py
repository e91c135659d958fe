"""One thread that feeds a sampler with what is asked, and hands out what it draws."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from surefoot.models.local.sampler import Drawn, Request, TokenSampler
from surefoot.storage.fork import Forked, abandon, watch

Asked = TypeVar("Asked")
Told = TypeVar("Told")

WINDOW = 0.001
"""Seconds that are waited for more questions before a batch begins."""


@dataclass(eq=False)
class Job(Generic[Asked, Told]):
    """Something asked, and the place for what is told."""

    asked: Asked
    count: int
    """Samples."""
    future: asyncio.Future[Told]
    loop: asyncio.AbstractEventLoop
    number: int | None = None
    """Of its request; None before it has one."""
    drawn: list[Drawn] = field(default_factory=list)
    begun: float = 0.0
    """When it was handed to the sampler, in seconds of `time.perf_counter`."""


class Feeder(Forked, Generic[Asked, Told]):
    """Asks a sampler for all that several event loops want, each question as soon as it comes.

    begin: the requests of questions; an exception in place of one is what whoever asked gets. tell: for each
    question whose samples are all drawn, what is told. Both run in the feeder's thread.
    """

    def __init__(
        self,
        sampler: TokenSampler,
        begin: Callable[[Sequence[Asked]], Sequence[Request | BaseException]],
        tell: Callable[[Sequence[Job[Asked, Told]]], Sequence[Told]],
        *,
        most: int,
    ) -> None:
        """most: samples that are enough to begin with."""
        self._sampler = sampler
        self._begin = begin
        self._tell = tell
        self._most = most
        self._start()
        watch(self)

    def _start(self) -> None:
        self._waiting: deque[Job[Asked, Told]] = deque()
        self._open: dict[int, Job[Asked, Told]] = {}
        """By the number of their request; only the thread looks at it."""
        self._gone: deque[Job[Asked, Told]] = deque()
        """Jobs that nobody waits for any more."""
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._busy = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="surefoot-local")

    def renew(self) -> None:
        for thing in (self._waiting, self._open, self._thread):
            abandon(thing)
        self._start()

    async def ask(self, asked: Asked, count: int) -> Told:
        """What is told of `count` samples; cancelling takes the question back."""
        loop = asyncio.get_running_loop()
        job: Job[Asked, Told] = Job(asked, count, loop.create_future(), loop)
        with self._changed:
            self._waiting.append(job)
            self._changed.notify()
            if not self._busy:
                self._busy = True
                self._thread.submit(self._run)
        try:
            return await job.future
        except asyncio.CancelledError:
            self._gone.append(job)
            raise

    # --- in the thread ---

    def _run(self) -> None:
        while (jobs := self._take()) or self._open:
            try:
                self._feed(jobs)
                self._hand_out(self._sampler.step())
                self._drop()
            except BaseException as error:  # handed on to everybody who waits: it is theirs to classify
                failed, self._open = list(self._open.values()), {}
                self._settle([(job, error) for job in failed])

    def _take(self) -> list[Job[Asked, Told]]:
        """What waits, about a batch of it at a time; where nothing is under way it may wait for more. Empty and nothing
        open: the thread is free."""
        with self._changed:
            if not self._open:
                while self._waiting and self._count() < self._most and self._changed.wait(WINDOW):
                    pass
            jobs: list[Job[Asked, Told]] = []
            count = 0
            while self._waiting and count < self._most:
                job = self._waiting.popleft()
                if not job.future.cancelled():
                    jobs.append(job)
                    count += job.count
            self._busy = bool(jobs or self._open)
            return jobs

    def _count(self) -> int:
        return sum(job.count for job in self._waiting)

    def _feed(self, jobs: list[Job[Asked, Told]]) -> None:
        if not jobs:
            return
        try:
            begun = self._begin([job.asked for job in jobs])
        except BaseException as error:
            begun = [error] * len(jobs)
        for job, request in zip(jobs, begun, strict=True):
            if isinstance(request, Request):
                job.number, job.begun = next(self._numbers), time.perf_counter()
                self._open[job.number] = job
                self._sampler.add(job.number, request)
        self._settle([(job, one) for job, one in zip(jobs, begun, strict=True) if isinstance(one, BaseException)])

    def _drop(self) -> None:
        numbers = []
        while self._gone:
            job = self._gone.popleft()
            if job.number is not None and self._open.pop(job.number, None) is not None:
                numbers.append(job.number)
        if numbers:
            self._sampler.drop(numbers)

    def _hand_out(self, drawn: Sequence[Drawn]) -> None:
        done = []
        for one in drawn:
            job = self._open.get(one.request)
            if job is not None:
                job.drawn.append(one)
                if len(job.drawn) == job.count:
                    done.append(self._open.pop(one.request))
        if done:
            try:
                told: Sequence[Any] = self._tell(done)
            except BaseException as error:
                told = [error] * len(done)
            self._settle(list(zip(done, told, strict=True)))

    def _settle(self, told: Sequence[tuple[Job[Asked, Told], Any]]) -> None:
        """What is told, or the error: one call into each event loop for all that wait there."""
        loops: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Told], Any]]] = {}
        for job, what in told:
            loops.setdefault(job.loop, []).append((job.future, what))
        for loop, futures in loops.items():
            with suppress(RuntimeError):  # closed: nobody waits there any more
                loop.call_soon_threadsafe(_set, futures)


def _set(futures: Sequence[tuple[asyncio.Future[Any], Any]]) -> None:
    for future, what in futures:
        if future.done():  # whoever asked may cancel at any moment
            continue
        if isinstance(what, BaseException):
            future.set_exception(what)
        else:
            future.set_result(what)
