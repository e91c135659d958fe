"""A million verified steps: the Towers of Hanoi with 20 disks by a small network, killed twice on the way.

    python -m benchmarks.million [--quick] [--json] [--disks 20] [--mode contract|votes] [--lead K] [--model full]

`docs/benchmarks.md` says what is measured, and what is fair in it.
"""

from __future__ import annotations

import argparse
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from random import Random

from benchmarks.harness import ROOT, Row, files_size, finish, machine, note, peak_mb, show
from surefoot.reflection.votes import vote_error
from surefoot.storage.store import Store

KILLS = 2
RECORDS = 7
"""Records of a step, about: where in a run a kill falls is told by the last one's number."""
POLL = 0.5
"""Seconds between two looks at how far a run has come."""


# --- the process that does the work -----------------------------------------------------------------------------


def work(folder: Path, mode: str, disks: int, model: str, lead: int | None, rows: int, seed: int) -> None:
    """Runs the tower, or goes on with the run that the store holds; says what it needed."""
    from benchmarks import hanoi

    with Store.open(folder / "runs.db") as store:
        left = store.runs(1)
    with hanoi.engine(model, folder / "runs.db", mode, lead, rows) as engine:
        if left:
            result = engine.resume("last")
        else:
            result = engine.run(f"Move a tower of {disks} disks.", inputs={"disks": disks}, seed=seed)
    note(f"{result.outcome.value} {result.reason[:300]}; peak {peak_mb():.0f} MiB")
    if not result:
        sys.exit(3)


# --- the process that kills it ----------------------------------------------------------------------------------


def drive(folder: Path, options: argparse.Namespace) -> Row:
    """The run from its beginning to its end, with its kills."""
    steps = 2**options.disks - 1
    rng = Random(options.seed)
    kills = sorted(rng.uniform(0.1, 0.9) for _ in range(options.kills))
    marks = [int(share * steps * RECORDS) for share in kills]
    began = time.monotonic()
    killed, peak = 0, 0.0
    while True:
        child = subprocess.Popen(_command(folder, options), cwd=ROOT, stdin=subprocess.DEVNULL)
        mark = marks[killed] if killed < len(marks) else None
        while child.poll() is None:
            time.sleep(POLL)
            peak = max(peak, _peak(child.pid))
            if mark is not None and _reached(folder / "runs.db") >= mark:
                os.kill(child.pid, signal.SIGKILL)
                child.wait()
                killed += 1
                note(f"killed at {time.monotonic() - began:.0f} s, {_reached(folder / 'runs.db'):,} records durable")
                break
        else:
            break
    seconds = time.monotonic() - began
    if child.returncode:
        note(f"the run ended with exit code {child.returncode}")
    return _row(folder, options, killed, seconds, peak)


def _command(folder: Path, options: argparse.Namespace) -> list[str]:
    command = [sys.executable, "-m", "benchmarks.million", "--work", str(folder), "--mode", options.mode]
    command += ["--disks", str(options.disks), "--model", options.model, "--rows", str(options.rows)]
    command += ["--seed", str(options.seed)]
    return command + (["--lead", str(options.lead)] if options.lead else [])


def _reached(database: Path) -> int:
    """The number of the last durable event of the run."""
    if not database.exists():
        return 0
    try:
        with sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=5) as connection:
            return int(connection.execute("SELECT max(seq) FROM event WHERE run = 1").fetchone()[0] or 0)
    except sqlite3.OperationalError:  # it is being made, or written to
        return 0


def _peak(pid: int) -> float:
    """The most memory that a process had resident so far, in MiB; 0 where it has ended."""
    try:
        return int(Path(f"/proc/{pid}/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024
    except (OSError, IndexError):
        return 0.0


def _row(folder: Path, options: argparse.Namespace, killed: int, seconds: float, peak: float) -> Row:
    from benchmarks import hanoi

    steps = 2**options.disks - 1
    with Store.open(folder / "runs.db") as store:
        info = store.runs(1)[0]
        found = hanoi.score(store, info.run_id, options.disks)
    return {
        "mode": options.mode,
        "model": options.model,
        "lead": options.lead,
        "disks": options.disks,
        "steps": steps,
        "outcome": info.outcome.value if info.outcome else None,
        **found,
        "kills": killed,
        "seconds": round(seconds, 1),
        "us_per_step": round(seconds / steps * 1e6, 1),
        "peak_mb": round(peak, 1),
        "bytes_per_step": round(files_size(folder) / steps, 1),
    }


def prediction(model: str, lead: int) -> list[Row]:
    """What votes come to over a whole tower, from the share of right samples and of states that samples get wrong.

    A state with p_i below one half is lost, however many votes there are; elsewhere a lead of k is wrong with
    probability 1/(1 + (p/(1-p))^k). Both from the model's card, so for states drawn as the network was trained.
    """
    from surefoot.models.packaged import PocketModel

    card = PocketModel(f"hanoi-moves/{model}").card
    p, hard = card["sample"]["low"], card["hard"]
    rows = []
    for disks in (10, 12, 13, 14, 20):
        steps = 2**disks - 1
        right = (1 - vote_error(p, lead)) ** steps * (1 - hard) ** steps
        rows.append({"disks": disks, "steps": steps, "lead": lead, "sample_low": p, "hard": hard, "predicted": right})
    return rows


def parser() -> argparse.ArgumentParser:
    said = argparse.ArgumentParser(prog="python -m benchmarks.million", description=(__doc__ or "").splitlines()[0])
    said.add_argument("--quick", action="store_true", help="11 disks, under two minutes")
    said.add_argument("--json", action="store_true", help="nothing but the JSON line on stdout")
    said.add_argument("--seed", type=int, default=0, help="of samples, and of the moments of the kills")
    said.add_argument("--disks", type=int, default=20)
    said.add_argument("--mode", choices=["contract", "votes"], default="contract")
    said.add_argument("--lead", type=int, help="votes ahead in place of the rules' check; 3 in the mode votes")
    said.add_argument("--model", default="full", help="full, or an early checkpoint: p80, p90, p95, p99")
    said.add_argument("--rows", type=int, default=1024, help="samples in one batch, and segments at once")
    said.add_argument("--kills", type=int, default=KILLS)
    said.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    return said


def main() -> int:
    options = parser().parse_args()
    if options.mode == "votes" and not options.lead:
        options.lead = 3
    if options.work is not None:
        work(options.work, options.mode, options.disks, options.model, options.lead, options.rows, options.seed)
        return 0
    if options.quick:
        options.disks = min(options.disks, 11 if options.mode == "contract" else 8)
    note(machine())
    with tempfile.TemporaryDirectory() as folder:
        row = drive(Path(folder), options)
    rows = [row]
    if options.mode == "votes":
        predicted = prediction(options.model, options.lead)
        rows += predicted
        if not options.json:
            show(predicted, "Predicted for votes in a row")
    if not options.json:
        show([{"figure": name, "value": value} for name, value in row.items()], "A run of verified moves")
    finish(rows)
    sound = row["outcome"] == "verified" and row["wrong"] == 0 and row["moves"] == row["steps"]
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main())
