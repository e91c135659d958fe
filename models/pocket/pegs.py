"""The dialect of the pocket models for the Towers of Hanoi: last move and pegs in, next move and pegs out.

The pegs are one letter a disk, the smallest first, with a dot for each disk that the tower does not have::

    d2 A B | C B A . . . . . . . . . . . . . . . . . =      ->      d1 C B | B B A . . . . . . . . . . . . . . . . .

Before the first move there is `- - -` in place of one. No model library is imported here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from surefoot.models.representation import Back

DISKS = 20
"""Of the tallest tower."""

PEGS = "ABC"
ABSENT = "."
SYMBOLS = (*(f"d{disk}" for disk in range(1, DISKS + 1)), *PEGS, ABSENT, "-", "|", "=")


@dataclass(frozen=True)
class Turn:
    """A move, and where every disk is after it.

    `move` is (disk, from peg, to peg) with disks counted from 1, the smallest, and pegs from 0; None before the
    first. `places` has the peg of each disk, the smallest first.
    """

    move: tuple[int, int, int] | None
    places: tuple[int, ...]


def prompt(turn: Turn) -> str:
    """The exact prompt. Raises ValueError for a tower that is too tall, or for what is no disk or peg."""
    return f"{said(turn)} ="


def said(turn: Turn) -> str:
    """A turn as a model reads and writes it."""
    if not 1 <= len(turn.places) <= DISKS:
        raise ValueError(f"a tower has 1 to {DISKS} disks, not {len(turn.places)}")
    if not all(place in range(len(PEGS)) for place in (*turn.places, *(turn.move or ())[1:])):
        raise ValueError(f"pegs are counted from 0 to {len(PEGS) - 1}")
    if turn.move is not None and not 1 <= turn.move[0] <= len(turn.places):
        raise ValueError(f"there is no disk {turn.move[0]}; disks are counted from 1, the smallest")
    move = "- - -" if turn.move is None else f"d{turn.move[0]} {PEGS[turn.move[1]]} {PEGS[turn.move[2]]}"
    places = [PEGS[place] for place in turn.places] + [ABSENT] * (DISKS - len(turn.places))
    return f"{move} | {' '.join(places)}"


def read(reply: str) -> Turn:
    """The turn of a reply. Raises ValueError outside the form: such a reply is dropped, never mended."""
    symbols = reply.split()
    if len(symbols) != 4 + DISKS or symbols[3] != "|":
        raise ValueError(f"a turn is a move, a bar and {DISKS} pegs, not {reply[:60]!r}")
    disk, origin, goal = symbols[:3]
    if disk not in SYMBOLS[:DISKS] or origin not in PEGS or goal not in PEGS:
        raise ValueError(f"{' '.join(symbols[:3])!r} is no move")
    places = " ".join(symbols[4:]).rstrip(f" {ABSENT}").split()
    if not places or not set(places) <= set(PEGS):
        raise ValueError(f"{' '.join(symbols[4:])!r} has a disk without a peg")
    return Turn((int(disk[1:]), PEGS.index(origin), PEGS.index(goal)), tuple(map(PEGS.index, places)))


def path(disks: int, turn: int) -> Turn:
    """The state of the shortest solution, from the first peg to the last, after so many moves.

    Disk i (from 0, the smallest) has then moved (turn + 2^i) // 2^(i+1) times, each time to the next peg in its own
    sense of rotation; the largest goes straight to the last peg, and the senses alternate from disk to disk.
    """
    counts = [(turn + (1 << disk)) >> (disk + 1) for disk in range(disks)]
    senses = [-1 if (disks - 1 - disk) % 2 == 0 else 1 for disk in range(disks)]
    places = tuple(count * sense % 3 for count, sense in zip(counts, senses, strict=True))
    if turn == 0:
        return Turn(None, places)
    moved = (turn & -turn).bit_length() - 1
    return Turn((moved + 1, (places[moved] - senses[moved]) % 3, places[moved]), places)


def renamed(turn: Turn, names: Sequence[int]) -> Turn:
    """The same turn on pegs that are called otherwise: peg i is now `names[i]`."""
    move = None if turn.move is None else (turn.move[0], names[turn.move[1]], names[turn.move[2]])
    return Turn(move, tuple(names[place] for place in turn.places))


def legal(before: Sequence[int], move: tuple[int, int, int]) -> bool:
    """Whether the rules allow a move: a disk on top of its peg, onto none or a larger one."""
    disk, origin, goal = move
    smaller = before[: disk - 1]
    return origin != goal and before[disk - 1] == origin and origin not in smaller and goal not in smaller


def shortened(inputs: Mapping[str, Any], rng: Random) -> tuple[Mapping[str, Any], Back]:
    """The same turn without some of the largest disks, as many as chance says: a change of representation.

    The smallest k disks decide the move as long as they do not all stand on one peg: then one of them is on top of
    a peg that the smallest is not on, and the next move is among them. A turn without such a k is asked as it is.
    """
    places = list(inputs["places"])
    least = inputs["move"][0] if inputs["move"] is not None else len(places)
    able = [k for k in range(max(least, 2), len(places)) if len(set(places[:k])) > 1]
    if not able:
        return inputs, lambda answer: answer
    kept = rng.choice(able)

    def back(answer: Any) -> Any:
        if len(answer["places"]) != kept:
            raise ValueError(f"{len(answer['places'])} disks came back of {kept}")
        return {"move": answer["move"], "places": [*answer["places"], *places[kept:]]}

    return {**inputs, "places": places[:kept]}, back
