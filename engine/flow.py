"""The barrier-free flow: every step starts the moment its needs are committed, and none waits for another.

A fixed number of workers take steps from the state's `ready` list and drive each as far as it goes: decide,
act, fold, decide again. There is no queue between them and no scheduler above them; the state is the schedule.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from surefoot.engine.act import Metered, NeedsPerson, Sampler, check, message_from, missed, proposed, use_tool
from surefoot.engine.budget import ONE_ATTEMPT, Account
from surefoot.engine.decide import (
    Action,
    Check,
    Commit,
    Deliver,
    Expand,
    Propose,
    Replan,
    RollBack,
    Rules,
    decide,
)
from surefoot.engine.ending import Ending, ending
from surefoot.engine.kit import Kit
from surefoot.engine.recorder import Conversation, Recorder
from surefoot.engine.state import Candidate, RunState, StepState, fold
from surefoot.models.question import Question, Reply
from surefoot.planners.canonical import step_digests
from surefoot.planners.document import plan_from, plan_to
from surefoot.planners.planner import Done, Proposal, Request
from surefoot.planners.refs import resolve, siblings
from surefoot.planners.structure import needs
from surefoot.reflection.canonical import canonical
from surefoot.reflection.trust import Support
from surefoot.reflection.verifier import Case
from surefoot.storage.errors import (
    InvalidOutput,
    ModelError,
    ModelRefused,
    OutOfBudget,
    RequestsForbidden,
    Retry,
    RunError,
    ToolError,
)
from surefoot.storage.records import (
    Attempt,
    Event,
    JournalRecord,
    Json,
    Outcome,
    Plan,
    PlannedStep,
    Policy,
    Reward,
    Step,
    Task,
    Usage,
)
from surefoot.tools.tool import ToolContext

if TYPE_CHECKING:  # the journal's module brings the database along, which importing the engine must not
    from surefoot.storage.journal import Journal

BREATH = 0.01
"""Seconds after which a worker lets the event loop look at other things, however quick its steps are."""


class Flow:
    """One run under way."""

    def __init__(
        self,
        kit: Kit,
        task: Task,
        journal: Journal,
        policy: Callable[[Policy], int],
        state: RunState | None = None,
        listeners: tuple[Callable[[JournalRecord], None], ...] = (),
        workspace: Path | None = None,
    ) -> None:
        self.kit = kit
        self.task = task
        self.journal = journal
        self.state = state or RunState()
        self.account = Account(task.budget, self.state.spent.usage)
        self.recorder = Recorder(journal.seq, self.record, policy)
        self.context = ToolContext(journal.run_id, workspace=workspace)
        self.listeners = listeners
        self.halt: RunError | None = None
        """Why no further step may start: the budget is spent, or a person stopped the run."""
        self.owned = False
        """Whoever began the run closes its journal."""
        self._replies: dict[int, Reply] = {}
        self._talks: dict[int, Conversation] = {}
        self._workers = 0
        self._group: asyncio.TaskGroup | None = None
        self._breathed = time.monotonic()

    # --- the record -----------------------------------------------------------------------------------------

    def seq(self) -> int:
        return self.journal.seq()

    def record(self, record: JournalRecord) -> None:
        """Appends to the journal and folds: the state never knows what the journal does not."""
        self.journal.append(record)
        fold(self.state, record)
        if type(record) is Attempt:
            self.account.spent.attempts += 1
        for listener in self.listeners:
            listener(record)

    async def barrier(self) -> None:
        await self.journal.barrier()

    @property
    def run_id(self) -> str:
        return self.journal.run_id

    @property
    def root(self) -> StepState:
        return self.state.steps[self.state.root]

    # --- the phases -----------------------------------------------------------------------------------------

    def phase(self) -> Literal["plan", "work", "reflect", "ask", "finish"]:
        """Where the run goes next."""
        root = self.root
        if self.halt is not None or not root.open:
            return "finish"
        if root.status == "ready":
            return "plan"
        if root.broken is None and self.state.ready:
            return "work"
        if root.broken is not None or not root.open_children:
            return "plan" if root.more and root.broken is None else "reflect"
        return "ask" if self.questions() else "finish"

    def questions(self) -> list[dict[str, Json]]:
        """What a person must answer before the run goes on."""
        return [
            {name: value for name, value in step.asked.items() if name != "conversation"} | {"step": step.seq}
            for step in self.state.steps.values()
            if step.asked is not None
        ]

    def pause(self) -> None:
        """Puts on the run's row that it waits for a person."""
        asked = "; ".join(str(one["question"]) for one in self.questions())
        self.journal.finish(Outcome.INPUT_REQUIRED, asked, usage=self.state.spent.usage)

    def finish(self) -> Ending:
        """Closes the record of the run."""
        end = ending(self.state, self.kit, self.task, self.halt)
        self.record(Event(self.seq(), "finished", self.state.root, data={"outcome": end.outcome.value}))
        if end.outcome in (Outcome.VERIFIED, Outcome.ABSTAINED):
            value = 1.0 if end.outcome is Outcome.VERIFIED else 0.0
            self.record(Reward(self.seq(), "run", None, "verified", value, "engine"))
        self.journal.finish(end.outcome, end.reason, end.output, end.reliability, self.state.spent.usage)
        return end

    # --- the workers ----------------------------------------------------------------------------------------

    async def work(self) -> None:
        """Drives every step that can be driven, until none can. Unexpected errors come out as they are."""
        try:
            async with asyncio.timeout(self.account.seconds_left):
                async with asyncio.TaskGroup() as group:
                    self._group = group
                    self._hire(0)
        except TimeoutError:
            self.halt = OutOfBudget("seconds", f"the budget of {self.task.budget.seconds} seconds is used up")
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        finally:
            self._group = None
            self._workers = 0

    def _hire(self, idle: int) -> None:
        """Starts workers for ready steps beyond those that `idle` workers are about to take."""
        wanted = min(len(self.state.ready) - idle, self.kit.settings.concurrency - self._workers)
        for _ in range(wanted if self._group is not None else 0):
            self._workers += 1
            self._group.create_task(self._worker())  # type: ignore[union-attr]

    async def _worker(self) -> None:
        try:
            while self.state.ready and self.halt is None and self.root.broken is None:
                step = self.state.steps.get(self.state.ready.pop())
                if step is not None:
                    await self.drive(step)
                    self._hire(1)
                if time.monotonic() - self._breathed > BREATH:
                    await asyncio.sleep(0)
                    await self.journal.room()
                    self._breathed = time.monotonic()
        finally:
            self._workers -= 1

    async def drive(self, step: StepState, *, planning: bool = True) -> None:
        """Takes one step as far as it goes now; without `planning`, up to where it needs to propose again."""
        rules = self.kit.rules(step.step)
        while self.halt is None and self.state.steps.get(step.seq) is step:
            action = decide(self.state, step, rules)
            if action is None or (isinstance(action, Propose) and not planning):
                return
            try:
                await self._perform(step, rules, action)
            except NeedsPerson as need:
                self.record(Event(self.seq(), "asked", step.seq, data=need.ask))
            except OutOfBudget as error:
                self.halt = error
            except (ModelRefused, RequestsForbidden, Retry, LookupError) as error:
                missed(self, step, str(error), status="invalid" if isinstance(error, Retry) else "error")
                self._fail(step, str(error), fault=True)
            except (ModelError, ToolError, InvalidOutput) as error:
                missed(self, step, str(error))

    async def _perform(self, step: StepState, rules: Rules, action: Action) -> None:
        if isinstance(action, Propose):
            with self.account.reserve(ONE_ATTEMPT if action.n == 1 else Usage(attempts=action.n)):
                await self._PROPOSE[rules.mode](self, step, rules, action.n)
        elif isinstance(action, Check):
            await check(self, action.candidate.attempt, action.verifiers, self._case(step, action.candidate))
        elif isinstance(action, Commit):
            self._commit(step, action)
        elif isinstance(action, Expand):
            self._expand(step, plan_from(action.candidate.output), action.support, action.candidate.attempt)
        elif isinstance(action, Deliver):
            output = resolve(step.delivers, self._sibling(step.children), self._inputs(step))
            proposed(self, step, output, canonical(output), role="result")
        elif isinstance(action, RollBack):
            data = {"steps": list(action.children), "critique": step.critique}
            self.record(Event(self.seq(), "rolled_back", step.seq, data=data))
        elif isinstance(action, Replan):
            data = {"steps": [], "critique": action.reason}
            self.record(Event(self.seq(), "rolled_back", step.seq, data=data))
        else:
            self._fail(step, action.reason, beyond=action.beyond, fault=action.fault)

    # --- proposing ------------------------------------------------------------------------------------------

    async def _call_tool(self, step: StepState, rules: Rules, n: int) -> None:
        result = await use_tool(self, step, self.kit.tools[step.step.tool or ""], self._inputs(step))
        proposed(self, step, result, canonical(result), role="tool")

    async def _sample_arguments(self, step: StepState, rules: Rules, n: int) -> None:
        tool = self.kit.tools[step.step.tool or ""]
        sampler = self._sampler(step)
        question = self._question(step, rules, tools=(tool.name,), choice="required")
        for reply in await sampler.replies(question, n):
            request = next((one for one in reply.tool_calls if one.name == tool.name), None)
            if request is None or request.arguments is None:
                error = f"answer with one call of {tool.name}, its arguments a JSON object"
                missed(self, step, reply.error or error, sampler.call, status="invalid")
                continue
            try:
                result = await use_tool(self, step, tool, request.arguments, request, sampler.call)
            except (Retry, ToolError) as error:
                missed(self, step, str(error), sampler.call, status="invalid")
                continue
            self._propose(step, result, sampler, reply)

    async def _sample_answer(self, step: StepState, rules: Rules, n: int) -> None:
        names = tuple(self.kit.tools)
        if not names:
            sampler = self._sampler(step)
            for reply in await sampler.replies(self._question(step, rules), n):
                self._answered(step, sampler, reply)
        else:
            await asyncio.gather(*(self._draw(step, rules, names, index) for index in range(n)))

    async def _draw(self, step: StepState, rules: Rules, names: tuple[str, ...], index: int) -> None:
        sampler = self._sampler(step)
        stopped = [message_from(one) for one in step.stopped or ()] if index == 0 else []
        reply = await sampler.draw(self._question(step, rules, tools=names, index=index), stopped)
        self._answered(step, sampler, reply)

    def _answered(self, step: StepState, sampler: Sampler, reply: Reply) -> None:
        if reply.unknown:
            missed(self, step, reply.error or "", sampler.call, status="unknown")
        elif reply.error is not None:
            missed(self, step, reply.error, sampler.call, status="invalid")
        else:
            self._propose(step, reply.parsed, sampler, reply)

    def _propose(self, step: StepState, output: Json, sampler: Sampler, reply: Reply) -> None:
        key = canonical(output)
        fresh = key not in step.candidates
        proposed(self, step, output, key, sampler.call)
        if fresh:
            self._replies[step.candidates[key].attempt] = reply

    async def _plan(self, step: StepState, rules: Rules, n: int) -> None:
        planner = self.kit.planners[step.step.planner or ""]
        model = Metered(self.kit.models["plan"], self.account) if "plan" in self.kit.models else None
        request = Request(
            step.step,
            self._inputs(step),
            tuple(self.kit.specs.values()),
            tuple(self._done(step)),
            step.critique if step.attempts or step.version else "",
            model,
            self._seed(step, 0),
            self._temperature(rules),
        )
        for proposal in await planner.propose(request, n):
            self._planned(step, rules, proposal)

    def _planned(self, step: StepState, rules: Rules, proposal: Proposal) -> None:
        talk = self._talks.setdefault(step.seq, Conversation())
        call = None
        for reply in proposal.replies:
            call = self.recorder.reply(step.seq, "plan", reply, self.kit.models["plan"].policy, talk)
        if proposal.unknown:
            missed(self, step, proposal.error, call, role="plan", status="unknown")
        elif proposal.plan is None:
            missed(self, step, proposal.error, call, role="plan", status="invalid")
            if not rules.sampled:
                self._fail(step, proposal.error)
        elif not rules.sampled:
            found = self.kit.defects(proposal.plan, self._inputs(step), self._known(step))
            if found:
                missed(self, step, "; ".join(found), call, role="plan", status="invalid")
                self._fail(step, "; ".join(found))
            else:
                self._expand(step, proposal.plan, None, None)
        else:
            fresh = proposal.key not in step.candidates
            plan = self._carried(step, proposal.plan)
            proposed(self, step, plan_to(plan), proposal.key, call, role="plan")
            if fresh and proposal.replies:
                self._replies[step.candidates[proposal.key].attempt] = proposal.replies[-1]

    _PROPOSE: Mapping[str, Callable[[Flow, StepState, Rules, int], Awaitable[None]]] = {
        "tool": _call_tool,
        "arguments": _sample_arguments,
        "answer": _sample_answer,
        "plan": _plan,
    }

    # --- accepting ------------------------------------------------------------------------------------------

    def _commit(self, step: StepState, action: Commit) -> None:
        backing = action.support
        data = None if backing.p == 1.0 else {"p": backing.p, "bound": backing.bound, "basis": backing.basis}
        self._let_go(step)
        self.record(Event(self.seq(), "committed", step.seq, action.candidate.attempt, data))

    def _fail(self, step: StepState, reason: str, *, beyond: bool = False, fault: bool = False) -> None:
        self._let_go(step)
        data: dict[str, Json] = {"reason": reason} | ({"beyond": True} if beyond else {})
        if fault:
            data["fault"] = True
        self.record(Event(self.seq(), "failed", step.seq, data=data))

    def _let_go(self, step: StepState) -> None:
        for candidate in step.candidates.values():
            self._replies.pop(candidate.attempt, None)
        self._talks.pop(step.seq, None)

    def _expand(self, step: StepState, plan: Plan, backing: Support | None, attempt: int | None) -> None:
        """Puts an accepted plan in place: first its steps, then the event that brings them to life."""
        old = self._reusable(step)
        extend = bool(step.children) and step.status == "expanded"
        places = {one.id: self.seq() for one in plan.steps}
        known = {**step.children, **places} if extend else places
        for ordinal, one in enumerate(plan.steps):
            wanted = tuple(sorted(known[need] for need in needs(one)))
            self.record(PlannedStep(places[one.id], step.seq, ordinal, step.version + 1, one, wanted))
        data: dict[str, Json] = {"version": step.version + 1, "output": plan.output}
        if plan.more:
            data["more"] = True
        if extend:
            data["extend"] = True
        if sampled := sum(self.kit.sampled(one) for one in plan.steps):
            data["sampled"] = sampled
        if backing is not None:
            data |= {"p": backing.p, "bound": backing.bound, "basis": backing.basis}
        self._let_go(step)
        self.record(Event(self.seq(), "planned", step.seq, attempt, data))
        if old and not extend:
            self._reuse(step, plan, old)

    def _carried(self, step: StepState, plan: Plan) -> Plan:
        """A new plan together with the committed steps of the last one that it refers to."""
        if step.status == "expanded" or not step.children:
            return plan
        mine = {one.id for one in plan.steps}
        old = {one.step.id: one.step for one in self.state.children(step) if one.status == "committed"}
        carried: dict[str, Step] = {}
        wanted = set().union(siblings(plan.output), *(needs(one) for one in plan.steps)) - mine
        while wanted:
            name = wanted.pop()
            if name in old and name not in carried:
                carried[name] = old[name]
                wanted |= needs(old[name]) - mine
        return Plan((*carried.values(), *plan.steps), plan.output, plan.more)

    def _reusable(self, step: StepState) -> dict[str, StepState]:
        """Committed steps of the last plan, by what they compute. After a refuted result, only the exact ones."""
        if not step.children or step.status == "expanded":
            return {}
        children = list(self.state.children(step))
        digests = step_digests(Plan(tuple(child.step for child in children)))
        broken = any(child.status == "failed" for child in children)
        return {
            digests[child.step.id]: child
            for child in children
            if child.status == "committed" and child.support is not None and (broken or child.support.p == 1)
        }

    def _reuse(self, step: StepState, plan: Plan, old: Mapping[str, StepState]) -> None:
        for name, digest in step_digests(plan).items():
            child = self.state.steps[step.children[name]]
            if (source := old.get(digest)) is not None and child.status == "ready":
                self.state.ready.remove(child.seq)
                proposed(self, child, source.output, canonical(source.output), role="reused")
                backing = source.support or Support(1.0, 0.0, "exact")
                self._commit(child, Commit(next(iter(child.candidates.values())), backing))

    # --- what a step sees -----------------------------------------------------------------------------------

    def _inputs(self, step: StepState) -> dict[str, Json]:
        """The step's arguments, references resolved. Raises LookupError for a path that does not exist."""
        if step.inputs is None:
            args = step.step.args
            if step.parent is None:
                step.inputs = dict(args or {})
            else:
                parent = self.state.steps[step.parent]
                outputs = self._sibling(parent.children)
                if args is not None:
                    step.inputs = dict(resolve(args, outputs, self._inputs(parent)))
                else:
                    seen = {need: outputs(need) for need in step.step.needs}
                    step.inputs = {**self._inputs(parent), **seen}
        return step.inputs

    def _sibling(self, places: Mapping[str, int]) -> Callable[[str], Json]:
        return lambda name: self.state.steps[places[name]].output

    def _done(self, step: StepState) -> list[Done]:
        children = self.state.children(step) if step.children else ()
        return [
            Done(child.step, child.status == "committed", child.output, child.reason)
            for child in children
            if child.status in ("committed", "failed")
        ]

    def _case(self, step: StepState, candidate: Candidate) -> Case:
        judge = self.kit.models.get("judge")
        heard = self._judged(step) if judge is not None else None
        return Case(
            step.step,
            candidate.output,
            self._inputs(step),
            self.task.goal,
            self._replies.get(candidate.attempt),
            heard,
            self._known(step),
        )

    def _known(self, step: StepState) -> tuple[str, ...]:
        """ids of committed steps that a further part of the plan may refer to."""
        return tuple(step.children) if step.status == "expanded" else ()

    def _judged(self, step: StepState) -> Metered:
        model = self.kit.models["judge"]
        talk = Conversation()

        def note(reply: Reply) -> None:
            self.recorder.reply(step.seq, "judge", reply, model.policy, talk)

        return Metered(model, self.account, note)

    def _sampler(self, step: StepState) -> Sampler:
        talk = self._talks.setdefault(step.seq, Conversation())
        return Sampler(self, step, self.kit.models["act"], self.kit.tools, talk)

    def _question(
        self, step: StepState, rules: Rules, tools: tuple[str, ...] = (), choice: str = "auto", index: int = 0
    ) -> Question:
        inputs = self._inputs(step)
        if step.critique:
            inputs = dict(inputs)
            inputs["what was wrong with the last attempt"] = step.critique
            refuted = [one.output for one in step.candidates.values() if one.refuted]
            if refuted:
                inputs["the last attempt"] = refuted[-1]
        return Question(
            role="act",
            goal=step.step.goal,
            inputs=inputs,
            output_schema=step.step.contract.gives if choice == "auto" else None,
            tools=tuple(self.kit.specs[name] for name in tools),
            tool_choice="required" if choice == "required" else "auto",
            temperature=self._temperature(rules),
            seed=self._seed(step, index),
        )

    def _temperature(self, rules: Rules) -> float | None:
        return self.kit.settings.temperature if rules.verify else 0.0

    def _seed(self, step: StepState, index: int) -> int:
        """Another seed for every attempt, the same again in a run with the same seed."""
        return (self.kit.settings.seed * 1_000_003 + step.seq * 7_919 + step.tried * 31 + index) % 2**31
