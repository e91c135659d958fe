"""How many threads compute fastest: found out while they compute."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

TRIED = 4
"""Turns with each number of threads, one after another."""
KEPT = 96
"""Turns with the faster one, before both are tried again: what else the machine does changes."""


class Threads:
    """Sets torch's number of threads around turns of one kind of work.

    One thread, or as many as torch had: many small operations wait for threads longer than they work, and where
    another program computes they wait for that too.
    """

    def __init__(self, fixed: int | None = None) -> None:
        self._usual = torch.get_num_threads()
        self._choices = [fixed] if fixed else sorted({1, self._usual}, reverse=True)
        self._turn = 0
        self._seconds = [math.inf] * len(self._choices)
        """The least for what there is of work; what else the machine does only ever adds to it."""
        self._best = 0

    @contextmanager
    def turn(self, size: int) -> Iterator[None]:
        """A turn of the work, of which there is this much in it."""
        tried = self._turn // TRIED
        trying = tried < len(self._choices) > 1
        which = tried if trying else self._best
        before = torch.get_num_threads()
        self._set(self._choices[which])
        began = time.perf_counter()
        try:
            yield
        finally:
            self._set(before)
            if trying and self._turn % TRIED:  # the first turn with so many threads starts them
                self._seconds[which] = min(self._seconds[which], (time.perf_counter() - began) / size)
            self._turn += 1
            if self._turn == TRIED * len(self._choices):
                self._best = self._seconds.index(min(self._seconds))
            elif self._turn == KEPT:
                self._turn, self._seconds = 0, [math.inf] * len(self._choices)

    def _set(self, count: int) -> None:
        if torch.get_num_threads() != count:
            torch.set_num_threads(count)
