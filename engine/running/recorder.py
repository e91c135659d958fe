"""Turns a model's replies into records: each message once, with its own tokens."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from surefoot.models.question import ChatMessage, Model, Reply
from surefoot.storage.records import JournalRecord, Json, Message, ModelCall, Policy, Role, Usage

Key = tuple[Any, ...]


@dataclass(slots=True)
class Place:
    """Where a stored path of messages ends, and its tokens up to there (none where the model does not tell)."""

    tip: int | None
    tokens: array[int]


@dataclass(slots=True)
class Conversation:
    """What is already stored of one step's conversations; lives as long as the step is driven."""

    prompts: dict[int, tuple[tuple[ChatMessage, ...], Place]] = field(default_factory=dict)
    """Prompts by identity (kept alive here, so that no identity is used twice): samples share theirs."""
    messages: dict[Key, Place] = field(default_factory=dict)
    """Messages by parent and content."""


class Recorder:
    """Writes conversations as a tree of messages; `parent` leads from a reply back to what the model saw.

    Where the model tells its token ids, the messages on the path from the root concatenate to exactly the
    prompt and the completion. A prompt that does not extend what was stored before it starts a new path.
    """

    def __init__(
        self,
        seq: Callable[[], int],
        append: Callable[[JournalRecord], None],
        policy: Callable[[Policy], int],
    ) -> None:
        self.seq = seq
        self.append = append
        self._number = policy
        self._policies: dict[Policy, int] = {}
        self.systems: dict[str, int] = {}
        """System messages, shared by all conversations of the run."""

    def reply(self, step: int, role: Role, reply: Reply, known: Policy, talk: Conversation) -> int:
        """Records one reply and the call that brought it; returns the call's seq."""
        if id(reply.prompt) not in talk.prompts:
            talk.prompts[id(reply.prompt)] = (reply.prompt, self._prompt(reply, talk))
        place = talk.prompts[id(reply.prompt)][1]
        call, completion = self.seq(), self.seq()
        exact = reply.token_ids is not None and reply.logprobs is not None and reply.prompt_ids is not None
        self.append(
            ModelCall(
                call,
                step,
                role,
                reply.model,
                reply.revision,
                self.policy(known),
                place.tip,
                completion,
                sampling=dict(reply.sampling) or None,
                finish_reason=reply.finish_reason,
                usage=reply.usage,
                usage_source=reply.usage_source,
                latency_ms=reply.latency_ms,
                retries=reply.retries,
                repaired=reply.repaired,
                error=reply.error,
                trainable=exact,
            )
        )
        said = ChatMessage("assistant", reply.text, reply.tool_calls, extra=reply.extra)
        ids = reply.token_ids if exact and reply.token_ids is not None else None
        self.append(
            Message(
                completion,
                place.tip,
                "assistant",
                reply.text,
                _calls(said),
                sampled=True,
                call=call,
                token_ids=None if ids is None else array("i", ids).tobytes(),
                mask=None if ids is None else b"\1" * len(ids),
                logprobs=None if ids is None else array("f", reply.logprobs or ()).tobytes(),
                token_source="none" if ids is None else "engine",
                extra=reply.extra,
            )
        )
        talk.messages[_key(place.tip, said)] = Place(completion, place.tokens + (ids or NO_TOKENS))
        return call

    def charge(self, step: int, role: Role, model: Model, usage: Usage, error: str) -> None:
        """Records a request that brought no reply and was paid for."""
        known = model.policy
        number = self.policy(known)
        self.append(
            ModelCall(
                self.seq(),
                step,
                role,
                model.name,
                known.revision,
                number,
                None,
                None,
                usage=usage,
                usage_source="provider",
                error=error,
            )
        )

    def policy(self, known: Policy) -> int:
        """The store's number of a policy, asked for once. Where it has none yet, the disk is waited for: see `meet`."""
        number = self._policies.get(known)
        if number is None:
            number = self._policies[known] = self._number(known)
        return number

    async def meet(self, known: Policy) -> None:
        """Gets a number for a policy that the run did not begin with."""
        if known not in self._policies:
            await asyncio.to_thread(self.policy, known)

    def _prompt(self, reply: Reply, talk: Conversation) -> Place:
        """Stores what the model saw, sharing the longest stored beginning."""
        tokens = reply.prompt_ids
        place = Place(None, NO_TOKENS)
        for index, message in enumerate(reply.prompt):
            key = _key(place.tip, message)
            found = talk.messages.get(key)
            last = index == len(reply.prompt) - 1
            # A beginning that was stored as part of a longer prompt may carry fewer tokens than this prompt has.
            if found is None or (tokens is not None and found.tokens != tokens[: None if last else len(found.tokens)]):
                # A chat template gives no borders, so the last message carries all tokens that are new.
                new = tokens[len(place.tokens) :] if tokens is not None and last else NO_TOKENS
                seq = self._store(place.tip, message, None if tokens is None else new)
                found = talk.messages[key] = Place(seq, place.tokens + new)
            place = found
        return place

    def _store(self, parent: int | None, message: ChatMessage, tokens: array[int] | None) -> int:
        shared = parent is None and tokens is None and message.role == "system"
        if shared and message.content in self.systems:
            return self.systems[message.content]
        seq = self.seq()
        self.append(
            Message(
                seq,
                parent,
                message.role,
                message.content,
                _calls(message),
                message.tool_call_id,
                token_ids=None if tokens is None else tokens.tobytes(),
                mask=None if tokens is None else b"\0" * len(tokens),
                token_source="none" if tokens is None else "engine",
                extra=message.extra,
            )
        )
        if shared:
            self.systems[message.content] = seq
        return seq


NO_TOKENS: array[int] = array("i")


def _calls(message: ChatMessage) -> Json:
    return [
        {"id": one.id, "name": one.name, "arguments": one.arguments_raw} | ({"extra": one.extra} if one.extra else {})
        for one in message.tool_calls
    ] or None


def _key(tip: int | None, message: ChatMessage) -> Key:
    if not message.tool_calls:
        return (tip, message.role, message.content, message.tool_call_id)
    calls = tuple((one.id, one.name, one.arguments_raw) for one in message.tool_calls)
    return (tip, message.role, message.content, message.tool_call_id, calls)
