"""`trl-sft`: conversations for supervised fine-tuning, as TRL's SFTTrainer takes them.

    {"messages": [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}], "tools": null}

A row is the conversation behind one attempt that a run accepted: its output passed every check, stood until the
end, and no person called it wrong (feedback on `correctness` with a score below .5; the last word counts). What
was rejected, outvoted or undone stays out; of samples that agree, the first is the row. Replies that were sent back
inside an accepted conversation stay out too, because such a trainer learns every assistant message: the row goes on
from the question to the reply that could be used. A call of a tool that failed stays in, with the error that the
model was told and mended.

Arguments of tool calls are objects; `tools` is the JSON text of the tools that were offered, or null. A plan of the
pocket model is a user message with its prompt and an assistant message with its text, both as the model's own
dialect writes them. `datasets.load_dataset("json", data_files=...)` reads the rows, whatever their arguments.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TextIO

from surefoot.storage.jsonable import dumps
from surefoot.storage.records import Attempt, Event, JournalRecord, Json, Message, ModelCall, PlannedStep
from surefoot.storage.run import RunInfo
from surefoot.storage.run_store import RunStore
from surefoot.trajectories.standing import Standing
from surefoot.trajectories.tokens import path

KINDS = (PlannedStep, Attempt, Message, ModelCall, Event)


def write(store: RunStore, run: RunInfo, out: TextIO) -> int:
    """Write the rows of one run. What is held of it is what its open steps have said so far."""
    wrong = _called_wrong(store, run.run_id)
    if None in wrong:
        return 0
    rows = 0
    for row in _rows(store, run, wrong):
        out.write(dumps(row) + "\n")
        rows += 1
    return rows


def _called_wrong(store: RunStore, run_id: str) -> set[int | None]:
    """Steps whose output a person called wrong with their last word on it; None is the run's."""
    said = {one.step: one.right for one in store.feedbacks(run_id) if one.right is not None}
    return {step for step, right in said.items() if not right}


@dataclass(slots=True)
class _Talk:
    """What was said for a step since it was last accepted, or since it began."""

    messages: dict[int, Message] = field(default_factory=dict)
    calls: dict[int, ModelCall] = field(default_factory=dict)
    proposed: dict[int, int] = field(default_factory=dict)
    """Model call by attempt."""


def _rows(store: RunStore, run: RunInfo, wrong: set[int | None]) -> Iterator[Json]:
    standing = Standing(store.records(run.run_id, kinds=(PlannedStep, Event)))
    book = _Book()
    for record in store.records(run.run_id, kinds=KINDS):
        book.note(record)
        if isinstance(record, (PlannedStep, Event)):
            attempt = standing.accepts(record)
            if attempt is not None and isinstance(record, Event) and record.step not in wrong:
                yield from _row(book, record, attempt, (run.config or {}).get("tools", ()))
        if isinstance(record, Event) and record.kind in ("planned", "committed", "failed"):
            book.talks.pop(record.step, None)


class _Book:
    """The conversations of the steps that are open at a point of the record."""

    def __init__(self) -> None:
        self.talks: dict[int | None, _Talk] = {}
        self._shared: dict[int, Message] = {}
        """System messages that all conversations begin with."""
        self._fresh: dict[int, Message] = {}
        """Messages of a prompt whose call comes next."""
        self._last: _Talk = _Talk()

    def note(self, record: JournalRecord) -> None:
        """A reply is recorded in one go: what is new of its prompt, its call, the message that it brought."""
        if isinstance(record, Message) and record.call is None:
            shared = record.parent is None and record.role == "system" and record.token_ids is None
            (self._shared if shared else self._fresh)[record.seq] = record
        elif isinstance(record, ModelCall):
            self._last = self.talks.setdefault(record.step, _Talk())
            self._last.messages |= self._fresh
            self._last.calls[record.seq] = record
            self._fresh = {}
        elif isinstance(record, Message):
            self._last.messages[record.seq] = record
        elif isinstance(record, Attempt) and record.call is not None:
            self.talks.setdefault(record.step, _Talk()).proposed[record.seq] = record.call

    def conversation(self, step: int | None, attempt: int) -> tuple[ModelCall, list[Message]] | None:
        """The call that proposed an attempt and all that was said up to it; None where no model did."""
        talk = self.talks.get(step)
        if talk is None or attempt not in talk.proposed:
            return None
        call = talk.calls[talk.proposed[attempt]]
        return None if call.completion is None else (call, path(talk.messages | self._shared, call.completion))


def _row(book: _Book, event: Event, attempt: int, offered: Sequence[Json]) -> Iterator[Json]:
    """The row of an accepted attempt, if a model proposed it and its conversation can be shown."""
    found = book.conversation(event.step, attempt)
    if found is None:
        return
    call, said = found
    names: dict[str | None, str] = {}
    messages = [_message(one, names) for one in _usable(said)]
    if None not in messages:
        yield {"messages": messages, "tools": _tools(call, said[-1], offered)}


def _usable(said: Sequence[Message]) -> Iterator[Message]:
    """The conversation without the replies that were sent back, and without what was said of them.

    Only a question begins with a user message; each further one is the engine's word on the reply before it.
    """
    asked = next((index for index, one in enumerate(said) if one.role == "user"), 0)
    for index, one in enumerate(said):
        sent_back = one.role == "assistant" and index + 1 < len(said) and said[index + 1].role == "user"
        if not sent_back and (one.role != "user" or index == asked):
            yield one


def _message(one: Message, names: dict[str | None, str]) -> Json:
    """A message as chat templates take it; None where a call's arguments are no object.

    `names` holds the tools of the calls so far by id: providers may use an id again.
    """
    row: dict[str, Json] = {"role": one.role, "content": one.content}
    if one.tool_calls:
        calls = [(call["name"], _object(call["arguments"])) for call in one.tool_calls]
        if any(arguments is None for _, arguments in calls):
            return None
        names |= {call["id"]: call["name"] for call in one.tool_calls}
        row["tool_calls"] = [
            {"type": "function", "function": {"name": name, "arguments": arguments}} for name, arguments in calls
        ]
    if one.role == "tool":
        row["name"] = names.get(one.tool_call_id, "")
    return row


def _object(raw: str) -> dict[str, Json] | None:
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _tools(call: ModelCall, last: Message, offered: Sequence[Json]) -> str | None:
    """The tools that a model was offered with its question: planners read theirs in the text."""
    if call.role != "act":
        return None
    # A step whose output is a tool's result offers that tool alone, and ends with the call of it.
    wanted = {one["name"] for one in last.tool_calls or ()}
    tools = [{"type": "function", "function": one} for one in offered if not wanted or one["name"] in wanted]
    return dumps(tools) if tools else None
