"""The seam between a model with local weights and what samples from them.

Plain data both ways: token ids go in, token ids and their log-probabilities come out. Nothing here knows of questions,
text or dialects, or of torch, so a sampler may as well work in another process.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal, Protocol


@dataclass(frozen=True, slots=True)
class Request:
    """Samples to draw from one prompt."""

    prompt: array[int]
    """int32 token ids, the special ones included."""
    seed: int
    count: int
    """Samples; their indexes are 0 to `count` - 1."""
    max_tokens: int
    """Of each sample; the end token counts."""
    temperature: float = 1.0
    """At 0 and below the likeliest token is taken, whatever the seed."""

    def __post_init__(self) -> None:
        """Raises ValueError where there is nothing to draw, or nothing to draw it from."""
        if not self.prompt or self.count < 1 or self.max_tokens < 1:
            raise ValueError(f"{self.count} samples of {self.max_tokens} tokens after {len(self.prompt)} of a prompt")


@dataclass(frozen=True, slots=True)
class Drawn:
    """One finished sample."""

    request: int
    """The number that its request was given."""
    index: int
    ids: array[int]
    """int32, from 1 to `max_tokens` of them; the last is an end token where it stopped by itself."""
    logprobs: array[float]
    """float32, in nats, one a token, at the temperature that sampled it; at temperature 1 where that was 0."""
    finish_reason: Literal["stop", "length"]
    """It ended by itself, with one of the end tokens of the weights; or it was cut off at `max_tokens`."""
    prompt_logprobs: array[float] | None
    """float32, in nats, one a prompt token from the second on, at temperature 1; None where the sampler tells none."""
    cached: int
    """Prompt tokens that were not read for this sample: another one had read them."""
    retries: int = 0
    """How often its request was begun anew because what samples had died."""


class TokenSampler(Protocol):
    """Samples from weights of its own. It is used by one thread at a time.

    A sample is decided by (ids of its prompt, seed, index), its temperature and its `max_tokens`, never by what is
    drawn beside it, up to ties within float rounding; a larger `max_tokens` only makes it longer. Samples of other
    prompts, seeds or indexes are independent of it.
    """

    def add(self, number: int, request: Request) -> None:
        """Draws the samples of a request with all others that are under way. `number` is not among those."""
        ...

    def step(self) -> list[Drawn]:
        """Goes on for some tokens; the samples that have ended since the last time, in any order, each once.

        Comes back with nothing every few tokens, so that whoever asks can `add` and `drop`, and at once where nothing
        is under way. What goes wrong with the weights is raised as it is; nothing is under way any more then.
        """
        ...

    def drop(self, numbers: Collection[int]) -> None:
        """Requests that nobody waits for. Those that have ended may be among them."""
        ...
