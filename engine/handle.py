"""A run in hand: its id, its events, answers for it, an end to it. A script, a server and a graph hold the same."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterator
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

from surefoot.engine.result import Result, stored
from surefoot.engine.running.flow import Flow
from surefoot.engine.running.loop import run_sync, shared_loop, started
from surefoot.engine.running.phases import answer
from surefoot.engine.runs import Runs
from surefoot.engine.setup.setup import Output
from surefoot.storage.errors import RunError, SetupError
from surefoot.storage.outcome import STOPPED, Outcome
from surefoot.storage.records import Event, JournalRecord, Json, PlannedStep
from surefoot.trajectories.standing import Standing

T = TypeVar("T")

PAGE = 500
"""Events that are read from the store at once."""

POLL = 1.0
"""Seconds after which the store is asked again: another process may drive the run."""

SOON = 0.02
"""Seconds after which what was recorded is looked for in the store."""


@dataclass(frozen=True, slots=True)
class RunEvent:
    """One record of a run, as it happened."""

    id: int
    """Counts up within the run. Whoever saw it goes on with `after=id`, in any process."""
    run_id: str
    record: JournalRecord


class RunHandle:
    """A run, under way or not. `Engine.start` and `Engine.astart` begin one; `Engine.handle` takes the one of an id.

    Every method may be called from any thread. Those that begin with `a`, and `await handle`, are for async code; the
    others wait, and must not be called on the event loop that the run is on (they raise RuntimeError there).
    """

    def __init__(self, runs: Runs, run_id: str, loop: asyncio.AbstractEventLoop, kind: Output) -> None:
        self.id = run_id
        self._runs = runs
        self._kind = kind
        self._home = loop
        self._task: asyncio.Task[Result] | None = None
        self._done: Future[Result] | None = None
        """The result of what was started here last."""
        self._process = runs.process

    @property
    def _loop(self) -> asyncio.AbstractEventLoop:
        """Where it runs, or goes on: the process's own event loop, once the one that it began on is gone."""
        if not self._ours or self._home.is_closed():
            self._home = shared_loop()
        return self._home

    @property
    def _ours(self) -> bool:
        """False in a forked child that has not taken it up itself: the run is the parent's, its end is in the store."""
        return self._process is self._runs.process

    def __repr__(self) -> str:
        return f"RunHandle({self.id!r})"

    def drive(self, flow: Flow) -> RunHandle:
        """Starts the run, on this event loop."""
        self._task, self._done = started(self._runs.go(flow, self._kind))
        self._home, self._process = asyncio.get_running_loop(), self._runs.process
        return self

    # --- how it stands --------------------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        """Whether this engine has it under way."""
        return self.id in self._runs.under_way

    @property
    def outcome(self) -> Outcome | None:
        """None while it goes on, and where it was killed."""
        return None if self.running else self._runs.store.run(self.id).outcome

    @property
    def questions(self) -> list[dict[str, Json]]:
        """What a person has yet to answer, each with its `key`."""
        if (flow := self._runs.under_way.get(self.id)) is not None:
            return flow.questions()
        records = list(self._runs.store.records(self.id, kinds=(PlannedStep, Event)))
        standing = Standing(records)
        steps = (one for one in records if isinstance(one, PlannedStep))
        asked = [one.seq for one in steps if standing.status(one.seq, one.parent) == "asked"]
        return [question | {"step": seq} for seq in asked for question in standing.questions(seq)]

    def result(self, timeout: float | None = None) -> Result:
        """What became of it, once it has ended or waits for a person. Raises what it raised, and TimeoutError."""
        self._elsewhere("await the handle")
        found: Result = run_sync(asyncio.wait_for, self.aresult(), timeout)
        return found

    async def aresult(self) -> Result:
        """The same, in async code; `await handle` is short for it."""
        if self._ours and self._done is not None:
            try:
                return await asyncio.shield(asyncio.wrap_future(self._done))
            except (CancelledError, asyncio.CancelledError):
                if not self._done.cancelled():
                    raise  # it was the caller who was cancelled
        while await asyncio.to_thread(self._goes_on):
            with self._runs.watch(self.id) as news:
                if await asyncio.to_thread(self._goes_on):
                    await _soon(news, POLL)
        found = stored(self._runs.store.run(self.id), self._kind.read, self._runs.store)
        found.questions = await asyncio.to_thread(lambda: self.questions)
        return found

    def __await__(self) -> Generator[Any, None, Result]:
        return self.aresult().__await__()

    # --- its events -----------------------------------------------------------------------------------------

    def events(self, after: int = 0, *, wait: bool = True) -> Iterator[RunEvent]:
        """Its events above an id, up to its end.

        They are read from the store: what was seen is durable, and a slow reader holds nothing up. wait: where a
        person is asked, wait for the answer and go on with what follows; else that is the end, too.
        """
        self._elsewhere("use aevents()")
        while (page := run_sync(self._page, after, wait)) is not None:
            for event in page:
                after = event.id
                yield event

    async def aevents(self, after: int = 0, *, wait: bool = True) -> AsyncIterator[RunEvent]:
        """The same, in async code."""
        while (page := await self._page(after, wait)) is not None:
            for event in page:
                after = event.id
                yield event

    async def _page(self, after: int, wait: bool) -> list[RunEvent] | None:
        """The next events above an id, as soon as there are any; None after the last."""
        while True:
            with self._runs.watch(self.id) as news:
                ended, page = await asyncio.to_thread(self._look, after, wait)
                if page:
                    return page
                if ended:
                    return None
                await _soon(news, POLL)
            await asyncio.sleep(SOON)

    def _look(self, after: int, wait: bool) -> tuple[bool, list[RunEvent]]:
        """Whether it had ended, and what is in the store above an id: asked in this order, nothing is missed."""
        ended = not self._goes_on() and not (wait and self.outcome is Outcome.INPUT_REQUIRED)
        records = self._runs.store.records(self.id, after=after)
        return ended, [RunEvent(one.seq, self.id, one) for one in islice(records, PAGE)]

    def _goes_on(self) -> bool:
        return self.running or self._runs.store.run(self.id).outcome is None

    # --- what is said to it ---------------------------------------------------------------------------------

    def answer(self, answers: Json) -> None:
        """Answers what it asks, as `Engine.resume` takes answers. It goes on, here if it had stopped to wait.

        Raises SetupError for what is no answer to its questions.
        """
        self._elsewhere("await aanswer()")
        run_sync(self.aanswer, answers)

    async def aanswer(self, answers: Json) -> None:
        """The same, in async code."""
        await _on(self._loop, self._answered, answers)

    async def _answered(self, answers: Json) -> None:
        flow = self._runs.under_way.get(self.id)
        if flow is not None and await _on(flow.loop or self._loop, self._told, flow, answers):
            return
        await self.aresult()
        found = await self._runs.resume(self.id, answers, self._kind)
        if isinstance(found, Result):
            raise SetupError(f"the run {self.id} has ended ({found.outcome.value}): it asks nothing any more")
        self.drive(found)

    async def _told(self, flow: Flow, answers: Json) -> bool:
        """Tells a run under way; false where it has stopped to wait by now."""
        if flow.asking:
            return False
        answer(flow, answers)
        flow.wake()
        return True

    def cancel(self) -> None:
        """Stops it. Its record stays, `canceled`, and it can be resumed. Does nothing where it is not under way."""
        self._loop.call_soon_threadsafe(self._stop)

    def _stop(self) -> None:
        if self._ours and self._task is not None and not self._task.done():
            self._task.cancel()
        elif (flow := self._runs.under_way.get(self.id)) is not None:
            flow.halt = RunError(STOPPED[1])  # whoever drives it ends it

    def _elsewhere(self, instead: str) -> None:
        try:
            here = asyncio.get_running_loop()
        except RuntimeError:
            return
        if here is self._loop:
            raise RuntimeError(f"this would wait for the event loop that it is called on: {instead}")


async def _soon(news: Future[None], seconds: float) -> None:
    await asyncio.wait([asyncio.wrap_future(news)], timeout=seconds)


async def _on(loop: asyncio.AbstractEventLoop, work: Callable[..., Coroutine[Any, Any, T]], *args: Any) -> T:
    """Does work on an event loop, which may be another one."""
    if loop is asyncio.get_running_loop():
        return await work(*args)
    done: Awaitable[T] = asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work(*args), loop))
    return await done


def handle(runs: Runs, run_id: str) -> RunHandle:
    """Of a run that is under way, on its event loop; of any other on the process's own."""
    flow = runs.under_way.get(run_id)
    loop = flow.loop if flow is not None else None
    return RunHandle(runs, run_id, loop or shared_loop(), Output())
