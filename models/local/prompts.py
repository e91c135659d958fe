"""Prompts on their way into a network: padded into one table, and what was read of them.

Shapes: P prompts, S tokens of the longest, V vocabulary.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Read:
    """Prompts that were read together."""

    which: Sequence[int]
    """Their indexes among those that were given."""
    logits: Tensor
    """(P, V), after each; float32"""
    told: Sequence[array[float] | None]
    """Log-probabilities of their tokens from the second on, where these were asked for."""
    shared: int
    """Tokens that stand before all of them and were read once."""
    again: bool
    """Others were read after the same tokens before."""
    cached: Any
    """Keys and values, as the network has them."""


def padded(prompts: Sequence[array[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Token ids (P, S), each row from the right, and how many of each row are no part of its prompt (P,)."""
    size = max(map(len, prompts))
    joined = b"".join(bytes(4 * (size - len(prompt))) + prompt.tobytes() for prompt in prompts)
    ids = torch.frombuffer(bytearray(joined), dtype=torch.int32).view(len(prompts), size)
    pads = torch.tensor([size - len(prompt) for prompt in prompts])
    return ids.to(device).long(), pads.to(device)


def logprobs_of(logits: Tensor, targets: Tensor) -> Tensor:
    """Log-probabilities (P, N) of targets (P, N) by the first N of logits (P, >= N, V)."""
    logits = logits[:, : targets.shape[1]]
    return logits.gather(2, targets[:, :, None])[:, :, 0] - logits.logsumexp(dim=2)


def floats(values: Tensor) -> array[float]:
    return array("f", values.float().contiguous().numpy().tobytes())


def alike(prompts: Sequence[array[int]], least: int, worth: int) -> list[tuple[int, list[int]]]:
    """Indexes of prompts in groups, the shortest first, each with the tokens that it is worth reading once for all.

    These are at least `least` at the beginning, and `worth` in all the others of the group; prompts without are
    together in the last group, with 0 tokens. Each prompt has one token left to go on from.
    """
    starts: dict[bytes, list[int]] = {}
    for at, prompt in enumerate(prompts):
        if len(prompt) > least:
            starts.setdefault(prompt[:least].tobytes(), []).append(at)
    found = []
    for group in starts.values():
        if len(group) > 1 and (len(group) - 1) * (shared := _common([prompts[at] for at in group])) >= worth:
            found.append((shared, group))
    rest = set(range(len(prompts))).difference(*(group for _, group in found))
    groups = [*found, (0, list(rest))] if rest else found
    return [(shared, sorted(group, key=lambda at: len(prompts[at]))) for shared, group in groups]


def _common(prompts: Sequence[array[int]]) -> int:
    """Tokens with which all of them begin, one short of the whole of any."""
    first, last = min(prompts), max(prompts)
    most = min(map(len, prompts)) - 1
    return next((at for at in range(most) if first[at] != last[at]), most)
