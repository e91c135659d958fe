"""The benchmark of samplers runs, and compares the same work."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
FIELDS = ["system", "network", "params", "device", "rows", "prompt"]
FIGURES = ["tokens_per_s", "ms_per_token_step", "us_beside_network"]


def bench(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.sampler", "--device", "cpu", "--repeat", "1", "--json", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


def test_each_system_has_a_row_of_the_same_work() -> None:
    done = bench("--networks", "hanoi-moves,random-1m", "--rows", "64", "--prompts", "24", "--new", "4")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    assert [list(row) for row in rows] == [[*FIELDS, *FIGURES]] * 7
    named = [(row["network"], row["system"]) for row in rows]
    own = ["surefoot", "surefoot-worker", "generate", "generate-static"]
    assert named == [
        *(("hanoi-moves", one) for one in own),
        *(("random-1m", one) for one in own if one != "surefoot-worker"),
    ]
    assert {row["prompt"] for row in rows if row["network"] == "random-1m"} == {24}
    for row in rows:
        assert row["rows"] == 64 and row["device"] == "cpu" and row["params"] > 200_000
        assert row["tokens_per_s"] > 0 and row["ms_per_token_step"] > 0
        assert (row["us_beside_network"] is not None) == (row["system"] == "surefoot")


def test_a_network_that_there_is_not_is_named() -> None:
    done = bench("--networks", "hanoi-moves,huge")
    assert done.returncode == 2
    assert "there is no network huge; there are: hanoi-moves, word-problems, random-1m" in done.stderr
