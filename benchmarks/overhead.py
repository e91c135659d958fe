"""What a step costs beside the model and the tool: time, bytes and memory, from 100 steps to 100,000.

    python -m benchmarks.overhead [--steps 1000,10000] [--shapes chain,fan,sampled] [--peers] [--repeat N] [--json]

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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from itertools import product
from pathlib import Path
from typing import Protocol, cast

from benchmarks.harness import (
    Row,
    command,
    expect,
    files_size,
    finish,
    fresh,
    load,
    machine,
    medians,
    note,
    numbers,
    peak_mb,
    words,
)

STEPS = (100, 1000, 10_000, 100_000)
SHAPES = ("chain", "fan", "sampled")
WARM = 2
"""Steps of a run before the measured one, in another store: what is imported on first use is no step's cost."""


class System(Protocol):
    """One way of doing the work. A durable one keeps all its files in the folder that it is given."""

    def create(self, folder: Path) -> None:
        """Makes an empty store, where the system has one."""
        ...

    def open(self, folder: Path, shape: str, seed: int) -> Callable[[int], None]:
        """Everything before the start; what is returned does that many steps and closes what it wrote to.

        It raises WrongResult where the result is not what the steps lead to.
        """
        ...

    def count(self, folder: Path) -> int | None:
        """Steps that a reopened store knows; None where nothing is stored."""
        ...


@dataclass(frozen=True, slots=True)
class Entry:
    """A system, and what it takes to measure it."""

    name: str
    place: str
    """`module:class` of the System. Only the measuring process imports it."""
    shapes: tuple[str, ...] = ("chain",)
    needs: str = "surefoot"
    """Distribution that must be installed."""
    limit: int | None = None
    """Most steps that are measured unless `--no-limit` is given."""


OWN = Entry("surefoot", "benchmarks.systems:Surefoot", SHAPES)
SAVER = "langgraph-checkpoint-sqlite"
PEERS = (
    Entry("langgraph sync", "benchmarks.peers.langgraph_loop:Sync", needs=SAVER, limit=10_000),
    Entry("langgraph async", "benchmarks.peers.langgraph_loop:Async", needs=SAVER, limit=10_000),
    Entry("dbos", "benchmarks.peers.dbos_steps:Steps", needs="dbos", limit=10_000),
    # Its time grows with the square of the steps.
    Entry("pydantic-ai", "benchmarks.peers.pydantic_agent:Loop", needs="pydantic-ai-slim", limit=1000),
)


# --- one measurement ----------------------------------------------------------------------------------------


def measure(place: str, shape: str, steps: int, seed: int) -> Row:
    """Time, bytes and memory of one system at one size, in the process that it has to itself.

    The clock starts after imports and the opening of the store, and stops when the store is closed. Beside the
    figures of a row there is `cpu_us`, the processor time of all threads: it says how far a busy machine got in
    the way. Raises WrongResult where the reopened store does not know every step.
    """
    system = cast(System, load(place)())
    with tempfile.TemporaryDirectory() as temporary:
        warm, folder = Path(temporary) / "warm", Path(temporary) / "measured"
        for made in (warm, folder):
            made.mkdir()
            system.create(made)
        empty = files_size(folder)
        system.open(warm, shape, seed)(WARM)
        work = system.open(folder, shape, seed)
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


# --- all of them --------------------------------------------------------------------------------------------


def installed(entries: Sequence[Entry]) -> Iterator[Entry]:
    """The systems that can be measured here, named with their versions; the others are noted."""
    for entry in entries:
        try:
            note(f"{entry.name}: {entry.needs} {metadata.version(entry.needs)}")
        except metadata.PackageNotFoundError:
            note(f"{entry.name}: skipped, {entry.needs} is not installed: pip install {entry.needs}")
        else:
            yield entry


def rounds(entries: Sequence[Entry], options: argparse.Namespace) -> Iterator[tuple[Entry, str, int]]:
    """What to measure, in order: every size by all systems side by side, as often as asked, in changing order."""
    chance = random.Random(options.seed)
    for shape, steps, turn in product(options.shapes, options.steps, range(options.repeat)):
        for entry in chance.sample(entries, len(entries)):
            if shape not in entry.shapes:
                continue
            if options.no_limit or entry.limit is None or steps <= entry.limit:
                yield entry, shape, steps
            elif turn == 0:
                note(f"{entry.name} {shape} {steps:,}: skipped, {entry.limit:,} are enough; see --no-limit")


def collect(entries: Sequence[Entry], options: argparse.Namespace) -> tuple[list[Row], bool]:
    """The median row of each system, shape and size, and whether every measurement succeeded."""
    samples: dict[tuple[str, str, int], list[Row]] = {}
    sound = True
    for entry, shape, steps in rounds(entries, options):
        try:
            found = fresh("benchmarks.overhead:measure", place=entry.place, shape=shape, steps=steps, seed=options.seed)
        except subprocess.CalledProcessError as error:
            note(f"{entry.name} {shape} {steps:,}: failed with exit code {error.returncode}")
            sound = False
            continue
        samples.setdefault((entry.name, shape, steps), []).append(found)
        note(
            f"{entry.name} {shape} {steps:,}: {found['us_per_step']:.1f} us a step, {found['cpu_us']:.1f} of processor"
            f" time, {found['rss_mb']:.0f} MiB"
        )
    return [row(*key, samples[key]) for key in sorted(samples, key=_order)], sound


def row(system: str, shape: str, steps: int, samples: Sequence[Row]) -> Row:
    """The median of each figure, without those that only the notes show."""
    found = medians(samples)
    del found["cpu_us"]
    return {"system": system, "shape": shape, "steps": steps, **found}


def _order(key: tuple[str, str, int]) -> tuple[int, int, int]:
    system, shape, steps = key
    return SHAPES.index(shape), steps, [entry.name for entry in (OWN, *PEERS)].index(system)


def shapes(text: str) -> list[str]:
    found = words(text)
    if unknown := set(found) - set(SHAPES):
        raise argparse.ArgumentTypeError(f"there is no shape {', '.join(unknown)}; there are: {', '.join(SHAPES)}")
    return found


def parser() -> argparse.ArgumentParser:
    said = command("overhead", __doc__, "of the engine, and of the order of measurements")
    said.add_argument("--steps", type=numbers(1), default=list(STEPS), help="sizes, parted by commas")
    said.add_argument("--shapes", type=shapes, default=list(SHAPES), help=f"of {', '.join(SHAPES)}")
    said.add_argument("--peers", action="store_true", help="measure what is installed of the peers beside it")
    said.add_argument("--no-limit", action="store_true", help="measure peers at every size, however long it takes")
    said.add_argument("--repeat", type=int, default=3, help="measurements of each kind; rows hold the median")
    return said


def main() -> int:
    options = parser().parse_args()
    note(machine())
    entries = list(installed([OWN, *(PEERS if options.peers else ())]))
    rows, sound = collect(entries, options)
    finish(rows, options.json, (rows, f"A durable verified step: median of {options.repeat}"))
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main())
