"""Running the candidate: real processes, real tests."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from surefoot.reflection import Case, ExecutionCheck
from surefoot.storage.errors import SetupError
from surefoot.storage.records import Json, Step, Verdict
from surefoot.tools.process import Limits
from surefoot.tools.thread import in_thread

pytestmark = pytest.mark.anyio

TESTS = {"test_add.py": "from solution import add\n\ndef test_add():\n    assert add(1, 2) == 3\n"}
QUICK = Limits(seconds=30)


async def verdict(check: ExecutionCheck, candidate: Json) -> Verdict:
    return await check.verify(Case(Step("s1"), candidate))


async def test_code_that_meets_its_tests_passes_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    result = await verdict(ExecutionCheck(TESTS), "def add(a, b):\n    return a + b\n")
    assert (result.ruling, result.kind, result.exact) == ("pass", "test", True)
    assert os.listdir(tmp_path) == []  # noqa: PTH208


async def test_code_that_breaks_its_tests_fails_with_their_output() -> None:
    result = await verdict(ExecutionCheck(TESTS), "def add(a, b):\n    return a - b\n")
    assert result.ruling == "fail"
    assert "assert -1 == 3" in result.critique
    assert tempfile.gettempdir() not in result.critique


async def test_text_that_is_no_code_fails_with_the_syntax_error() -> None:
    result = await verdict(ExecutionCheck(TESTS), "```python\ndef add(a, b): return a + b\n```")
    assert result.ruling == "fail"
    assert "SyntaxError" in result.critique
    assert sys.prefix not in result.critique


async def test_ending_the_process_early_is_no_pass() -> None:
    result = await verdict(ExecutionCheck(TESTS), "import os\nos._exit(0)\n")
    assert result.ruling == "fail"
    assert "before the check was through" in result.critique


async def test_tests_that_are_not_found_say_nothing_of_the_candidate() -> None:
    result = await verdict(ExecutionCheck({"helpers.py": "x = 1\n"}), "y = 2\n")
    assert result.ruling == "abstain"
    assert "the tests did not run (exit code 5)" in result.critique


async def test_a_candidate_that_hangs_fails() -> None:
    check = ExecutionCheck(command=(sys.executable, "solution.py"), limits=Limits(seconds=0.5))
    result = await verdict(check, "print('begun', flush=True)\nwhile True:\n    pass\n")
    assert result.ruling == "fail"
    assert result.critique.startswith("running it did not end within 0.5 s\nbegun")
    assert result.evidence["timed_out"] is True


async def test_a_candidate_that_crashes_fails() -> None:
    check = ExecutionCheck(command=(sys.executable, "solution.py"), limits=QUICK)
    result = await verdict(check, "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    assert result.ruling == "fail"
    assert "exit code -9" in result.critique


async def test_a_command_that_cannot_be_started_abstains() -> None:
    result = await verdict(ExecutionCheck(command=("no-such-interpreter", "solution.py")), "x = 1")
    assert result.ruling == "abstain"
    assert "no-such-interpreter" in result.critique


async def test_other_values_than_text_become_json() -> None:
    program = "import json, sys\nsys.exit(json.load(open('data/out.json')) != {'total': 3})\n"
    check = ExecutionCheck({"check.py": program}, "data/out.json", (sys.executable, "check.py"), limits=QUICK)
    assert (await verdict(check, {"total": 3})).ruling == "pass"
    assert (await verdict(check, {"total": 4})).ruling == "fail"


async def test_a_command_may_have_a_proof_of_its_own() -> None:
    command = (sys.executable, "solution.py")
    check = ExecutionCheck(command=command, proof=r"^all \d+ good$", limits=QUICK)
    assert (await verdict(check, "print('all 3 good')")).ruling == "pass"
    assert (await verdict(check, "print('all good')")).ruling == "fail"


async def test_the_users_keys_stay_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VENDOR_API_KEY", "secret")
    code = "import os, sys\nsys.exit('VENDOR_API_KEY' in os.environ or os.environ['MODE'] != 'x')\n"
    check = ExecutionCheck(command=(sys.executable, "solution.py"), environment={"MODE": "x"}, limits=QUICK)
    result = await verdict(check, code)
    assert result.ruling == "pass", result.critique
    assert "VENDOR_API_KEY" in os.environ


async def test_a_long_output_is_cut_to_its_end() -> None:
    code = "import sys\nprint('x' * 100_000)\nprint('the end')\nsys.exit(1)\n"
    check = ExecutionCheck(command=(sys.executable, "solution.py"), limits=QUICK)
    result = await verdict(check, code)
    assert len(result.critique) <= 1500
    assert result.critique.endswith("the end")


async def test_a_run_that_is_cancelled_stops_the_process(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    code = f"import os, time\nwith open({str(pipe)!r}, 'w') as out:\n    out.write(str(os.getpid()))\ntime.sleep(60)\n"
    check = ExecutionCheck(command=(sys.executable, "solution.py"), limits=Limits(seconds=90))
    running = asyncio.create_task(verdict(check, code))
    pid = int(await in_thread(pipe.read_text))  # reading ends when the candidate has written
    os.kill(pid, 0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"files": TESTS, "path": "../solution.py"}, "leads out of the folder"),
        ({"files": TESTS, "path": "/tmp/solution.py"}, "leads out of the folder"),
        ({"files": {"a/../../x.py": ""}}, "leads out of the folder"),
        ({"files": TESTS, "path": "test_add.py"}, "one of the files"),
        ({}, "nothing to run"),
    ],
)
def test_a_wrong_set_up_is_refused_at_once(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(SetupError, match=said):
        ExecutionCheck(**arguments)


def test_the_version_changes_with_the_tests() -> None:
    assert ExecutionCheck(TESTS).version == ExecutionCheck(dict(TESTS)).version
    assert ExecutionCheck(TESTS).version != ExecutionCheck({"test_add.py": "def test(): pass\n"}).version
