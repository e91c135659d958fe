"""Event loops in threads of their own, one for all requests of the process.

litellm keeps its clients per process, not per loop: a client made on a loop that has ended fails later on
("Event loop is closed"). So all requests run on one loop that lives as long as the process, and may be
awaited from any other.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from surefoot.storage.fork import Forked, abandon, watch

T = TypeVar("T")


class Loop(Forked):
    """An event loop in a daemon thread, begun when it is first needed, and again in a forked child.

    It outlives whatever its tasks raise: everything in the process shares it.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._runner: asyncio.Runner | None = None
        self._thread: threading.Thread | None = None
        watch(self)

    def get(self) -> asyncio.AbstractEventLoop:
        """The loop, running."""
        with self._lock:
            if self._runner is None or self._thread is None or not self._thread.is_alive():
                # With a factory, the loop does not become that of the thread that makes it.
                self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
                self._runner.get_loop()
                self._thread = threading.Thread(target=_serve, args=(self._runner,), name=self._name, daemon=True)
                self._thread.start()
            return self._runner.get_loop()

    @property
    def here(self) -> bool:
        """Whether the caller is in its thread."""
        return self._thread is threading.current_thread()

    def stop(self) -> None:
        """Cancel what runs, and end."""
        if self._runner is not None and self._thread is not None and self._thread.is_alive():
            loop = self._runner.get_loop()
            loop.call_soon_threadsafe(loop.stop)
            self._thread.join()

    def renew(self) -> None:
        abandon(self._runner)
        self._lock = threading.Lock()
        self._runner = self._thread = None


def _serve(runner: asyncio.Runner) -> None:
    with runner:
        while True:
            try:
                runner.get_loop().run_forever()
                return
            except (KeyboardInterrupt, SystemExit):
                # asyncio gives these to whoever awaits the task, and lets them out of the loop too. Ctrl-C is
                # not among them: it comes to the main thread.
                continue


class Slots(Forked):
    """Places on the requests' loop: more requests than that wait for one."""

    def __init__(self, places: int) -> None:
        self._places = places
        self.renew()
        watch(self)

    def renew(self) -> None:
        self.free = asyncio.Semaphore(self._places)


_requests = Loop("surefoot-requests")


async def elsewhere(work: Coroutine[Any, Any, T]) -> T:
    """Runs `work` on the requests' loop. Cancelling the wait cancels the work."""
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, _requests.get()))
