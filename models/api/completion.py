"""From a provider's completion to a Reply: usage, price, tool calls, token ids, exactly as they were reported."""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from surefoot.models.api.gateway import litellm
from surefoot.models.failures import PassingTrouble
from surefoot.models.question import ChatMessage, Reply, ToolRequest
from surefoot.storage.records import Json, Usage

UsageSource = Literal["provider", "estimated"]
CostSource = Literal["reported", "price", "price map", "unknown"]
"""Where a cost comes from: the server's own figure, the caller's prices, litellm's map; unknown counts as 0."""

Price = tuple[float, float]
"""US dollars a million tokens: prompt, completion."""


@dataclass(frozen=True, slots=True)
class Answered:
    """A completion as litellm reads it, beside the body that came over the wire.

    The body is there because litellm fills in what a server left out: usage with zeros. `raw` is
    None where the provider's format is not that of chat completions.
    """

    response: Any
    raw: Mapping[str, Any] | None

    @property
    def choice(self) -> Any:
        return self.response.choices[0]

    @property
    def finish_reason(self) -> str | None:
        return str(self.choice.finish_reason) if self.choice.finish_reason else None


def answered(response: Any, body: Any) -> Answered:
    """`body` is what came over the wire, read or as JSON text; anything else where nothing was captured."""
    try:
        raw = json.loads(body) if isinstance(body, str) else body
    except ValueError:
        raw = None
    choices = raw.get("choices") if isinstance(raw, dict) else None
    whole = isinstance(choices, list) and len(choices) > 0 and isinstance(choices[0], dict)
    return Answered(response, raw if whole else None)


def to_reply(
    got: Answered,
    prompt: tuple[ChatMessage, ...],
    *,
    name: str,
    price: Price | None,
    sampling: Mapping[str, Any],
) -> Reply:
    """The reply; raises PassingTrouble where the completion broke off."""
    if not got.response.choices:
        usage, _, _ = spent(got, prompt, "", name, price)
        raise PassingTrouble(f"{name}: the server sent a completion without choices", usage=usage)
    message = got.choice.message
    text = message.content or ""
    usage, source, cost = spent(got, prompt, text, name, price)
    finish = got.finish_reason
    if finish is None:
        raise PassingTrouble(f"{name}: the reply broke off: the server gave no finish_reason", usage=usage)
    said = got.raw["choices"][0]["message"] if got.raw is not None else {}
    calls = tool_requests(message.tool_calls or (), said.get("tool_calls") or ())
    refusal = (getattr(message, "provider_specific_fields", None) or {}).get("refusal")
    declined = refusal or ("stopped by the provider's content filter" if finish == "content_filter" else None)
    return Reply(
        text=text,
        prompt=prompt,
        tool_calls=calls,
        error=f"the model declined: {declined}" if declined and not text and not calls else None,
        finish_reason=finish,
        extra=_own(said, MESSAGE) or None,
        usage=usage,
        usage_source=source,
        model=str(got.response.model or name),
        revision=str(getattr(got.response, "system_fingerprint", None) or ""),
        sampling={**sampling, "cost_source": cost},
        prompt_ids=_ids(getattr(got.response, "prompt_token_ids", None)),
        token_ids=_ids(_extra(got.choice, "token_ids")),
        logprobs=_logprobs(getattr(got.choice, "logprobs", None)),
    )


# --- tool calls ---------------------------------------------------------------------------------------------


MESSAGE = ("role", "content", "tool_calls", "function_call", "refusal", "annotations", "audio", "token_ids")
CALL = ("id", "type", "function", "index", "name", "arguments")
"""Fields that are read; all others are the provider's own."""


def _own(said: Mapping[str, Json], known: Sequence[str]) -> dict[str, Json]:
    return {name: value for name, value in said.items() if name not in known and value not in (None, "", [], {})}


def tool_requests(calls: Sequence[Any], said: Sequence[Mapping[str, Json]]) -> tuple[ToolRequest, ...]:
    """Tool calls with ids that are unique in the reply: servers repeat them or leave them out.

    said: the same calls as they came over the wire.
    """
    seen: set[str] = set()
    requests = []
    for position, call in enumerate(calls, start=1):
        id = call.id or f"call-{position}"
        if id in seen:
            id = f"{id}-{position}"
        seen.add(id)
        raw = call.function.arguments or ""
        own = _own(said[position - 1], CALL) if len(said) == len(calls) else {}
        requests.append(ToolRequest(id, str(call.function.name or ""), raw, arguments(raw), own or None))
    return tuple(requests)


def arguments(raw: str) -> Mapping[str, Any] | None:
    """The JSON object in a tool call, also one that was encoded twice; None where it is anything else.

    No text, null and an empty list are calls without arguments: that is how some servers write {}.
    """
    if not raw.strip():
        return {}
    try:
        value = json.loads(raw)
        value = json.loads(value) if isinstance(value, str) and value.strip() else value
    except (ValueError, RecursionError):
        return None
    if value in (None, [], ""):
        return {}
    return value if isinstance(value, dict) else None


# --- usage and price ----------------------------------------------------------------------------------------


def spent(
    got: Answered, prompt: Sequence[ChatMessage], text: str, name: str, price: Price | None
) -> tuple[Usage, UsageSource, CostSource]:
    """What the completion cost. A server that reports no usage gets an estimate of four bytes a token."""
    usage: Any = getattr(got.response, "usage", None)
    missing = got.raw is not None and not got.raw.get("usage")
    if usage is None or missing or (usage.prompt_tokens or 0) <= 0 or (usage.completion_tokens or 0) < 0:
        prompt_tokens, completion_tokens = size(prompt) // 4 + 1, _bytes(text) // 4 + 1
        own = reported(usage)
        usd, cost = _priced(name, prompt_tokens, completion_tokens, price) if own is None else (own, "reported")
        return Usage(0, 1, prompt_tokens, completion_tokens, 0, usd), "estimated", cost
    details = getattr(usage, "prompt_tokens_details", None)
    cached = int(getattr(details, "cached_tokens", None) or 0)
    usd, cost = _cost(usage, name, price)
    return Usage(0, 1, int(usage.prompt_tokens), int(usage.completion_tokens or 0), cached, usd), "provider", cost


def reported(usage: Any) -> float | None:
    """The server's own figure in dollars, as a number or as text; None where it gives none that can be a cost."""
    own = getattr(usage, "cost", None)
    if isinstance(own, bool) or not isinstance(own, (int, float, str)):
        return None
    try:
        value = float(own)
    except (ValueError, OverflowError):
        return None
    return value if value >= 0 and math.isfinite(value) else None


def _cost(usage: Any, name: str, price: Price | None) -> tuple[float, CostSource]:
    own = reported(usage)
    if own is not None:
        return own, "reported"
    if price is not None:
        return _priced(name, usage.prompt_tokens, usage.completion_tokens or 0, price)
    return _mapped(name, usage_object=usage)


def _priced(name: str, prompt: int, completion: int, price: Price | None) -> tuple[float, CostSource]:
    if price is not None:
        return (prompt * price[0] + completion * price[1]) / 1e6, "price"
    return _mapped(name, prompt_tokens=prompt, completion_tokens=completion)


def _mapped(name: str, **counts: Any) -> tuple[float, CostSource]:
    module = litellm()
    try:
        return float(sum(module.cost_per_token(model=name, **counts))), "price map"
    except (module.exceptions.ModelNotMappedError, module.exceptions.BadRequestError):
        return 0.0, "unknown"


def ceiling(name: str, prompt_bytes: int, max_tokens: int, price: Price | None) -> Usage:
    """Upper bound of one request: a token is at least a byte in every tokenizer that falls back on bytes."""
    usd, _ = _priced(name, prompt_bytes, max_tokens, price)
    return Usage(0, 1, prompt_bytes, max_tokens, 0, usd)


def size(messages: Sequence[ChatMessage]) -> int:
    """Bytes of the messages' text."""
    return sum(
        _bytes(message.content)
        + (0 if message.extra is None else len(json.dumps(message.extra)))
        + sum(len(call.name) + len(call.arguments_raw) for call in message.tool_calls)
        for message in messages
    )


def _bytes(text: str) -> int:
    """Bytes of a text as it is sent: a lone surrogate is as long as the mark that takes its place."""
    return len(text.encode("utf-8", "surrogatepass"))


# --- tokens -------------------------------------------------------------------------------------------------


def _extra(choice: Any, name: str) -> Any:
    return (getattr(choice, "provider_specific_fields", None) or {}).get(name)


def _ids(values: Any) -> array[int] | None:
    return array("i", values) if values else None


def _logprobs(reported: Any) -> array[float] | None:
    content = getattr(reported, "content", None)
    return array("f", [entry.logprob for entry in content]) if content else None
