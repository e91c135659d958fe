"""What every benchmark shares: a fresh process for each measurement, the machine's line, rows and their table.

A benchmark ends its output with one line of JSON, `{"rows": [...]}`, on stdout. Everything that is not a result
goes to stderr.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import resource
import sqlite3
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from surefoot.reflection.rates import Beta
from surefoot.storage.store import Store

ROOT = Path(__file__).parent.parent

Row = dict[str, Any]
"""One result: what was measured, and its figures. JSON."""


class WrongResult(Exception):
    """What was measured did not do the work that it was given, so its time says nothing."""


def expect(found: object, wanted: object, what: str) -> None:
    """Raises WrongResult unless the two are equal."""
    if found != wanted:
        raise WrongResult(f"{what}: {found!r}, and it must be {wanted!r}")


# --- a process for each measurement -------------------------------------------------------------------------


def fresh(function: str, **arguments: Any) -> Any:
    """What a function (`package.module:name`) returns in a process of its own; arguments and result are JSON.

    Memory, caches and the state of the garbage collector are those of that one measurement. Its stderr is passed
    on. Raises subprocess.CalledProcessError where the process fails.
    """
    command = [sys.executable, "-m", "benchmarks.harness", function, json.dumps(arguments)]
    done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def every(jobs: int, cells: Iterable[tuple[str, Row]]) -> list[Any]:
    """What functions return, each `fresh` with its arguments, so many at once. Rows are noted as they come."""

    def one(cell: tuple[str, Row]) -> Any:
        found = fresh(cell[0], **cell[1])
        for row in found if isinstance(found, list) else [found]:
            note(json.dumps(row))
        return found

    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(one, cells))


def peak_mb() -> float:
    """The most memory that this process had resident so far, in MiB."""
    try:
        # `ru_maxrss` would count the parent's memory too, up to the moment at which this program was loaded.
        status = Path("/proc/self/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024
    except (OSError, IndexError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / (1024 * 1024 if sys.platform == "darwin" else 1024)


def files_size(folder: Path) -> int:
    """Bytes of all files in a folder, such as a database with its logs."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


# --- what is asked for --------------------------------------------------------------------------------------


def command(name: str, doc: str | None, seed: str, quick: str | None = None) -> argparse.ArgumentParser:
    """What benchmarks take. seed, quick: what these mean; without `quick` there is no such option."""
    said = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=(doc or "").splitlines()[0])
    if quick is not None:
        said.add_argument("--quick", action="store_true", help=quick)
    said.add_argument("--json", action="store_true", help="nothing but the JSON line on stdout")
    said.add_argument("--seed", type=int, default=0, help=seed)
    return said


def words(text: str) -> list[str]:
    return text.split(",")


def numbers(least: int) -> Callable[[str], list[int]]:
    def read(text: str) -> list[int]:
        found = [int(word.replace("_", "")) for word in text.split(",")]
        if min(found) < least:
            raise argparse.ArgumentTypeError(f"{min(found)} is too small: it is counted from {least}")
        return found

    return read


# --- what is said -------------------------------------------------------------------------------------------


def note(text: str) -> None:
    """A line for people."""
    print(text, file=sys.stderr, flush=True)


def machine() -> str:
    """One line on what the figures were measured with."""
    with tempfile.TemporaryDirectory() as folder, Store.open(Path(folder) / "surefoot.db") as store:
        mode = store.mode.partition(":")[0].partition(", ")[2]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    load = os.getloadavg()[0]
    return (
        f"{platform.system()} {platform.machine()}, {cores} cores ({_processor()}), load {load:.1f}; "
        f"Python {platform.python_version()}; SQLite {sqlite3.sqlite_version}, the store's {mode}"
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "processor not named"


def show(rows: Sequence[Mapping[str, Any]], title: str) -> None:
    """The rows as a table on stdout."""
    table = Table(title=title)
    for name in rows[0] if rows else ():
        table.add_column(name, justify="right" if isinstance(rows[0][name], int | float) else "left")
    for row in rows:
        table.add_row(*(cell(value) for value in row.values()))
    console = Console()
    wanted = console.measure(table, options=console.options.update(width=1000)).maximum
    (console if wanted <= console.width else Console(width=wanted)).print(table)


def cell(value: Any) -> str:
    """A figure for people; None is a dash."""
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int | float) else str(value)


def finish(rows: Sequence[Row], only_json: bool, *tables: tuple[Sequence[Row], str]) -> None:
    """The last line of a benchmark's output; before it, unless nothing but JSON is wanted, tables with their titles."""
    if not only_json:
        for table, title in tables:
            show(table, title)
    print(json.dumps({"rows": list(rows)}), flush=True)


def observed(right: int, of: int) -> Row:
    """The share that was right, with its 95 % interval; None where there was nothing."""
    low, high = Beta(right, of - right).interval()
    figures = {"observed": right / max(of, 1), "observed_low": low, "observed_high": high}
    return {name: round(figure, 5) if of else None for name, figure in figures.items()}


def mean(figures: Iterable[float | None], digits: int) -> float | None:
    """Of those figures that there are; None where there are none."""
    known = [one for one in figures if one is not None]
    return round(sum(known) / len(known), digits) if known else None


def medians(samples: Sequence[Mapping[str, Any]], digits: int = 1) -> Row:
    """Each figure's median over samples of equal keys; None where a system has no such figure."""
    columns = {name: [sample[name] for sample in samples] for name in samples[0]}
    return {
        name: None if None in values else round(statistics.median(values), digits) for name, values in columns.items()
    }


def load(name: str) -> Callable[..., Any]:
    """What `package.module:name` names."""
    module, _, attribute = name.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), attribute)
    return found


if __name__ == "__main__":
    print(json.dumps(load(sys.argv[1])(**json.loads(sys.argv[2]))))
