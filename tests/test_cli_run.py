"""`surefoot run` and `surefoot resume`: one task, on a real server and a real store."""

from __future__ import annotations

import contextlib
import io
import json
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from servers import Body, ScriptedServer, calls, say, schema_of
from terminal import SUREFOOT, Shell, on_a_terminal

from surefoot.storage.store import Store

PLAN: Body = {
    "steps": [
        {"id": "pens", "goal": "pens in all", "tool": "calculator", "args": {"expression": "3 * 14"}},
        {
            "id": "left",
            "goal": "pens left",
            "tool": "calculator",
            "args": {"expression": "a - 2", "values": {"a": {"$ref": "pens"}}},
        },
    ],
    "output": {"$ref": "left"},
}
TASK = "Tom has 3 boxes with 14 pens each and loses 2. How many are left?"
HOSTILE = "\x1b]52;c;cm0=\x07\x9b2J\rhidden\u202e[bold red]not markup[/]"


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    monkeypatch.chdir(tmp_path)
    return Shell(capsys)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedServer]:
    with ScriptedServer(lambda body: PLAN) as server:
        monkeypatch.setenv("SUREFOOT_MODEL", "openai/test")
        monkeypatch.setenv("SUREFOOT_BASE_URL", server.url)
        yield server


def plan_file(plan: Any, path: str = "plan.json") -> str:
    Path(path).write_text(json.dumps(plan))
    return path


def code_plan(code: str) -> dict[str, Any]:
    return {"steps": [{"id": "code", "goal": "run it", "tool": "python", "args": {"code": code}}]}


def test_the_answer_is_on_stdout_and_everything_else_on_stderr(shell: Shell, server: ScriptedServer) -> None:
    said = shell("run", TASK)
    assert (said.code, said.out) == (6, "40\n")
    for part in (
        "agreed",
        "2 done, some of them by votes alone; 0 rejected",
        "2 samples",
        "no promise",
        "surefoot show ",
    ):
        assert part in said.err
    assert len(server.requests) == 2, "a plan that no check can prove needs two votes"


def test_json_is_one_object_with_everything_a_program_needs(shell: Shell, server: ScriptedServer) -> None:
    said = shell("run", TASK, "--json", "--target", "0.9")
    found = said.json
    assert said.code == 6 and found["outcome"] == "agreed" and found["output"] == 40 and found["steps"] == 2
    assert found["reliability"]["target"] == 0.9 and found["reliability"]["basis"] == "prior"
    assert found["reliability"]["predicted"] >= 0.9 >= found["reliability"]["silent_error_bound"]
    assert found["usage"]["samples"] == len(server.requests) and found["usage"]["tokens"] == 18 * len(server.requests)
    with Store.open(".surefoot/surefoot.db", create=False) as store:
        assert store.run(found["run_id"]).output == 40


def test_quiet_prints_the_answer_and_nothing_else(shell: Shell, server: ScriptedServer) -> None:
    said = shell("run", TASK, "--quiet")
    assert (said.code, said.out) == (6, "40\n") and said.err.startswith("agreed: accepted by votes alone")


def test_without_verification_one_sample_is_taken_and_the_outcome_says_so(shell: Shell, server: ScriptedServer) -> None:
    said = shell("run", TASK, "--no-verify")
    assert (said.code, said.out, len(server.requests)) == (0, "40\n", 1)
    assert "unverified" in said.err and "nothing verified" in said.err


def test_a_task_is_read_from_stdin(shell: Shell, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(TASK + "\n"))
    assert shell("run", "-").out == "40\n"
    assert TASK in json.dumps(server.requests[0])


def test_inputs_are_json_or_text_and_reach_the_plan(shell: Shell, server: ScriptedServer) -> None:
    step = {"id": "s", "tool": "calculator", "args": {"expression": "a * b", "values": {"a": {"$input": "a"}, "b": 2}}}
    plan = plan_file({"steps": [step]})
    assert shell("run", "double it", "--plan", plan, "--input", "a=21", "-i", "note=a = text").out == "42\n"
    assert server.requests == []
    assert shell("run", "double it", "--plan", plan, "-i", "a=1.5").out == "3\n"


def test_models_see_the_tools_that_were_named_and_no_others(shell: Shell, server: ScriptedServer) -> None:
    server.script = lambda body: {"steps": [{"id": "x", "goal": "think"}]} if schema_of(body) else "42"
    shell("run", TASK, "--tools", "none", "--no-verify")
    assert "calculator" not in json.dumps(server.requests)
    shell("run", TASK, "--tools", "files, python", "--workspace", ".", "--no-verify")
    assert all(name in json.dumps(server.requests[-1]) for name in ("read_file", "write_file", "list_files", "python"))


def test_roles_may_have_models_of_their_own(shell: Shell, server: ScriptedServer) -> None:
    server.script = lambda body: {"steps": [{"id": "x", "goal": "think"}]} if "planner" in body["model"] else "so"
    said = shell("run", TASK, "--plan-model", "openai/planner", "-m", "openai/worker", "--tools", "none", "--json")
    assert said.json["output"] == "so"
    assert {body["model"] for body in server.requests} == {"planner", "worker"}


def test_files_are_those_of_the_workspace_and_no_others_unless_told(shell: Shell, server: ScriptedServer) -> None:
    Path("mine.txt").write_text("private")
    write = {"id": "write", "tool": "write_file", "args": {"path": "made.txt", "text": "hello"}}
    names = {"id": "names", "tool": "list_files", "args": {}, "needs": ["write"]}
    words = ("run", "write", "--plan", plan_file({"steps": [write, names]}, "plan.json"), "--tools", "files", "--json")
    assert shell(*words).json["output"]["paths"] == ["made.txt"]
    assert Path(".surefoot/workspace/made.txt").read_text() == "hello"
    assert "mine.txt" in shell(*words, "--workspace", ".").json["output"]["paths"]


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["run"], "give one task"),
        (["run", "x", "--file", "y"], "give one task"),
        (["run", "  "], "the task is empty"),
        (["run", "x", "--score"], "--score is for --file"),
        (["run", "x", "--input", "novalue"], "key=value"),
        (["run", "x", "-i", "a=1", "-i", "a=2"], "given twice"),
        (["run", "x", "-i", "a=1e999"], "too large"),
        (["run", "x", "-i", "a=[-1e999]"], "too large"),
        (["run", "x", "--store", " "], "the address of the store is blank"),
        (["run", "x", "--tools", "hammer"], "no built-in tool 'hammer'"),
        (["run", "x", "--plan", "absent.yaml"], "absent.yaml cannot be read"),
        (["run", "x", "--model", "nonsense"], "names no model"),
        (["run", "x", "--target", "1.5"], "no probability"),
        (["run", "--file", "absent.jsonl"], "cannot read absent.jsonl"),
        (["run", "--file", "x", "-i", "a=1"], '"inputs" of their own'),
        (["resume", "last"], "no store"),
        (["resume", "last", "--yes", "--no"], "one of --yes"),
        (["resume", "last", "--answer", "maybe"], "no JSON"),
    ],
)
def test_a_wrong_call_is_one_clear_line_and_exit_code_2(
    shell: Shell, server: ScriptedServer, words: list[str], problem: str
) -> None:
    said = shell(*words)
    assert said.code == 2 and said.out == ""
    assert problem in said.err and said.err.startswith("error: ") and said.err.count("\n") == 1


def test_text_that_begins_like_a_number_is_text(shell: Shell, server: ScriptedServer) -> None:
    step = {"id": "s", "tool": "python", "args": {"code": {"$input": "code"}}}
    plan = plan_file({"steps": [step]})
    assert shell("run", "x", "--plan", plan, "--tools", "python", "-i", "code=1e999 < 1, print(2)").code == 0


def test_a_blank_address_in_the_environment_is_refused(
    shell: Shell, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUREFOOT_STORE", " ")
    said = shell("run", TASK)
    assert said.code == 2 and "address of the store is blank" in said.err and list(Path().iterdir()) == []


def test_a_folder_for_files_that_cannot_be_made_is_one_clear_line(shell: Shell, server: ScriptedServer) -> None:
    Path(".surefoot").write_text("in the way")
    said = shell("run", "x", "--tools", "files")
    assert said.code == 2 and said.err.startswith("error: cannot make ") and "--workspace" in said.err


@pytest.mark.parametrize(
    ("line", "problem"), [("run - <&-", "stdin is closed"), ("run -f - <&-", "stdin"), ("list >&-", "stdout is closed")]
)
def test_a_closed_stream_is_a_clear_line(tmp_path: Path, line: str, problem: str) -> None:
    done = subprocess.run(["sh", "-c", f"{SUREFOOT} {line}"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: ") and problem in done.stderr


def test_a_closed_stderr_is_no_error(shell: Shell, server: ScriptedServer, tmp_path: Path) -> None:
    assert shell("run", TASK).code == 6
    done = subprocess.run(["sh", "-c", f"{SUREFOOT} list 2>&-"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and TASK in done.stdout


UNPRIVILEGED = """
import contextlib, os, sys
from surefoot.service.cli.app import app
with contextlib.suppress(SystemExit):
    app([*sys.argv[1:], "--store", "warm.db"], prog_name="surefoot")  # everything is imported now
if os.geteuid() == 0:  # whom no permissions stop
    os.setegid(65534)
    os.seteuid(65534)
app([*sys.argv[1:], "--store", "kept/runs.db"], prog_name="surefoot")
"""


def test_a_store_that_cannot_be_written_is_an_error_and_no_usage(
    shell: Shell, server: ScriptedServer, tmp_path: Path
) -> None:
    plan = plan_file(PLAN)
    assert shell("run", TASK, "--plan", plan, "--store", "kept/runs.db").code == 0
    Path("kept/runs.db").chmod(0o444)
    Path("kept").chmod(0o555)
    for parent in (tmp_path, *tmp_path.parents[:3]):
        parent.chmod(0o755)
    words = [sys.executable, "-c", UNPRIVILEGED, "run", TASK, "--plan", plan]
    done = subprocess.run(words, capture_output=True, text=True)
    Path("kept").chmod(0o755)
    assert done.returncode == 1 and "it cannot be written: check the permissions" in done.stderr, done.stderr


def test_a_store_that_cannot_be_made_or_read_is_an_error_and_no_usage(shell: Shell, server: ScriptedServer) -> None:
    Path("file").write_text("no database, and longer than a page header " * 50)
    for store in ("file", "file/runs.db"):
        said = shell("run", TASK, "--store", store)
        assert said.code == 1 and said.err.startswith("error: ") and said.err.count("\n") == 1


def test_a_store_of_a_newer_surefoot_is_an_error_and_no_usage(shell: Shell, server: ScriptedServer) -> None:
    assert shell("run", TASK, "--plan", plan_file(PLAN)).code == 0
    with contextlib.closing(sqlite3.connect(".surefoot/surefoot.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    said = shell("list")
    assert said.code == 1 and "upgrade surefoot" in said.err


@pytest.mark.parametrize("words", [["run", "x", "--votes", "0"], ["run", "x", "--nonsense"], ["walk"]])
def test_an_unknown_option_is_exit_code_2_too(shell: Shell, words: list[str]) -> None:
    assert shell(*words).code == 2


def test_debug_shows_where_an_error_comes_from(shell: Shell, server: ScriptedServer) -> None:
    said = shell("run", "x", "--tools", "hammer", "--debug")
    assert said.code == 2 and "Traceback" in said.err and "error: there is no built-in tool" in said.err


def test_a_model_that_cannot_be_asked_is_exit_code_1_and_the_run_can_go_on(
    shell: Shell, server: ScriptedServer
) -> None:
    script, server.script = server.script, []
    said = shell("run", TASK, "--json")
    assert said.code == 1 and said.json["outcome"] == "failed" and "the script has 0 responses" in said.json["reason"]
    assert "surefoot resume" in said.json["next"] and said.err == ""
    server.script = script
    resumed = shell("resume", said.json["run_id"], "--quiet")
    assert (resumed.code, resumed.out) == (6, "40\n")


def test_a_split_vote_is_an_abstention_with_its_reason(shell: Shell, server: ScriptedServer) -> None:
    server.script = lambda body: {"steps": [{"id": "x", "goal": "think"}]} if schema_of(body) else _new()
    answers = iter(range(1000))

    def _new() -> str:
        return f"answer {next(answers)}"

    said = shell("run", TASK, "--tools", "none")
    assert said.code == 3 and said.out == ""
    assert "abstained" in said.err and "disagree" in said.err and "surefoot show" in said.err


def test_a_spent_budget_is_exit_code_5_and_a_larger_one_goes_on(shell: Shell, server: ScriptedServer) -> None:
    said = shell("run", TASK, "--steps", "1")
    assert said.code == 5 and "surefoot resume" in said.err and "--steps N" in said.err
    assert shell("resume", "last", "--json").code == 5, "the same budget is still spent"
    assert shell("resume", "last", "--steps", "50").out == "40\n"


def test_a_finished_run_is_handed_back_as_it_ended_without_any_model(shell: Shell, server: ScriptedServer) -> None:
    first = shell("run", TASK, "--json").json
    asked = len(server.requests)
    again = shell("resume", first["run_id"][:13], "--json")
    assert again.code == 6 and again.json["output"] == 40 and again.json["steps"] == 2
    assert len(server.requests) == asked


def test_a_tool_that_changes_things_waits_for_a_person(shell: Shell, server: ScriptedServer, tmp_path: Path) -> None:
    plan = plan_file(code_plan("open('made.txt', 'w').write('x'); print('done')"))
    words = ("run", "do it", "--plan", plan, "--tools", "python", "--approve", "--workspace", ".")
    said = shell(*words)
    assert said.code == 4 and said.out == "" and not Path("made.txt").exists()
    assert "input required" in said.err and "made.txt" in said.err and "--yes" in said.err
    Path("plan.json").unlink()  # the run's row holds the plan
    unknown = shell("resume", "last", "--answer", '{"aprove": true}')
    assert unknown.code == 2 and "asks nothing by the key 'aprove'" in unknown.err
    again = shell("resume", "last", "--json")
    assert again.code == 4 and again.json["questions"][0]["tool"] == "python"
    key = again.json["questions"][0]["key"]
    agreed = shell("resume", "last", "--answer", json.dumps({key: True}), "--json")
    assert agreed.code == 0 and agreed.json["output"]["stdout"] == "done\n" and Path("made.txt").exists()


def test_a_person_can_decline_or_correct(shell: Shell, server: ScriptedServer) -> None:
    words = ("run", "do it", "--plan", plan_file(code_plan("print(1)")), "--tools", "python", "--approve")
    assert shell(*words).code == 4
    declined = shell("resume", "last", "--no")
    assert declined.code in (1, 3) and "a person declined python" in declined.err
    assert "a person declined the call" in declined.err and "surefoot resume" not in declined.err
    assert shell(*words).code == 4
    corrected = shell("resume", "last", "--answer", '{"approve": true, "arguments": {"code": "print(2)"}}', "--json")
    assert corrected.json["output"]["stdout"] == "2\n"


def test_a_run_that_a_program_made_is_not_taken_up_with_guessed_tools(shell: Shell, server: ScriptedServer) -> None:
    from surefoot.engine import Budget, Engine

    with Engine("openai/test", base_url=server.url, store=".surefoot/surefoot.db", budget=Budget(steps=1)) as engine:
        engine.run(TASK)
    said = shell("resume", "last")
    assert said.code == 2 and "Engine.resume" in said.err


def test_no_password_is_written_down(shell: Shell, server: ScriptedServer) -> None:
    url = server.url.replace("//", "//user:geheim@")
    said = shell("run", "hello", "--base-url", url, "--plan", plan_file(PLAN))
    assert said.code == 2 and "SUREFOOT_API_KEY" in said.err and "geheim" not in said.out + said.err
    assert not Path(".surefoot/surefoot.db").exists() or b"geheim" not in Path(".surefoot/surefoot.db").read_bytes()


@pytest.mark.parametrize(
    "words", [("run", HOSTILE, "--no-verify"), ("show", "last"), ("list",), ("show", "last", "--json")]
)
def test_hostile_text_reaches_no_stream(shell: Shell, server: ScriptedServer, words: tuple[str, ...]) -> None:
    """In the task, in the plan, in a tool's output and in a model's answer, on every command that shows them."""
    step = {"id": "x", "goal": HOSTILE}
    server.script = lambda body: say(json.dumps({"steps": [step]}) if schema_of(body) else HOSTILE)
    shell("run", HOSTILE, "--tools", "none", "--no-verify")
    said = shell(*words)
    for stream in (said.out, said.err):
        assert not set(stream) & set("\x1b\x07\x9b\r\u202e")
    assert "[bold red]not markup[/]" in said.out, "rich's markup is text like any other"


def test_the_next_command_finds_the_same_store(shell: Shell, server: ScriptedServer) -> None:
    said = shell("run", TASK, "--store", "my runs.db", "--no-verify")
    assert "--store 'my runs.db'" in said.err
    assert shell("show", "last", "--store", "my runs.db").code == 0


@pytest.fixture
def writer(server: ScriptedServer) -> ScriptedServer:
    """A model that wants to write three files in one reply, and looks at what is there."""

    def script(body: Body) -> Any:
        if body["messages"][-1]["role"] == "tool":
            return say("all written")
        files = [(name, "write_file", json.dumps({"path": f"{name}.txt", "text": name})) for name in "abc"]
        return calls(("list", "list_files", "{}"), *files)

    server.script = script
    return server


def writing() -> tuple[str, ...]:
    plan = plan_file({"steps": [{"id": "w", "goal": "Write."}]})
    return ("--plan", plan, "--tools", "files", "--approve", "--workspace", ".", "--no-verify")


def test_all_questions_are_shown_at_once_with_how_to_answer_each(shell: Shell, writer: ScriptedServer) -> None:
    said = shell("run", "do it", *writing())
    assert said.code == 4 and said.err.count("asks   write_file wants to run: agree?") == 3
    options = re.findall(r"--answer '(.*)'\n", said.err)
    assert len(options) == 3 and "--yes   (to all" in said.err
    shown = shell("show", "last")
    assert "? w  Write.  write_file wants to run: agree? (3 times)" in shown.out
    assert re.findall(r"--answer '(.*)'\n", shown.out) == options
    second = shell("resume", "last", "--answer", options[1], "--json")
    assert second.code == 4 and sorted(Path().glob("?.txt")) == [Path("b.txt")]
    assert [one["arguments"]["text"] for one in second.json["questions"]] == ["a", "c"]
    settled = shell("resume", "last", "--answer", options[1])
    assert settled.code == 2 and "asks nothing by the key" in settled.err
    answers = {one["key"]: one["arguments"]["text"] == "c" for one in second.json["questions"]}
    done = shell("resume", "last", "--answer", json.dumps(answers))
    assert (done.code, done.out) == (0, "all written\n"), done.err
    assert sorted(Path().glob("?.txt")) == [Path("b.txt"), Path("c.txt")] and len(writer.requests) == 2
    step = shell("show", "last", "--step", "w").out
    assert step.count("asked     write_file") == 3 and "paused    until 3 answers are there" in step


def test_a_person_on_a_terminal_is_asked_one_question_after_another(writer: ScriptedServer, tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text(json.dumps({"steps": [{"id": "w", "goal": "Write."}]}))
    words = (
        "run",
        "do it",
        *("--plan", "plan.json", "--tools", "files", "--approve", "--workspace", ".", "--no-verify"),
    )
    typed = {"1 of 3": "y\n", "2 of 3": "\n", "3 of 3": "n\n"}
    code, got = on_a_terminal(*words, cwd=tmp_path, keys=typed)
    assert code == 4 and got.count("Agree?") == 3, "what is left for later is not asked again at once"
    assert sorted(tmp_path.glob("?.txt")) == [tmp_path / "a.txt"]
    code, got = on_a_terminal("resume", "last", cwd=tmp_path, keys={"decide later": "n\n"})
    assert code == 0 and "all written" in got and sorted(tmp_path.glob("?.txt")) == [tmp_path / "a.txt"]
