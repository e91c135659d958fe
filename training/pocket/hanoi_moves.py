"""Train the pocket models for the Towers of Hanoi: the last move and the pegs in, the next move and the pegs out.

    python -m surefoot.training.pocket.hanoi_moves --minutes 15 --out runs/hanoi_moves

The run keeps the network as p80, p90, p95 and p99, when it first moves so well; `model` is how it ends.
"""

from __future__ import annotations

from random import Random

from surefoot.models.pocket import pegs
from surefoot.training.pocket import network
from surefoot.training.pocket.pairs import Pair, Pairs
from surefoot.training.pocket.run import main

SHAPE = network.Shape(vocabulary=32, width=64, layers=4, heads=4, inner=192, positions=64)


def pair(rng: Random) -> Pair:
    """A state on the shortest way of a tower of 2 to 20 disks, from any peg to any other.

    The last move and the pegs decide the next move whatever the two pegs are; only the very first move does not know
    where the tower is going, so there it goes from the first peg to the last.
    """
    before, after = turns(rng)
    return pegs.prompt(before), pegs.said(after)


def turns(rng: Random) -> tuple[pegs.Turn, pegs.Turn]:
    """Two turns in a row."""
    disks = rng.randint(2, pegs.DISKS)
    turn = _turn(rng, disks)
    names = rng.sample(range(3), 3) if turn else [0, 1, 2]
    return pegs.renamed(pegs.path(disks, turn), names), pegs.renamed(pegs.path(disks, turn + 1), names)


def _turn(rng: Random, disks: int) -> int:
    """Moves made so far. On the way itself disk d moves once in 2^d moves, so that half of these turns are drawn by the
    disk that comes next, or by the one that came last: each as often; and some are the very first."""
    chance = rng.random()
    if chance < 0.5:
        return rng.randrange(2**disks - 1)
    if chance < 0.53:
        return 0
    disk = rng.randrange(disks)
    moved = (1 << disk) * (2 * rng.randrange(1 << (disks - 1 - disk)) + 1)
    return moved - 1 if chance < 0.77 else moved if moved < 2**disks - 1 else 0


COURSE = Pairs("pegs", pegs.SYMBOLS, pair)


if __name__ == "__main__":
    main(__doc__ or "", 15.0, SHAPE, COURSE)
