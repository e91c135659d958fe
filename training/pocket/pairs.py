"""A course of prompts that have one right reply each, for networks that learn a single step by heart or by rule.

The first time that the network is right often enough, it is kept as it is: early checkpoints are policies of known,
lower accuracy, on which a claim about reliability can be tried.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaForCausalLM

from surefoot.training.pocket import network
from surefoot.training.pocket.rules import share
from surefoot.training.pocket.run import Recipe, Run

CHUNK = 768
LOOKED_AT = 512
"""Fresh pairs after every chunk, to see whether a milestone is reached."""
MEASURED = 4096
"""Fresh pairs for the card of a kept policy."""
TRAIN_SEED = 10_000_000
"""Training draws from seeds of this and above; what is measured, below it."""

Pair = tuple[str, str]


@dataclass(frozen=True)
class Pairs:
    """Prompts and replies in a closed vocabulary, `symbols`, parted by blanks."""

    name: str
    symbols: tuple[str, ...]
    make: Callable[[Random], Pair]
    milestones: tuple[float, ...] = (0.8, 0.9, 0.95, 0.99)
    """Mean probabilities of the right reply at which the network is kept, as p80, p90, ..."""

    def tokenizer(self, recipe: Recipe) -> Tokenizer:
        words = (network.PAD, network.END, *self.symbols)
        tokenizer = Tokenizer(models.WordLevel({word: place for place, word in enumerate(words)}))
        tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        tokenizer.add_special_tokens([network.PAD, network.END])
        return tokenizer

    def examples(self, recipe: Recipe, tokenizer: Tokenizer, chunk: int) -> list[network.Example]:
        rng = Random(TRAIN_SEED * (1 + recipe.seed) + chunk)
        return [encode(self.make(rng), tokenizer) for _ in range(CHUNK)]

    def passed(self, run: Run) -> None:
        """Keeps the network at each milestone that it has reached since."""
        made = [name for p in self.milestones if not (run.recipe.out / (name := f"p{round(100 * p)}")).exists()]
        if not made:
            return
        seen = float(right(run.model, run.tokenizer, self.fresh(run.progress.chunk, LOOKED_AT)).mean())
        for name in made:
            if seen >= int(name[1:]) / 100:
                self.keep(run, name)

    def fresh(self, seed: int, size: int) -> list[Pair]:
        """Pairs that training never draws."""
        rng = Random(seed % TRAIN_SEED)
        return [self.make(rng) for _ in range(size)]

    def keep(self, run: Run, name: str) -> None:
        """Writes the network at half precision, as it will be used, and a card with what was measured of it."""
        half = copy.deepcopy(run.model).half()
        network.export(half, run.tokenizer, run.recipe.shape, run.recipe.out / name)
        card = {"dialect": self.name, **measured(half.float(), run.tokenizer, self.fresh(123, MEASURED))}
        card["trained"] = {"tokens": run.progress.tokens, "seconds": round(run.progress.seconds)}
        (run.recipe.out / name / "card.json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
        print(json.dumps({"kept": name, **card}), flush=True)


def encode(pair: Pair, tokenizer: Tokenizer) -> network.Example:
    """Token ids with the end token, and weights: only the reply is learned."""
    prompt, reply = (tokenizer.encode(text, add_special_tokens=False).ids for text in pair)
    ids = (*prompt, *reply, network.token_id(tokenizer, network.END))
    return network.Example(ids, (0.0,) * len(prompt) + (1.0,) * (len(reply) + 1))


@torch.inference_mode()
def right(model: LlamaForCausalLM, tokenizer: Tokenizer, pairs: Sequence[Pair], batch: int = 512) -> torch.Tensor:
    """The probability of the right reply to each prompt at temperature 1, (len(pairs),): exact, nothing is sampled."""
    examples = [encode(pair, tokenizer) for pair in pairs]
    pad = network.token_id(tokenizer, network.PAD)
    found = []
    training = model.training
    model.eval()
    for start in range(0, len(examples), batch):
        ids, weights = network.padded(examples[start : start + batch], pad)  # (B, T)
        learned = weights[:, 1:] > 0  # (B, T - 1)
        logp = model(ids[:, :-1]).logits.log_softmax(-1)  # (B, T - 1, V)
        each = logp.gather(2, ids[:, 1:, None])[..., 0]  # (B, T - 1)
        found.append((each * learned).sum(1).exp())
    model.train(training)
    return torch.cat(found)


def measured(model: LlamaForCausalLM, tokenizer: Tokenizer, pairs: Sequence[Pair]) -> dict[str, Any]:
    """What a card says: the rate of right samples, how alike errors are, and on how many prompts wrong ones outweigh.

    `hard` is the share of prompts with p below one half: there votes make it worse, however many they are. `sampling`
    has the counts that `surefoot.storage.records.Sampling` names, in expectation; of two wrong samples of a prompt it
    is not known here whether they agree, so that `same` is the worst case.
    """
    p = right(model, tokenizer, pairs).double()
    wrong, again = float((1 - p).sum()), float(((1 - p) ** 2).sum())
    counts = {"prompts": len(pairs), "right": float(p.sum()), "wrong": wrong, "pairs": wrong}
    basis = f"mean probability of the right reply at temperature 1 over {len(pairs)} fresh prompts"
    return {
        "sample": share(round(float(p.sum())), len(pairs)),
        "sample_basis": basis,
        "sampling": {name: round(count, 3) for name, count in (counts | {"again": again, "same": again}).items()},
        "hard": round(float((p < 0.5).float().mean()), 5),
    }
