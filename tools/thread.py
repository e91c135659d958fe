"""Running a synchronous function without blocking the event loop."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any

import anyio
from anyio.lowlevel import RunVar

from surefoot.storage.fork import Forked, watch

PLACES = 64
"""Functions that run at once, per event loop; more wait for a place."""

_IDLE_SECONDS = 10.0

_Job = Callable[[Callable[[], None]], None]

_places: RunVar[anyio.CapacityLimiter] = RunVar("surefoot tool threads")


class _Idle(Forked):
    """Threads that wait for work."""

    def __init__(self) -> None:
        self.queues: list[SimpleQueue[_Job]] = []
        """One a thread. `append`, `pop` and `remove` are atomic: no lock."""
        watch(self)

    def renew(self) -> None:
        self.queues = []


_idle = _Idle()


async def in_thread(function: Callable[[], Any]) -> Any:
    """Run `function` in a worker thread and return or raise what it did.

    A cancelled call abandons its thread, which cannot be killed: it runs on without anybody waiting for it
    and without holding one of the `PLACES`. Threads are daemons, unlike those of `anyio.to_thread`, so that
    a tool that hangs for ever cannot keep the process from ending.
    """
    async with _limiter():
        loop = asyncio.get_running_loop()
        done: asyncio.Future[tuple[Any, BaseException | None]] = loop.create_future()
        context = contextvars.copy_context()

        def report(value: Any, failure: BaseException | None) -> None:
            if not done.done():
                done.set_result((value, failure))

        def job(release: Callable[[], None]) -> None:
            value, failure = None, None
            try:
                value = context.run(function)
            except BaseException as error:
                failure = error
            release()
            try:
                loop.call_soon_threadsafe(report, value, failure)
            except RuntimeError:
                # The loop ended while the abandoned thread was running; nobody is left to tell.
                if not loop.is_closed():
                    raise

        _submit(job)
        value, failure = await done
    if failure is not None:
        raise failure
    return value


def _submit(job: _Job) -> None:
    try:
        queue = _idle.queues.pop()
    except IndexError:
        queue = SimpleQueue()
        threading.Thread(target=_work, args=(queue,), name="surefoot tool", daemon=True).start()
    queue.put(job)


def _work(queue: SimpleQueue[_Job]) -> None:
    while True:
        try:
            job = queue.get(timeout=_IDLE_SECONDS)
        except Empty:
            try:
                _idle.queues.remove(queue)
            except ValueError:
                # Taken a moment ago: its job is on the way.
                continue
            return
        # The thread offers itself again before the caller hears of the result, so that calls in a row share it.
        job(lambda: _idle.queues.append(queue))
        del job


def _limiter() -> anyio.CapacityLimiter:
    try:
        return _places.get()
    except LookupError:
        limiter = anyio.CapacityLimiter(PLACES)
        _places.set(limiter)
        return limiter
