"""A training run: a network from scratch on a stream of generated examples, killed and resumed as it comes.

It writes checkpoint.pt (it resumes from there after a kill), log.jsonl, and model/ (the exported network and
tokenizer) into its folder. `minutes` is training time; the learning rate falls to zero at its end, measured in
training time and carried over a resume.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any, Protocol

import torch
from tokenizers import Tokenizer
from transformers import LlamaForCausalLM

from surefoot.training.pocket import network


@dataclass(frozen=True)
class Recipe:
    """What decides a run besides its seed; rates are per step, lengths in tokens and seconds."""

    minutes: float
    out: Path
    seed: int = 0
    rate: float = 3e-3
    warmup_steps: int = 200
    batch_tokens: int = 2048
    decay: float = 0.05
    clip: float = 1.0
    save_seconds: float = 60.0
    export_seconds: float = 300.0
    threads: int = 2
    start: Path | None = None
    """Folder of an exported network to go on from; None starts from scratch."""
    shape: network.Shape = field(default_factory=network.Shape)
    weights: network.Weights = field(default_factory=network.Weights)


@dataclass
class Progress:
    """How far a run has come; it is part of the checkpoint."""

    step: int = 0
    chunk: int = 0
    tokens: int = 0
    seconds: float = 0.0


class Course(Protocol):
    """What a network is taught."""

    def tokenizer(self, recipe: Recipe) -> Tokenizer:
        """The same for the same seed."""
        ...

    def examples(self, recipe: Recipe, tokenizer: Tokenizer, chunk: int) -> Sequence[network.Example]:
        """One chunk of the stream, the same for the same seed and chunk."""
        ...

    def passed(self, run: Run) -> None:
        """Called after every chunk: to measure, or to keep an early checkpoint."""
        ...


class Run:
    """One training run with its network, optimizer and progress."""

    def __init__(self, recipe: Recipe, course: Course) -> None:
        self.recipe = recipe
        self.course = course
        recipe.out.mkdir(parents=True, exist_ok=True)
        torch.set_num_threads(recipe.threads)
        torch.manual_seed(recipe.seed)
        self.tokenizer = self._tokenizer()
        self.model = self._network()
        self.optimizer = torch.optim.AdamW(self._groups(), lr=recipe.rate, betas=(0.9, 0.98))
        self.progress = Progress()
        self._resume()

    def _tokenizer(self) -> Tokenizer:
        """The tokenizer of the run: loaded if the run already made one."""
        path = self.recipe.out / "tokenizer.json"
        if path.exists():
            return Tokenizer.from_file(str(path))
        tokenizer = self.course.tokenizer(self.recipe)
        tokenizer.save(str(path))
        return tokenizer

    def _network(self) -> LlamaForCausalLM:
        if self.recipe.start is None:
            return network.network(self.recipe.shape, self.tokenizer)
        return LlamaForCausalLM.from_pretrained(self.recipe.start, dtype=torch.float32, local_files_only=True)

    def _groups(self) -> list[dict[str, Any]]:
        """Weight decay for matrices only."""
        matrices = [p for p in self.model.parameters() if p.dim() > 1]
        vectors = [p for p in self.model.parameters() if p.dim() <= 1]
        return [{"params": matrices, "weight_decay": self.recipe.decay}, {"params": vectors, "weight_decay": 0.0}]

    def _resume(self) -> None:
        path = self.recipe.out / "checkpoint.pt"
        if not path.exists():
            return
        state = torch.load(path, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.progress = Progress(**state["progress"])
        print(f"resumed at step {self.progress.step}, {self.progress.tokens} tokens", flush=True)

    def save(self) -> None:
        """Write the checkpoint; a kill while writing leaves the old one whole."""
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "progress": vars(self.progress),
        }
        path = self.recipe.out / "checkpoint.pt"
        torch.save(state, path.with_suffix(".new"))
        path.with_suffix(".new").replace(path)

    def rate(self) -> float:
        """The learning rate now: linear warm-up, then half a cosine to zero at the planned end."""
        done = min(1.0, self.progress.seconds / (60 * self.recipe.minutes))
        warm = min(1.0, (self.progress.step + 1) / self.recipe.warmup_steps)
        return self.recipe.rate * warm * 0.5 * (1 + math.cos(math.pi * done))

    def train_batch(self, batch: list[network.Example]) -> float:
        """One optimizer step; returns the loss in nats."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate()
        value = network.loss(self.model, batch, network.token_id(self.tokenizer, network.PAD))
        self.optimizer.zero_grad(set_to_none=True)
        value.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip)
        self.optimizer.step()
        self.progress.step += 1
        self.progress.tokens += sum(len(example.ids) for example in batch)
        return value.item()

    def train(self) -> None:
        """Train until the planned minutes are used up, saving and exporting on the way."""
        self.model.train()
        saved = exported = self.progress.seconds
        while self.progress.seconds < 60 * self.recipe.minutes:
            started = time.monotonic()
            examples = self.course.examples(self.recipe, self.tokenizer, self.progress.chunk)
            rng = Random(self.progress.chunk)
            losses = [self.train_batch(b) for b in network.batches(examples, self.recipe.batch_tokens, rng)]
            self.progress.chunk += 1
            self.progress.seconds += time.monotonic() - started
            self._report(sum(losses) / len(losses))
            self.course.passed(self)
            if self.progress.seconds - saved > self.recipe.save_seconds:
                self.save()
                saved = self.progress.seconds
            if self.progress.seconds - exported > self.recipe.export_seconds:
                self.export()
                exported = self.progress.seconds
        self.save()
        self.export()

    def _report(self, value: float) -> None:
        line = {**vars(self.progress), "loss": round(value, 4), "rate": round(self.rate(), 6)}
        line["seconds"] = round(self.progress.seconds, 1)
        print(json.dumps(line), flush=True)
        with (self.recipe.out / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")

    def export(self, name: str = "model") -> None:
        """Write the network and tokenizer as they are now into the folder `name`."""
        network.export(self.model, self.tokenizer, self.recipe.shape, self.recipe.out / name)


def main(description: str, minutes: float, shape: network.Shape, course: Course) -> None:
    """Read the command line and train."""
    Run(from_command_line(description, minutes, shape), course).train()


def from_command_line(description: str, minutes: float, shape: network.Shape) -> Recipe:
    """The recipe that the command line asks for."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=float, default=minutes, help="training time")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rate", type=float, default=3e-3, help="peak learning rate")
    parser.add_argument("--layers", type=int, default=shape.layers)
    parser.add_argument("--width", type=int, default=shape.width)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--start", type=Path, help="folder of an exported network to go on from")
    given = vars(parser.parse_args())
    layers, width = given.pop("layers"), given.pop("width")
    return Recipe(**given, shape=replace(shape, width=width, layers=layers, inner=3 * width))
