"""The barrier-free flow: every step starts the moment its needs are committed, and none waits for another.

A fixed number of workers take steps from the state's `ready` list and drive each as far as it goes: decide,
act, fold, decide again. There is no queue between them and no scheduler above them; the state is the schedule.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from surefoot.engine.core.actions import (
    Accept,
    Action,
    Check,
    Commit,
    Continue,
    Deliver,
    Escalate,
    Expand,
    Propose,
    Replan,
    RollBack,
)
from surefoot.engine.core.decide import decide
from surefoot.engine.core.derived import inputs
from surefoot.engine.core.fold import fold
from surefoot.engine.core.rules import PERSON, StepRules
from surefoot.engine.core.state import QUESTION, Candidate, RunState, StepState
from surefoot.engine.running.account import ONE_ATTEMPT, Account, Bill
from surefoot.engine.running.calling import effect_key, path
from surefoot.engine.running.canaries import canaries
from surefoot.engine.running.candidates import check, missed, proposed
from surefoot.engine.running.expand import adopt, expand, noted
from surefoot.engine.running.paused import ask
from surefoot.engine.running.propose import go_on, propose
from surefoot.engine.running.recorder import Conversation, Recorder
from surefoot.engine.running.runtime import Missing
from surefoot.engine.running.sampling import Metered
from surefoot.engine.running.turns import turn
from surefoot.engine.setup.context import RunContext
from surefoot.models.question import Model, Reply
from surefoot.planners.document import plan_from
from surefoot.planners.refs import copied, resolve
from surefoot.reflection.canonical import canonical
from surefoot.reflection.trust import Support
from surefoot.reflection.verifier import Case
from surefoot.storage.errors import (
    ModelRefused,
    OutOfBudget,
    RequestsForbidden,
    Retry,
    RunError,
)
from surefoot.storage.events import Escalated, Failed, RolledBack
from surefoot.storage.records import Event, JournalRecord, Json, ModelCall, Policy, Task, Usage
from surefoot.tools.tool import ToolContext

if TYPE_CHECKING:  # the journal's module brings the database along, which importing the engine must not
    from surefoot.storage.journal import Journal

A_PERSON_IS_RIGHT = 0.99
"""Probability that what a person gives as a step's output is right. Stated, but a person's word is what truth is
measured by here, as it is for labels."""

LOG = logging.getLogger("surefoot")


class Flow:
    """One run under way."""

    def __init__(
        self,
        context: RunContext,
        task: Task,
        journal: Journal,
        policy: Callable[[Policy], int],
        state: RunState | None = None,
        listeners: tuple[Callable[[JournalRecord], None], ...] = (),
        workspace: Path | None = None,
    ) -> None:
        self.context = context
        self.task = task
        self.journal = journal
        self.state = state or RunState()
        self.account = Account(task.budget, self.state.spent)
        self.recorder = Recorder(journal.seq, self.record, policy)
        self.tool_context = ToolContext(journal.run_id, workspace=workspace)
        self.listeners = listeners
        self.halt: RunError | None = None
        """Why no further step may start: the budget is spent, or a person stopped the run."""
        self.replies: dict[int, Reply] = {}
        self.talks: dict[int, Conversation] = {}
        self._driven: set[int] = set()
        """Steps that a worker has in hand: a second one would propose beside it."""
        self.running: dict[str, asyncio.Event] = {}
        self._workers = 0
        self._group: asyncio.TaskGroup | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        """Where it runs: what is called here from elsewhere is called there."""
        self.watched = False
        self.asking = False
        """Its row says that it waits for a person: answers are for whoever takes it up again."""

    # --- the record -----------------------------------------------------------------------------------------

    def seq(self) -> int:
        return self.journal.seq()

    def record(self, record: JournalRecord) -> None:
        """Appends to the journal and folds: the state never knows what the journal does not."""
        self.journal.append(record)
        fold(self.state, record)
        if type(record) is ModelCall:
            self.account.settle(record.usage)
        for listener in self.listeners:
            try:
                listener(record)
            except Exception as error:  # it is the caller's own; the run is not to suffer for it
                self.listeners = tuple(one for one in self.listeners if one is not listener)
                LOG.warning("a listener failed and is called no more: %s: %s", type(error).__name__, error)

    async def barrier(self) -> None:
        await self.journal.barrier()

    async def close(self) -> None:
        """Closes the record."""
        try:
            await self.journal.barrier()
        finally:
            self.journal.close()  # waits for nothing any more

    @property
    def run_id(self) -> str:
        return self.journal.run_id

    @property
    def root(self) -> StepState:
        return self.state.steps[self.state.root]

    def questions(self) -> list[dict[str, Json]]:
        """What a person must answer before the run goes on."""
        asked = ((step.seq, step.asked) for step in self.state.steps.values() if step.open and step.asked)
        return [question | {"step": seq} for seq, questions in asked for question in questions.values()]

    # --- the workers ----------------------------------------------------------------------------------------

    async def work(self) -> None:
        """Drives every step that can be driven, until none can. Unexpected errors come out as they are."""
        try:
            async with self._in_time(), asyncio.TaskGroup() as group:
                self._group = group
                self._hire(0)
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        finally:
            self._group = None
            self._workers = 0

    async def drive_root(self, *, planning: bool = True) -> None:
        """Drives the root step as far as it goes."""
        async with self._in_time():
            await self.drive(self.root, planning=planning)

    @asynccontextmanager
    async def _in_time(self) -> AsyncIterator[None]:
        clock = asyncio.timeout(self.account.seconds_left)
        try:
            async with clock:
                yield
        except TimeoutError:
            if not clock.expired():
                raise
            self.halt = OutOfBudget("seconds", f"the budget of {self.task.budget.seconds} seconds is used up")

    def wake(self) -> None:
        """After something from outside made steps ready."""
        self._hire(0)

    def _hire(self, idle: int) -> None:
        """Starts workers for ready steps beyond those that `idle` workers are about to take."""
        wanted = min(len(self.state.ready) - idle, self.context.settings.concurrency - self._workers)
        for _ in range(wanted if self._group is not None else 0):
            self._workers += 1
            self._group.create_task(self._worker())  # type: ignore[union-attr]

    async def _worker(self) -> None:
        try:
            await turn(first=True)
            while self.state.ready and self.halt is None and self.root.broken is None:
                if (step := self.state.take()) is not None:
                    await self.drive(step)
                    self._hire(1)
                await self.journal.room()
                await turn(first=True)
        finally:
            self._workers -= 1

    async def drive(self, step: StepState, *, planning: bool = True) -> None:
        """Takes one step as far as it goes now; without `planning`, up to where it needs to propose again."""
        if step.seq in self._driven:
            return  # whoever has it in hand decides again after what it does now
        self._driven.add(step.seq)
        try:
            rules = self.context.rules(step.step, self.state.observed)
            while self.halt is None and self._stands(step):
                action = decide(self.state, step, rules)
                if action is None or (isinstance(action, Propose) and not planning):
                    return
                await self._act(step, rules, action)
                if rules.learning or isinstance(action, Escalate):
                    rules = self.context.rules(step.step, self.state.observed)
        finally:
            self._driven.discard(step.seq)

    def _stands(self, step: StepState) -> bool:
        """Whether it is still part of the plan."""
        return self.state.steps.get(step.seq) is step

    async def _act(self, step: StepState, rules: StepRules, action: Action) -> None:
        """The one place that says what a failure means for a step."""
        try:
            await self._perform(step, rules, action)
        except RecursionError:
            if self._stands(step):
                missed(self, step, "the output is nested too deeply: give a flatter one", status="invalid")
        except (RunError, Retry, Missing) as error:
            if isinstance(error, RunError) and error.ends:
                self.halt = error
                return
            if not self._stands(step):
                return  # another plan has taken the place of its own
            missed(self, step, str(error), status="invalid" if isinstance(error, Retry) else "error")
            if isinstance(error, (ModelRefused, RequestsForbidden, Retry, Missing)):
                self.fail(step, str(error), infrastructure_error=True)
        finally:
            if self.account.bills:
                self._settle(step)

    async def _perform(self, step: StepState, rules: StepRules, action: Action) -> None:
        if isinstance(action, Propose):
            if adopt(self, step):
                return
            before = (step.tried, step.version)
            async with self.account.reserve(ONE_ATTEMPT if action.n == 1 else Usage(attempts=action.n)):
                await propose(self, step, rules, action.n, action.source)
            proposed_none = (step.tried, step.version) == before and step.asked is None
            if proposed_none and step.open and self._stands(step):
                missed(self, step, "nothing was proposed: a model or planner gave an empty list")
        elif isinstance(action, Continue):
            async with self.account.reserve(Usage(attempts=len(action.samples))):
                await go_on(self, step, rules, action.samples)
        elif isinstance(action, Check):
            case = self.case(step, action.candidate)
            await check(self, action.candidate, action.verifiers, case, rules.soft_checks)
        elif isinstance(action, Commit):
            watched = rules.watched and self.context.settings.canaries and step.status != "expanded"
            seen = self.case(step, action.candidate) if watched else None
            self.commit(step, action.candidate, action.support)
            if seen is not None:
                await canaries(self, step, rules.watched, seen, action.candidate.verdicts)
        elif isinstance(action, Expand):
            expand(self, step, plan_from(action.candidate.output), action.support, action.candidate.attempt)
        elif isinstance(action, Deliver):
            try:
                output = resolve(step.delivers, self.state.outputs(step.delivers, step.children), self.inputs(step))
            except LookupError as error:
                missed(self, step, str(error), role="result")  # the plan is at fault, and may be mended
            else:
                proposed(self, step, output, canonical(output), role="result")
        elif isinstance(action, RollBack):
            data = RolledBack(steps=list(action.children), critique=step.critique)
            self.record(Event(self.seq(), "rolled_back", step.seq, data=data))
        elif isinstance(action, Replan):
            data = RolledBack(steps=[], critique=action.reason)
            self.record(Event(self.seq(), "rolled_back", step.seq, data=data))
        elif isinstance(action, Escalate):
            self.escalate(step, action)
        elif isinstance(action, Accept):
            proposed(self, step, action.output, canonical(action.output), role="person")
            given = next(one for one in step.candidates.values() if one.output == action.output)
            self.commit(step, given, Support(A_PERSON_IS_RIGHT, 1 - A_PERSON_IS_RIGHT, "measured"))
        else:
            self.fail(
                step, action.reason, out_of_scope=action.out_of_scope, infrastructure_error=action.infrastructure_error
            )

    # --- accepting ------------------------------------------------------------------------------------------

    def commit(self, step: StepState, candidate: Candidate, backing: Support) -> None:
        data = None if backing.basis == "exact" else noted(backing)
        self.let_go(step)
        self.record(Event(self.seq(), "committed", step.seq, candidate.attempt, data))

    def escalate(self, step: StepState, action: Escalate) -> None:
        data = Escalated(rung=action.fallback, reason=action.reason)
        if action.source:
            data["source"] = action.source
        else:
            data["planner"] = action.planner
        if action.planner == PERSON:  # before it is noted as tried: a kill in between would leave nobody asked
            question = {
                "key": QUESTION + effect_key(self.run_id, path(self, step), "ask", {}),
                "question": f"{step.step.goal or step.step.id}: {action.reason}. Give the step's output, or decline.",
                "wants": "output",
            }
            ask(self, step, [question])
        self.record(Event(self.seq(), "escalated", step.seq, data=data))

    def fail(
        self, step: StepState, reason: str, *, out_of_scope: bool = False, infrastructure_error: bool = False
    ) -> None:
        self.let_go(step)
        data = Failed(reason=reason)
        if out_of_scope:
            data["beyond"] = True
        if infrastructure_error:
            data["fault"] = True
        self.record(Event(self.seq(), "failed", step.seq, data=data))

    def let_go(self, step: StepState) -> None:
        for candidate in step.candidates.values():
            self.replies.pop(candidate.attempt, None)
        self.talks.pop(step.seq, None)

    # --- what a step sees -----------------------------------------------------------------------------------

    def inputs(self, step: StepState) -> dict[str, Json]:
        """The step's arguments, references resolved. Raises Missing for a path that does not exist."""
        if step.inputs is not None:
            return step.inputs
        try:
            return inputs(self.state, step)
        except LookupError as error:
            raise Missing(str(error)) from None

    def case(self, step: StepState, candidate: Candidate) -> Case:
        judge = self.context.models.get("judge")
        heard = self.judged(step, judge) if judge is not None else None
        return Case(
            step.step,
            copied(candidate.output),
            copied(self.inputs(step)),
            self.task.goal,
            self.replies.get(candidate.attempt),
            heard,
            partial(self.judged, step),
            self.known(step),
        )

    def known(self, step: StepState) -> tuple[str, ...]:
        """ids of committed steps that a further part of the plan may refer to."""
        return tuple(step.children) if step.status == "expanded" else ()

    def judged(self, step: StepState, model: Model) -> Metered:
        """A judging model whose calls are held against the budget and recorded with the step."""
        talk = Conversation()
        return Metered(model, self.account, step.seq, partial(self.billed, talk=talk), self.recorder.meet)

    # --- what was spent -------------------------------------------------------------------------------------

    def billed(self, bill: Bill, talk: Conversation) -> None:
        """Puts into the record what a request cost, with its reply where there is one."""
        if bill.reply is not None:
            self.recorder.reply(bill.step, bill.role, bill.reply, bill.model.policy, talk)
        else:
            self.recorder.charge(bill.step, bill.role, bill.model, bill.usage, bill.error)

    def _settle(self, step: StepState) -> None:
        """Records what a step was billed for and did not record: it failed, or was stopped, in between."""
        for bill in [one for one in self.account.bills if one.step == step.seq]:
            self.billed(bill, self.talks.setdefault(step.seq, Conversation()))
