"""Carrying out what was decided: asks models, calls tools, runs verifiers, and records what came of it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import replace

from surefoot.engine.core.state import HALF, QUESTION, Candidate, StepState
from surefoot.engine.running.account import FREE, Account, Bill
from surefoot.engine.running.desk import Desk
from surefoot.engine.running.paused import NeedsPerson, Sample
from surefoot.engine.running.recorder import Conversation
from surefoot.engine.running.turns import turn
from surefoot.models.answer import answer
from surefoot.models.failures import charged
from surefoot.models.question import ChatMessage, Model, Question, Reply, ToolRequest
from surefoot.planners.refs import copied
from surefoot.reflection.calibration import step_class
from surefoot.reflection.schema import check_schema
from surefoot.reflection.verifier import Case, Verifier
from surefoot.storage.errors import Retry, RunError, ToolError
from surefoot.storage.records import (
    Attempt,
    AttemptRole,
    AttemptStatus,
    Effect,
    Event,
    Json,
    Policy,
    Step,
    ToolCall,
    Usage,
    Verdict,
)
from surefoot.tools.tool import Tool, ToolContext

ERROR = "error: "
"""What a model is told of a call that failed begins with it."""

TURNS = 16
"""Rounds of tool calls that a model may take before it must answer."""


class Missing(RunError):
    """A reference to what a committed output, or an input, does not have."""


async def use_tool(
    desk: Desk,
    step: StepState,
    tool: Tool,
    arguments: Mapping[str, Json],
    request: ToolRequest | None = None,
    call: int | None = None,
) -> Json:
    """One execution of a tool under its effect's rules.

    Pure tools just run. Any other tool has its intent made durable before and its result after; a recorded
    result is used again instead of a second execution, and a `once` tool that may have run is not run again
    unless a person says so. Raises Retry, ToolError or NeedsPerson.
    """
    pure = tool.effect is Effect.PURE
    if not pure and desk.state.steps.get(step.seq) is not step:
        raise ToolError(f"{tool.name} was not run: another plan has taken the place of this step's")
    key = (
        None if pure and not tool.approval else effect_key(desk.context.run_id, path(desk, step), tool.name, arguments)
    )
    if key is not None:
        while (running := desk.running.get(key)) is not None:  # another sample of the step, or this reply, asked for it
            await running.wait()
        if key in desk.state.effects:
            return desk.state.effects[key]
        if "output" in (said := desk.state.answers.get(key) or {}):
            return said["output"]
        arguments = _agreed(desk, tool, arguments, key)
        if not pure:
            desk.running[key] = asyncio.Event()
    try:
        return await _execute(desk, step, tool, arguments, request, call, key, pure)
    finally:
        if key is not None and (running := desk.running.pop(key, None)) is not None:
            running.set()


async def _execute(
    desk: Desk,
    step: StepState,
    tool: Tool,
    arguments: Mapping[str, Json],
    request: ToolRequest | None,
    call: int | None,
    key: str | None,
    pure: bool,
) -> Json:
    """Runs the tool, with its intent before and its result after in the record, where it has an effect."""
    if not pure:
        data = {"key": key, "tool": tool.name, "arguments": arguments}
        desk.record(Event(desk.seq(), "intent", step.seq, data=data))
        await desk.barrier()
    context = desk.context
    if context.step != step.step.id or context.idempotency_key:
        context = ToolContext(context.run_id, step.step.id, key or "", context.workspace)
    began = time.perf_counter()
    result: Json = None
    failure: Retry | ToolError | None = None
    try:
        result = await tool.call(copied(arguments), context)
        if problem := check_schema(result, tool.returns):
            failure = ToolError(f"{tool.name} gave something else than its return type says, at {problem}")
    except (Retry, ToolError) as error:
        failure = error
    spent = (time.perf_counter() - began) * 1000
    desk.record(
        ToolCall(
            desk.seq(),
            step.seq,
            tool.name,
            arguments,
            call,
            request.id if request else None,
            request.arguments_raw if request else None,
            result,
            str(failure) if failure else None,
            isinstance(failure, Retry),
            tool.effect,
            key if not pure else None,
            round(spent, 3),
        )
    )
    if not pure:
        await desk.barrier()
    if failure is not None:
        raise failure
    return result


def effect_key(run_id: str, path: Sequence[str], tool: str, arguments: Mapping[str, Json]) -> str:
    """Idempotency key: the same for every attempt at the same call of one step.

    The step goes by its ids from the root on, so that it is the same one in another version of the plan. The
    second half is the call alone, wherever in the run it is made.
    """
    return _digest([run_id, *path]) + _digest([tool, arguments])


def _digest(value: Json) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:HALF]


def path(desk: Desk, step: StepState) -> list[str]:
    """ids from the root down to a step."""
    ids = [step.step.id]
    while step.parent is not None:
        step = desk.state.steps[step.parent]
        ids.append(step.step.id)
    return ids[::-1]


def _agreed(desk: Desk, tool: Tool, arguments: Mapping[str, Json], key: str) -> Mapping[str, Json]:
    """The arguments, once nothing stands in the way. Raises NeedsPerson, or ToolError after a refusal."""
    said = desk.state.answers.get(key) or _declined(desk, key)
    if said is not None and not said.get("approve", True):
        raise ToolError(f"a person declined {tool.name}" + (f": {said['comment']}" if said.get("comment") else ""))
    if said is not None and isinstance(said.get("arguments"), dict):
        arguments = said["arguments"]
    # Whoever agreed to the call did not agree to a second one: what is in doubt is asked again.
    doubt = tool.effect is Effect.ONCE and any(one not in desk.running for one in desk.state.doubts(key))
    if doubt or (said is None and tool.approval):
        why = "may have run before the run was stopped; run it again" if doubt else "wants to run"
        question: dict[str, Json] = {"key": QUESTION + key, "question": f"{tool.name} {why}: agree?"}
        raise NeedsPerson([question | {"tool": tool.name, "arguments": dict(arguments)}])
    return arguments


def _declined(desk: Desk, key: str) -> Json:
    """A person's refusal of the same call at another step: another plan is no way around it."""
    answers = desk.state.answers.items()
    return next((said for one, said in answers if one[HALF:] == key[HALF:] and said.get("approve") is False), None)


class Metered:
    """A model whose calls are held against an account, for a step, and billed to it, however they end."""

    def __init__(
        self,
        model: Model,
        account: Account,
        step: int = 0,
        note: Callable[[Bill], None] | None = None,
        meet: Callable[[Policy], Awaitable[None]] | None = None,
    ) -> None:
        """note: called with each bill; without it, whoever gets the reply records it, or `Flow` in the end. meet:
        awaited before the model is asked, where it may be one that the run does not know."""
        self.model = model
        self.account = account
        self.step = step
        self.note = note or account.bills.append
        self.meet = meet
        self.name = model.name

    @property
    def policy(self) -> Policy:
        return self.model.policy

    def estimate(self, question: Question, n: int = 1) -> Usage:
        return self.model.estimate(question, n)

    async def ask(self, question: Question, n: int = 1) -> Sequence[Reply]:
        if self.meet is not None:
            await self.meet(self.model.policy)
        # What it may cost is worked out only where there is a limit: for local weights that means tokenizing.
        async with self.account.reserve(self.model.estimate(question, n)) if self.account.limited else FREE:
            try:
                replies = await self.model.ask(question, n)
            except BaseException as error:
                if (usage := charged(error)) != Usage():
                    said = str(error) or type(error).__name__
                    self.note(Bill(self.step, question.role, self.model, usage, error=said))
                raise
            for reply in replies:
                self.note(Bill(self.step, question.role, self.model, reply.usage, reply))
        await turn()
        return replies


class Sampler:
    """Draws candidates from a model: a question, the tool calls it leads to, an answer."""

    def __init__(
        self, desk: Desk, step: StepState, model: Model, tools: Mapping[str, Tool], talk: Conversation
    ) -> None:
        self.desk = desk
        self.step = step
        self.model = Metered(model, desk.account, step.seq)
        self.tools = tools
        self.talk = talk

    async def draw(self, question: Question, sample: Sample, strict: bool = False) -> tuple[int, Reply]:
        """The reply that answers, after any rounds of tool calls, with the seq of its call.

        A sample that paused goes on from its last message, which holds the tool calls in question. Raises
        ModelError, ToolError, OutOfBudget or NeedsPerson.
        """
        told: tuple[object, ...] = ()
        if sample.conversation:
            *before, said = sample.conversation
            question = _followed(question, before)
            results = await self._results(question, said, sample.call, sample.results)
            question = _followed(question, (said, *results))
        for _ in range(TURNS):
            ((call, reply),) = await self.replies(question, 1, strict)
            if not reply.tool_calls or reply.error is not None:
                return call, reply
            said = ChatMessage("assistant", reply.text, reply.tool_calls, extra=reply.extra)
            results = await self._results(question, said, call)
            last, told = told, _refused(said, results)
            if told and told == last:
                raise ToolError(f"the model made the same call again, though it was told: {results[0].content}")
            question = _followed(question, (said, *results))
        last_words = question.follow_up[-1].content[:300]
        raise ToolError(f"the model called tools {TURNS} times without answering; the last gave: {last_words}")

    async def replies(self, question: Question, n: int, strict: bool = False) -> list[tuple[int, Reply]]:
        """`n` samples, the last of its re-asks each, with the seq of its call; all are recorded."""
        found = []
        for replies in await answer(self.model, question, n, strict=strict):
            calls = [self._record(question, reply) for reply in replies]
            found.append((calls[-1], replies[-1]))
        return found

    def _record(self, question: Question, reply: Reply) -> int:
        return self.desk.recorder.reply(self.step.seq, question.role, reply, self.model.policy, self.talk)

    async def _results(
        self, question: Question, said: ChatMessage, call: int | None, known: Sequence[str | None] = ()
    ) -> list[ChatMessage]:
        """The results of all calls that model call `call` asked for, run at once, in the order of the requests.

        `known` is what each gave before the sample paused. What has an effect and is asked for twice in one reply
        runs once. Where calls wait for a person, all others run first, and NeedsPerson has every question.
        """
        first = self._first(said.tool_calls)
        results = list(known) or [None] * len(first)
        wanted = [place for place in dict.fromkeys(first) if results[place] is None]
        ones = (self._one(said.tool_calls[place], call) for place in wanted)
        ran = await asyncio.gather(*ones, return_exceptions=True)
        questions: dict[str, Json] = {}
        for place, outcome in zip(wanted, ran, strict=True):
            if isinstance(outcome, NeedsPerson):
                questions |= {one["key"]: one for one in outcome.questions}
            elif isinstance(outcome, BaseException):
                raise outcome
            else:
                results[place] = outcome
        if questions:
            raise NeedsPerson(list(questions.values()), (*question.follow_up, said), results, call)
        messages = []
        for place, request in enumerate(said.tool_calls):
            text = results[first[place]] or ""
            if first[place] != place:
                same = said.tool_calls[first[place]].id
                text = f"the same call as {same}, twice in one reply: it ran once. What it gave: {text}"
            messages.append(ChatMessage("tool", text, tool_call_id=request.id))
        return messages

    def _first(self, requests: Sequence[ToolRequest]) -> list[int]:
        """For each call the place of the first that is the same: its own, unless it has an effect."""
        found: dict[str, int] = {}
        places = []
        for place, request in enumerate(requests):
            tool = self.tools.get(request.name)
            if tool is None or tool.effect is Effect.PURE:
                places.append(place)
            else:
                same = json.dumps([request.name, request.arguments], sort_keys=True, default=str)
                places.append(found.setdefault(same, place))
        return places

    async def _one(self, request: ToolRequest, call: int | None) -> str:
        """What the model is told of one call: its result, or what to mend."""
        tool = self.tools.get(request.name)
        if tool is None:
            return f"{ERROR}there is no tool {request.name}; there are: {', '.join(sorted(self.tools)) or 'none'}"
        if request.arguments is None:
            return f"{ERROR}the arguments are no JSON object; write them again"
        try:
            result = await use_tool(self.desk, self.step, tool, request.arguments, request, call)
        except (Retry, ToolError) as error:
            return f"{ERROR}{error}"
        return result if isinstance(result, str) else json.dumps(result, ensure_ascii=False)


def _refused(said: ChatMessage, results: Sequence[ChatMessage]) -> tuple[object, ...]:
    """Calls, and what was told of them, where every one of them failed; else nothing."""
    if not all(one.content.startswith(ERROR) for one in results):
        return ()
    return tuple(
        (one.name, one.arguments_raw, each.content) for one, each in zip(said.tool_calls, results, strict=True)
    )


def _followed(question: Question, more: Sequence[ChatMessage]) -> Question:
    return replace(question, follow_up=(*question.follow_up, *more))


async def check(
    desk: Desk, candidate: Candidate, verifiers: Sequence[Verifier], case: Case, soft: Collection[str] = ()
) -> None:
    """Puts a candidate before verifiers in their order, and stops at the first that refutes it.

    What those named in `soft` say is evidence only.
    """
    for verifier in verifiers:
        verdict = await verifier.verify(case)
        if verdict.ruling == "abstain" and desk.account.refused is not None:
            raise desk.account.refused  # it could not ask its model, which is no word on the candidate
        nats, evidence = _weighed(desk, verifier, verdict, candidate, case.step, verifier.name in soft)
        desk.record(
            Verdict(  # `dataclasses.replace` takes seven times as long, twice a step
                verifier.name,  # whatever it calls itself in the verdict: rules and statistics go by this name
                verdict.ruling,
                verdict.version,
                verdict.kind,
                verdict.exact,
                verdict.critique,
                verdict.score,
                verdict.blame,
                evidence,
                desk.seq(),
                candidate.attempt,
                verdict.usage,
                nats,
            )
        )
        if verdict.ruling == "fail" and verifier.name not in soft:
            return


def _weighed(
    desk: Desk, verifier: Verifier, verdict: Verdict, candidate: Candidate, step: Step, soft: bool
) -> tuple[float | None, Json]:
    """What a measured verifier's word weighs after those before it, and its evidence, which says what that rests on.

    No weight for an exact one, one not measured, and a fail that refutes.
    """
    if verdict.exact or verdict.ruling == "abstain" or (verdict.ruling == "fail" and not soft):
        return None, verdict.evidence
    if not desk.kit.calibration.knows(verifier.name):
        return None, verdict.evidence
    heard = [one for one in candidate.verdicts.values() if one.nats is not None and one.verifier != verifier.name]
    said = {one.verifier: one.ruling == "pass" for one in heard}
    place = (step_class(step), verifier.name, verifier.version)
    before = sum(one.nats or 0.0 for one in heard)
    found = desk.kit.calibration.weight(*place, verdict.ruling == "pass", said, before)
    if found is None:
        return None, verdict.evidence
    nats, basis = found
    if basis != "prior":
        return nats, verdict.evidence
    given = verdict.evidence
    kept = given if isinstance(given, dict) else {} if given is None else {"found": given}
    return nats, {**kept, "basis": basis}


def proposed(
    desk: Desk,
    step: StepState,
    output: Json,
    key: str,
    call: int | None = None,
    role: AttemptRole = "sample",
    source: str = "",
    form: int = 0,
) -> None:
    """Records an attempt that has a candidate."""
    ordinal = step.tried + 1
    desk.record(Attempt(desk.seq(), step.seq, ordinal, role, "proposed", output, None, key, call, source, form))


def missed(
    desk: Desk,
    step: StepState,
    error: str,
    call: int | None = None,
    role: AttemptRole = "sample",
    status: AttemptStatus = "error",
    source: str = "",
) -> None:
    """Records an attempt that has none."""
    desk.record(Attempt(desk.seq(), step.seq, step.tried + 1, role, status, error=error, call=call, source=source))
