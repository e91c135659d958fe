"""A conversation's tokens, exactly as the model saw and said them."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from surefoot.storage.errors import StoreError
from surefoot.storage.records import JournalRecord, Message

Tokens: TypeAlias = "tuple[array[int], array[int], array[float]]"
"""ids (int32), mask (uint8, one a token, 1 where the model sampled it), logprobs (float32, one a sampled token)."""


def path(messages: Mapping[int, Message], seq: int) -> list[Message]:
    """The conversation that ends with a message, first message first. Raises StoreError where a part is missing."""
    found: list[Message] = []
    tip: int | None = seq
    while tip is not None:
        if tip not in messages:
            raise StoreError(f"message {tip} of this conversation is not among the records: pass all of the run's")
        found.append(messages[tip])
        tip = messages[tip].parent
    return found[::-1]


def path_tokens(records: Iterable[JournalRecord], message_seq: int) -> Tokens:
    """Tokens of the conversation that ends with a message: (ids, mask, logprobs).

    Up to the `completion` of a trainable `ModelCall` that is exactly its prompt and its completion, with the
    log-probabilities that the model reported while it sampled. `records` are those of the message's run, or
    `store.records(run_id, kinds=(Message,), steps=[step])` where the run is long.

    Raises StoreError where the model did not tell its tokens (`ModelCall.trainable` is False), and where the record
    breaks its own rules: a byte of mask a token, a log-probability a sampled token.
    """
    messages = {one.seq: one for one in records if isinstance(one, Message)}
    conversation = path(messages, message_seq)
    if conversation[-1].token_ids is None:
        raise StoreError(f"the tokens of message {message_seq} are not known: train on its text, as trl-sft has it")
    ids, mask, logprobs = array("i"), array("B"), array("f")
    for message in conversation:
        own = tokens(message)
        ids += own[0]
        mask += own[1]
        logprobs += own[2]
    return ids, mask, logprobs


def numbers(code: str, data: bytes | None) -> array[Any]:
    """The numbers that a record holds as bytes, the lowest first, whatever the machine's own order is."""
    found = array(code, data or b"")
    if sys.byteorder == "big":
        found.byteswap()
    return found


def tokens(message: Message) -> Tokens:
    """A message's own tokens, all three empty where they are not known. Raises StoreError where they do not match."""
    ids, mask, logprobs = numbers("i", message.token_ids), numbers("B", message.mask), numbers("f", message.logprobs)
    if len(mask) != len(ids) or len(logprobs) != sum(mask):
        raise StoreError(
            f"message {message.seq} has {len(ids)} tokens, a mask of {len(mask)} with {sum(mask)} sampled, and "
            f"{len(logprobs)} log-probabilities: the record is damaged, so do not train on it"
        )
    return ids, mask, logprobs
