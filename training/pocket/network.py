"""The pocket model's tokenizer, network, and loss: small pieces that the training run puts together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from surefoot.models.pocket import compact
from surefoot.training.pocket import traces
from surefoot.training.pocket.traces import Trace

PAD, END = "<pad>", "<end>"
SPECIAL = (PAD, END, compact.PROMPT_OPEN, compact.PROMPT_CLOSE)
NAMES = (*(f"n{i}" for i in range(16)), *(f"s{i}" for i in range(1, 11)))
SYMBOLS = (*NAMES, "answer", "none", "+", "-", "*", "/", "//", "%", "**", "(", ")", "=", ";")


@dataclass(frozen=True)
class Shape:
    """Sizes of the network."""

    vocabulary: int = 2048
    width: int = 128
    layers: int = 4
    heads: int = 4
    inner: int = 384
    positions: int = 512


@dataclass(frozen=True)
class Weights:
    """Weights of a token's loss: in a typical prompt, in a reply, and the first token of a reply."""

    prompt: float = 0.25
    reply: float = 1.0
    decision: float = 4.0


@dataclass(frozen=True)
class Example:
    """Token ids of one trace, and the loss weight of predicting each token (0 = not learned)."""

    ids: tuple[int, ...]
    weights: tuple[float, ...]


def train_tokenizer(corpus: Iterable[str], size: int) -> Tokenizer:
    """A byte-level BPE in which every number name, step name and symbol of a reply is one token.

    Raises ValueError when the corpus does not make one of them a single token.
    """
    tokenizer = Tokenizer(models.BPE())
    words = Regex(r" ?[ns][0-9]+| ?//| ?\*\*| ?\p{L}+| ?[0-9]+| ?[^\s\p{L}0-9]|\s+")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(words, behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus, trainer)
    for symbol in SYMBOLS:
        if len(tokenizer.encode(f" {symbol}", add_special_tokens=False).ids) != 1:
            raise ValueError(f"{symbol!r} is not a single token")
    return tokenizer


def corpus(taught: Sequence[Trace]) -> Iterator[str]:
    """The texts that the tokenizer learns from: prompts, replies, and each symbol often enough."""
    for trace in taught:
        prompt = compact.render(trace.text, traces.names())
        yield prompt.removeprefix(compact.PROMPT_OPEN).removesuffix(compact.PROMPT_CLOSE)
        yield f" {trace.reply} "
    for _ in range(2000):
        yield " " + " ".join(SYMBOLS)


def wrapped(tokenizer: Tokenizer, positions: int) -> PreTrainedTokenizerFast:
    """The tokenizer as transformers loads it; it adds no tokens of its own to a prompt."""
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=[compact.PROMPT_OPEN, compact.PROMPT_CLOSE],
        model_max_length=positions,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def network(shape: Shape, tokenizer: Tokenizer) -> LlamaForCausalLM:
    """A freshly initialized Llama network with tied embeddings."""
    config = LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.width,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads,
        max_position_embeddings=shape.positions,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=token_id(tokenizer, END),
        pad_token_id=token_id(tokenizer, PAD),
    )
    return LlamaForCausalLM(config)


def token_id(tokenizer: Tokenizer, token: str) -> int:
    """The id of a token; raises KeyError when the vocabulary lacks it."""
    found: int | None = tokenizer.token_to_id(token)
    if found is None:
        raise KeyError(token)
    return found


def encode(trace: Trace, tokenizer: Tokenizer, weights: Weights, positions: int) -> Example | None:
    """The token ids and loss weights of a trace; None when it is too long.

    The prompt of a negative trace has weight 0: only taught texts shall look typical to the model.
    """
    prompt = tokenizer.encode(compact.render(trace.text, traces.names()), add_special_tokens=False).ids
    reply = tokenizer.encode(f" {trace.reply}", add_special_tokens=False).ids
    ids = [*prompt, *reply, token_id(tokenizer, END)]
    if len(ids) > positions:
        return None
    in_prompt = weights.prompt if trace.family == "positive" else 0.0
    shares = [0.0] + [in_prompt] * (len(prompt) - 1) + [weights.decision] + [weights.reply] * len(reply)
    return Example(tuple(ids), tuple(shares))


def batches(examples: Sequence[Example], tokens: int, rng: Random) -> list[list[Example]]:
    """Group examples of similar length into batches of at most `tokens` padded tokens, shuffled."""
    groups: list[list[Example]] = [[]]
    for example in sorted(examples, key=lambda e: len(e.ids)):
        if groups[-1] and (len(groups[-1]) + 1) * len(example.ids) > tokens:
            groups.append([])
        groups[-1].append(example)
    rng.shuffle(groups)
    return groups


def padded(batch: Sequence[Example], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and weights, (examples, tokens of the longest), filled up on the right."""
    length = max(len(example.ids) for example in batch)
    ids = torch.tensor([[*e.ids, *[pad] * (length - len(e.ids))] for e in batch])
    return ids, torch.tensor([[*e.weights, *[0.0] * (length - len(e.weights))] for e in batch])


def loss(model: LlamaForCausalLM, batch: Sequence[Example], pad: int) -> torch.Tensor:
    """Weighted mean cross-entropy in nats per unit of weight, a scalar.

    Padding is on the right, so causal attention needs no mask; logits are computed only where a token
    has weight.
    """
    ids, weights = padded(batch, pad)
    hidden = model.model(input_ids=ids[:, :-1], use_cache=False).last_hidden_state
    learned = weights[:, 1:] > 0
    logits = model.lm_head(hidden[learned])
    each = torch.nn.functional.cross_entropy(logits, ids[:, 1:][learned], reduction="none")
    share = weights[:, 1:][learned]
    return (each * share).sum() / share.sum()


def export(model: LlamaForCausalLM, tokenizer: Tokenizer, shape: Shape, folder: Path) -> None:
    """Write the network and tokenizer so that transformers loads them from `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    wrapped(tokenizer, shape.positions).save_pretrained(folder)
