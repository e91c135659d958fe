"""Any other network of transformers, by its own forward pass: its masks, its caches, and closed batches.

Shapes: P prompts, R rows, V vocabulary.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache

from surefoot.models.local.prompts import Read, floats, logprobs_of, padded

LOGITS = 1 << 24
"""The most logits that are held at once while prompts are read."""


class Foreign:
    """A network whose rows cannot join others that are under way."""

    joins = False
    room = layout = memory = 0

    def __init__(self, network: Any) -> None:
        self._network = network
        self._cache: Any = None
        self._pads = torch.empty(0)
        self._columns = 0

    def renew(self) -> None:
        """Its weights are the network's own."""

    def prompts(self, prompts: Sequence[array[int]], told: bool) -> Iterator[Read]:
        """All of them at once, padded on the left."""
        network = self._network
        ids, pads = padded(prompts, network.device)
        width = ids.shape[1]
        columns = torch.arange(width, device=ids.device)
        places = (columns[None] - pads[:, None]).clamp_min(0)
        mask = (columns[None] >= pads[:, None]).long()
        cache = DynamicCache(config=network.config)
        stride = max(1, LOGITS // (len(ids) * network.config.get_text_config().vocab_size)) if told else width
        logits, parts = torch.empty(0), []
        for start in range(0, width, stride):
            stop = min(start + stride, width)
            logits = network(
                ids[:, start:stop],
                past_key_values=cache,
                position_ids=places[:, start:stop],
                attention_mask=mask[:, :stop],
                use_cache=True,
                logits_to_keep=0 if told else 1,
            ).logits.float()  # (P, stop - start, V)
            if told:
                parts.append(logprobs_of(logits, ids[:, start + 1 : stop + 1]))
        table = torch.cat(parts, dim=1).cpu() if told else None  # (P, width - 1)
        found = [None if table is None else floats(table[at, int(pads[at]) :]) for at in range(len(ids))]
        yield Read(range(len(ids)), logits[:, -1], found, 0, False, (cache, pads))

    def join(self, rows: Sequence[int], prompts: Tensor, read: Read) -> None:
        """Rows, all that there are, and the prompt that each goes on from."""
        self._cache, pads = read.cached
        self._cache.batch_select_indices(prompts)
        self._pads, self._columns = pads[prompts], self._cache.get_seq_length()

    def fit(self, place: int, ahead: int) -> None:
        """Its cache grows by itself."""

    def keep(self, rows: Tensor) -> None:
        if self._cache is not None:
            self._cache.batch_select_indices(rows)
            self._pads = self._pads[rows]

    def clear(self) -> None:
        self._cache = None

    def forward(self, tokens: Tensor, places: Tensor) -> Tensor:
        """Logits (R, V) after one more token (R,) of each row, which stands at its place (R,)."""
        mask = torch.arange(self._columns + 1, device=tokens.device)[None] >= self._pads[:, None]
        told = self._network(
            tokens[:, None],
            past_key_values=self._cache,
            position_ids=places[:, None],
            attention_mask=mask.long(),
            use_cache=True,
            logits_to_keep=1,
        )
        return told.logits[:, -1].float()  # type: ignore[no-any-return]  # transformers is untyped here

    def moved(self) -> None:
        """`forward` was done."""
        self._columns += 1
