"""The runs of an engine: begun, taken up again, driven to where they end, let go."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from surefoot.engine.core.state import RunState
from surefoot.engine.history.past import find, reopened
from surefoot.engine.result import Result, reached, stored
from surefoot.engine.running.flow import Flow
from surefoot.engine.running.phases import Cursor, answer, drive, fitting
from surefoot.engine.running.turns import entering, turn
from surefoot.engine.setup.arguments import TEXT, fit, limits, listener, place
from surefoot.engine.setup.context import RunContext
from surefoot.engine.setup.parts import Parts
from surefoot.engine.setup.prepared import Prepared, prepare
from surefoot.engine.setup.setup import Output, check_fixed, root_step, task_for
from surefoot.reflection.rates import Beta
from surefoot.storage.errors import SetupError
from surefoot.storage.events import Started
from surefoot.storage.fork import Forked
from surefoot.storage.fork import watch as watch_forks
from surefoot.storage.journal import Journal
from surefoot.storage.outcome import STOPPED
from surefoot.storage.records import Budget, Event, JournalRecord, Json, Outcome, PlannedStep, Task
from surefoot.storage.run_store import RunStore, open_store

Listener = Callable[[JournalRecord], None]


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a caller wants of one run; None: as the engine is set."""

    inputs: Mapping[str, Json] | None = None
    target: float | None = None
    budget: Budget | None = None
    verify: bool | None = None
    seed: int | None = None
    source: str | None = None
    on_record: Listener | None = None


class Runs(Forked):
    """Runs under way, by id. A forked child has none: its parent goes on with them."""

    def __init__(self, parts: Parts, where: RunStore | str | Path | None) -> None:
        self.parts = parts
        self._where = where
        self._store: RunStore | None = None
        self._prepared: Prepared | None = None
        self.renew()
        watch_forks(self)

    def renew(self) -> None:
        self.process = object()
        """Another one in a forked child."""
        self.under_way: dict[str, Flow] = {}
        self._claimed: set[str] = set()
        """ids of runs that are about to be taken up."""
        self._opening = threading.Lock()
        """Held while the store of these runs is opened."""
        self._watching: dict[str, list[Future[None]]] = {}
        """Who waits for news of a run."""
        self._lock = threading.Lock()

    # --- the store ------------------------------------------------------------------------------------------

    @property
    def store(self) -> RunStore:
        """Opened when it is first needed."""
        with self._opening:
            if self._store is None:
                place("store", self._where, RunStore)
                if isinstance(self._where, RunStore):
                    self._store = self._where
                else:
                    self._store = open_store(self._where)
            return self._store

    async def ready(self) -> RunStore:
        return self._store if self._store is not None else await asyncio.to_thread(self._opened)

    def _opened(self) -> RunStore:
        """The store, and whatever else takes long the first time: exact revisions are hashes of weights, and what
        votes are worth is worked out by scipy."""
        self.parts.policies()
        Beta().lower()
        return self.store

    def close(self) -> None:
        """Closes the store, unless it was handed in open."""
        if self._store is not None and self._store is not self._where:
            self._store.close()
            self._store = None

    # --- beginning, and taking up ---------------------------------------------------------------------------

    async def begin(self, goal: str, kind: Output, wishes: Wishes) -> Flow:
        """A new run, with its first records."""
        parts = self.parts
        fit(TEXT, source=wishes.source)
        listener(wishes.on_record)
        target = parts.settings.target if wishes.target is None else wishes.target
        task = task_for(goal, wishes.inputs, kind, target, wishes.budget or parts.budget)
        settings = replace(
            parts.settings,
            target=task.target,
            verify=parts.settings.verify if wishes.verify is None else wishes.verify,
            seed=parts.settings.seed if wishes.seed is None else wishes.seed,
        )
        async with entering():
            store = await self.ready()
            known = await store.alearned()
            await turn()
            make, checked = partial(parts.context, kind=kind), kind.type if kind.checks else None
            new = prepare(self._prepared, known, parts.planner, checked, settings, make, parts.saved)
            self._prepared = new
            context = new.context.again()
            check_fixed(context, parts.planner, task.inputs)
            policies = parts.policies()
            journal = await store.abegin(
                task,
                config=new.config,
                seed=settings.seed,
                target=task.target,
                source=wishes.source,
                policies=policies,
            )
            flow = self._flow(context, task, journal, RunState(), wishes.on_record)
            root = root_step(task, parts.planner, parts.final)
            try:
                await turn()
                flow.record(PlannedStep(flow.seq(), None, 0, 1, root))
                share = context.budget_share(root)
                flow.record(
                    Event(flow.seq(), "started", flow.state.root, data=Started(weight=share) if share else None)
                )
            except BaseException:
                await self.let_go(flow)
                raise
        return flow

    async def take_up(
        self, run_id: str, kind: Output, budget: Budget | None = None, on_record: Listener | None = None
    ) -> Flow:
        """A run that began before, where it stood. Raises SetupError where it is under way."""
        listener(on_record)
        limits(budget)
        store = await self.ready()
        if run_id in self.under_way or run_id in self._claimed:
            raise SetupError(f"the run {run_id} is under way in this engine: wait for it, or cancel it first")
        self._claimed.add(run_id)
        try:
            parts, make = self.parts, partial(self.parts.context, kind=kind)
            past = await asyncio.to_thread(reopened, store, run_id, parts.settings, make, parts.policies(), budget)
            await turn()
            flow = self._flow(past.context, past.task, past.journal, past.state, on_record)
        finally:
            self._claimed.discard(run_id)
        if not past.state.steps:
            root = root_step(past.task, self.parts.planner, self.parts.final)
            flow.record(PlannedStep(flow.seq(), None, 0, 1, root))
        return flow

    async def resume(
        self, name: str, answers: Json, kind: Output, budget: Budget | None = None, on_record: Listener | None = None
    ) -> Flow | Result:
        """A run to go on with; its result where there is nothing to go on with."""
        async with entering():
            store = await self.ready()
            info = await asyncio.to_thread(find, store, name)
            if info.over:
                return stored(info, kind.read, store)
            flow = await self.take_up(info.run_id, kind, budget, on_record)
        try:
            if answers is not None:
                fitting(flow, answers)
            flow.record(Event(flow.seq(), "resumed", flow.state.root))
            if answers is not None:
                answer(flow, answers)
        except BaseException:
            await self.let_go(flow)
            raise
        return flow

    def _flow(
        self, context: RunContext, task: Task, journal: Journal, state: RunState, listener: Listener | None
    ) -> Flow:
        listeners = (listener,) if listener is not None else ()
        flow = Flow(context, task, journal, self.store.policy, state, listeners, self.parts.workspace)
        flow.loop = asyncio.get_running_loop()
        with self._lock:
            self.under_way[flow.run_id] = flow
            if flow.run_id in self._watching:
                self._listen(flow)
        return flow

    # --- driving, and letting go ----------------------------------------------------------------------------

    async def go(self, flow: Flow, kind: Output) -> Result:
        """Takes a run through the phases, and leaves a clean record however it is left."""
        began = time.monotonic()
        try:
            end = await drive(flow)
        except asyncio.CancelledError:
            flow.journal.finish(*STOPPED, usage=flow.state.spent.usage)
            raise
        except Exception as error:
            flow.journal.finish(Outcome.FAILED, f"{type(error).__name__}: {error}", usage=flow.state.spent.usage)
            raise
        finally:
            await self.let_go(flow)
        result = reached(flow.run_id, flow.state, end, flow.questions(), kind.read)
        result.store, result.seconds = self.store, time.monotonic() - began
        return result

    async def let_go(self, flow: Flow) -> None:
        """Closes the record of a run, which stays, and can be resumed."""
        try:
            await asyncio.shield(flow.close())
        finally:  # not before: until its end is in the store, the store still says how it ended the last time
            self.under_way.pop(flow.run_id, None)
            self._changed(flow.run_id)

    # --- for the graph --------------------------------------------------------------------------------------

    async def enter(self, cursor: Cursor) -> Flow:
        """For its first node: the run to go on with, or a new one."""
        run_id, task = cursor.get("run_id"), cursor.get("task", "")
        if run_id is None or (task and await self._answered(run_id, task)):
            return await self.begin(task, Output(), Wishes(cursor.get("inputs")))
        async with entering():
            return await self.open(cursor)

    async def _answered(self, run_id: str, task: str) -> bool:
        """Whether a run is no answer to a task that is asked now: it was for another one, or it has ended."""
        if run_id in self.under_way:
            return False
        info = await asyncio.to_thread(find, await self.ready(), run_id)
        return info.goal.strip() != task.strip() or info.over

    async def open(self, cursor: Cursor) -> Flow:
        """For its other nodes: the run under way, or taken up again."""
        return self.under_way.get(cursor["run_id"]) or await self.take_up(cursor["run_id"], Output())

    # --- watching -------------------------------------------------------------------------------------------

    @contextmanager
    def watch(self, run_id: str) -> Iterator[Future[None]]:
        """A future that is done once something more was recorded of a run, or it began or ended here."""
        seen: Future[None] = Future()
        with self._lock:
            self._watching.setdefault(run_id, []).append(seen)
            if (flow := self.under_way.get(run_id)) is not None:
                self._listen(flow)
        try:
            yield seen
        finally:
            with self._lock:
                if seen in (waiting := self._watching.get(run_id, [])):
                    waiting.remove(seen)
                if not waiting:
                    self._watching.pop(run_id, None)

    def _listen(self, flow: Flow) -> None:
        if not flow.watched:
            flow.watched = True
            flow.listeners = (*flow.listeners, partial(self._changed, flow.run_id))

    def _changed(self, run_id: str, _: JournalRecord | None = None) -> None:
        with self._lock:
            waiting = self._watching.pop(run_id, ())
        for seen in waiting:
            seen.set_result(None)
