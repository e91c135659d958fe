"""kill -9 at every record of a run in which everything happens: nothing committed runs again, and it ends the same."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from surefoot.storage.records import Event, PlannedStep, ToolCall
from surefoot.storage.store import Store

CHILD = Path(__file__).with_name("resume_child.py")
POINTS = 36
"""Records at which the run is killed, spread over all of them."""


class Forks:
    """Processes that begin a run, or go on with it, and die when they are told to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, str(CHILD)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.empty = folder / "empty.db"
        Store.open(self.empty).close()

    def place(self, name: str) -> Path:
        place = self.folder / name
        place.mkdir()
        shutil.copy(self.empty, place / "runs.db")
        return place

    def go(self, place: Path, **options: Any) -> dict[str, Any] | None:
        """What the process ended with; None where it was killed."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        out = place / "out.json"
        command = {"store": str(place / "runs.db"), "log": str(place / "log"), "out": str(out)}
        self.process.stdin.write(json.dumps(command | options) + "\n")
        self.process.stdin.flush()
        status = int(self.process.stdout.readline())
        if status == -signal.SIGKILL:
            return None
        assert status == 0, "the process failed; see its stderr"
        found: dict[str, Any] = json.loads(out.read_text())
        return found


@pytest.fixture(scope="module")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    forks = Forks(tmp_path_factory.mktemp("resume"))
    yield forks
    assert forks.process.stdin is not None
    forks.process.stdin.close()
    forks.process.wait(10)
    assert forks.process.stdout is not None
    forks.process.stdout.close()


@pytest.fixture(scope="module")
def whole(forks: Forks) -> dict[str, Any]:
    """The run that nobody kills."""
    ended = forks.go(forks.place("whole"))
    assert ended is not None
    return ended


def log(place: Path) -> list[str]:
    return (place / "log").read_text().splitlines() if (place / "log").exists() else []


def done(place: Path) -> dict[str, int]:
    """Committed steps of the store, by id, and how often a tool was executed for each; undone ones left out."""
    with Store.open(place / "runs.db") as store:
        if not store.runs(1):
            return {}
        names: dict[int, str] = {}
        committed: set[int] = set()
        calls: Counter[int] = Counter()
        for record in store.records(store.resolve("last")):
            if isinstance(record, PlannedStep):
                names[record.seq] = record.step.id
            elif isinstance(record, ToolCall):
                calls[record.step] += 1
            elif isinstance(record, Event) and record.kind == "committed" and record.step is not None:
                committed.add(record.step)
            elif isinstance(record, Event) and record.kind == "rolled_back":
                committed -= set(record.data["steps"])
        return {names[seq]: calls[seq] for seq in committed}


def test_the_run_has_everything_in_it(whole: dict[str, Any]) -> None:
    assert whole["outcome"] == "agreed", whole["reason"]
    assert whole["output"]["guess"] == 500
    assert whole["output"]["risky"] == "page mirror"
    kinds = Counter(whole["kinds"])
    assert kinds["rolled_back"] == 2, "a plan that failed, and a guess that was refuted"
    assert kinds["intent"] == 2
    assert kinds["planned"] >= 3
    assert whole["records"] > POINTS


def points(records: int) -> list[int]:
    return sorted({round(1 + index * (records - 2) / (POINTS - 1)) for index in range(POINTS)})


@pytest.mark.timeout(300)
@pytest.mark.parametrize("durable", [True, False], ids=["the record is durable", "its end may be lost"])
def test_killed_at_any_record_it_ends_the_same_and_runs_nothing_committed_again(
    forks: Forks, whole: dict[str, Any], durable: bool
) -> None:
    for point in points(whole["records"]):
        place = forks.place(f"at{point}-{durable}")
        assert forks.go(place, kill=point, durable=durable) is None, f"it ended before record {point}"
        before, logged = done(place), log(place)
        ended = forks.go(place)
        assert ended is not None
        if ended["outcome"] == "input_required":
            # The letter may be on its way or not: only a person can tell.
            assert ended["questions"] == ["send"]
            assert [line.split()[0] for line in logged].count("send") <= 1
            ended = forks.go(place, answers={"output": "sent hello"})
            assert ended is not None
        assert (ended["outcome"], ended["output"]) == ("agreed", whole["output"]), (point, ended["reason"])
        lines = log(place)
        assert sum(line.startswith("send") for line in lines) <= 1, f"killed at {point}, the letter was sent twice"
        assert len({line for line in lines if line.startswith("put")}) == 1, "one idempotency key, however often"
        after = lines[len(logged) :]
        for id in before:
            assert not any(line.startswith(f"fetch {id} ") for line in after), f"{id} was committed, and ran again"
        if "note" in before:
            assert not any(line.startswith("put") for line in after)


@pytest.mark.timeout(120)
def test_killed_again_and_again_it_still_ends_the_same(forks: Forks, whole: dict[str, Any]) -> None:
    place = forks.place("often")
    for _ in range(12):
        ended = forks.go(place, kill=9)
        if ended is not None:
            break
    while ended is None or ended["outcome"] == "input_required":
        ended = forks.go(place, answers={"output": "sent hello"})
    assert (ended["outcome"], ended["output"]) == ("agreed", whole["output"]), ended["reason"]
    assert sum(line.startswith("send") for line in log(place)) <= 1


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize(("agreed", "outcome"), [(True, "agreed"), (False, "failed"), ({"output": "x"}, "agreed")])
def test_whether_a_letter_that_may_be_on_its_way_is_sent_again_is_for_a_person_to_say(
    forks: Forks, moment: str, agreed: Any, outcome: str
) -> None:
    place = forks.place(f"{moment} {agreed}".replace(" ", "-").replace("'", ""))
    assert forks.go(place, die=moment) is None
    sent = 1 if moment == "after" else 0
    for _ in range(2):
        ended = forks.go(place)
        assert ended is not None
        assert (ended["outcome"], ended["questions"]) == ("input_required", ["send"])
        assert "may have run before the run was stopped" in ended["reason"]
        assert sum(line.startswith("send") for line in log(place)) == sent, "asking is not doing"
    ended = forks.go(place, answers=agreed)
    assert ended is not None
    assert ended["outcome"] == outcome, ended["reason"]
    assert sum(line.startswith("send") for line in log(place)) == sent + (agreed is True)
    assert len({line for line in log(place) if line.startswith("send")}) <= 1, "the same key, if it is sent again"
    if agreed is False:
        assert "declined send" in ended["reason"]


def test_a_run_that_has_ended_is_handed_back_without_a_record_more(forks: Forks, whole: dict[str, Any]) -> None:
    place = forks.folder / "whole"
    lines = log(place)
    again = forks.go(place)
    assert again == whole
    assert log(place) == lines
