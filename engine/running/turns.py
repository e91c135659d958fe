"""Whose turn it is: the runs of one event loop give way to each other, and to whatever else is served there.

An event loop runs everything that is ready before it looks at its timers and sockets again. When a thousand runs become
ready at once, because a transaction ended or a server answered them all, that would be a second.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from heapq import heappop, heappush
from itertools import count
from weakref import WeakKeyDictionary, ref

SLICE = 0.01
"""Seconds for which runs may go on before the event loop looks at other things."""

ENTERING = 64
"""Runs that are begun, or taken up, at once: as many as share a transaction."""


Place = tuple[int, int, asyncio.Future[None]]
"""In a line: when it was begun, when it asked, and what it waits for."""


async def turn(*, first: bool = False) -> None:
    """Returns at once while the slice lasts; else when it is the caller's turn.

    What was begun earlier goes first, so that steps end one after the other, and later ones decide by what these came
    to. first: here something begins.
    """
    if first:
        _begun.set(next(_numbers))
    line = _line()
    if time.monotonic() > line.until:
        await line.stand(line.going, _begun.get())


@asynccontextmanager
async def entering() -> AsyncIterator[None]:
    """Around the beginning of a run. Runs under way go first, so that no more are open than can be served."""
    line = _line()
    async with line.door:
        await line.stand(line.coming, next(_numbers))
        yield


def _line() -> _Line:
    global _near
    loop = asyncio.get_running_loop()
    known, line = _near
    if known() is not loop:
        line = _lines.setdefault(loop, _Line())
        _near = (ref(loop), line)
    return line


class _Line:
    """Those who wait on one event loop. Each time around, one is let on, and with it a slice begins."""

    def __init__(self) -> None:
        self.until = 0.0
        self.going: list[Place] = []
        self.coming: list[Place] = []
        self.door = asyncio.Semaphore(ENTERING)
        self._serving = False

    async def stand(self, queue: list[Place], begun: int) -> None:
        loop = asyncio.get_running_loop()
        mine = loop.create_future()
        heappush(queue, (begun, next(_numbers), mine))
        if not self._serving:
            self._serving = True
            loop.call_soon(self._serve, loop)
        await mine

    def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        while queue := self.going or self.coming:
            first = heappop(queue)[-1]
            if not first.done():  # else it was cancelled
                first.set_result(None)
                self.until = time.monotonic() + SLICE
                loop.call_soon(self._serve, loop)
                return
        self._serving = False


_numbers = count(1)
_begun: ContextVar[int] = ContextVar("begun", default=0)
"""When what runs here was begun, in the order of all beginnings."""
_lines: WeakKeyDictionary[asyncio.AbstractEventLoop, _Line] = WeakKeyDictionary()
_near: tuple[Callable[[], asyncio.AbstractEventLoop | None], _Line] = (lambda: None, _Line())
"""The line asked for last, and its loop: nearly always the next one too, and to look it up costs more than to wait."""
