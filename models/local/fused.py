"""The forward pass of a Llama-like network for sampling: few operations a layer, and shapes that never change.

transformers' own runs some forty small operations a layer and grows its cache at every token. Here matrices that read
the same are joined, weights of norms and the scale of attention are multiplied into them, and keys and values stand in
a ring of fixed width, so that rows of different lengths share it, rows join and leave between tokens, and a token step
can be captured as a CUDA graph.

Shapes: P prompts, S their tokens, N tokens of all rows, R rows, W the ring's width, H heads for queries and K for
keys, G = H / K, D a head's width, E the network's, V vocabulary.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)
from transformers.cache_utils import DynamicCache, DynamicLayer

from surefoot.models.local.prompts import Read, alike, floats, logprobs_of, padded

LARGEST = 1 << 30
"""Parameters of the largest network: joined matrices are copies, and above it a step is long enough for others."""
KINDS = frozenset({"llama", "mistral", "qwen2", "qwen3"})
"""Architectures, as their configurations call them, that are this and nothing else."""
ROPES = frozenset({"default", "linear", "llama3", "yarn"})
"""Rotations that depend on the position alone, and not on how long a text is."""

SHARED, WORTH = 16, 1 << 10
"""Tokens at their beginning that prompts must have in common, and that must be saved so, to be read once for all."""
READ = 1 << 13
"""The most tokens of prompts that are read at once, padding included."""
LOGITS = 1 << 22
"""The most logits that are held at once while prompts are read."""
BLOCK, GRAPH_BLOCK = 16, 128
"""Columns by which the ring grows, at least; on CUDA there are multiples, for each other number is another graph."""

Cached = list[tuple[Tensor, Tensor]]
"""Keys and values (P, K, S, D) of each layer."""


def fits(network: Any) -> bool:
    """Whether `Fused` computes what this network does."""
    config = network.config
    rope = getattr(config, "rope_parameters", None) or {}
    return bool(
        config.model_type in KINDS
        and rope.get("rope_type", "default") in ROPES
        and config.hidden_act == "silu"
        and all(type(layer) is DynamicLayer for layer in DynamicCache(config=config).layers)
        and all(type(part) is nn.Linear for layer in network.model.layers for part in _linear(layer))
        and network.num_parameters() <= LARGEST
    )


def _linear(layer: Any) -> list[Any]:
    attention, mlp = layer.self_attn, layer.mlp
    joined = [attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj]
    return [*joined, mlp.gate_proj, mlp.up_proj, mlp.down_proj]


class _Layer:
    """The matrices of a layer, joined."""

    def __init__(self, layer: Any) -> None:
        query, key, value, out, gate, up, down = _linear(layer)
        attention, scale = layer.self_attn, layer.self_attn.scaling
        self.turns: tuple[Tensor, Tensor] | None = None
        """Weights of the norms of queries and keys, where there are such (D,)."""
        if hasattr(attention, "q_norm"):
            self.turns = (attention.q_norm.weight * scale, attention.k_norm.weight)
            self.turn_eps, scale = attention.q_norm.variance_epsilon, 1.0
        self.heads = _joined(((query, scale), (key, 1.0), (value, 1.0)), layer.input_layernorm.weight)
        self.inner = _joined(((gate, 1.0), (up, 1.0)), layer.post_attention_layernorm.weight)
        self.out, self.down = (out.weight.t(), out.bias), (down.weight.t(), down.bias)
        self.eps = layer.input_layernorm.variance_epsilon


def _joined(parts: Sequence[tuple[Any, float]], norm: Tensor) -> tuple[Tensor, Tensor | None]:
    """One matrix (out, E), and its bias (out,), of several, each times a number, after a norm with such weights."""
    weights = torch.cat([part.weight.float() * scale for part, scale in parts]) * norm.float()
    bias = None
    if parts[0][0].bias is not None:
        bias = torch.cat([part.bias.float() * scale for part, scale in parts]).to(norm.dtype)
    return weights.to(norm.dtype), bias


class Fused:
    """Reads prompts, and then goes on by one token a row, with keys and values in a ring.

    Column `cursor % W` of the ring is written next, in all rows at once. A row of n tokens stands in the n columns
    before it; what is in other columns is masked.
    """

    joins = True

    def __init__(self, network: Any) -> None:
        self._model, self._head = network.model, network.lm_head
        config = network.config
        self._vocabulary = int(config.vocab_size)
        self._width = int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)
        self._queries, self._keys = int(config.num_attention_heads), int(config.num_key_value_heads)
        self._layers: list[_Layer] = []
        self._joined: list[tuple[int, int]] = []
        """What the joined matrices were made of: parameters and their versions."""
        self._cos = self._sin = torch.empty(0)
        self._captured = network.device.type == "cuda"
        """A step is captured once and played back, so what changes must be in tensors."""
        self.keys: list[Tensor] = []
        """(R, K, W, D) of each layer."""
        self.values: list[Tensor] = []
        """As the keys."""
        dtype = self._model.embed_tokens.weight.dtype
        self._always = torch.zeros((), dtype=dtype, device=network.device)
        self._never = torch.full((), torch.finfo(dtype).min, dtype=dtype, device=network.device)
        self._columns = torch.arange(0, device=network.device)
        """0 to W - 1"""
        self.cursor = torch.zeros(1, dtype=torch.long, device=network.device)
        self._next = 0
        """The same number, known without asking the device."""
        self.layout = 0
        """Another number whenever a step reads from elsewhere than the last one did."""

    def renew(self) -> None:
        """Takes over weights that were changed, as by training. (Of those that were made in torch's inference mode no
        change is seen.)"""
        read = (*self._model.parameters(), *self._head.parameters())
        made = [(id(one), 0 if one.is_inference() else one._version) for one in read]
        if made == self._joined:
            return
        self._layers, self._joined = [_Layer(layer) for layer in self._model.layers], made
        self._cos = torch.empty(0)
        self.layout += 1

    # --- prompts ---

    def prompts(self, prompts: Sequence[array[int]], told: bool) -> Iterator[Read]:
        """In parts, the shortest together; what many of them begin with is read once."""
        device = self.cursor.device
        for shared, group in alike(prompts, SHARED, WORTH):
            before, prefix, after = None, array("f"), torch.empty(0)
            if shared:
                ids, _ = padded([prompts[group[0]][:shared]], device)
                hidden, before = self.read(ids, None, last=not told)
                after = self.logits(hidden[:, -1])[0].log_softmax(-1)  # (V,)
                prefix = floats(self._told(hidden, ids)[0]) if told else prefix
            begun = 0
            while begun < len(group):
                rest = group[begun:]
                sizes = range(1, len(rest) + 1)  # the more, the longer the last, so that it can be halved
                size = max(1, bisect_right(sizes, READ, key=lambda n: n * (len(prompts[rest[n - 1]]) - shared)))
                which = rest[:size]
                ids, pads = padded([prompts[at][shared:] for at in which], device)
                hidden, cached = self.read(ids, pads if pads.any() else None, before, last=not told)
                found: list[array[float] | None] = [None] * size
                if told:
                    table, starts = self._told(hidden, ids), pads.tolist()
                    first = floats(after[ids[torch.arange(size), pads]].cpu()) if shared else array("f")
                    found = [prefix + first[at : at + 1] + floats(table[at, starts[at] :]) for at in range(size)]
                yield Read(which, self.logits(hidden[:, -1]), found, shared, begun > 0, (before, cached, pads))
                begun += size

    def _told(self, hidden: Tensor, ids: Tensor) -> Tensor:
        """Log-probabilities (P, S - 1) of tokens from the second on, on the CPU."""
        stride = max(1, LOGITS // (len(ids) * self._vocabulary))
        parts = [
            logprobs_of(self.logits(hidden[:, at : at + stride]), ids[:, at + 1 : at + 1 + stride])
            for at in range(0, ids.shape[1] - 1, stride)
        ]
        return torch.cat(parts, dim=1).cpu() if parts else torch.empty((len(ids), 0))

    def read(
        self, ids: Tensor, pads: Tensor | None, before: Cached | None = None, last: bool = False
    ) -> tuple[Tensor, Cached]:
        """Hidden states (P, S, E) after each token of `ids` (P, S), and keys and values of these tokens.

        pads: tokens (P,) at the beginning of each row that are no part of it. before: keys and values of what stands
        before all of them (1, K, T, D), without a gap. last: the hidden state after the last token alone (P, 1, E).
        """
        rows, length = ids.shape
        past = 0 if before is None else before[0][0].shape[2]
        columns = torch.arange(length, device=ids.device)
        places = past + (columns[None] if pads is None else (columns[None] - pads[:, None]).clamp_min(0))
        self._reach(past + length)
        cos, sin = (one[places.expand(rows, -1)].flatten(0, 1)[:, None] for one in (self._cos, self._sin))
        mask = None
        if pads is not None or past:
            mask = (columns[:, None] >= columns[None])[None]  # (1, S, S)
            if pads is not None:  # what pads see is of no use, but must be a number
                mask = mask & (columns[None] >= pads[:, None])[:, None] | torch.eye(length, device=ids.device).bool()
            mask = F.pad(mask, (past, 0), value=True)[:, None]  # (P or 1, 1, S, T + S)
        hidden, kept = self._model.embed_tokens(ids.flatten()), []  # (N, E)
        for at, layer in enumerate(self._layers):
            query, key, value = (
                one.view(rows, length, *one.shape[1:]).transpose(1, 2) for one in self._heads(layer, hidden, cos, sin)
            )  # (P, heads, S, D)
            kept.append((key, value))
            if before is not None:
                key = torch.cat([before[at][0].expand(rows, -1, -1, -1), key], dim=2)
                value = torch.cat([before[at][1].expand(rows, -1, -1, -1), value], dim=2)
            causal = mask is None
            if last and at == len(self._layers) - 1:
                query, hidden, causal = query[:, :, -1:], hidden.view(rows, length, -1)[:, -1], False
                mask = None if mask is None else mask[:, :, -1:]
            seen = F.scaled_dot_product_attention(query, key, value, mask, is_causal=causal, scale=1.0, enable_gqa=True)
            hidden = self._rest(layer, hidden, seen.transpose(1, 2).reshape(len(hidden), -1))
        return self._normal(hidden).view(rows, -1, hidden.shape[-1]), kept

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits (..., V) of the token after each hidden state (..., E), in float32."""
        return self._head(hidden).float()  # type: ignore[no-any-return]  # transformers is untyped here

    # --- the ring ---

    @property
    def rows(self) -> int:
        """R"""
        return len(self.values[0]) if self.values else 0

    def keep(self, rows: Tensor) -> None:
        """A ring of these of its rows, in this order; where there are more than there were, any of them again."""
        self.shape(rows, max(self.room, BLOCK))

    @property
    def memory(self) -> int:
        """Bytes of the ring."""
        return 2 * len(self.keys) * self.keys[0].nbytes if self.keys else 0

    @property
    def room(self) -> int:
        """W"""
        return self.values[0].shape[2] if self.values else 0

    def shape(self, rows: Tensor, room: int) -> None:
        """A ring of `room` columns, at least as many as now, for these of its rows, in this order. The new columns
        are the ones that are written next; where there is no ring yet, all rows are empty."""
        self._columns = torch.arange(room, device=rows.device)
        self.layout += 1
        if not self.values:
            weight = self._model.embed_tokens.weight
            shape = (len(rows), self._keys, room, self._width)
            self.keys, self.values = ([weight.new_zeros(shape) for _ in self._layers] for _ in range(2))
            return
        old, at = self.room, self._next % self.room
        same = len(rows) == self.rows and bool((rows == torch.arange(len(rows), device=rows.device)).all())
        for which in range(len(self._layers)):
            key, value = self.keys[which], self.values[which]
            if not same:
                key, value = key[rows], value[rows]
            if room > old or at:  # the columns that were written longest ago come first
                key, value = (_rolled(one, at, room) for one in (key, value))
            self.keys[which], self.values[which] = key, value
        self._next = 0
        self.cursor.zero_()

    def clear(self) -> None:
        self.keys, self.values, self._next = [], [], 0
        self.cursor.zero_()

    def join(self, rows: Sequence[int], prompts: Tensor, read: Read) -> None:
        """Puts what was read of prompts (indexes into it) into rows of the ring, up to the cursor."""
        before, cached, pads = read.cached
        width, room = cached[0][0].shape[2], self.room
        start = (self._next - width) % room
        # Up to the end of the ring, and from its beginning on.
        parts = [(start, 0, min(width, room - start)), (0, room - start, width)][: 2 if start + width > room else 1]
        each = torch.equal(prompts, torch.arange(len(pads), device=prompts.device))
        # Where texts differ in length, what stands before them ends where each of them begins.
        steps = torch.arange(read.shared, device=pads.device)
        places = torch.tensor(rows, device=pads.device)
        # Rows that follow each other are copied at once.
        where: Any = slice(rows[0], rows[-1] + 1) if rows == list(range(rows[0], rows[-1] + 1)) else places
        earlier = (self._next - width + pads[prompts, None] - read.shared + steps) % room  # (R, T)
        for at in range(len(self._layers)):
            for which, table in enumerate((self.keys[at], self.values[at])):
                new = cached[at][which] if each else cached[at][which][prompts]
                for column, first, end in parts:
                    table[where, :, column : column + end - first] = new[:, :, first:end]
                if before is not None:
                    table[places[:, None], :, earlier] = before[at][which].transpose(1, 2)

    # --- one more token ---

    def forward(self, tokens: Tensor, places: Tensor) -> Tensor:
        """Logits (R, V) after one more token (R,) of each row, which stands at its place (R,). Moves the cursor on.

        Made of operations on the device alone, with the same shapes each time. `fit` was called for all places.
        """
        room = self.room
        column = self.cursor % room if self._captured else self._next % room
        age = (column - self._columns) % room  # (W,)
        hidden = self._model.embed_tokens(tokens)  # (R, E)
        bias = torch.where(age[None] > places[:, None], self._never, self._always)[:, None]  # (R, 1, W)
        cos, sin = self._cos[places][:, None], self._sin[places][:, None]  # (R, 1, D)
        exact = None if hidden.dtype == torch.float32 else torch.float32
        for at, layer in enumerate(self._layers):
            query, key, value = self._heads(layer, hidden, cos, sin)  # (R, heads, D)
            keys, values = self.keys[at], self.values[at]
            if isinstance(column, Tensor):
                keys.index_copy_(2, column, key[:, :, None])
                values.index_copy_(2, column, value[:, :, None])
            else:
                keys[:, :, column], values[:, :, column] = key, value
            groups = query.reshape(len(tokens) * self._keys, -1, self._width)
            scores = torch.bmm(groups, keys.flatten(0, 1).transpose(1, 2)).view(len(tokens), -1, room).add_(bias)
            weights = scores.softmax(-1, dtype=exact).view(len(groups), -1, room)
            if exact is not None:
                weights = weights.to(hidden.dtype)
            seen = torch.bmm(weights, values.flatten(0, 1))  # (R * K, G, D)
            hidden = self._rest(layer, hidden, seen.view(len(tokens), -1))
        self.cursor.add_(1)
        return self.logits(self._normal(hidden))

    def moved(self) -> None:
        """`forward` was done, or what was captured of it."""
        self._next += 1

    def fit(self, place: int, ahead: int) -> None:
        """Makes room for rows up to a token at this place; where that is too little, also for so many more tokens."""
        self._reach(place + 1)
        if place >= self.room:
            rows = torch.arange(self.rows, device=self.cursor.device)
            room = max(place + 1 + ahead, self.room + max(BLOCK, self.room // 4))
            self.shape(rows, room if not self._captured else -(-room // GRAPH_BLOCK) * GRAPH_BLOCK)

    def _reach(self, size: int) -> None:
        """Has cosines and sines (at least `size`, D) of the rotations at all places below `size`."""
        if len(self._cos) < size:
            many = 64 << max(0, (size - 1).bit_length() - 6)
            weight = self._model.embed_tokens.weight
            cos, sin = self._model.rotary_emb(weight, torch.arange(many, device=weight.device)[None])
            self._cos, self._sin = cos[0], sin[0]
            self.layout += 1

    def _heads(self, layer: _Layer, hidden: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Rotated queries (N, H, D), which have the scale in them, and keys, and values (N, K, D)."""
        weight, bias = layer.heads
        heads = F.linear(_normal(hidden, layer.eps), weight, bias).view(len(hidden), -1, self._width)
        turned, value = heads[:, : -self._keys], heads[:, -self._keys :]
        if layer.turns is not None:
            parts = turned[:, : self._queries], turned[:, self._queries :]
            turned = torch.cat(
                [_normal(part, layer.turn_eps) * norm for part, norm in zip(parts, layer.turns, strict=True)], dim=1
            )
        turned = _turned(turned, cos, sin)
        return turned[:, : self._queries], turned[:, self._queries :], value

    def _rest(self, layer: _Layer, hidden: Tensor, seen: Tensor) -> Tensor:
        """A layer's output (N, E), from its input and what its attention saw (N, H * D)."""
        hidden = _added(hidden, seen, *layer.out)
        gate, up = F.linear(_normal(hidden, layer.eps), *layer.inner).chunk(2, dim=-1)
        return _added(hidden, F.silu(gate).mul_(up), *layer.down)

    def _normal(self, hidden: Tensor) -> Tensor:
        norm = self._model.norm
        return F.rms_norm(hidden, norm.weight.shape, norm.weight, norm.variance_epsilon)


def _normal(hidden: Tensor, eps: float) -> Tensor:
    return F.rms_norm(hidden, hidden.shape[-1:], None, eps)


def _added(hidden: Tensor, inner: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    made = torch.addmm(hidden, inner, weight)
    return made if bias is None else made.add_(bias)


def _rolled(table: Tensor, at: int, room: int) -> Tensor:
    """A ring (R, K, room, D) that ends with what one of fewer columns has, whose oldest is column `at`."""
    old = table.shape[2]
    made = table.new_zeros((*table.shape[:2], room, table.shape[3]))
    made[:, :, room - old : room - at] = table[:, :, at:]
    made[:, :, room - at :] = table[:, :, :at]
    return made


def _turned(heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Each pair (x_i, x_{i + D/2}) rotated by its angle (Su et al., arXiv 2104.09864, in the layout of Llama)."""
    (first, second), (sines, _) = heads.chunk(2, dim=-1), sin.chunk(2, dim=-1)  # the two halves of angles are alike
    turned = heads * cos
    half = first.shape[-1]
    turned[..., :half].addcmul_(second, sines, value=-1)
    turned[..., half:].addcmul_(first, sines)
    return turned
