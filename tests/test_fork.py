"""A process that used the engine forks, and both sides go on: nothing hangs, nothing is lost or written twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from fork_child import CHECKED
from servers import ScriptedServer, say

from surefoot.engine import Engine
from surefoot.models.scripted import ScriptedModel
from surefoot.storage.records import Reward
from surefoot.storage.store import Store

pytest_plugins = ("stores",)

CHILD = Path(__file__).with_name("fork_child.py")
LIMIT = 100
"""Seconds after which a program has hung."""


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where the store is."""
    if request.param == "postgres":
        address: str = request.getfixturevalue("database")
        return address
    return str(tmp_path / "runs.db")


def program(name: str, *given: object) -> Any:
    told = subprocess.run(
        [sys.executable, str(CHILD), name, *map(str, given)],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
        env={**os.environ, "OMP_WAIT_POLICY": "passive"},  # or torch's threads take both cores for waiting
    )
    assert told.returncode == 0, told.stderr
    assert told.stderr == ""
    return json.loads(told.stdout)


def whole(place: str, runs: list[Any]) -> None:
    """The store holds these runs and no other, each with all its records, which read and hang together."""
    with Store.open(place) as store:
        assert sorted(one.run_id for one in store.runs(1000)) == sorted(run for run, _ in runs)
        assert {output for _, output in runs} == {42}
        counts = {len(list(store.records(run))) for run, _ in runs}
        assert len(counts) == 1, "every run has the same number of records"
        assert all(store.run(run).over for run, _ in runs)
        engine = Engine(ScriptedModel([]), store=store, planner=CHECKED, tools=[_twice()])
        assert all(engine.replay(run) for run, _ in runs)


def _twice() -> Any:
    from fork_child import twice

    return twice


@pytest.mark.parametrize("how", ["exit", "_exit"])
def test_an_engine_that_was_used_works_in_a_child_and_then_in_the_parent(place: str, how: str) -> None:
    whole(place, program("once", place, how))


def test_a_child_of_a_child_works_too(place: str) -> None:
    whole(place, program("nested", place))


def test_children_that_work_on_one_store_at_once_lose_nothing_and_double_nothing(place: str) -> None:
    found = program("many", place, 8, 3)
    assert len(found) == 1 + 3 + 8 * 3
    whole(place, found)


@pytest.mark.parametrize("how", ["exit", "_exit"])
def test_a_run_under_way_stays_the_parents(place: str, how: str) -> None:
    found = program("under_way", place, how)
    flows, refused, ran = found["child"]
    assert flows == [], "the child has no run under way"
    assert "goes on in the parent alone" in refused
    whole(place, [*found["parent"], ran])
    assert found["parent"][0][0] == found["run"]


@pytest.mark.parametrize("how", ["exit", "_exit"])
def test_a_child_that_ends_writes_none_of_its_parents_rows(place: str, how: str) -> None:
    run = program("queued", place, how, 30_000)
    with Store.open(place) as store:
        assert [one.seq for one in store.records(run, kinds=[Reward])] == list(range(1, 30_002))


def test_a_store_that_never_comes_to_rest_is_refused_in_the_child_at_once(tmp_path: Path) -> None:
    refused, again = program("busy", tmp_path / "runs.db")
    assert "open the store, or make the engine, in the child" in refused
    assert again[1] == 42


def test_requests_of_parent_and_children_do_not_mix(tmp_path: Path) -> None:
    with ScriptedServer(lambda body: say("word", delay=0.05)) as server:
        whole(str(tmp_path / "runs.db"), program("api", tmp_path / "runs.db", server.url))
        assert len({id(body) for body in server.requests}) == len(server.requests)


@pytest.mark.parametrize("which", ["pocket", "tiny"])
def test_local_weights_answer_the_same_in_every_child(tmp_path: Path, which: str) -> None:
    first, *others = program("local", tmp_path / "runs.db", which)
    assert others == [first] * 3


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_command_ends_with_its_process_though_a_child_of_that_lives_on(tmp_path: Path) -> None:
    told = subprocess.Popen(
        [sys.executable, str(CHILD), "commands", str(tmp_path / "runs.db"), str(tmp_path / "pid")],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert told.stdout is not None
    with told.stdout:
        command, child, said = json.loads(told.stdout.readline())
    try:
        assert told.wait(LIMIT) == -signal.SIGKILL
        assert said == "again\n", "the child runs commands of its own"
        end = time.monotonic() + LIMIT
        while Path(f"/proc/{command}").exists():
            assert time.monotonic() < end, "the command lives on"
            time.sleep(0.01)
    finally:
        os.kill(child, signal.SIGKILL)
