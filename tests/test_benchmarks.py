"""Benchmarks run, do the work that they time, and say what they found in a form that a program can read."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent


def part(name: str) -> Any:
    """A module of the benchmarks, without putting the root, where every folder is, on the path."""
    if "benchmarks" not in sys.modules:
        spec = importlib.util.spec_from_file_location("benchmarks", ROOT / "benchmarks" / "__init__.py")
        assert spec is not None
        sys.modules["benchmarks"] = importlib.util.module_from_spec(spec)
    return importlib.import_module(f"benchmarks.{name}")


harness, overhead, page, systems = part("harness"), part("overhead"), part("page"), part("systems")

FIELDS = ["system", "shape", "steps", "us_per_step", "bytes_per_step", "rss_mb"]


def bench(*words: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.overhead", *words]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=110)


def test_with_json_stdout_is_one_line_of_rows() -> None:
    done = bench("--steps", "50", "--repeat", "1", "--json")
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    rows = json.loads(line)["rows"]
    assert [list(row) for row in rows] == [FIELDS] * 3
    assert [(row["system"], row["shape"], row["steps"]) for row in rows] == [
        ("surefoot", "chain", 50),
        ("surefoot", "fan", 50),
        ("surefoot", "sampled", 50),
    ]
    for row in rows:
        assert row["us_per_step"] > 0
        assert row["bytes_per_step"] > 0
        assert row["rss_mb"] > 10
    assert "SQLite" in done.stderr.splitlines()[0]


def test_without_json_a_table_comes_before_the_line_of_rows() -> None:
    done = bench("--steps", "3,20", "--shapes", "fan", "--repeat", "2", env={**os.environ, "COLUMNS": "120"})
    assert done.returncode == 0, done.stderr
    *table, line = done.stdout.splitlines()
    assert [row["steps"] for row in json.loads(line)["rows"]] == [3, 20]
    assert any("us_per_step" in text for text in table)
    assert done.stderr.count("surefoot fan 20:") == 2


def test_a_peer_that_is_not_installed_is_skipped_with_a_note(capsys: pytest.CaptureFixture[str]) -> None:
    absent = overhead.Entry("nobody", "benchmarks.peers.nobody:Nobody", needs="no-such-distribution")
    assert list(overhead.installed([overhead.OWN, absent])) == [overhead.OWN]
    assert "nobody: skipped, no-such-distribution is not installed" in capsys.readouterr().err


def test_every_system_takes_its_turn_at_every_size_up_to_its_limit(capsys: pytest.CaptureFixture[str]) -> None:
    slow = overhead.Entry("slow", "benchmarks.peers.nobody:Nobody", limit=10)
    options = overhead.parser().parse_args(["--steps", "5,50", "--repeat", "2"])
    turns = [(entry.name, shape, steps) for entry, shape, steps in overhead.rounds([overhead.OWN, slow], options)]
    own = [("surefoot", shape, steps) for shape in overhead.SHAPES for steps in (5, 50)]
    assert sorted(turns) == sorted([*own, ("slow", "chain", 5)] * 2)
    assert "slow chain 50: skipped" in capsys.readouterr().err
    options = overhead.parser().parse_args(["--steps", "50", "--repeat", "1", "--no-limit"])
    assert ("slow", "chain", 50) in [(e.name, shape, steps) for e, shape, steps in overhead.rounds([slow], options)]


@pytest.mark.parametrize(
    ("words", "said"),
    [(["--shapes", "ring"], "there is no shape ring"), (["--steps", "0"], "counted from 1"), (["--steps", "x"], "x")],
)
def test_a_wrong_option_is_refused(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        overhead.parser().parse_args(words)
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("steps", [1, systems.SEGMENT + 1])
@pytest.mark.parametrize("shape", overhead.SHAPES)
def test_the_store_knows_every_step_of_the_work(shape: str, steps: int, tmp_path: Path) -> None:
    subject = systems.Surefoot()
    subject.create(tmp_path)
    subject.open(tmp_path, shape, seed=0)(steps)
    assert subject.count(tmp_path) == steps


def test_a_system_that_did_less_than_its_work_is_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(systems.Surefoot, "count", lambda self, folder: 2)
    with pytest.raises(harness.WrongResult, match="2, and it must be 3"):
        overhead.measure(overhead.OWN.place, "chain", 3, 0)


def test_a_failed_measurement_leaves_the_other_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = overhead.Entry("broken", "benchmarks.peers.nobody:Nobody")
    monkeypatch.setattr(overhead, "PEERS", (broken,))
    options = overhead.parser().parse_args(["--steps", "4", "--shapes", "chain", "--repeat", "1"])
    rows, sound = overhead.collect([overhead.OWN, broken], options)
    assert not sound
    assert [row["system"] for row in rows] == ["surefoot"]


def test_many_runs_at_once_are_all_done_and_measured() -> None:
    command = [sys.executable, "-m", "benchmarks.runs", "--runs", "5,9", "--latency", "0,1", "--quick", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    rows = json.loads(line)["rows"]
    assert [(row["runs"], row["latency_ms"]) for row in rows] == [(5, 0), (5, 1)]
    figures = ["cpu_ms", "seconds", "runs_per_s", "times_ideal", "gap_ms", "grown_mb", "rss_mb"]
    assert [list(row) for row in rows] == [["runs", "latency_ms", *figures]] * 2
    assert all(row["cpu_ms"] > 0 and row["times_ideal"] > 0 for row in rows)


def test_a_run_that_ended_otherwise_is_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = part("runs")
    shorter = runs.plan()
    monkeypatch.setattr(runs, "plan", lambda: shorter)
    monkeypatch.setattr(runs, "STEPS", 4)
    with pytest.raises(harness.WrongResult, match="run 0"):
        runs.measure(2, 0, 0)


def test_a_row_holds_the_medians_of_its_samples() -> None:
    samples = [{"us": float(value), "bytes": None} for value in (9, 1, 2)]
    assert harness.medians(samples) == {"us": 2.0, "bytes": None}


def test_a_page_takes_the_rows_between_its_marks(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text("before\n<!-- overhead -->\nold\n<!-- end of overhead -->\nafter\n")
    rows = [{"system": "a", "us_per_step": 1234.5, "bytes_per_step": None}]
    call = "import sys, pathlib; from benchmarks.page import main; main('overhead', pathlib.Path(sys.argv[1]))"
    command = [sys.executable, "-c", call, str(path)]
    said = f"progress\n{json.dumps({'rows': rows})}\n"
    for _ in range(2):
        subprocess.run(command, cwd=ROOT, input=said, capture_output=True, text=True, timeout=100, check=True)
    lines = path.read_text().splitlines()
    assert lines[:2] == ["before", "<!-- overhead -->"]
    assert "SQLite" in lines[2]
    table = ["| system | us_per_step | bytes_per_step |", "| --- | ---: | --- |", "| a | 1,234.5 | - |"]
    assert lines[4:] == [*table, "<!-- end of overhead -->", "after"]


def test_the_page_of_the_benchmarks_has_its_marks() -> None:
    filled = page.fill(page.PAGE.read_text(), "overhead", "the rows")
    assert "<!-- overhead -->\nthe rows\n<!-- end of overhead -->" in filled
    with pytest.raises(ValueError, match="no such benchmark"):
        page.fill(filled, "no such benchmark", "")
    with pytest.raises(ValueError, match="did the benchmark fail"):
        page.table([])
