"""Train the pocket model for word problems from scratch on generated data.

    python -m surefoot.training.pocket.word_problems --minutes 60 --out runs/word_problems --seed 0

`surefoot.training.pocket.run` says what the run writes and how it resumes.
"""

from __future__ import annotations

from random import Random

from tokenizers import Tokenizer

from surefoot.training.pocket import network, traces
from surefoot.training.pocket.run import Recipe, Run, main

CHUNK = 1024
TOKENIZER_TRACES = 30_000


class WordProblems:
    """Problems with their plans, near misses and foreign texts."""

    def tokenizer(self, recipe: Recipe) -> Tokenizer:
        rng = Random(traces.TRAIN_SEED * (1 + recipe.seed) - 1)
        sample = [traces.mixed(rng, traces.TRAIN_SEED) for _ in range(TOKENIZER_TRACES)]
        return network.train_tokenizer(network.corpus(sample), recipe.shape.vocabulary)

    def examples(self, recipe: Recipe, tokenizer: Tokenizer, chunk: int) -> list[network.Example]:
        start = traces.TRAIN_SEED * (1 + recipe.seed)
        rng = Random(start + chunk)
        made = (traces.mixed(rng, start) for _ in range(CHUNK))
        encoded = (network.encode(t, tokenizer, recipe.weights, recipe.shape.positions) for t in made)
        return [example for example in encoded if example is not None]

    def passed(self, run: Run) -> None:
        """Nothing is measured on the way."""


if __name__ == "__main__":
    main(__doc__ or "", 60.0, network.Shape(), WordProblems())
