"""Calling async code from sync code, wherever that runs: one event loop in a thread of its own, for the process."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from anyio.from_thread import BlockingPortal, start_blocking_portal

T = TypeVar("T")

_lock = threading.Lock()
_portal: BlockingPortal | None = None


def run_sync(function: Callable[..., Awaitable[T]], *args: Any, **options: Any) -> T:
    """The result of an async function. Ctrl-C cancels it, waits until it has cleaned up, and comes out."""
    ended = threading.Event()

    async def work() -> T:
        try:
            return await function(*args, **options)
        finally:
            ended.set()

    future: Future[T] = _shared().start_task_soon(work)
    try:
        return future.result()
    except KeyboardInterrupt:
        future.cancel()
        ended.wait()
        raise


def _shared() -> BlockingPortal:
    global _portal
    with _lock:
        if _portal is None:
            manager = start_blocking_portal("asyncio")
            _portal = manager.__enter__()
            atexit.register(manager.__exit__, None, None, None)
        return _portal
