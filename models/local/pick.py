"""Picking a token: a sample that depends on nothing but its prompt, its seed, its index and its place.

Shapes: R rows, V vocabulary.
"""

from __future__ import annotations

import hashlib
from array import array
from functools import lru_cache

import torch
from torch import Tensor

PART = 1 << 16
"""Numbers of noise that are made at once on a CPU: so many stay near it."""


def pick(
    logits: Tensor, score: Tensor | None, key: Tensor, count: Tensor, heat: Tensor | None, greedy: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Next tokens (R,) and their log-probabilities (R,) at the temperatures `heat` (R, 1); None is 1.

    score: (R, V), of `scores`; None: it is made here. key: (R, 2), of `key`. count: (R,), tokens that each row has.
    greedy: (R, 1), rows that take the likeliest; None: there are no such.

    The largest of log p - log E with E ~ Exp(1) is a sample of p (the Gumbel-max trick). Unlike the inverse
    of the distribution function it hardly ever tips over when batching changes the last bits of the logits.
    """
    logp = torch.log_softmax(logits if heat is None else logits / heat, dim=-1)
    whole = score is not None or logits.device.type != "cpu"
    size = len(logits) if whole else max(1, PART // logits.shape[1])
    parts = []
    for at in range(0, len(logits), size):
        part = slice(at, at + size)
        noised = scores(key[part], count[part, None], logits.shape[1])[:, 0] if score is None else score
        if greedy is not None:
            noised.masked_fill_(greedy[part], 0.0)
        parts.append(noised.add_(logp[part]).argmax(dim=-1))
    tokens = parts[0] if len(parts) == 1 else torch.cat(parts)
    return tokens, logp.gather(1, tokens[:, None])[:, 0]


def scores(key: Tensor, count: Tensor, vocabulary: int) -> Tensor:
    """What is added to log-probabilities (R, A, V) of rows with so many tokens (R, A)."""
    return noise(key, count, vocabulary).log_().neg_()


def noise(key: Tensor, count: Tensor, vocabulary: int) -> Tensor:
    """Exp(1) noise (R, A, V) that depends on nothing but key, count (R, A) and token, on every device alike.

    A counter goes through a 32-bit mixing function; each row's key differs by seed and sample, so what else
    is in the batch cannot matter. Resolution 2**-31.
    """
    row = _mixed(key[:, :1] + count.int() * _signed(0x9E3779B1)) ^ key[:, 1:]  # (R, A)
    bits = _mixed(row[..., None] + _steps(vocabulary, key.device)).bitwise_and_(0x7FFFFFFF)
    return bits.float().add_(0.5).mul_(-(2.0**-31)).log1p_().neg_()


@lru_cache(maxsize=8)
def _steps(vocabulary: int, device: torch.device) -> Tensor:
    return torch.arange(vocabulary, dtype=torch.int32, device=device) * _signed(0x9E3779B1)


def _mixed(x: Tensor) -> Tensor:
    """Every bit of the result depends on every bit of `x`, which it overwrites (xor-shift and multiply, twice)."""
    x ^= (x >> 16).bitwise_and_(0xFFFF)
    x *= _signed(0x7FEB352D)
    x ^= (x >> 15).bitwise_and_(0x1FFFF)
    x *= _signed(0x846CA68B)
    x ^= (x >> 16).bitwise_and_(0xFFFF)
    return x


def _signed(value: int) -> int:
    """The int32 with the low 32 bits of `value`."""
    return ((value + (1 << 31)) & 0xFFFFFFFF) - (1 << 31)


def salt(prompt: array[int]) -> bytes:
    """Without it all prompts that share a seed would share their noise, and err together."""
    return hashlib.blake2b(prompt.tobytes(), digest_size=16).digest()


def key(seed: int, index: int, salt: bytes) -> bytes:
    """Eight bytes, two int32, of the sample that a seed and an index stand for."""
    return hashlib.blake2b(b"%d/%d" % (seed, index), digest_size=8, key=salt).digest()
