"""A million verified steps: the Towers of Hanoi with 20 disks by a small network, killed twice on the way.

    python -m benchmarks.million [--quick] [--disks 20] [--mode contract|votes] [--lead K] [--model full] [--json]

`docs/benchmarks.md` says what is measured, and what is fair in it.
"""

from __future__ import annotations

import argparse
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

from benchmarks.harness import ROOT, Row, command, files_size, finish, machine, note, peak_mb
from surefoot.storage.store import Store

MODES = ("contract", "votes")
QUICK = {"contract": 11, "votes": 7}
"""Disks of `--quick`."""
LEAD = 3
"""Votes ahead in the mode votes, as in MAKER (arXiv 2511.09030)."""
POLL = 0.1
"""Seconds between two looks at how far a run has come."""


# --- the process that does the work -----------------------------------------------------------------------------


def work(options: argparse.Namespace) -> int:
    """Runs the tower, or goes on with the run that the store holds."""
    from benchmarks import hanoi

    database = options.work / "runs.db"
    with Store.open(database) as store:
        begun = bool(store.runs(1))
    with hanoi.engine(options.model, database, options.mode, options.lead, options.rows, options.open) as engine:
        if begun:
            result = engine.resume("last")
        else:
            goal = f"Move a tower of {options.disks} disks."
            result = engine.run(goal, inputs=hanoi.task(options.disks), seed=options.seed)
    note(f"{result.outcome.value} {result.reason[:300]}; peak {peak_mb():.0f} MiB")
    return 0 if result else 3


# --- the process that kills it ----------------------------------------------------------------------------------


def drive(folder: Path, options: argparse.Namespace) -> Row:
    """The run from its beginning to its end, with its kills."""
    began = time.monotonic()
    killed = sum(_killed(folder, options, mark, began) for mark in marks(options))
    child = _start(folder, options)
    if child.wait():
        note(f"the run ended with exit code {child.returncode}")
    return _row(folder, options, killed, time.monotonic() - began)


def marks(options: argparse.Namespace) -> Iterator[int]:
    """After how many records to kill: one moment in each equal part of the run, none close to where parts meet."""
    rng = Random(options.seed)
    voted = options.lead or 0
    records = 4 + 3 * voted if voted else 7
    """Of a step: as planned, prompt, and commit; a call, its reply and a candidate for each sample; a verdict."""
    for part in range(options.kills):
        share = (part + rng.uniform(0.2, 0.8)) / options.kills
        yield int(share * records * (2**options.disks - 1))


def _start(folder: Path, options: argparse.Namespace) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "benchmarks.million", "--work", str(folder)]
    for name in ("mode", "disks", "model", "lead", "rows", "open", "seed"):
        if (value := getattr(options, name)) is not None:
            command += [f"--{name}", str(value)]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL)


def _killed(folder: Path, options: argparse.Namespace, mark: int, began: float) -> bool:
    """Starts the process and kills it once `mark` records are durable; False where it ended before."""
    child = _start(folder, options)
    while child.poll() is None:
        time.sleep(POLL)
        if _durable(folder / "runs.db") >= mark:
            child.kill()
            child.wait()
            kept = _durable(folder / "runs.db")
            note(f"killed at {time.monotonic() - began:.0f} s, {kept:,} records are durable")
            return child.returncode < 0
    return False


def _durable(database: Path) -> int:
    """The number of the last durable event of the run."""
    if not database.exists():
        return 0
    try:
        with sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=5) as connection:
            return int(connection.execute("SELECT max(seq) FROM event WHERE run = 1").fetchone()[0] or 0)
    except sqlite3.OperationalError:  # it is being made, or written to
        return 0


def _row(folder: Path, options: argparse.Namespace, killed: int, seconds: float) -> Row:
    from benchmarks import hanoi

    steps = 2**options.disks - 1
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / (1024 * 1024 if sys.platform == "darwin" else 1024)
    with Store.open(folder / "runs.db") as store:
        info = store.runs(1)[0]
        found = hanoi.score(store, info.run_id, options.disks)
        spent = info.usage
    return {
        "mode": options.mode,
        "model": options.model,
        "lead": options.lead,
        "disks": options.disks,
        "steps": steps,
        "outcome": info.outcome.value if info.outcome else None,
        **found,
        "calls": spent.samples if spent else None,
        "tokens": spent.tokens if spent else None,
        "kills": killed,
        "seconds": round(seconds, 1),
        "us_per_step": round(seconds / steps * 1e6, 1),
        "rss_mb": round(peak, 1),
        "bytes_per_step": round(files_size(folder) / steps, 1),
    }


def sound(row: Row, kills: int) -> bool:
    """Whether the run did all of its work, without an error and in spite of its kills."""
    return bool(
        row["outcome"] == "verified" and row["wrong"] == 0 and row["moves"] == row["steps"] and row["kills"] == kills
    )


# --- what votes promise -----------------------------------------------------------------------------------------


def predictions(model: str, lead: int) -> list[Row]:
    """What votes come to over whole towers, by MAKER's formula and with the share of steps that votes cannot mend.

    A lead of k is wrong with probability 1 / (1 + (p / (1-p))^k) where samples err independently. A prompt that the
    model gets wrong more often than right is lost, however many votes there are. Rates are those of the model's card:
    of states drawn as in training, half of them by which disk is next, so harder ones than a tower has on average.
    """
    from benchmarks.formulas import vote_error
    from surefoot.models.packaged import PocketModel

    card = PocketModel(f"hanoi-moves/{model}").card
    p, hard = card["sample"]["p"], card["hard"]
    if p == 1.0:
        p = card["sample"]["low"]  # what was seen to be without an error is known no better than that
    rows = []
    for disks in (*range(8, 15, 2), 20):
        steps = 2**disks - 1
        right = (1 - vote_error(p, lead)) ** steps
        rows.append({
            "model": model, "lead": lead, "disks": disks, "steps": steps, "p": p, "hard": hard,
            "independent": right, "predicted": right * (1 - hard) ** steps,
        })  # fmt: skip
    return rows


# --- the command line -------------------------------------------------------------------------------------------


def parser() -> argparse.ArgumentParser:
    seed = "of samples, and of the moments of the kills"
    said = command("million", __doc__, seed, "a small tower, under two minutes")
    said.add_argument("--disks", type=int, help="default: 20; in the mode votes 12")
    said.add_argument("--mode", choices=MODES, default=MODES[0])
    said.add_argument("--lead", type=int, help=f"votes ahead in place of the rules' check; {LEAD} in the mode votes")
    said.add_argument("--model", default="full", help="full, or an early checkpoint: p80, p90, p95, p99")
    said.add_argument("--rows", type=int, default=256, help="samples in a batch")
    said.add_argument("--open", type=int, default=512, help="moves under way at once")
    said.add_argument("--kills", type=int, default=2)
    said.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    return said


def settle(options: argparse.Namespace) -> argparse.Namespace:
    """What follows from the mode where it was not said."""
    if options.disks is None:
        options.disks = QUICK[options.mode] if options.quick else 20 if options.mode == "contract" else 12
    if options.mode == "votes" and options.lead is None:
        options.lead = LEAD
    return options


def main() -> int:
    options = settle(parser().parse_args())
    if options.work is not None:
        return work(options)
    note(machine())
    with tempfile.TemporaryDirectory() as folder:
        row = drive(Path(folder), options)
    foreseen = predictions(options.model, options.lead) if options.lead else []
    shown = [{"figure": name, "value": value} for name, value in row.items()]
    finish([row, *foreseen], options.json, (shown, "A run of verified moves"), (foreseen, "Predicted for votes"))
    return 0 if sound(row, options.kills) else 1


if __name__ == "__main__":
    sys.exit(main())
