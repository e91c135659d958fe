"""The engine that users embed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from surefoot.engine.core.rules import FALLBACKS, Fallback
from surefoot.engine.core.state import RunState
from surefoot.engine.history.past import find, forked, reopened, replayed
from surefoot.engine.history.replay import Replay
from surefoot.engine.labels import label
from surefoot.engine.result import Result, reached, stored
from surefoot.engine.running.flow import Flow
from surefoot.engine.running.flows import Flows
from surefoot.engine.running.loop import run_sync
from surefoot.engine.running.phases import Cursor, answer, build, drive, fitting
from surefoot.engine.running.turns import entering, turn
from surefoot.engine.setup.arguments import TEXT, fit, limits, listener, place, plain, several
from surefoot.engine.setup.context import RunContext, Settings
from surefoot.engine.setup.prepared import Prepared, prepare
from surefoot.engine.setup.setup import (
    Output,
    cast_for,
    check_fixed,
    config_of,
    context_for,
    planner_for,
    root_step,
    task_for,
    tools_for,
)
from surefoot.models.options import Asked, Layer
from surefoot.models.question import Model
from surefoot.models.representation import Representation
from surefoot.planners.planner import Planner
from surefoot.reflection.calibration import Calibration
from surefoot.reflection.rates import Beta
from surefoot.reflection.verifier import Verifier
from surefoot.storage.outcome import STOPPED
from surefoot.storage.records import (
    Budget,
    Event,
    Feedback,
    JournalRecord,
    Json,
    Outcome,
    Plan,
    PlannedStep,
    Policy,
    Task,
)

if TYPE_CHECKING:
    from langgraph.graph.state import CompiledStateGraph

    from surefoot.storage.journal import Journal
    from surefoot.storage.store import Store

Listener = Callable[[JournalRecord], None]


class Engine:
    """Completes tasks: plans, executes, verifies every step, records everything.

    model: litellm name, `pocket`, `local/<path>`, or a Model; `plan_model`, `act_model` and `judge_model` set one
        role's. Default: the environment's SUREFOOT_MODEL, else the pocket model.
    base_url: of an OpenAI-compatible server, for models behind an API. options: how models are asked, by name
        (`models.options.ModelOptions` has them), with `models` and `roles` for some of them; or the path of a YAML
        file of them. The environment's SUREFOOT_<OPTION> stand below.
    tools: what steps may use: functions under `@tool`, LangChain tools, names of built-in ones.
    verifiers: put before the task's output; each must pass. checks: verifiers for steps that name them.
    planner: a Planner, a Plan, or the path of a plan; default: the plan model makes the plan. `planners` are
        further ones, for steps that name them.
    store: a Store, its SQLAlchemy URL or path; default SUREFOOT_STORE, else ./.surefoot/surefoot.db.
    target, budget, verify, votes, seed: defaults for every run; see `run`. strict: `agreed` is an abstention.
    forms: ask in two forms, in turn, what votes alone decide.
    prior: probability that a sample is right, to assume where nothing was measured; default: what votes teach.
    representations: other forms to ask steps in, so that samples do not err together. alternates: models to go on
        with where the first is not enough. ladder: the strategies to try, in order, before a step is given up.
    canaries: share of a run's tokens that may go into measuring verifiers.
    notes: JSON kept with each run's configuration, for whoever has to make an equal engine to resume it.

    Raises SetupError where the set-up is wrong. One engine may run any number of tasks at once.
    """

    def __init__(
        self,
        model: str | Model | None = None,
        *,
        plan_model: str | Model | None = None,
        act_model: str | Model | None = None,
        judge_model: str | Model | None = None,
        base_url: str | None = None,
        options: Mapping[str, Any] | Layer | str | Path | None = None,
        tools: Iterable[Any] = (),
        verifiers: Iterable[Verifier] = (),
        checks: Iterable[Verifier] = (),
        planner: Planner | Plan | str | Path | None = None,
        planners: Iterable[Planner] = (),
        store: Store | str | Path | None = None,
        target: float | None = None,
        budget: Budget | None = None,
        verify: bool = True,
        votes: int | None = None,
        seed: int = 0,
        concurrency: int = 32,
        temperature: float | None = None,
        prior: float | None = None,
        strict: bool = False,
        forms: bool = True,
        representations: Iterable[Representation] = (),
        alternates: Iterable[str | Model] = (),
        ladder: Iterable[Fallback] = FALLBACKS,
        canaries: float = 0.1,
        workspace: str | Path | None = None,
        notes: Json = None,
    ) -> None:
        from surefoot.engine.setup.config import Config  # reading settings is slow to load

        place("workspace", workspace)
        config = Config()
        roles: dict[Asked, str | Model | None] = {"plan": plan_model, "act": act_model, "judge": judge_model}
        cast = cast_for(options, model, roles, base_url, alternates)
        self.models, self.alternates, self.options = cast.models, cast.alternates, cast.options
        self.planner = planner_for(planner, self.models["plan"])
        self.tools = tools_for(tools, self.models["plan"])
        self.final = several("verifiers", verifiers)
        self.checks = (*self.final, *several("checks", checks))
        self.planners = several("planners", planners)
        self.target, self.budget = target, limits(budget)
        self.workspace = Path(workspace) if workspace is not None else None
        self.notes = plain("notes", notes)
        self.representations = several("representations", representations)
        self.settings = Settings(
            verify=verify,
            votes=votes,
            seed=seed,
            concurrency=concurrency,
            temperature=temperature,
            target=target,
            prior=config.prior if prior is None else prior,
            strict=strict,
            forms=forms,
            ladder=several("ladder", ladder),
            canaries=canaries,
        )
        self.run_context()
        self._where = store if store is not None else config.store
        self._store: Store | None = None
        self._flows = Flows()
        self._prepared: Prepared | None = None
        self._graph: CompiledStateGraph[Any, Any, Any, Any] | None = None

    # --- running --------------------------------------------------------------------------------------------

    def run(self, task: str, **options: Any) -> Result:
        """Completes a task; the same as `arun`, from anywhere, a running event loop included."""
        return run_sync(self.arun, task, **options)

    async def arun(
        self,
        task: str,
        *,
        inputs: Mapping[str, Json] | None = None,
        output: Any = None,
        target: float | None = None,
        budget: Budget | None = None,
        verify: bool | None = None,
        seed: int | None = None,
        source: str | None = None,
        on_record: Listener | None = None,
    ) -> Result:
        """Completes a task and returns what became of it, whatever that was.

        output: the type of the output, for pydantic, or a JSON Schema; default: whatever the plan delivers.
        target: wanted probability that an accepted output is right. budget: limits, checked before the spend.
        verify: False takes one sample of everything and accepts it, so that the difference can be measured.
        on_record: called with each record as it is appended; one that raises is dropped, and a warning says so.

        Raises SetupError (an empty task, a fixed plan with a circle, a store that cannot be opened) and whatever
        a tool or verifier raises that is no ordinary failure; the run is kept and can be resumed.
        """
        async with entering():
            kind = Output(output)
            flow = await self._begin(task, inputs, kind, target, budget, verify, seed, source, on_record)
        return await self._go(flow, kind)

    async def stream(self, task: str, **options: Any) -> AsyncIterator[JournalRecord | Result]:
        """The records of a run as they are made, and its Result last."""
        queue: asyncio.Queue[JournalRecord | Result | BaseException] = asyncio.Queue()

        async def go() -> None:
            try:
                queue.put_nowait(await self.arun(task, on_record=queue.put_nowait, **options))
            except BaseException as error:
                queue.put_nowait(error)
                raise

        running = asyncio.create_task(go())
        try:
            while True:
                item = await queue.get()
                if isinstance(item, BaseException):
                    await running
                else:
                    yield item
                    if isinstance(item, Result):
                        return
        finally:
            running.cancel()
            await asyncio.wait([running])

    def resume(self, run_id: str, answers: Json = None, **options: Any) -> Result:
        """Goes on with a run; the same as `aresume`, from anywhere."""
        return run_sync(self.aresume, run_id, answers, **options)

    async def aresume(
        self,
        run_id: str,
        answers: Json = None,
        *,
        budget: Budget | None = None,
        output: Any = None,
        on_record: Listener | None = None,
    ) -> Result:
        """Goes on with a run that was killed, stopped, asked a person, ran out of budget, or failed because a
        model or tool did.

        What is committed is never run again. `answers` are for a run that waits for a person: True or False for
        all questions, or a mapping from a question's key to True, False, or `{"approve", "arguments", "output",
        "comment"}`. A run that has ended is handed back as it did. Raises StoreError where
        there is no such run.
        """
        async with entering():
            kind = Output(output)
            store = await self._ready()
            info = await asyncio.to_thread(find, store, run_id)
            if info.over:
                return stored(info, kind.read, store)
            flow = await self._reopen(info.run_id, budget, on_record, kind)
        try:
            if answers is not None:
                fitting(flow, answers)
            flow.record(Event(flow.seq(), "resumed", flow.state.root))
            if answers is not None:
                answer(flow, answers)
        except BaseException:
            await self.let_go(flow)
            raise
        return await self._go(flow, kind)

    async def _go(self, flow: Flow, kind: Output) -> Result:
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
        self._flows.pop(flow.run_id, None)
        await asyncio.shield(flow.close())

    # --- runs by id -----------------------------------------------------------------------------------------

    def fork(self, run_id: str, step: str, **options: Any) -> Result:
        """Runs on from a point in another run's past: everything before the first attempt at `step` stands."""
        return run_sync(self.afork, run_id, step, **options)

    async def afork(
        self,
        run_id: str,
        step: str,
        *,
        seed: int | None = None,
        budget: Budget | None = None,
        output: Any = None,
        on_record: Listener | None = None,
    ) -> Result:
        """A new run with the old one as its parent; `step` is a step's id, or its seq where ids repeat."""
        async with entering():
            kind = Output(output)
            store = await self._ready()
            new = await asyncio.to_thread(
                forked, store, run_id, step, seed, self.settings, self.run_context, self._saved
            )
            flow = await self._reopen(new, budget, on_record, kind)
        return await self._go(flow, kind)

    def replay(self, run_id: str, *, target: float | None = None, votes: int | None = None) -> Replay:
        """Goes through a run's record and decides everything again; asks no model and calls no tool.

        The result is true where every decision is the one that the rules demand. `target` and `votes` put other
        rules in their place: the divergences are the steps that would have needed more evidence.
        """
        return replayed(self.store, run_id, target, votes, self.settings, self.run_context)

    def feedback(
        self,
        run_id: str,
        *,
        step: str | int | None = None,
        score: float | None = None,
        comment: str = "",
        correction: Json = None,
        key: str = "correctness",
        by: str = "",
    ) -> Feedback:
        """Keeps what a person says of a run, or of a step (its id or seq), and learns from it.

        score: from 0 to 1; on `correctness`, .5 or more says right. correction: what a wrong answer should have been.
        Raises SetupError for what cannot be meant, such as a correction that is of another type than the answer.
        """
        name = self.store.resolve(run_id)
        seq = None if step is None else self.store.step(name, step)
        return label(self.store, Feedback(name, score, seq, key, comment, correction, annotator=by))

    # --- as a graph -----------------------------------------------------------------------------------------

    @property
    def graph(self) -> CompiledStateGraph[Any, Any, Any, Any]:
        """The phases as a compiled LangGraph graph, to run on its own or as a node of another graph.

        Its nodes are async: call it with `ainvoke`. State in: `task`, and `inputs` where it has any; or the `run_id`
        of a run to go on with. State out: `run_id`, `outcome`, `output`, `reason`. A question to a person is a
        LangGraph interrupt, so the outer graph needs a checkpointer where tools ask for approval.
        """
        if self._graph is None:
            self._graph = build(self)
        return self._graph

    async def enter(self, cursor: Cursor) -> Flow:
        """For the graph's first node: the run to go on with, or a new one."""
        run_id, task = cursor.get("run_id"), cursor.get("task", "")
        async with entering():
            if run_id is None or (task and await self._over(run_id, task)):
                return await self._begin(task, cursor.get("inputs"), Output())
            return await self.open(cursor)

    async def _over(self, run_id: str, task: str) -> bool:
        """Whether a run is no answer to a task that is asked now: it was for another one, or it has ended."""
        if run_id in self._flows:
            return False
        info = await asyncio.to_thread(find, await self._ready(), run_id)
        return info.goal.strip() != task.strip() or info.over

    async def open(self, cursor: Cursor) -> Flow:
        """For the graph's other nodes: the run under way, or taken up again."""
        return self._flows.get(cursor["run_id"]) or await self._reopen(cursor["run_id"])

    @property
    def running(self) -> tuple[str, ...]:
        """ids of the runs under way, oldest first."""
        return tuple(self._flows)

    # --- the run's beginning --------------------------------------------------------------------------------

    @property
    def store(self) -> Store:
        """The store, opened when it is first needed."""
        with self._flows.opening:
            if self._store is None:
                from surefoot.storage.store import Store

                place("store", self._where, Store)
                self._store = self._where if isinstance(self._where, Store) else Store.open(self._where)
            return self._store

    async def _ready(self) -> Store:
        return self._store if self._store is not None else await asyncio.to_thread(self._opened)

    def _opened(self) -> Store:
        """The store, and whatever else takes long the first time: exact revisions are hashes of weights, and what
        votes are worth is worked out by scipy."""
        self._policies()
        Beta().lower()
        return self.store

    def _policies(self) -> list[Policy]:
        """Those that every run may use."""
        return [model.policy for model in (*self.models.values(), *self.alternates.values())]

    def close(self) -> None:
        """Closes the store, unless it was handed in open."""
        if self._store is not None and self._store is not self._where:
            self._store.close()
            self._store = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def _begin(
        self,
        goal: str,
        inputs: Mapping[str, Json] | None,
        kind: Output,
        target: float | None = None,
        budget: Budget | None = None,
        verify: bool | None = None,
        seed: int | None = None,
        source: str | None = None,
        on_record: Listener | None = None,
    ) -> Flow:
        fit(TEXT, source=source)
        listener(on_record)
        task = task_for(goal, inputs, kind, self.target if target is None else target, budget or self.budget)
        settings = replace(
            self.settings,
            target=task.target,
            verify=self.settings.verify if verify is None else verify,
            seed=self.settings.seed if seed is None else seed,
        )
        store = await self._ready()
        known = await store.alearned()
        await turn()
        make, checked = partial(self.run_context, kind=kind), kind.type if kind.checks else None
        new = prepare(self._prepared, known, self.planner, checked, settings, make, self._saved)
        self._prepared = new
        context = new.context.again()
        check_fixed(context, self.planner, task.inputs)
        journal = await store.abegin(
            task, config=new.config, seed=settings.seed, target=task.target, source=source, policies=self._policies()
        )
        flow = self._flow(context, task, journal, RunState(), on_record)
        root = root_step(task, self.planner, self.final)
        try:
            await turn()
            flow.record(PlannedStep(flow.seq(), None, 0, 1, root))
            weight = context.budget_share(root)
            flow.record(Event(flow.seq(), "started", flow.state.root, data={"weight": weight} if weight else None))
        except BaseException:
            await self.let_go(flow)
            raise
        return flow

    def _saved(self, context: RunContext) -> Json:
        return config_of(context, self.options, self.planner, context.calibration, self.notes)

    async def _reopen(
        self,
        run_id: str,
        budget: Budget | None = None,
        on_record: Listener | None = None,
        kind: Output | None = None,
    ) -> Flow:
        listener(on_record)
        limits(budget)
        store = await self._ready()
        self._flows.claim(run_id)
        try:
            make = partial(self.run_context, kind=kind)
            usual, policies = self.settings, self._policies()
            past = await asyncio.to_thread(reopened, store, run_id, usual, make, policies, budget)
            await turn()
            flow = self._flow(past.context, past.task, past.journal, past.state, on_record)
        finally:
            self._flows.claimed.discard(run_id)
        if not past.state.steps:
            flow.record(PlannedStep(flow.seq(), None, 0, 1, root_step(past.task, self.planner, self.final)))
        return flow

    def _flow(
        self, context: RunContext, task: Task, journal: Journal, state: RunState, listener: Listener | None
    ) -> Flow:
        listeners = (listener,) if listener is not None else ()
        flow = Flow(context, task, journal, self.store.policy, state, listeners, self.workspace)
        self._flows[flow.run_id] = flow
        return flow

    def run_context(
        self, settings: Settings | None = None, calibration: Calibration | None = None, kind: Output | None = None
    ) -> RunContext:
        """What a run works with."""
        return context_for(
            self.models,
            self.planner,
            self.tools,
            self.planners,
            self.checks,
            settings or self.settings,
            kind.checks if kind is not None else (),
            calibration,
            self.representations,
            self.alternates,
        )
