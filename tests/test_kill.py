"""kill -9 costs nothing: what was committed is never run again, and the output is the same."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from surefoot.storage.records import Event, PlannedStep
from surefoot.storage.store import Store

CHILD = Path(__file__).with_name("chain_child.py")
STEPS = 2_000
KILLS = 20


def start(store: Path, log: Path) -> subprocess.Popen[str]:
    command = [sys.executable, str(CHILD), str(store), str(log), str(STEPS)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def lines(log: Path) -> list[int]:
    """Executions that the tool itself has logged. A kill may leave half a line at the end."""
    text = log.read_text() if log.exists() else ""
    return [int(line) for line in text[: text.rfind("\n") + 1].split()]


def committed(path: Path) -> set[int]:
    """The numbers whose steps the store holds as committed."""
    if not path.exists():
        return set()
    with Store.open(path) as store:
        if not store.runs(1):
            return set()
        run = store.resolve("last")
        seqs, parts = {}, {}
        done = set()
        for record in store.records(run, kinds=(PlannedStep, Event)):
            if isinstance(record, PlannedStep) and record.step.tool:
                seqs[record.seq] = (record.parent, record.ordinal)
            elif isinstance(record, PlannedStep) and record.step.id.startswith("p"):
                parts[record.seq] = record.ordinal
            elif isinstance(record, Event) and record.kind == "committed" and record.step in seqs:
                parent, ordinal = seqs[record.step]
                done.add(parts[parent] * 50 + ordinal)
        return done


@pytest.mark.timeout(400)
def test_a_chain_killed_at_random_moments_runs_no_committed_step_twice(tmp_path: Path) -> None:
    store, log = tmp_path / "runs.db", tmp_path / "log"
    moments = sorted(random.Random(8).sample(range(1, STEPS), KILLS))
    for moment in moments:
        child = start(store, log)
        deadline = time.monotonic() + 60
        while len(lines(log)) < moment and child.poll() is None and time.monotonic() < deadline:
            time.sleep(0.001)
        child.send_signal(signal.SIGKILL)
        child.communicate()
        assert child.returncode == -signal.SIGKILL, "it had ended before it was killed"
        before, done = len(lines(log)), committed(store)
        KILLED.append((before, done))
    child = start(store, log)
    out, _ = child.communicate(timeout=120)
    assert out.split() == ["verified", str(STEPS)]
    ran = lines(log)
    for before, done in KILLED:
        assert not done & set(ran[before:]), "a committed step ran again"
    assert set(ran) == set(range(STEPS))
    again = len(ran) - STEPS
    print(f"{KILLS} kills, {STEPS} steps, {again} executions of steps that were not committed yet")


KILLED: list[tuple[int, set[int]]] = []
