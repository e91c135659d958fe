"""Sampling from local weights: one prefill a prompt, all samples together, exact ids and log-probabilities.

Shapes: P prompts, R rows (samples still being drawn), T tokens so far, V vocabulary.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Collection, Generator, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin, DynamicCache, DynamicLayer

from surefoot.models.local.sampler import Draw, Drawn, check
from surefoot.models.local.weights import Weights

LOGITS = 1 << 24
"""The most logits that are held at once while a prompt is read."""
BLOCK = 64
"""Tokens by which the room for keys and values grows."""
LOOK = 8
"""Tokens after which whoever waits is asked which rows are still wanted."""


class Decoder:
    """A TokenSampler of a network in this process. Not for two threads at once."""

    def __init__(self, weights: Weights, *, prompt_logprobs: bool = True, threads: int | None = None) -> None:
        """`threads` is torch's number of threads while it works; None leaves it alone."""
        self._network = network = weights.network
        self._ends = torch.tensor(sorted(weights.ends), dtype=torch.long, device=network.device)
        self._pad = weights.tokenizer.pad_token_id or 0
        self._prompt_logprobs = prompt_logprobs
        self._threads = threads
        # Layers with a window of their own, or with state, need transformers' own caches and masks.
        self._plain = all(type(layer) is DynamicLayer for layer in DynamicCache(config=network.config).layers)
        self._dropped: set[int] = set()
        """Of the batch under way."""

    @torch.inference_mode()
    def sample(self, prompts: Sequence[array[int]], draws: Sequence[Draw]) -> Generator[list[Drawn], None, None]:
        check(prompts, draws)
        self._dropped.clear()
        training, threads = self._network.training, torch.get_num_threads()
        self._network.eval()
        torch.set_num_threads(self._threads or threads)
        try:
            cache, logits, told = self._prefill(prompts)
            yield from self._decode(cache, logits, _Rows(draws, prompts, logits.device, told))
        finally:
            torch.set_num_threads(threads)
            self._network.train(training)

    def drop(self, draws: Collection[int]) -> None:
        self._dropped.update(draws)

    # --- prompts ---

    def _prefill(self, prompts: Sequence[array[int]]) -> tuple[Any, Tensor, list[array[float] | None]]:
        """The cache over all prompts (padded on the left), the logits after each (P, V), and log-probabilities."""
        device = self._network.device
        lengths = [len(prompt) for prompt in prompts]
        width = max(lengths)
        padded = [[self._pad] * (width - len(prompt)) + list(prompt) for prompt in prompts]
        ids = torch.tensor(padded, device=device)  # (P, width)
        pads = width - torch.tensor(lengths, device=device)  # (P,)
        columns = torch.arange(width, device=device)
        positions = (columns[None] - pads[:, None]).clamp_min(0)  # (P, width)
        mask = (columns[None] >= pads[:, None]).long() if min(lengths) < width else None  # (P, width)
        cache = DynamicCache(config=self._network.config)
        vocabulary = self._network.config.get_text_config().vocab_size
        stride = max(1, LOGITS // (len(prompts) * vocabulary)) if self._prompt_logprobs else width
        logits, parts = torch.empty(0), []
        for start in range(0, width, stride):
            stop = min(start + stride, width)
            logits = self._network(
                ids[:, start:stop],
                past_key_values=cache,
                position_ids=positions[:, start:stop],
                attention_mask=None if mask is None else mask[:, :stop],
                use_cache=True,
                logits_to_keep=0 if self._prompt_logprobs else 1,
            ).logits.float()  # (P, stop - start, V)
            if self._prompt_logprobs:
                parts.append(_logprobs_of(logits, ids[:, start + 1 : stop + 1]))
        told: list[array[float] | None] = [None] * len(prompts)
        if parts:
            table = torch.cat(parts, dim=1).cpu()  # (P, width - 1)
            told = [_floats(row[width - length :]) for row, length in zip(table, lengths, strict=True)]
        return cache, logits[:, -1], told

    # --- replies ---

    def _decode(self, cache: Any, logits: Tensor, rows: _Rows) -> Generator[list[Drawn], None, None]:
        logits = logits[rows.prompt]  # (R, V)
        cache = self._spread(cache, rows.prompt)
        for step in range(rows.most):
            tokens, logprobs = _pick(logits, rows, step)
            ended = torch.isin(tokens, self._ends)
            over = rows.live & (ended | (rows.limit <= step + 1))
            rows.write(step, tokens, logprobs)
            drawn = [rows.drawn(row, step + 1, bool(ended[row])) for row in over.nonzero().flatten().tolist()]
            rows.live &= ~over
            if drawn or step % LOOK == LOOK - 1:
                yield drawn
                rows.forget(self._dropped)
            left = int(rows.live.sum())
            if not left:
                return
            # Dropping rows copies the cache, so it waits until a quarter of them is dead weight.
            if left * 4 <= len(rows.live) * 3:
                keep = rows.live.nonzero().flatten()
                tokens = tokens[keep]
                rows.keep(keep)
                cache.batch_select_indices(keep)
            logits = self._step(cache, tokens, rows, step)

    def _spread(self, cache: Any, prompt: Tensor) -> Any:
        """The prompts' cache with a row for each sample."""
        if self._plain:
            return Slab(cache, prompt)
        cache.batch_select_indices(prompt)
        return cache

    def _step(self, cache: Any, tokens: Tensor, rows: _Rows, step: int) -> Tensor:
        """Logits (R, V) after one more token of each row."""
        length = rows.width + step + 1
        mask = None
        if rows.padded:
            seen = torch.arange(length, device=tokens.device)[None] >= rows.pad[:, None]  # (R, length)
            mask = seen[:, None, None] if self._plain else seen.long()
            if self._plain:  # what is added to the scores, as every attention implementation takes it
                mask = torch.zeros(mask.shape, dtype=self._network.dtype, device=mask.device).masked_fill_(
                    ~mask, torch.finfo(self._network.dtype).min
                )
        told = self._network(
            tokens[:, None],
            past_key_values=cache,
            position_ids=(rows.length + step)[:, None],
            attention_mask=mask,
            use_cache=True,
            logits_to_keep=1,
        )
        return told.logits[:, -1].float()  # type: ignore[no-any-return]  # transformers is untyped here


class _Rows:
    """What belongs to each sample being drawn; the first dimension of every tensor is R."""

    def __init__(
        self,
        draws: Sequence[Draw],
        prompts: Sequence[array[int]],
        device: torch.device,
        told: Sequence[array[float] | None],
    ) -> None:
        def column(values: list[Any], dtype: torch.dtype) -> Tensor:
            return torch.tensor(values, dtype=dtype, device=device)

        lengths = [len(prompt) for prompt in prompts]
        self.width = max(lengths)
        self.padded = min(lengths) < self.width
        self.told = [told[draw.prompt] for draw in draws]
        self.most = max(draw.max_tokens for draw in draws)
        self.index = column(list(range(len(draws))), torch.long)
        self.prompt = column([draw.prompt for draw in draws], torch.long)
        self.length = column([lengths[draw.prompt] for draw in draws], torch.long)
        self.pad = self.width - self.length
        self.limit = column([draw.max_tokens for draw in draws], torch.long)
        self.greedy = column([draw.temperature <= 0 for draw in draws], torch.bool)[:, None]
        self.any_greedy, self.all_greedy = bool(self.greedy.any()), bool(self.greedy.all())
        self.heat = column([draw.temperature if draw.temperature > 0 else 1.0 for draw in draws], torch.float)[:, None]
        # Without it all prompts that share a seed would share their noise, and err together.
        salts = [hashlib.blake2b(prompt.tobytes(), digest_size=16).digest() for prompt in prompts]
        self.key = column([_key(draw, salts[draw.prompt]) for draw in draws], torch.int32)  # (R, 2)
        self.live = torch.ones(len(draws), dtype=torch.bool, device=device)
        self.ids = torch.empty((len(draws), BLOCK), dtype=torch.int32, device=device)
        self.logprobs = torch.empty((len(draws), BLOCK), device=device)

    def write(self, step: int, tokens: Tensor, logprobs: Tensor) -> None:
        if step == self.ids.shape[1]:
            self.ids = _wider(self.ids, step)
            self.logprobs = _wider(self.logprobs, step)
        self.ids[:, step] = tokens
        self.logprobs[:, step] = logprobs

    def drawn(self, row: int, count: int, ended: bool) -> Drawn:
        draw = int(self.index[row])
        ids = array("i", self.ids[row, :count].cpu().numpy().tobytes())
        logprobs = _floats(self.logprobs[row, :count].cpu())
        return Drawn(draw, ids, logprobs, "stop" if ended else "length", self.told[draw])

    def forget(self, dropped: Collection[int]) -> None:
        if dropped:
            self.live &= torch.tensor([index not in dropped for index in self.index.tolist()], device=self.live.device)

    def keep(self, rows: Tensor) -> None:
        for name in ("index", "length", "pad", "limit", "greedy", "heat", "key", "live", "ids", "logprobs"):
            setattr(self, name, getattr(self, name)[rows])


class Slab(Cache):  # type: ignore[misc]  # transformers is untyped here
    """Keys and values with room to grow, written in place: joining them anew at every token is quadratic."""

    def __init__(self, cache: Any, rows: Tensor) -> None:
        super().__init__(layers=[_SlabLayer(layer, rows) for layer in cache.layers])


class _SlabLayer(CacheLayerMixin):  # type: ignore[misc]  # transformers is untyped here
    def __init__(self, layer: Any, rows: Tensor) -> None:
        super().__init__()
        self.length = layer.keys.shape[2]
        self.room = self.length
        self.keys, self.values = layer.keys, layer.values  # (P, heads, room, width)
        self.is_initialized = True
        self._move(rows, self.length + BLOCK)

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """There from the start."""

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        stop = self.length + key_states.shape[2]
        if stop > self.room:
            self._move(None, stop + max(BLOCK, self.length // 2))
        self.keys[:, :, self.length : stop] = key_states
        self.values[:, :, self.length : stop] = value_states
        self.length = stop
        return self.keys[:, :, :stop], self.values[:, :, :stop]

    def batch_select_indices(self, indices: Tensor) -> None:
        self._move(indices, self.room)

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.length + query_length, 0

    def get_seq_length(self) -> int:
        return int(self.length)

    def get_max_length(self) -> int:
        return -1

    def _move(self, rows: Tensor | None, room: int) -> None:
        for name in ("keys", "values"):
            old = getattr(self, name)[:, :, : self.length]
            count = old.shape[0] if rows is None else len(rows)
            new = old.new_empty((count, old.shape[1], room, old.shape[3]))
            new[:, :, : self.length] = old if rows is None else old[rows]
            setattr(self, name, new)
        self.room = room


# --- picking a token ----------------------------------------------------------------------------------------


def _pick(logits: Tensor, rows: _Rows, step: int) -> tuple[Tensor, Tensor]:
    """Next tokens (R,) and their log-probabilities (R,).

    The largest of log p - log E with E ~ Exp(1) is a sample of p (the Gumbel-max trick). Unlike the inverse
    of the distribution function it hardly ever tips over when batching changes the last bits of the logits.
    """
    logp = torch.log_softmax(logits / rows.heat, dim=-1)
    if rows.all_greedy:
        tokens = logp.argmax(dim=-1)
    else:
        noise = _noise(rows.key, step, logits.shape[1]).log_().neg_()
        if rows.any_greedy:
            noise.masked_fill_(rows.greedy, 0.0)
        tokens = noise.add_(logp).argmax(dim=-1)
    return tokens, logp.gather(1, tokens[:, None])[:, 0]


def _noise(key: Tensor, step: int, vocabulary: int) -> Tensor:
    """Exp(1) noise (R, V) that depends on nothing but key, step and token, on every device alike.

    A counter goes through a 32-bit mixing function; each row's key differs by seed and sample, so what else
    is in the batch cannot matter. Resolution 2**-31.
    """
    row = _mixed(key[:, :1] + _signed(step * 0x9E3779B1)) ^ key[:, 1:]  # (R, 1)
    token = torch.arange(vocabulary, dtype=torch.int32, device=key.device)
    bits = _mixed(row + token[None] * _signed(0x9E3779B1)) & 0x7FFFFFFF
    return bits.float().add_(0.5).mul_(-(2.0**-31)).log1p_().neg_()


def _mixed(x: Tensor) -> Tensor:
    """Every bit of the result depends on every bit of `x` (xor-shift and multiply, twice)."""
    x = x ^ ((x >> 16) & 0xFFFF)
    x *= _signed(0x7FEB352D)
    x ^= (x >> 15) & 0x1FFFF
    x *= _signed(0x846CA68B)
    return x.bitwise_xor_((x >> 16) & 0xFFFF)


def _signed(value: int) -> int:
    """The int32 with the low 32 bits of `value`."""
    return ((value + (1 << 31)) & 0xFFFFFFFF) - (1 << 31)


def _key(draw: Draw, salt: bytes) -> tuple[int, int]:
    digest = hashlib.blake2b(f"{draw.seed}/{draw.index}".encode(), digest_size=8, key=salt).digest()
    return _signed(int.from_bytes(digest[:4], "little")), _signed(int.from_bytes(digest[4:], "little"))


def _logprobs_of(logits: Tensor, targets: Tensor) -> Tensor:
    """Log-probabilities (P, S) of targets (P, S) by the first S of logits (P, >= S, V)."""
    logits = logits[:, : targets.shape[1]]
    return logits.gather(2, targets[:, :, None])[:, :, 0] - logits.logsumexp(dim=2)


def _wider(table: Tensor, more: int) -> Tensor:
    return torch.cat([table, torch.empty((table.shape[0], more), dtype=table.dtype, device=table.device)], dim=1)


def _floats(values: Tensor) -> array[float]:
    return array("f", values.float().contiguous().numpy().tobytes())
