"""Calling async code from sync code, wherever that runs: one event loop in a thread of its own, for the process."""

from __future__ import annotations

import asyncio
import atexit
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future, wait
from functools import partial
from typing import Any, TypeVar

from surefoot.models.loop import Loop

T = TypeVar("T")

_shared = Loop("surefoot loop")
atexit.register(_shared.stop)


def shared_loop() -> asyncio.AbstractEventLoop:
    """The process's own event loop, in its thread."""
    return _shared.get()


def started(work: Coroutine[Any, Any, T]) -> tuple[asyncio.Task[T], Future[T]]:
    """Starts work on this event loop; its result can be waited for from any other one, and from any thread."""
    done: Future[T] = Future()
    task = asyncio.get_running_loop().create_task(work)
    task.add_done_callback(partial(_report, done))
    return task, done


def run_sync(function: Callable[..., Awaitable[T]], *args: Any, **options: Any) -> T:
    """The result of an async function. Ctrl-C cancels it, waits until it has cleaned up, and comes out.

    Raises what the function raises, and RuntimeError where the caller would wait for itself.
    """
    loop = _shared.get()
    if _shared.here:
        raise RuntimeError(
            "run() cannot be called from this event loop, for it would wait for itself: await arun() there, and so for "
            "the other methods"
        )
    done: Future[T] = Future()
    tasks: list[asyncio.Task[T]] = []

    async def work() -> T:
        return await function(*args, **options)

    def begin() -> None:
        tasks.append(asyncio.ensure_future(work()))
        tasks[0].add_done_callback(partial(_report, done))

    def stop() -> None:
        if tasks:
            tasks[0].cancel()
        else:
            _canceled(done)  # it was interrupted before it could ask for the work

    try:
        loop.call_soon_threadsafe(begin)
        return done.result()
    except KeyboardInterrupt:
        loop.call_soon_threadsafe(stop)
        wait([done])
        raise


def _report(done: Future[T], task: asyncio.Task[T]) -> None:
    if task.cancelled():
        _canceled(done)
    elif (error := task.exception()) is not None:
        done.set_exception(error)
    else:
        done.set_result(task.result())


def _canceled(done: Future[T]) -> None:
    done.cancel()
    done.set_running_or_notify_cancel()  # `wait` does not hear of `cancel` alone
