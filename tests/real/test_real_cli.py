"""The command line over a real server."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from real.asking import SLOW, kept, same
from real.llama import Llama
from real.proxy import Proxy
from terminal import SUREFOOT

from surefoot.storage.records import ModelCall
from surefoot.storage.store import Store

pytestmark = [pytest.mark.real, pytest.mark.timeout(SLOW)]

Counting = Callable[[Llama], Proxy]
STEP = {"id": "sum", "goal": "How much is 2 plus 3?", "gives": {"type": "integer"}}
PLAN = {"steps": [STEP], "output": {"$ref": "sum"}}
CODES = {0, 1, 3, 6}
"""Ways to end that a model of any wit may come to: never a usage error, a question, a traceback."""


def surefoot(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "SUREFOOT_API_KEY": "x"}
    return subprocess.run(
        [SUREFOOT, *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=SLOW, check=False
    )


def test_a_task_alone_is_planned_by_the_model_and_ends_in_a_way_that_the_manual_knows(
    own: Callable[..., Llama], counting: Counting, tmp_path: Path
) -> None:
    proxy = counting(own("smol", window=1536))  # it would write plans as long as its window
    words = ("run", "--model", "openai/smol", "--base-url", proxy.url, "--json", "How much is 2 plus 3?")
    done = surefoot(tmp_path, *words)
    assert done.returncode in CODES and "Traceback" not in done.stderr, done.stderr
    row = json.loads(done.stdout)
    with Store.open(tmp_path / ".surefoot" / "surefoot.db") as store:
        calls = kept(store, row["run_id"], ModelCall)
    assert calls and row["usage"]["samples"] == len(calls)
    same(calls, proxy.counts)


def test_a_plan_of_ones_own_gives_an_answer_and_the_run_can_be_shown(
    smol: Llama, counting: Counting, tmp_path: Path
) -> None:
    proxy = counting(smol)
    (tmp_path / "plan.json").write_text(json.dumps(PLAN))
    address = ("--model", "openai/smol", "--base-url", proxy.url)
    done = surefoot(tmp_path, "run", *address, "--plan", "plan.json", "--tools", "none", "--no-verify", "--json", "add")
    assert done.returncode == 0, done.stderr
    row = json.loads(done.stdout)
    assert row["outcome"] == "unverified" and isinstance(row["output"], int)
    with Store.open(tmp_path / ".surefoot" / "surefoot.db") as store:
        same(kept(store, row["run_id"], ModelCall), proxy.counts)
    shown = surefoot(tmp_path, "show", "last", "--json")
    assert shown.returncode == 0 and row["run_id"] in shown.stdout


def test_the_doctor_finds_the_server_usable(smol: Llama, tmp_path: Path) -> None:
    done = surefoot(tmp_path, "doctor", "--model", "openai/smol", "--base-url", smol.url, "--json")
    assert done.returncode == 0, done.stdout
    found = {row["check"]: row for row in map(json.loads, done.stdout.splitlines())}
    assert found["model"]["status"] == "ok" and smol.url in found["model"]["detail"]
