"""Asking models for a step: each call is held against the budget, tools are called between, all is recorded."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace

from surefoot.engine.core.state import StepState
from surefoot.engine.running.account import FREE, Account, Bill
from surefoot.engine.running.calling import use_tool
from surefoot.engine.running.paused import NeedsPerson, Sample
from surefoot.engine.running.recorder import Conversation
from surefoot.engine.running.runtime import StepRuntime
from surefoot.engine.running.turns import turn
from surefoot.models.answer import answer
from surefoot.models.failures import charged
from surefoot.models.question import ChatMessage, Model, Question, Reply, ToolRequest
from surefoot.storage.errors import Retry, ToolError
from surefoot.storage.records import Effect, Json, Policy, Usage
from surefoot.tools.tool import Tool

ERROR = "error: "
"""What a model is told of a call that failed begins with it."""


TURNS = 16
"""Rounds of tool calls that a model may take before it must answer."""


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
        self, run: StepRuntime, step: StepState, model: Model, tools: Mapping[str, Tool], talk: Conversation
    ) -> None:
        self.run = run
        self.step = step
        self.model = Metered(model, run.account, step.seq)
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
        return self.run.recorder.reply(self.step.seq, question.role, reply, self.model.policy, self.talk)

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
            result = await use_tool(self.run, self.step, tool, request.arguments, request, call)
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
