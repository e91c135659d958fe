"""Text that can be sent: lone surrogates have no place in UTF-8."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from surefoot.models.question import ChatMessage, ToolRequest
from surefoot.storage.records import Json

_SURROGATE = re.compile("[\ud800-\udfff]")


def sound(text: str) -> str:
    """The text with U+FFFD for each lone surrogate, which neither UTF-8 nor a tokenizer can hold."""
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


def sound_json(value: Json) -> Json:
    """A JSON value with only `sound` text in it, keys included."""
    if isinstance(value, str):
        return sound(value)
    if isinstance(value, Mapping):
        return {sound_json(key): sound_json(part) for key, part in value.items()}
    return [sound_json(part) for part in value] if isinstance(value, (list, tuple)) else value


def sound_messages(messages: tuple[ChatMessage, ...]) -> tuple[ChatMessage, ...]:
    """The messages with only `sound` text in them: what is sent, and so what is recorded."""
    return tuple(
        replace(
            message,
            content=sound(message.content),
            tool_calls=tuple(_sound_call(call) for call in message.tool_calls),
            tool_call_id=None if message.tool_call_id is None else sound(message.tool_call_id),
            extra=sound_json(message.extra),
        )
        for message in messages
    )


def _sound_call(call: ToolRequest) -> ToolRequest:
    written, own = sound_json(call.arguments), sound_json(call.extra)
    return ToolRequest(sound(call.id), sound(call.name), sound(call.arguments_raw), written, own)
