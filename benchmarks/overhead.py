"""What a step costs beside the model and the tool: time, bytes and memory, from 100 steps to 100,000.

    python -m benchmarks.overhead [--steps 1000,10000] [--shapes chain,fan] [--peers] [--json] [--repeat N] [--seed S]

`docs/benchmarks.md` says what is measured, and what is fair in it.
"""

from __future__ import annotations

import argparse
import gc
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol, cast

from benchmarks.harness import Row, expect, files_size, finish, fresh, load, machine, medians, note, peak_mb, show

STEPS = (100, 1000, 10_000, 100_000)
SHAPES = ("chain", "fan")
WARM = 2
"""Steps of a run before the measured one, in another store: what is imported on first use is no step's cost."""


class System(Protocol):
    """One way of doing the work. Durable ones keep all their files in the folder that they are given."""

    def create(self, folder: Path) -> None:
        """Makes an empty store, where the system has one."""
        ...

    def open(self, folder: Path, shape: str, seed: int) -> Callable[[int], None]:
        """Everything up to the start; what is returned does that many steps and closes what it wrote to.

        It raises WrongResult where the result is not what the steps lead to.
        """
        ...

    def count(self, folder: Path) -> int | None:
        """Steps that a reopened store knows; None where nothing is stored."""
        ...


@dataclass(frozen=True, slots=True)
class Entry:
    """A system and what it takes to measure it."""

    name: str
    place: str
    """`module:class` of the system. Only the measuring process imports it."""
    shapes: tuple[str, ...] = ("chain",)
    needs: str | None = None
    """Distribution that must be installed."""
    limit: int | None = None
    """Most steps that are measured unless `--no-limit` is given."""


OWN = Entry("surefoot", "benchmarks.systems:Surefoot", SHAPES)
PEERS = (
    Entry("langgraph sync", "benchmarks.peers.langgraph_loop:Sync", (*SHAPES[:1],), "langgraph-checkpoint-sqlite", 10_000),
    Entry("langgraph async", "benchmarks.peers.langgraph_loop:Async", ("chain",), "langgraph-checkpoint-sqlite", 10_000),
    Entry("dbos", "benchmarks.peers.dbos_steps:Steps", ("chain",), "dbos", 10_000),
    # Its cost grows with the square of the steps: 10,000 of them take more than half an hour.
    Entry("pydantic-ai", "benchmarks.peers.pydantic_agent:Loop", ("chain",), "pydantic-ai-slim", 1000),
)


def measure(place: str, shape: str, steps: int, seed: int) -> Row:
    """One measurement, in the process that it has to itself."""
    system = cast(System, load(place)())
    with tempfile.TemporaryDirectory() as temporary:
        warm, folder = Path(temporary) / "warm", Path(temporary) / "measured"
        _prepare(system, warm, shape, seed)(WARM)
        work = _prepare(system, folder, shape, seed)
        empty = files_size(folder)
        gc.collect()
        wall, cpu = time.perf_counter(), time.process_time()
        work(steps)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        rss, size = peak_mb(), files_size(folder)
        known = system.count(folder)
        if known is not None:
            expect(known, steps, "steps that the reopened store knows")
        stored = None if known is None else (size - empty) / steps
    return {"us_per_step": wall / steps * 1e6, "bytes_per_step": stored, "rss_mb": rss, "cpu_us": cpu / steps * 1e6}


def _prepare(system: System, folder: Path, shape: str, seed: int) -> Callable[[int], None]:
    folder.mkdir()
    system.create(folder)
    return system.open(folder, shape, seed)
