"""One event loop in a thread of its own, for every request of the process.

litellm keeps its clients per process, not per loop: a client made on a loop that has ended fails later on
("Event loop is closed"). So all requests run on one loop that lives as long as the process, and may be
awaited from any other.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None


async def elsewhere(work: Coroutine[Any, Any, T]) -> T:
    """Runs `work` on the shared loop. Cancelling the wait cancels the work."""
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, _running()))


def _running() -> asyncio.AbstractEventLoop:
    global _loop
    with _lock:
        if _loop is None:
            _loop = asyncio.new_event_loop()
            threading.Thread(target=_loop.run_forever, name="surefoot-requests", daemon=True).start()
        return _loop


def _forget() -> None:
    """Threads do not survive a fork: the child starts a loop of its own."""
    global _loop, _lock
    _loop, _lock = None, threading.Lock()


os.register_at_fork(after_in_child=_forget)
