"""Calling async code from sync code, wherever that runs: one event loop in a thread of its own, for the process."""

from __future__ import annotations

import asyncio
import atexit
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, wait
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")

_lock = threading.Lock()
_shared: Loop | None = None


def run_sync(function: Callable[..., Awaitable[T]], *args: Any, **options: Any) -> T:
    """The result of an async function. Ctrl-C cancels it, waits until it has cleaned up, and comes out.

    Raises what the function raises, and RuntimeError where the caller would wait for itself.
    """
    loop = _running()
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
        loop.call(begin)
        return done.result()
    except KeyboardInterrupt:
        loop.call(stop)
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


class Loop:
    """An event loop in a daemon thread. It outlives whatever its tasks raise: all runs of the process share it."""

    def __init__(self) -> None:
        # With a factory, the loop does not become that of the thread that makes it.
        self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self._loop = self._runner.get_loop()
        self.thread = threading.Thread(target=self._serve, name="surefoot loop", daemon=True)
        self.thread.start()
        atexit.register(self._stop)

    def call(self, function: Callable[[], object]) -> None:
        """Calls it in the loop's thread, soon."""
        self._loop.call_soon_threadsafe(function)

    def _serve(self) -> None:
        with self._runner:
            while True:
                try:
                    self._loop.run_forever()
                    return
                except (KeyboardInterrupt, SystemExit):
                    # asyncio gives these to whoever awaits the task, and lets them out of the loop too. Ctrl-C is
                    # not among them: it comes to the main thread.
                    continue

    def _stop(self) -> None:
        if self.thread.is_alive():
            self.call(self._loop.stop)
            self.thread.join()


def _running() -> Loop:
    """The process's loop; a new one after a fork, whose child has none of its parent's threads."""
    global _shared
    with _lock:
        if _shared is None or not _shared.thread.is_alive():
            _shared = Loop()
        if _shared.thread is threading.current_thread():
            raise RuntimeError("this would wait for itself: in async code, await the method with an a before its name")
        return _shared
