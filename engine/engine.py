"""The engine that users embed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from surefoot.engine.handle import RunHandle, handle
from surefoot.engine.history.past import forked, replayed
from surefoot.engine.history.replay import Replay
from surefoot.engine.labels import label
from surefoot.engine.result import Result
from surefoot.engine.running.loop import run_sync
from surefoot.engine.running.phases import build
from surefoot.engine.running.turns import entering
from surefoot.engine.runs import Listener, Runs, Wishes
from surefoot.engine.setup.arguments import limits, place, plain, several
from surefoot.engine.setup.fallbacks import USUAL
from surefoot.engine.setup.parts import Parts
from surefoot.engine.setup.settings import Settings
from surefoot.engine.setup.setup import Output, cast_for, planner_for, tools_for
from surefoot.models.options import Layer, RoleName
from surefoot.models.question import Model
from surefoot.models.representation import Representation
from surefoot.planners.planner import Planner
from surefoot.reflection.verifier import Verifier
from surefoot.storage.records import Budget, Feedback, JournalRecord, Json, Plan, Role

if TYPE_CHECKING:
    from langgraph.graph.state import CompiledStateGraph

    from surefoot.storage.run_store import RunStore


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
    store: a Store or another `RunStore`, or a path or an SQLAlchemy URL; default SUREFOOT_STORE, else
        ./.surefoot/surefoot.db.
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
        store: RunStore | str | Path | None = None,
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
        ladder: Iterable[str] = USUAL,
        canaries: float = 0.1,
        workspace: str | Path | None = None,
        notes: Json = None,
    ) -> None:
        from surefoot.engine.setup.config import Config  # reading settings is slow to load

        place("workspace", workspace)
        config = Config()
        roles: dict[RoleName, str | Model | None] = {"plan": plan_model, "act": act_model, "judge": judge_model}
        cast = cast_for(options, model, roles, base_url, alternates)
        final = several("verifiers", verifiers)
        self.parts = Parts(
            cast,
            planner_for(planner, cast.models["plan"]),
            Settings(
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
            ),
            tools_for(tools, cast.models["plan"]),
            several("planners", planners),
            final,
            (*final, *several("checks", checks)),
            several("representations", representations),
            limits(budget),
            Path(workspace) if workspace is not None else None,
            plain("notes", notes),
        )
        self.parts.context()
        self.runs = Runs(self.parts, store if store is not None else config.store)
        self._graph: CompiledStateGraph[Any, Any, Any, Any] | None = None

    @property
    def models(self) -> Mapping[Role, Model]:
        """By role."""
        return self.parts.cast.models

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
        kind = Output(output)
        wishes = Wishes(inputs, target, budget, verify, seed, source, on_record)
        return await self.runs.go(await self.runs.begin(task, kind, wishes), kind)

    def start(self, task: str, **options: Any) -> RunHandle:
        """Begins a task and returns the run in hand, which goes on in a thread of its own; options as for `arun`."""
        return run_sync(self.astart, task, **options)

    async def astart(self, task: str, *, output: Any = None, **options: Any) -> RunHandle:
        """The same, with the run on this event loop."""
        kind = Output(output)
        flow = await self.runs.begin(task, kind, Wishes(**options))
        return RunHandle(self.runs, flow.run_id, asyncio.get_running_loop(), kind).drive(flow)

    def handle(self, run_id: str) -> RunHandle:
        """A run in hand, by its id: under way here, or in the store. Raises StoreError where there is none."""
        return handle(self.runs, self.store.resolve(run_id))

    async def stream(self, task: str, **options: Any) -> AsyncIterator[JournalRecord | Result]:
        """The records of a run as they are made, and its Result last."""
        run = await self.astart(task, **options)
        try:
            async for event in run.aevents(wait=False):
                yield event.record
            yield await run
        finally:
            run.cancel()
            await asyncio.wait([asyncio.ensure_future(run.aresult())])

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
        kind = Output(output)
        found = await self.runs.resume(run_id, answers, kind, budget, on_record)
        return found if isinstance(found, Result) else await self.runs.go(found, kind)

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
        kind, parts = Output(output), self.parts
        async with entering():
            store = await self.runs.ready()
            made = (seed, parts.settings, parts.context, parts.saved)
            new = await asyncio.to_thread(forked, store, run_id, step, *made)
            flow = await self.runs.take_up(new, kind, budget, on_record)
        return await self.runs.go(flow, kind)

    def replay(self, run_id: str, *, target: float | None = None, votes: int | None = None) -> Replay:
        """Goes through a run's record and decides everything again; asks no model and calls no tool.

        The result is true where every decision is the one that the rules demand. `target` and `votes` put other
        rules in their place: the divergences are the steps that would have needed more evidence.
        """
        return replayed(self.store, run_id, target, votes, self.parts.settings, self.parts.context)

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
            self._graph = build(self.runs)
        return self._graph

    @property
    def running(self) -> tuple[str, ...]:
        """ids of the runs under way, oldest first."""
        return tuple(self.runs.under_way)

    @property
    def store(self) -> RunStore:
        """The store, opened when it is first needed."""
        return self.runs.store

    def close(self) -> None:
        """Closes the store, unless it was handed in open."""
        self.runs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
