"""`surefoot demo`: every number that it shows was measured a moment ago."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

import pytest
import tiny
from terminal import Shell

from surefoot.models import packaged
from surefoot.service.batch import Summary
from surefoot.service.tour import FILE, FILE_SEED, table
from surefoot.service.tour import packaged as problems
from surefoot.storage.records import ModelCall
from surefoot.storage.store import Store

WEIGHTS = packaged.FOLDER / "word_problems" / "card.json"


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    monkeypatch.chdir(tmp_path)
    return Shell(capsys)


@pytest.fixture
def untaught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Real weights that have learned nothing."""
    folder = tmp_path / "pocket" / "word_problems"
    folder.mkdir(parents=True)
    tiny.save(folder)
    (folder / "card.json").write_text("{}")
    monkeypatch.setattr(packaged, "FOLDER", tmp_path / "pocket")


def test_a_model_that_knows_nothing_is_shown_to_know_nothing(shell: Shell, untaught: None) -> None:
    said = shell("demo", "--problems", "2", "--json")
    found = said.json
    assert said.code == 0 and found["problems"] == 2
    for one in (found["without"], found["with"]):
        assert (one["tasks"], one["accepted"], one["precision"], one["accuracy"]) == (2, 0, None, 0)
    assert "abstained rather than guess" in said.err
    with Store.open(".surefoot/surefoot.db", create=False) as store:
        runs = store.runs()
        asked = sum(len(list(store.records(run.run_id, kinds=[ModelCall]))) for run in runs)
    assert len(runs) == 1 + 2 + 2
    assert runs[-1].usage is not None
    assert found["without"]["samples"] + found["with"]["samples"] + runs[-1].usage.samples == asked


def test_the_table_is_for_people_and_the_way_on_is_named(shell: Shell, untaught: None) -> None:
    said = shell("demo", "--problems", "1", "--store", "demo.db")
    assert said.code == 0
    for part in ("first sample", "verified", "precision", "coverage", "abstained", "samples", "seconds"):
        assert part in said.out
    for part in (
        f"kept in {Path('demo.db').resolve()}",
        "surefoot show",
        "--store demo.db",
        "surefoot run",
        f"seed {FILE_SEED}",
    ):
        assert part in said.err


def test_the_record_of_a_local_model_has_its_exact_tokens(shell: Shell, untaught: None) -> None:
    shell("demo", "--problems", "1")
    messages = shell("show", "last", "--json").json["messages"]
    assert messages
    for one in messages:
        assert one["token_source"] == "engine" and len(one["mask"]) == len(one["token_ids"]) > 0
        assert len(one["logprobs"] or ()) == sum(one["mask"])


def test_a_seed_makes_new_problems(shell: Shell, untaught: None) -> None:
    pytest.importorskip("reasoning_gym")
    said = shell("demo", "--problems", "2", "--seed", "5")
    assert said.code == 0 and "(seed 5)" in said.err
    with Store.open(".surefoot/surefoot.db", create=False) as store:
        assert len({run.goal for run in store.runs()}) == 2


def test_the_problems_are_those_of_their_seed() -> None:
    """They ship with surefoot, so that the demo needs no further package; anyone can make them again."""
    gym = pytest.importorskip("reasoning_gym")
    made = gym.create_dataset("gsm_symbolic", size=60, seed=FILE_SEED)
    lines = resources.files("surefoot.service").joinpath(FILE).read_text().splitlines()
    assert [(row["task"], row["answer"]) for row in map(json.loads, lines)] == [
        (one["question"], one["answer"]) for one in made
    ]
    assert len(problems(50)) == 50


def test_more_problems_than_there_are_is_a_usage_error(shell: Shell) -> None:
    said = shell("demo", "--problems", "61")
    assert said.code == 2 and "--seed" in said.err


def test_nothing_accepted_is_no_precision_rather_than_none_right() -> None:
    from rich.console import Console

    console = Console(width=120)
    summary = Summary(scored=True)
    summary.outcomes["abstained"] = 3
    with console.capture() as shown:
        console.print(table(summary, summary))
    line = next(line for line in shown.get().splitlines() if "precision" in line)
    assert line.split()[-2:] == ["none", "none"]


@pytest.mark.slow
@pytest.mark.skipif(not WEIGHTS.exists(), reason="the pocket model's weights are not there yet")
def test_verification_makes_the_pocket_model_dependable(shell: Shell) -> None:
    said = shell("demo", "--json")
    without, verified = said.json["without"], said.json["with"]
    assert said.code == 0 and without["tasks"] == verified["tasks"] == 50
    assert verified["precision"] >= 0.95 and verified["coverage"] >= 0.8
    assert 50 <= without["samples"] <= 55, "one sample a problem, and another where one cannot be read"
    assert verified["samples"] > without["samples"]
    assert verified["seconds"] + without["seconds"] < 85
