"""The seam between a model with local weights and what samples from them.

Plain data both ways: token ids go in, token ids and their log-probabilities come out. Nothing here knows of questions,
text or dialects, or of torch, so a sampler may as well work in another process.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Generator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol


@dataclass(frozen=True, slots=True)
class Draw:
    """One sample to draw."""

    prompt: int
    """Index of its prompt."""
    seed: int
    index: int
    """Which of the samples drawn with this seed."""
    max_tokens: int
    """At least 1; the end token counts."""
    temperature: float = 1.0
    """At 0 and below the likeliest token is taken, whatever the seed."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """One finished sample."""

    draw: int
    """Index of its draw."""
    ids: array[int]
    """int32, from 1 to `max_tokens` of them; the last is an end token where it stopped by itself."""
    logprobs: array[float]
    """float32, in nats, one a token, at the temperature that sampled it; at temperature 1 where that was 0."""
    finish_reason: Literal["stop", "length"]
    """It ended by itself, with one of the end tokens of the weights; or it was cut off at `max_tokens`."""
    prompt_logprobs: array[float] | None
    """float32, in nats, one a prompt token from the second on, at temperature 1; None where the sampler tells none."""


class TokenSampler(Protocol):
    """Samples from weights of its own. It is asked by one thread at a time, and samples one batch at a time."""

    def sample(self, prompts: Sequence[array[int]], draws: Sequence[Draw]) -> Generator[list[Drawn], None, None]:
        """Draws every sample from `prompts` (int32 token ids, the special ones included).

        Yields the samples that have ended since the last time, in any order, each once; every few tokens also where
        that is none, so that whoever asked can `drop` what is not wanted any more. Closing it ends the batch.

        A sample is decided by (ids of its prompt, seed, index), its temperature and its `max_tokens`, never by what is
        drawn beside it, up to ties within float rounding; a larger `max_tokens` only makes it longer. Samples of other
        prompts, seeds or indexes are independent of it.

        The first item raises ValueError where `check` does. What else goes wrong with the weights is raised as it is.
        """
        ...

    def drop(self, draws: Collection[int]) -> None:
        """Indexes of draws of the batch under way that nobody waits for: they need not be drawn any further. Those that
        have ended may be among them. Called between two items of `sample`."""
        ...


def check(prompts: Sequence[array[int]], draws: Sequence[Draw]) -> None:
    """Raises ValueError where there is nothing to draw, a prompt is empty, or a draw names none or has no token."""
    if not draws or not all(prompts):
        raise ValueError(f"{len(draws)} samples of prompts of {[len(prompt) for prompt in prompts]} tokens")
    if wrong := [draw for draw in draws if draw.max_tokens < 1 or not 0 <= draw.prompt < len(prompts)]:
        raise ValueError(f"no such prompt, or not one token: {wrong[0]}")
