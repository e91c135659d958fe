"""Train the pocket models for running sums: a total and a number in, their sum out, digit by digit.

    python -m surefoot.training.pocket.running_sums --minutes 6 --out runs/running_sums

The run keeps the network as p80, p90, p95 and p99, when it first adds so well.
"""

from __future__ import annotations

from random import Random

from surefoot.models.pocket import digits
from surefoot.training.pocket import network
from surefoot.training.pocket.pairs import Pair, Pairs
from surefoot.training.pocket.run import main

LENGTHS = 6
"""Digits of the longest total, and of the longest number added to it."""
SHAPE = network.Shape(vocabulary=16, width=64, layers=3, heads=4, inner=192, positions=64)


def pair(rng: Random) -> Pair:
    """A total and a number of one to six digits, each length as often."""
    total, add = (rng.randrange(10 ** rng.randint(1, LENGTHS)) for _ in range(2))
    return digits.prompt(total, add), digits.digits(total + add)


COURSE = Pairs("digits", digits.SYMBOLS, pair)


if __name__ == "__main__":
    main(__doc__ or "", 6.0, SHAPE, COURSE)
