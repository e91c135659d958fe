"""What is asked of a model, and what it answers: the seam between the engine and every kind of model."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any, Literal, Protocol, runtime_checkable

from surefoot.storage.records import Json, Policy, Role, Usage, record


@record
class ToolSpec:
    """A tool as a model sees it."""

    name: str
    description: str
    parameters: Json
    """JSON Schema of an object."""


@record
class ToolRequest:
    """A model's wish to call a tool.

    `arguments_raw` is what it wrote; `arguments` is None where that is no JSON object.
    """

    id: str
    name: str
    arguments_raw: str
    arguments: Mapping[str, Json] | None
    extra: Json = None
    """Fields of the call that are the provider's own; it gets them back as they were."""


@record
class ChatMessage:
    """One message as the model saw or said it."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    tool_calls: tuple[ToolRequest, ...] = ()
    tool_call_id: str | None = None
    extra: Json = None
    """Fields of an assistant's message that are the provider's own, such as its reasoning; it gets them back as they
    were with what its calls came to."""


@record
class Question:
    """One typed question. A dialect renders it: as chat messages, or as compact text for small local models."""

    role: Role
    goal: str
    """The task or step in words; for the compact dialect all that the model sees."""
    instructions: str = ""
    """Standing orders of the role; the same for every question of a kind."""
    inputs: Mapping[str, Json] = field(default_factory=dict)
    output_schema: Json = None
    """JSON Schema of the answer; None asks for plain text."""
    tools: tuple[ToolSpec, ...] = ()
    tool_choice: Literal["auto", "required"] = "auto"
    """required: the answer must be a tool call."""
    follow_up: tuple[ChatMessage, ...] = ()
    """What was said after the first question: tool calls, their results, a critique."""
    temperature: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    form: int = 0
    """How the dialect puts it together: 0 as it is, 1 with its parts in another order. A dialect that has one way only
    takes no notice."""


@record
class Reply:
    """One sample of a model's answer, with everything that the record needs."""

    text: str
    prompt: tuple[ChatMessage, ...]
    """Exactly what the model saw."""
    tool_calls: tuple[ToolRequest, ...] = ()
    parsed: Json = None
    """The answer as a JSON value once `error` is None: the text itself where no schema was asked for."""
    error: str | None = None
    """Why the text is not an answer of the wanted type, in words that the model can act on."""
    unknown: bool = False
    """The model says that the question is of no kind that it knows."""
    repaired: bool = False
    finish_reason: str | None = None
    extra: Json = None
    """Fields of the message that are the provider's own, such as its reasoning."""
    usage: Usage = Usage(samples=1)
    usage_source: Literal["provider", "counted", "estimated", "none"] = "none"
    model: str = ""
    """The exact model that answered, as the provider reports it."""
    revision: str = ""
    latency_ms: float = 0.0
    retries: int = 0
    sampling: Mapping[str, Any] = field(default_factory=dict)
    prompt_ids: array[int] | None = None
    """int32, the whole prompt; None where the model does not tell."""
    token_ids: array[int] | None = None
    """int32, the sampled tokens."""
    logprobs: array[float] | None = None
    """float32, one a sampled token, at the temperature that sampled it."""
    prompt_logprobs: array[float] | None = None
    """float32, one a prompt token from the second on, at temperature 1: how usual the text looks to the model."""


@runtime_checkable
class Model(Protocol):
    """Anything that can be asked.

    `ask` draws `n` independent samples of one question, concurrently where it can, and shares what they have
    in common (the prompt's prefill, the request). It parses nothing beyond tool calls: `parsed`, `error` and
    `repaired` are filled in by `surefoot.models.answer`. It raises `ModelUnavailable` after its retries,
    `ModelRefused` where retrying would not help, `RequestsForbidden` where requests are switched off.
    """

    name: str
    """litellm name (`openai/gpt-5.1`) or the model's own (`pocket/word-problems`)."""

    @property
    def policy(self) -> Policy:
        """Exact revision, as far as it is known before the first reply."""
        ...

    def estimate(self, question: Question, n: int = 1) -> Usage:
        """Upper bound of what `ask` will spend; the budget reserves it before the call."""
        ...

    async def ask(self, question: Question, n: int = 1) -> Sequence[Reply]: ...


def card_of(model: Model) -> Mapping[str, Json]:
    """What was measured of a model when it was made, where it has a `card` that says so, as packaged ones do."""
    found: Mapping[str, Json] = getattr(model, "card", {})
    return found


def temperature_of(model: Model) -> float | None:
    """At which a model samples where a question names none, as far as it has a `temperature` that says so."""
    found = getattr(model, "temperature", None)
    return found if isinstance(found, int | float) else None
