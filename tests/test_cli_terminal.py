"""The program as a process: how fast it starts, how it stops, what a terminal sees, and what a pipe does."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from servers import Body, ScriptedServer, say, schema_of, stall
from terminal import SUREFOOT, end, environment, on_a_terminal, start

from surefoot.storage.store import Store

TASK = "Tom has 3 boxes with 14 pens each. How many are there?"
PLAN: Body = {"steps": [{"id": "pens", "goal": "count", "tool": "calculator", "args": {"expression": "3 * 14"}}]}
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedServer]:
    with ScriptedServer(lambda body: PLAN) as server:
        monkeypatch.setenv("SUREFOOT_MODEL", "openai/test")
        monkeypatch.setenv("SUREFOOT_BASE_URL", server.url)
        yield server


def planned(folder: Path) -> str:
    """A plan that needs no model, so that the test does not wait for the client library."""
    (folder / "plan.json").write_text(json.dumps(PLAN))
    return "plan.json"


def until(true: Callable[[], object], seconds: float = 60) -> None:
    """Waits for another process to get somewhere."""
    limit = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < limit, "it did not come to that"
        time.sleep(0.01)


def test_help_loads_nothing_that_is_slow() -> None:
    code = """
import sys
sys.argv = ["surefoot", "run", "--help"]
from surefoot.service.cli.app import main
try:
    main()
except SystemExit:
    heavy = {"torch", "litellm", "langgraph", "sqlalchemy", "surefoot.engine", "surefoot.storage"}
    sys.exit(repr(sorted(heavy & set(sys.modules))) if heavy & set(sys.modules) else 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "--no-verify" in done.stdout


def test_the_commands_are_the_ones_promised(tmp_path: Path) -> None:
    said = end(start("--help", cwd=tmp_path, NO_COLOR="1"))
    assert said.code == 0
    for name in ("run", "resume", "list", "show", "feedback", "export", "doctor", "demo"):
        assert re.search(rf"^\W*{name}\s", said.out, re.MULTILINE)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_a_run_cleanly_and_names_the_command_that_goes_on(
    number: signal.Signals, server: ScriptedServer, tmp_path: Path
) -> None:
    server.script = lambda body: stall()
    process = start("run", TASK, cwd=tmp_path)
    until(lambda: server.requests)
    process.send_signal(number)
    said = end(process)
    assert said.code == 130 and said.out == "" and "Traceback" not in said.err
    found = re.search(r"surefoot resume (\w+)", said.err)
    assert found is not None
    with Store.open(tmp_path / ".surefoot/surefoot.db", create=False) as store:
        assert store.runs()[0].outcome == "canceled"
    server.script = lambda body: PLAN
    again = end(start("resume", found[1], cwd=tmp_path))
    assert (again.code, again.out) == (6, "42\n"), again.err


def test_a_signal_stops_a_batch_and_keeps_what_had_ended(server: ScriptedServer, tmp_path: Path) -> None:
    (tmp_path / "tasks.jsonl").write_text("\n".join(json.dumps({"id": n, "task": f"number {n}!"}) for n in "ab"))
    server.script = lambda body: stall() if "number b!" in json.dumps(body) else PLAN
    process = start("run", "--file", "tasks.jsonl", "--no-verify", "--json", cwd=tmp_path)
    assert process.stdout is not None
    first = json.loads(process.stdout.readline())
    until(lambda: len(server.requests) == 2)
    process.send_signal(signal.SIGINT)
    said = end(process)
    assert first["id"] == "a" and said.code == 130 and "1 tasks had ended" in said.err
    assert "summary" not in said.out
    with Store.open(tmp_path / ".surefoot/surefoot.db", create=False) as store:
        assert {info.outcome for info in store.runs()} == {"unverified", "canceled"}


def test_a_second_signal_leaves_at_once(server: ScriptedServer, tmp_path: Path) -> None:
    """Python code of the run does not let itself be cancelled quickly; the person who insists is let go."""
    code = "import time, pathlib; pathlib.Path('begun').touch(); time.sleep(60)"
    plan = {"steps": [{"id": "code", "goal": "wait", "tool": "python", "args": {"code": code}}]}
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    process = start("run", "wait", "--plan", "plan.json", "--tools", "python", "--workspace", ".", cwd=tmp_path)
    until((tmp_path / "begun").exists)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    assert end(process).code == 130 and time.monotonic() - began < 20


def test_a_reader_that_goes_away_is_no_error(server: ScriptedServer, tmp_path: Path) -> None:
    end(start("run", TASK, "--plan", planned(tmp_path), cwd=tmp_path))
    listing = subprocess.Popen(
        [SUREFOOT, "show", "last", "--json"],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert listing.stdout is not None and listing.stderr is not None
    listing.stdout.close()
    errors = listing.stderr.read()
    listing.stderr.close()
    listing.wait(60)
    assert "Traceback" not in errors and "Broken" not in errors


def test_a_terminal_sees_the_plan_grow_and_then_the_receipt(server: ScriptedServer, tmp_path: Path) -> None:
    server.script = lambda body: say(json.dumps(PLAN), delay=0.3)
    code, got = on_a_terminal("run", TASK, cwd=tmp_path)
    plain = ESCAPES.sub("", got)
    assert code == 6
    for part in ("planning", "2 of 2 proposals agree", "└─ ✓ pens  count  = 42", "by votes alone", "surefoot show"):
        assert part in plain
    assert plain.index("✓ pens") < plain.index("\n42\r\n") < plain.index("result agreed")
    assert "\x1b[32m" in got and got.count("\x1b[?25l") == got.count("\x1b[?25h") > 0, "the cursor comes back"


def test_no_color_is_honoured(server: ScriptedServer, tmp_path: Path) -> None:
    code, got = on_a_terminal("run", TASK, "--plan", planned(tmp_path), cwd=tmp_path, NO_COLOR="1")
    assert code == 0 and not re.search(r"\x1b\[[0-9;]*3[0-7]", got)


@pytest.mark.parametrize("option", ["--quiet", "--json"])
def test_quiet_and_json_draw_nothing(server: ScriptedServer, tmp_path: Path, option: str) -> None:
    code, got = on_a_terminal("run", TASK, option, "--plan", planned(tmp_path), cwd=tmp_path)
    assert code == 0 and len(got.splitlines()) == 1 and "\x1b" not in got


def test_hostile_text_cannot_steer_the_terminal(server: ScriptedServer, tmp_path: Path) -> None:
    evil = "\x1b]52;c;cm0=\x07\x1b[2J\x9b5m\rgone\u202e[blink]x[/blink]"
    server.script = lambda body: say(json.dumps({"steps": [{"id": "x", "goal": evil}]}) if schema_of(body) else evil)
    code, got = on_a_terminal("run", evil, "--tools", "none", "--no-verify", cwd=tmp_path, columns=200)
    assert code == 0 and "[blink]x[/blink]" in got
    for sequence in ("\x1b]", "\x1b[2J", "\x9b", "\x07", "\rgone", "\u202e"):
        assert sequence not in got
    assert "␛]52" in got


def test_a_person_is_asked_on_a_terminal(server: ScriptedServer, tmp_path: Path) -> None:
    plan = {"steps": [{"id": "code", "goal": "print", "tool": "python", "args": {"code": "print(6 * 7)"}}]}
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    words = ("run", "do it", "--plan", "plan.json", "--tools", "python", "--approve")
    code, got = on_a_terminal(*words, cwd=tmp_path, keys={"decide later": "\n"})
    assert code == 4 and "print(6 * 7)" in got and "surefoot resume" in got
    code, got = on_a_terminal("resume", "last", cwd=tmp_path, keys={"decide later": "y\n"})
    assert code == 0 and "42" in got
    code, got = on_a_terminal(*words, cwd=tmp_path, keys={"decide later": "\x03"})
    assert code == 130 and "surefoot resume" in got
    code, got = on_a_terminal(*words, cwd=tmp_path, keys={"decide later": "\x04"})  # the end of the input
    assert code == 4 and "surefoot resume" in got


def test_a_stream_that_cannot_show_a_character_is_no_reason_to_fail(server: ScriptedServer, tmp_path: Path) -> None:
    server.script = lambda body: say(json.dumps(PLAN))
    said = end(start("run", "Zoë: 小明 ✓?", "--no-verify", cwd=tmp_path, PYTHONIOENCODING="ascii"))
    assert (said.code, said.out) == (0, "42\n")
    shown = end(start("show", "last", cwd=tmp_path, PYTHONIOENCODING="ascii"))
    assert shown.code == 0 and "Zo" in shown.out
