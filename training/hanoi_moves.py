"""Train the pocket models for the Towers of Hanoi: the last move and the pegs in, the next move and the pegs out.

    python -m surefoot.training.hanoi_moves --minutes 15 --out runs/hanoi_moves

The run keeps the network as p80, p90, p95 and p99, when it first moves so well; `model` is how it ends.
"""

from __future__ import annotations

from random import Random

from surefoot.models import pegs
from surefoot.training import pocket
from surefoot.training.pairs import Pair, Pairs
from surefoot.training.run import Run, from_command_line

SHAPE = pocket.Shape(vocabulary=32, width=64, layers=4, heads=4, inner=192, positions=64)


def pair(rng: Random) -> Pair:
    """A state on the shortest way of a tower of 2 to 20 disks."""
    disks = rng.randint(2, pegs.DISKS)
    turn = rng.randrange(2**disks - 1)
    return pegs.prompt(pegs.path(disks, turn)), pegs.said(pegs.path(disks, turn + 1))


COURSE = Pairs("pegs", pegs.SYMBOLS, pair)


def main() -> None:
    """Read the command line and train."""
    Run(from_command_line(__doc__ or "", 15.0, SHAPE), COURSE).train()


if __name__ == "__main__":
    main()
