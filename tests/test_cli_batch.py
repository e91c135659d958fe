"""`surefoot run --file`: many tasks, as a program and as a person read them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from servers import Body, Response, ScriptedServer, refuse
from terminal import Shell

from surefoot.engine import Engine
from surefoot.models import Question, ScriptedModel
from surefoot.service.cli.batch import Done, Summary, run_rows
from surefoot.service.cli.rows import TaskRow
from surefoot.service.cli.scoring import number, same
from surefoot.service.cli.sheet import line
from surefoot.storage.errors import SetupError
from surefoot.storage.records import Reward
from surefoot.storage.store import Store


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    monkeypatch.chdir(tmp_path)
    return Shell(capsys)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedServer]:
    """A model that plans the sum which stands in the task, and is at odds with itself over riddles."""
    count = iter(range(1000))

    def reply(body: Body) -> Body | Response:
        text = json.dumps(body["messages"])
        if "riddle" in text:
            return plan(str(next(count)))
        return next((plan(line) for line in ("1 + 1", "2 + 2", "3 + 3") if line in text), refuse(400, "no sum in it"))

    with ScriptedServer(reply) as server:
        monkeypatch.setenv("SUREFOOT_MODEL", "openai/test")
        monkeypatch.setenv("SUREFOOT_BASE_URL", server.url)
        yield server


def plan(expression: str) -> Body:
    return {"steps": [{"id": "s", "tool": "calculator", "args": {"expression": expression}}]}


def tasks(*rows: Any, path: str = "tasks.jsonl") -> str:
    Path(path).write_bytes(
        b"\n".join(row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows) + b"\n"
    )
    return path


ROWS = (
    {"id": "a", "task": "what is 1 + 1?", "answer": 2},
    {"id": "b", "task": "what is 2 + 2?", "answer": "4.0"},
    {"id": "c", "task": "what is 3 + 3?", "answer": "7"},
    {"id": "d", "task": "a riddle", "answer": "nobody knows"},
)


def test_each_task_is_one_object_and_the_last_is_the_summary(shell: Shell, server: ScriptedServer) -> None:
    said = shell("run", "--file", tasks(*ROWS), "--score", "--json")
    assert said.code == 0 and said.err.splitlines() == ["next   surefoot list   (then: surefoot show RUN)"]
    *rows, last = said.rows
    found = {row["id"]: row for row in rows}
    assert {id: (row["outcome"], row["output"], row.get("correct")) for id, row in found.items()} == {
        "a": ("agreed", 2, True),
        "b": ("agreed", 4, True),
        "c": ("agreed", 6, False),
        "d": ("abstained", None, None),
    }
    for row in rows:
        assert row.keys() >= {"id", "run_id", "outcome", "output", "reliability", "usage", "steps"}
        assert row["reliability"].keys() == {"target", "predicted", "silent_error_bound", "basis", "by_votes"}
    summary = last["summary"]
    assert (summary["tasks"], summary["accepted"], summary["correct_accepted"], summary["abstained"]) == (4, 0, 0, 1)
    assert (summary["agreed"], summary["correct_agreed"]) == (3, 2), (
        "votes alone promise nothing, and are counted apart"
    )
    assert summary["precision"] is None and summary["coverage"] == 0
    assert summary["samples"] == len(server.requests) and summary["tokens"] == 18 * len(server.requests)
    assert summary["seconds"] > 0


def test_the_answers_are_kept_as_rewards_and_never_shown_to_a_model(shell: Shell, server: ScriptedServer) -> None:
    *rows, _ = shell("run", "--file", tasks(*ROWS), "--score", "--json").rows
    assert "nobody knows" not in json.dumps(server.requests)
    with Store.open(".surefoot/surefoot.db", create=False) as store:
        for row in rows:
            kept = [one for one in store.records(row["run_id"], kinds=[Reward]) if one.name == "answer"]
            assert [one.value for one in kept] == ([] if row["id"] == "d" else [float(row["correct"])])


def test_without_score_nothing_is_compared(shell: Shell, server: ScriptedServer) -> None:
    *rows, last = shell("run", "--file", tasks(*ROWS), "--json").rows
    assert not any("correct" in row for row in rows)
    assert last["summary"]["precision"] is None and last["summary"]["correct_accepted"] is None


def test_precision_is_null_and_not_zero_where_nothing_was_accepted(shell: Shell, server: ScriptedServer) -> None:
    *_, last = shell("run", "--file", tasks(ROWS[3]), "--score", "--json").rows
    assert last["summary"]["precision"] is None and last["summary"]["coverage"] == 0


def test_without_verification_the_first_sample_counts(shell: Shell, server: ScriptedServer) -> None:
    *rows, last = shell("run", "--file", tasks(*ROWS), "--score", "--no-verify", "--json").rows
    assert {row["outcome"] for row in rows} == {"unverified"}
    assert len(server.requests) == 4 and last["summary"]["precision"] == 0.5


def test_a_broken_row_is_named_and_the_others_run(shell: Shell, server: ScriptedServer) -> None:
    path = tasks(
        b"\xef\xbb\xbf" + json.dumps(ROWS[0]).encode(), b"", b"  ", b"{", b"[1]", b'{"id": "x"}',
        b'{"id": 7, "task": " "}', b'{"task": "\xff"}', b'{"task": 5}', ROWS[1],
    )  # fmt: skip
    said = shell("run", "--file", path, "--json")
    assert said.code == 2
    broken = {row["line"]: row for row in said.rows if "error" in row}
    assert broken.keys() == {4, 5, 6, 7, 8, 9}
    assert broken[6]["id"] == "x" and broken[7]["id"] == 7 and "UTF-8" in broken[8]["error"]
    assert [line.split(":")[0] for line in said.err.splitlines()[:6]] == [f"line {n}" for n in range(4, 10)]
    assert sorted(row["output"] for row in said.rows if "output" in row) == [2, 4]
    assert said.rows[-1]["summary"]["tasks"] == 2 and said.rows[-1]["summary"]["broken"] == 6


def test_a_row_without_an_id_has_that_of_its_line(shell: Shell, server: ScriptedServer) -> None:
    first, second, _ = shell("run", "-f", tasks(b"", {"task": "1 + 1"}, {"id": 0, "task": "2 + 2"}), "--json").rows
    assert {first["id"], second["id"]} == {2, 0}


def test_a_row_may_have_inputs(shell: Shell, server: ScriptedServer) -> None:
    step = {"id": "s", "tool": "calculator", "args": {"expression": "n * n", "values": {"n": {"$input": "n"}}}}
    Path("plan.json").write_text(json.dumps({"steps": [step]}))
    path = tasks(*({"id": n, "task": "square it", "inputs": {"n": n}} for n in range(5)))
    *rows, _ = shell("run", "--file", path, "--plan", "plan.json", "--json").rows
    assert {row["id"]: row["output"] for row in rows} == {0: 0, 1: 1, 2: 4, 3: 9, 4: 16}


def test_tasks_run_at_once_but_no_more_than_allowed(shell: Shell, server: ScriptedServer) -> None:
    script = server.script
    assert callable(script)
    path = tasks(*({"task": f"{n}: 1 + 1"} for n in range(12)))
    for allowed in (1, 4):
        server.peak = 0
        shell("run", "--file", path, "--concurrency", str(allowed), "--no-verify", "--json")
        assert 1 <= server.peak <= allowed


def test_a_run_that_fails_is_exit_code_1_and_the_others_go_on(shell: Shell, server: ScriptedServer) -> None:
    said = shell("run", "--file", tasks(ROWS[0], {"id": "z", "task": "no sum"}), "--json")
    found = {row.get("id"): row for row in said.rows}
    assert said.code == 1 and found["a"]["output"] == 2
    assert found["z"]["outcome"] == "failed" and "no sum in it" in found["z"]["reason"]


@pytest.mark.anyio
async def test_an_error_that_nobody_foresaw_ends_its_own_run_only(tmp_path: Path) -> None:
    def say(question: Question, index: int) -> Any:
        return RuntimeError("a bug") if "bad" in question.goal else plan("1 + 1")

    summary, found = Summary(), {}
    with Engine(ScriptedModel(say), tools=["calculator"], store=tmp_path / "runs.db") as engine:
        rows = [TaskRow(id="bad", task="a bad one"), TaskRow(id="good", task="1 + 1")]
        async for done in run_rows(engine, rows, summary, concurrency=2, verify=True):
            assert isinstance(done, Done)
            found[done.id] = done
    assert found["bad"].as_json() == {"id": "bad", "outcome": "failed", "error": "RuntimeError: a bug"}
    assert "RuntimeError: a bug" in line(found["bad"]).plain
    assert found["good"].outcome == "agreed" and summary.outcomes == {"failed": 1, "agreed": 1}


@pytest.mark.anyio
async def test_a_set_up_that_is_wrong_stops_the_whole_batch(tmp_path: Path) -> None:
    rows = [TaskRow(id=number, task="1 + 1") for number in range(9)]
    with Engine(ScriptedModel([]), store=tmp_path / "runs.db") as engine:  # a script that has run out is a SetupError
        with pytest.raises(SetupError, match="script"):
            async for _ in run_rows(engine, rows, Summary(), concurrency=3, verify=True):
                pass
        assert engine.running == ()


def test_people_get_a_line_a_task_and_a_summary(shell: Shell, server: ScriptedServer) -> None:
    said = shell("run", "--file", tasks(*ROWS), "--score")
    assert said.code == 0
    for part in (
        "agreed",
        "abstained",
        "right",
        "WRONG",
        "0.0 %, 0 accepted",
        "3 by votes alone",
        "no promise, 2 of them right",
    ):
        assert part in said.out
    assert "surefoot list" in said.err


def test_an_empty_file_is_an_empty_summary(shell: Shell, server: ScriptedServer) -> None:
    said = shell("run", "--file", tasks(b""), "--json", "--score")
    assert said.code == 0 and said.json["summary"]["tasks"] == 0 and said.json["summary"]["coverage"] is None


def test_the_runs_carry_the_name_of_their_file(shell: Shell, server: ScriptedServer) -> None:
    shell("run", "--file", tasks(ROWS[0], path="exam.jsonl"), "--json")
    assert b"exam.jsonl" in Path(".surefoot/surefoot.db").read_bytes()


@pytest.mark.parametrize(
    ("output", "answer", "equal"),
    [
        (40, "40", True), (40, "40.0", True), ("1/3", "0.333", False), ("2/6", "1/3", True), (0.1, "0.1", True),
        ("1,234.50", 1234.5, True), ("12,34", 1234, False), ("-0", 0, True), ("1e3", 1000, True), (" 7 ", 7, True),
        ("Paris", " Paris\n", True), ("Paris", "paris", False), (True, 1, False), (True, "true", True),
        ([1, 2.0], [1.0, 2], True), ([1], "[1]", True), ("42 pens", 42, False), ("1e999999999", "1e999999999", True),
        ("1/0", "1/0", True), (None, 0, False), ("٣", 3, False), (float("inf"), "inf", False), ("9" * 5000, 9, False),
    ],
)  # fmt: skip
def test_answers_are_equal_as_numbers_or_as_text(output: Any, answer: Any, equal: bool) -> None:
    assert same(output, answer) is equal


@given(st.fractions())
def test_every_spelling_of_a_number_is_that_number(value: Fraction) -> None:
    assert number(str(value)) == value == number(f"+{value}" if value >= 0 else str(value))


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e300, max_value=1e300))
def test_a_float_is_the_decimal_that_it_prints(value: float) -> None:
    assert number(value) == number(repr(value)) == Fraction(repr(value))


def test_a_row_that_lacks_an_input_of_the_plan_is_named_and_the_others_run(
    shell: Shell, server: ScriptedServer
) -> None:
    plan = {
        "steps": [{"id": "t", "tool": "calculator", "args": {"expression": "n + 1", "values": {"n": {"$input": "n"}}}}]
    }
    Path("plan.json").write_text(json.dumps(plan))
    rows = tasks(*({"id": id, "task": "one more", "inputs": given} for id, given in _GIVEN))
    said = shell("run", "--file", rows, "--plan", "plan.json", "--json")
    assert said.code == 2
    broken = [row for row in said.rows if "error" in row]
    assert [(row["id"], row["line"]) for row in broken] == [("b", 2)] and "input n" in broken[0]["error"]
    assert {row["id"]: row["output"] for row in said.rows if "output" in row} == {"a": 2, "c": 4}


_GIVEN = (("a", {"n": 1}), ("b", {"m": 2}), ("c", {"n": 3}))


def test_a_plan_that_no_row_can_carry_out_is_said_once(shell: Shell, server: ScriptedServer) -> None:
    Path("plan.json").write_text(json.dumps({"steps": [{"id": "t", "tool": "nothing"}]}))
    said = shell("run", "--file", tasks({"task": "a"}, {"task": "b"}), "--plan", "plan.json", "--json")
    assert said.code == 2 and said.out == "" and said.err.count("cannot be carried out") == 1
