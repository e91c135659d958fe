"""`list`, `show`, `feedback`, `export` and `doctor`: what is kept can be looked at, judged and taken along."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import Body, ScriptedServer
from terminal import Shell

from surefoot.storage.store import Store

TASK = "Tom has 3 boxes with 14 pens each and loses 2. How many are left?"
BAD: Body = {"steps": [{"id": "x", "tool": "hammer", "args": {}}]}
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


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    monkeypatch.chdir(tmp_path)
    return Shell(capsys)


@pytest.fixture
def run(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A finished run whose first plan was rejected."""
    with ScriptedServer([BAD, PLAN]) as server:
        monkeypatch.setenv("SUREFOOT_MODEL", "openai/test")
        monkeypatch.setenv("SUREFOOT_BASE_URL", server.url)
        said = shell("run", TASK, "--votes", "1", "--json")  # one sample at a time comes in a known order
        assert said.code == 6 and said.json["rejected"] == 1, said
        yield said.json["run_id"]


def test_a_list_names_every_run_with_its_outcome(shell: Shell, run: str) -> None:
    shell("run", TASK, "--steps", "1")
    said = shell("list")
    assert said.code == 0 and "surefoot show" in said.err
    first, second = said.out.splitlines()[1:]
    assert "out of budget" in first
    assert second.startswith(run[-8:]) and "agreed" in second and TASK in second and second.endswith("= 40")


def test_a_list_as_json_is_a_run_a_line(shell: Shell, run: str) -> None:
    (row,) = shell("list", "--json").rows
    assert row["run_id"] == run and row["outcome"] == "agreed" and row["output"] == 40
    assert row["usage"]["samples"] == 2 and row["config"]["models"]["plan"] == "openai/test"
    assert shell("list", "--json", "--outcome", "failed").rows == []
    assert shell("list", "--json", "--outcome", "agreed", "--limit", "1").rows == [row]


def test_an_empty_list_says_how_to_begin(shell: Shell, run: str) -> None:
    said = shell("list", "--outcome", "running")
    assert (said.code, said.out) == (0, "") and "surefoot run" in said.err


def test_the_tree_shows_steps_votes_rejected_attempts_and_costs(shell: Shell, run: str) -> None:
    said = shell("show", run[-6:])
    lines = said.out.splitlines()
    assert lines[0] == TASK
    assert lines[1].startswith("✓") and "= 40" in lines[1] and "1 of 2 proposals agree" in lines[1]
    assert lines[2].startswith("├─ ✓ pens") and lines[2].endswith("= 42")
    assert lines[3].startswith("└─ ✓ left") and lines[3].endswith("= 40")
    for part in (
        "agreed",
        "2 committed, 1 rejected",
        "structure: 1 fail, 1 pass",
        "2 samples, 36 tokens",
        "openai/test",
    ):
        assert part in said.out
    assert "surefoot show" in said.err


def test_a_fixed_plan_that_was_accepted_is_not_being_planned(shell: Shell, run: str) -> None:
    code = {"id": "code", "goal": "run it", "tool": "python", "args": {"code": "print(1)"}}
    Path("plan.json").write_text(json.dumps({"steps": [code]}))
    assert shell("run", "do it", "--plan", "plan.json", "--tools", "python", "--approve").code == 4
    lines = shell("show", "last").out.splitlines()
    assert lines[1:3] == ["· do it", "└─ ? code  run it  python wants to run: agree?"]


def test_one_step_is_shown_in_full_with_its_conversation(shell: Shell, run: str) -> None:
    said = shell("show", "last", "--step", "task")
    for part in ("system", "assistant", "fail", "hammer", "planned", "tokens"):
        assert part in said.out
    left = shell("show", "last", "--step", "left")
    assert "calculator" in left.out and "proposed 40" in left.out and "= 40" in left.out


def test_a_step_that_is_not_there_is_a_usage_error(shell: Shell, run: str) -> None:
    said = shell("show", "last", "--step", "nowhere")
    assert said.code == 2 and "no step" in said.err
    assert shell("show", "ffffffff").code == 2
    assert shell("show", "ab").code == 2


def test_everything_of_a_run_is_one_json_object(shell: Shell, run: str) -> None:
    shell("feedback", run, "--score", "1")
    found = shell("show", run, "--json").json
    assert set(found) == {
        "run", "plan", "attempts", "verdicts", "calls", "tool_calls", "messages", "events", "feedback", "rewards",
    }  # fmt: skip
    root, pens, left = found["plan"]
    assert (root["parent"], root["goal"], root["status"]) == (None, TASK, "committed")
    assert (pens["id"], pens["tool"], pens["needs"]) == ("pens", "calculator", [])
    assert left["needs"] == [pens["seq"]] and left["parent"] == root["seq"]
    assert [one["role"] for one in found["attempts"] if one["step"] == root["seq"]] == ["plan", "plan", "result"]
    assert {one["ruling"] for one in found["verdicts"]} == {"pass", "fail"}
    assert len(found["calls"]) == 2 and [one["result"] for one in found["tool_calls"]] == [42, 40]
    by_seq = {one["seq"]: one for one in found["messages"]}
    assert all(by_seq[call["completion"]]["sampled"] for call in found["calls"])
    assert found["events"][0]["kind"] == "started" and found["events"][-1]["kind"] == "finished"
    assert found["feedback"][0]["score"] == 1 and [one["name"] for one in found["rewards"]] == ["settled"], (
        "votes alone earn none"
    )
    with Store.open(".surefoot/surefoot.db", create=False) as store:
        seqs = sorted(one["seq"] for name in SECTIONS for one in found[name])
        assert seqs == [record.seq for record in store.records(run)], "nothing is left out, nothing comes twice"


SECTIONS = ("plan", "attempts", "verdicts", "calls", "tool_calls", "messages", "events", "rewards")


def test_the_json_of_one_step_holds_what_belongs_to_it(shell: Shell, run: str) -> None:
    found = shell("show", run, "--step", "left", "--json").json
    (step,) = found["plan"]
    assert step["id"] == "left" and step["status"] == "committed"
    assert {one["step"] for one in found["attempts"]} == {step["seq"]} == {one["step"] for one in found["tool_calls"]}
    assert found["calls"] == [] and found["messages"] == []


def test_feedback_is_kept_and_said_back(shell: Shell, run: str) -> None:
    said = shell("feedback", "last", "--score", "0.4", "--comment", "too\x1b[2Jlow", "--correction", '{"pens": 41}')
    assert said.code == 0 and run in said.out and "score 0.4" in said.out and '{"pens": 41}' in said.out
    assert "\x1b" not in said.out and "surefoot export" in said.err
    kept = shell("feedback", "last", "--step", "left", "--score", "0", "--by", "ann", "--json").json
    with Store.open(".surefoot/surefoot.db", create=False) as store:
        first, second = store.feedbacks(run)
    assert (first.score, first.step, first.comment, first.correction) == (0.4, None, "too\x1b[2Jlow", {"pens": 41})
    assert (second.score, second.step, second.annotator) == (0, kept["step"], "ann")
    assert "should be" in shell("show", "last").out


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ([], "say something"),
        (["--score", "2"], "not between 0 and 1"),
        (["--correction", "not json"], "is no JSON"),
        (["--correction", "NaN"], "is no JSON"),
        (["--score", "1", "--step", "nowhere"], "no step"),
    ],
)
def test_feedback_that_says_nothing_usable_is_refused(shell: Shell, run: str, words: list[str], problem: str) -> None:
    said = shell("feedback", "last", *words)
    assert said.code == 2 and problem in said.err


def test_exports_go_to_stdout_or_a_file(shell: Shell, run: str) -> None:
    said = shell("export")
    assert said.code == 0 and len(said.rows) == 1 and "1 rows" in said.err
    said = shell("export", "--format", "trl-sft", "--outcome", "agreed", "--run", run[:13], "--out", "sft.jsonl")
    assert (said.code, said.out) == (0, "")
    rows = [json.loads(line) for line in Path("sft.jsonl").read_text().splitlines()]
    assert rows and f"{len(rows)} rows in sft.jsonl" in said.err
    assert sorted(path.name for path in Path().iterdir()) == [".surefoot", "sft.jsonl"]


def test_an_export_that_cannot_be_written_leaves_nothing_behind(shell: Shell, run: str) -> None:
    said = shell("export", "--out", "absent/file.jsonl")
    assert said.code == 2 and "absent/file.jsonl" in said.err
    assert shell("export", "--run", "ffffffff", "--out", "x.jsonl").code == 2 and not Path("x.jsonl").exists()
    assert shell("export", "--outcome", "running").code == 2
    none = shell("export", "--outcome", "abstained")
    assert none.code == 0 and "0 rows" in none.err and "surefoot list" in none.err


# --- doctor -------------------------------------------------------------------------------------------------


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-geheim-0123456789")
    return "sk-geheim-0123456789"


def test_a_sound_installation_is_exit_code_0_and_no_secret_is_shown(shell: Shell, key: str) -> None:
    said = shell("doctor", "--model", "openai/gpt-4o-mini", "--json")
    found = {row["check"]: row for row in said.rows}
    assert said.code == 0 and {row["status"] for row in said.rows} <= {"ok", "missing"}
    assert "made at the first run" in found["store"]["detail"] and not Path(".surefoot").exists()
    assert found["model"]["detail"] == "openai/gpt-4o-mini" and found["key"]["status"] == "ok"
    assert key not in said.out + said.err
    said = shell("doctor", "-m", "openai/gpt-4o-mini", "--base-url", "http://localhost:1/v1")
    assert said.code == 0 and "at http://localhost:1/v1" in said.out
    assert "surefoot demo" in said.err
    said = shell("doctor", "-m", "openai/gpt-4o-mini", "--base-url", "http://ann:geheim@localhost:1/v1")
    assert said.code == 1 and "SUREFOOT_API_KEY" in said.out and "geheim" not in said.out + said.err


def test_a_missing_key_is_named(shell: Shell) -> None:
    said = shell("doctor", "--model", "openai/gpt-4o-mini", "--json")
    found = {row["check"]: row for row in said.rows}
    assert said.code == 1 and found["model"]["status"] == "broken" and "OPENAI_API_KEY" in found["model"]["detail"]
    own = {
        row["check"]: row
        for row in shell("doctor", "-m", "openai/x", "--base-url", "http://localhost:1", "--json").rows
    }
    assert own["model"]["status"] == "ok" and "OPENAI_API_KEY" in own["key"]["detail"]


@pytest.mark.parametrize("model", ["nonsense", "no-such-provider/x", "local/absent-folder"])
def test_a_model_that_cannot_work_is_broken(shell: Shell, model: str) -> None:
    said = shell("doctor", "--model", model, "--json")
    assert said.code == 1 and {row["check"] for row in said.rows if row["status"] == "broken"} == {"model"}


def test_the_store_says_its_version_and_mode(shell: Shell, run: str, key: str) -> None:
    said = shell("doctor", "--json")
    detail = next(row["detail"] for row in said.rows if row["check"] == "store")
    assert sqlite3.sqlite_version in detail and "journal_mode" in detail and "has runs" in detail


def test_a_store_that_is_no_database_is_broken(shell: Shell, key: str) -> None:
    Path("notes.txt").write_text("no database, and longer than a page header " * 50)
    said = shell("doctor", "-m", "openai/x", "--store", "notes.txt")
    assert said.code == 1 and "✗ store" in said.out and "✗" in said.err
