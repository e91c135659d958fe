"""Models that say what a test tells them to, or what a recorded model said. They are part of the product."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from surefoot.models.chat import messages
from surefoot.models.question import ChatMessage, Question, Reply, ToolRequest
from surefoot.storage.errors import SetupError
from surefoot.storage.records import Json, Policy, Usage

Line = str | Reply | ToolRequest | Sequence[ToolRequest] | Exception | Json
"""What a scripted model says: text, a whole reply, calls of tools, an exception to raise, or any other JSON
value, which is said as JSON."""

Script = Sequence[Line] | Callable[[Question, int], Line]


class ScriptedModel:
    """Says the lines of a script: one after another, or what a function of (question, sample index) returns.

    `questions` holds every question asked. Raises SetupError, which no engine swallows, where the script
    has run out.
    """

    card: Mapping[str, Json] = {"sample": {"p": 0.95}}
    """What is assumed of its samples, so that two that agree are enough where no target says otherwise."""

    def __init__(
        self, replies: Script, *, name: str = "scripted", latency: float = 0.0, usage: Usage | None = None
    ) -> None:
        """`latency` is in seconds a request; `usage` is what each reply costs that is not given as a `Reply`."""
        self.name = name
        self.questions: list[Question] = []
        self.said = 0
        self._replies = replies
        self._latency = latency
        self._usage = usage

    @property
    def policy(self) -> Policy:
        return Policy(self.name, revision="script")

    def estimate(self, question: Question, n: int = 1) -> Usage:
        return sum((self._usage or Usage(samples=1) for _ in range(n)), Usage())

    async def ask(self, question: Question, n: int = 1) -> list[Reply]:
        self.questions.append(question)
        if self._latency:
            await asyncio.sleep(self._latency)
        prompt = messages(question)
        return [self._reply(self._line(question, index), prompt) for index in range(n)]

    def assert_done(self) -> None:
        """Raises AssertionError where lines of the script were not asked for."""
        if not callable(self._replies) and self.said < len(self._replies):
            left = len(self._replies) - self.said
            raise AssertionError(f"{self.name}: {left} of {len(self._replies)} replies were not asked for")

    def _line(self, question: Question, index: int) -> Line:
        if callable(self._replies):
            return self._replies(question, index)
        if self.said >= len(self._replies):
            raise SetupError(
                f"{self.name}: the script has {len(self._replies)} replies and was asked for one more "
                f"(role {question.role}: {question.goal[:200]!r}); add a reply"
            )
        self.said += 1
        return self._replies[self.said - 1]

    def _reply(self, line: Line, prompt: tuple[ChatMessage, ...]) -> Reply:
        if isinstance(line, Exception):
            raise line
        if isinstance(line, Reply):
            return line if line.prompt else replace(line, prompt=prompt)
        calls = _calls(line)
        usage, source = (self._usage, "counted") if self._usage else (Usage(samples=1), "none")
        return Reply(
            text="" if calls else line if isinstance(line, str) else json.dumps(line),
            prompt=prompt,
            tool_calls=calls,
            finish_reason="tool_calls" if calls else "stop",
            usage=usage,
            usage_source=source,  # type: ignore[arg-type]  # a tuple's literals are widened to str
            model=self.name,
            revision="script",
        )


def call(name: str, arguments: Mapping[str, Json], id: str = "call-1") -> ToolRequest:
    """A request to call a tool, for scripts."""
    return ToolRequest(id, name, json.dumps(arguments), dict(arguments))


def _calls(line: Line) -> tuple[ToolRequest, ...]:
    if isinstance(line, ToolRequest):
        return (line,)
    if isinstance(line, (list, tuple)) and line and all(isinstance(part, ToolRequest) for part in line):
        return tuple(line)
    return ()


class ReplayModel:
    """Says again what was recorded: the reply to a prompt is the one recorded for exactly that prompt.

    Replies to equal prompts come in the order of the record. With `in_order` the prompts must also come in
    that order. Raises SetupError at the first prompt that diverges from the record.
    """

    def __init__(
        self,
        record: Iterable[Reply | tuple[Sequence[ChatMessage], Reply]],
        *,
        name: str = "replay",
        in_order: bool = False,
        render: Callable[[Question], tuple[ChatMessage, ...]] = messages,
    ) -> None:
        """`render` makes the prompt of a question, as the recorded model's dialect did."""
        self.name = name
        self._render = render
        self._in_order = in_order
        self._order: deque[_Key] = deque()
        self._replies: dict[_Key, deque[Reply]] = {}
        for entry in record:
            prompt, reply = (entry.prompt, entry) if isinstance(entry, Reply) else entry
            key = _key(prompt)
            self._order.append(key)
            self._replies.setdefault(key, deque()).append(reply)

    @property
    def policy(self) -> Policy:
        return Policy(self.name, revision="replay")

    @property
    def left(self) -> int:
        """Recorded replies that were not asked for."""
        return sum(map(len, self._replies.values()))

    def estimate(self, question: Question, n: int = 1) -> Usage:
        """What the next replies to this question will report."""
        waiting = self._replies.get(_key(self._render(question)), ())
        return sum((reply.usage for reply in list(waiting)[:n]), Usage())

    async def ask(self, question: Question, n: int = 1) -> list[Reply]:
        key = _key(self._render(question))
        return [self._next(key) for _ in range(n)]

    def _next(self, key: _Key) -> Reply:
        if self._in_order and (not self._order or self._order.popleft() != key):
            raise SetupError(
                f"{self.name}: the replay diverged: another question came next in the record; {_hint(key)}"
            )
        if not self._replies.get(key):
            raise SetupError(f"{self.name}: the replay diverged: no reply is left in the record; {_hint(key)}")
        return self._replies[key].popleft()


_Key = tuple[tuple[str, str, tuple[tuple[str, str, str], ...], str | None], ...]


def _key(prompt: Sequence[ChatMessage]) -> _Key:
    return tuple(
        (m.role, m.content, tuple((c.id, c.name, c.arguments_raw) for c in m.tool_calls), m.tool_call_id)
        for m in prompt
    )


def _hint(key: _Key) -> str:
    return f"asked was: {key[-1][1][:300]!r}" if key else "asked was an empty prompt"
