"""Samples under way: what belongs to each of them, as columns on the device.

Shapes: R rows (samples, or places for them), T tokens that there is room for, V vocabulary.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields

import torch
from torch import Tensor

from surefoot.models.local.pick import PART, key, pick, salt, scores
from surefoot.models.local.sampler import Request

AHEAD = 16
"""The most tokens of each row whose scores are made at once."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A sample that waits or is under way."""

    number: int
    request: Request
    index: int
    prompt_logprobs: array[float] | None = None
    cached: int = 0


@dataclass(slots=True)
class Rows:
    """What belongs to each row; the first dimension of every tensor is R."""

    key: Tensor
    """(R, 2), int32"""
    heat: Tensor
    """(R, 1)"""
    greedy: Tensor
    """(R, 1)"""
    limit: Tensor
    place: Tensor
    """Of `token` in its text."""
    token: Tensor
    """The last one."""
    count: Tensor
    """Tokens that were sampled."""
    live: Tensor
    """It is not over."""
    ids: Tensor
    """(R, T), int32; the last column is what rows that are over write to."""
    logprobs: Tensor
    """(R, T)"""
    plain: bool = field(kw_only=True)
    """All have temperature 1."""
    ahead: Tensor | None = field(default=None, kw_only=True)
    """Scores of the next tokens (R, A, V): few numbers are made as fast as one."""
    taken: int = field(default=0, kw_only=True)
    """Tokens of those that were."""

    @classmethod
    def beginning(cls, samples: Sequence[Sample], device: torch.device) -> Rows:
        def column(values: Iterable[float], dtype: torch.dtype) -> Tensor:
            return torch.tensor(list(values), dtype=dtype).to(device)

        size = len(samples)
        requests = [sample.request for sample in samples]
        salts = {id(one): salt(one.prompt) for one in requests}
        keys = b"".join(key(one.request.seed, one.index, salts[id(one.request)]) for one in samples)
        return cls(
            torch.frombuffer(bytearray(keys), dtype=torch.int32).view(size, 2).to(device),
            column((one.temperature if one.temperature > 0 else 1.0 for one in requests), torch.float)[:, None],
            column((one.temperature <= 0 for one in requests), torch.bool)[:, None],
            column((one.max_tokens for one in requests), torch.long),
            column((len(one.prompt) - 1 for one in requests), torch.long),
            torch.zeros(size, dtype=torch.long, device=device),
            torch.zeros(size, dtype=torch.long, device=device),
            torch.ones(size, dtype=torch.bool, device=device),
            torch.zeros((size, 2), dtype=torch.int32, device=device),
            torch.zeros((size, 2), device=device),
            plain=all(one.temperature == 1.0 for one in requests),
        )

    def take(self, logits: Tensor, goes_on: Tensor, ahead: bool) -> None:
        """One more token of each row that is not over, from logits (R, V). goes_on: tokens that end no sample (V,).

        ahead: scores may be made for several tokens at once, so that not all steps are alike.
        """
        heat, greedy = (None, None) if self.plain else (self.heat, self.greedy)
        score = self._score(logits) if ahead else None
        token, logprob = pick(logits, score, self.key, self.count, heat, greedy)
        at = torch.where(self.live, self.count, self.ids.shape[1] - 1)[:, None]
        self.ids.scatter_(1, at, token[:, None].int())
        self.logprobs.scatter_(1, at, logprob[:, None])
        self.token.copy_(token)
        self.count.add_(self.live)
        self.place.add_(self.live)
        self.live.logical_and_(self.count < self.limit).logical_and_(goes_on[token])

    def _score(self, logits: Tensor) -> Tensor | None:
        """Scores (R, V) of the next token; None where it is as well to make them for one at a time."""
        tokens = min(AHEAD, PART // logits.numel())
        if tokens < 2:
            return None
        if self.ahead is None or self.taken == self.ahead.shape[1]:
            counts = self.count[:, None] + torch.arange(tokens, device=logits.device)
            self.ahead, self.taken = scores(self.key, counts, logits.shape[1]), 0
        self.taken += 1
        return self.ahead[:, self.taken - 1]

    def room(self, size: int) -> None:
        """Room for so many tokens of each."""
        more = size + 1 - self.ids.shape[1]
        if more > 0:
            for name in ("ids", "logprobs"):
                table = getattr(self, name)
                setattr(self, name, torch.cat([table, table.new_zeros((len(table), more))], dim=1))

    def kept(self, rows: Tensor) -> Rows:
        """These rows, in this order."""
        return Rows(*(table[rows] for table in self._tables()), plain=self.plain)

    def put(self, rows: Tensor, other: Rows) -> None:
        """Other rows, which have one token each, in place of these."""
        for table, more in zip(self._tables(), other._tables(), strict=True):
            if table is self.ids or table is self.logprobs:
                table[rows, 0] = more[:, 0]
            else:
                table[rows] = more
        self.plain &= other.plain
        self.ahead = None

    def _tables(self) -> Iterator[Tensor]:
        return (getattr(self, one.name) for one in fields(self) if not one.kw_only)
