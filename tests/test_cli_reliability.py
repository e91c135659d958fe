"""`surefoot calibrate` and `surefoot report`, as a person and a program meet them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from servers import Body, Response, ScriptedServer, refuse, say
from terminal import Shell

from surefoot.service.cli.page import page, summary
from surefoot.service.display.charts import Judged, figure, png
from surefoot.storage.learned import Agreement, Sampling
from surefoot.storage.store import Store

CHECKS = """
from surefoot.reflection import verifier

@verifier(version="1")
def nines(candidate, inputs):
    return (inputs["a"] + inputs["b"] - candidate) % 9 == 0

def swapped(inputs, rng):
    return {"a": inputs["b"], "b": inputs["a"]}, lambda answer: answer

not_a_verifier = 7
"""


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    Path("instruments_of_a_test.py").write_text(CHECKS)
    return Shell(capsys)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedServer]:
    """A model that adds, and errs in one reply of ten: by nine, or by one."""

    def reply(body: Body) -> Body | Response:
        text = body["messages"][-1]["content"]
        numbers = json.loads(text.partition("<inputs>")[2].partition("</inputs>")[0])
        if numbers["a"] == 1000:
            return refuse(400, "no such number")
        chance = int(hashlib.sha256(repr((numbers, body["seed"])).encode()).hexdigest()[:8], 16) / 16**8
        return {"answer": numbers["a"] + numbers["b"] + (9 if chance < 0.05 else chance < 0.1)}

    with ScriptedServer(reply) as server:
        monkeypatch.setenv("SUREFOOT_MODEL", "openai/test")
        monkeypatch.setenv("SUREFOOT_BASE_URL", server.url)
        yield server


def labelled(count: int, path: str = "labelled.jsonl") -> str:
    rng = Random(5)
    pairs = [(rng.randrange(999), rng.randrange(999)) for _ in range(count)]
    rows = [{"goal": "Add.", "kind": "sum", "inputs": {"a": a, "b": b}, "answer": a + b} for a, b in pairs]
    Path(path).write_text("\n".join(map(json.dumps, rows)) + "\n")
    return path


def test_a_model_a_check_and_a_form_are_measured(shell: Shell, server: ScriptedServer) -> None:
    options = ("--check", "instruments_of_a_test:nines", "--form", "instruments_of_a_test:swapped", "--samples", "4")
    said = shell("calibrate", "--file", labelled(40), *options, "--json")
    assert said.code == 0, said.err
    sampling = {row["source"]: row for row in said.rows if row["what"] == "sampling"}
    assert set(sampling) == {"", "swapped"}
    assert all(0.8 < row["p"] < 0.97 and row["policy"] == "openai/test@" for row in sampling.values())
    checking = {row["origin"]: row for row in said.rows if row["what"] == "checking" and not row["after"]}
    assert checking["audit"]["accept"] > 0.95
    assert 0.1 < checking["audit"]["false_accept"] < 0.9, "it lets pass what is off by nine"
    assert "40 labelled steps measured" in said.err and "surefoot report" in said.err
    with Store.open(".surefoot/surefoot.db") as store:
        assert sum(not isinstance(one, Agreement) for one in store.learned()) == len(said.rows)


def test_people_get_tables(shell: Shell, server: ScriptedServer) -> None:
    said = shell("calibrate", "--file", labelled(25), "--check", "instruments_of_a_test:nines", "--samples", "2")
    assert said.code == 0, said.err
    assert "Samples" in said.out and "openai/test@" in said.out and "as it is" in said.out
    assert "Verifiers" in said.out and "nines" in said.out and "mutants" in said.out


@pytest.mark.parametrize(
    ("content", "options", "says"),
    [
        ("", (), "labelled.jsonl holds no labelled step"),
        ('{"goal": "Add."}\n', (), "line 1: answer: Field required"),
        ('{"answer": 1}\nnonsense\n', (), "line 2: it is no JSON"),
        ('{"answer": 1, "inputs": 3}\n', (), "line 1: inputs:"),
        ('{"answer": 1, "gvies": {}}\n', (), "line 1: there is no key 'gvies'; did you mean 'gives'?"),
        ('{"id": "a", "answer": 1, "task": "a task"}\n', (), "line 1: there is no key 'task'; there are: "),
        ('{"answer": 1}\n', ("--check", "nines"), "write module:name"),
        ('{"answer": 1}\n', ("--check", "no_such_module:nines"), "cannot be loaded: ModuleNotFoundError"),
        ('{"answer": 1}\n', ("--check", "instruments_of_a_test:absent"), "cannot be loaded: AttributeError"),
        ('{"answer": 1}\n', ("--check", "instruments_of_a_test:not_a_verifier"), "7 is no verifier"),
        ('{"answer": 1}\n', ("--check", "broken_module_of_a_test:x"), "cannot be loaded: SyntaxError"),
    ],
)
def test_bad_input_is_named_and_says_what_to_do(
    shell: Shell, server: ScriptedServer, content: str, options: tuple[str, ...], says: str
) -> None:
    Path("broken_module_of_a_test.py").write_text("def broken(:\n")
    Path("labelled.jsonl").write_text(content)
    said = shell("calibrate", "--file", "labelled.jsonl", *options)
    assert said.code in (1, 2)
    assert says in said.err
    assert "Traceback" not in said.err
    assert not server.requests


def test_a_file_that_is_not_there(shell: Shell) -> None:
    said = shell("calibrate", "--file", "absent.jsonl")
    assert said.code != 0
    assert "cannot read absent.jsonl: No such file" in said.err


def test_what_was_measured_before_a_model_failed_is_kept(shell: Shell, server: ScriptedServer) -> None:
    path = Path(labelled(30))
    path.write_text(
        path.read_text() + json.dumps({"kind": "sum", "inputs": {"a": 1000, "b": 1}, "answer": 1001}) + "\n"
    )
    said = shell("calibrate", "--file", str(path), "--samples", "2")
    assert said.code == 1
    assert "1 of 31 labelled steps could not be asked, what the others showed is in the store" in said.err
    with Store.open(".surefoot/surefoot.db") as store:
        (counts,) = [one for one in store.learned() if isinstance(one, Sampling)]
        assert round(counts.prompts) == 30


def test_few_labelled_steps_and_samples_that_are_no_answers_are_named(shell: Shell, server: ScriptedServer) -> None:
    script = server.script
    server.script = lambda body: say("about a dozen") if body["seed"] % 2 else script(body)
    said = shell("calibrate", "--file", labelled(15), "--samples", "4", "--json")
    assert said.code == 0, said.err
    assert "too few to go by of sum: give at least 20" in said.err
    assert re.search(r"[23]\d samples were no answers, and were dropped; the first: ", said.err)
    (row,) = said.rows
    assert (row["p"], row["concentration"]) == (None, None), "what was not measured is not shown as if it were"
    assert "–" in shell("calibrate", "--file", labelled(15)).out


def test_measuring_ends_with_its_budget_and_says_what_it_cost(shell: Shell, server: ScriptedServer) -> None:
    script = server.script
    usage = {"prompt_tokens": 900, "completion_tokens": 100, "total_tokens": 1000}
    server.script = lambda body: say(json.dumps(script(body)), usage=usage)
    said = shell("calibrate", "--file", labelled(300), "--samples", "2", "--tokens", "200000")
    assert said.code == 5, said.err
    (steps, spent, left) = re.findall(
        r"(\d+) labelled steps measured; .* spent: (\d+) samples, .*?(\d+) were not", said.err, re.DOTALL
    )[0]
    assert int(steps) + int(left) == 300
    assert 60 <= int(steps) <= 100, "a request is held at the most that it may cost, so that some of it is left"
    assert len(server.requests) == int(spent) <= 200
    assert "the budget is 200000" in said.err
    with Store.open(".surefoot/surefoot.db") as store:
        (counts,) = [one for one in store.learned() if isinstance(one, Sampling)]
        assert isinstance(counts, Sampling) and round(counts.prompts) == int(steps)


# --- the report -------------------------------------------------------------------------------------------------


def test_a_report_on_nothing_says_how_to_get_something(shell: Shell) -> None:
    Store.open("runs.db").close()
    said = shell("report", "--store", "runs.db")
    assert said.code == 0, said.err
    assert "0 accepted runs" in said.err and "surefoot run --file tasks.jsonl --score" in said.err
    page = Path("surefoot-report.html").read_text()
    assert "No accepted run has a known answer yet" in page and "Nothing was measured yet" in page


def test_a_report_shows_runs_and_instruments_and_needs_nothing_beside_it(shell: Shell, server: ScriptedServer) -> None:
    assert shell("calibrate", "--file", labelled(30), "--check", "instruments_of_a_test:nines").code == 0
    plan = {"steps": [{"id": "s", "goal": "Add.", "kind": "sum", "args": {"a": 4, "b": 5}}], "output": {"$ref": "s"}}
    Path("plan.json").write_text(json.dumps(plan))
    rows = [{"task": f"Add, {i}.", "answer": 9} for i in range(6)]
    Path("tasks.jsonl").write_text("\n".join(map(json.dumps, rows)))
    ran = shell("run", "--file", "tasks.jsonl", "--score", "--plan", "plan.json", "--json")
    assert ran.code == 0, ran.err
    bare = shell("run", "--file", "tasks.jsonl", "--score", "--plan", "plan.json", "--json", "--no-verify")
    assert bare.code == 0, bare.err
    said = shell("report", "--out", "report.html", "--json")
    figures: dict[str, Any] = said.json
    assert figures["accepted"] == 12 and figures["judged"] == figures["unverified_judged"] == 6
    assert figures["observed"] == figures["right"] / 6, "what was not verified promised nothing"
    assert {one["what"] for one in figures["learned"]} == {"sampling", "checking"}
    (votes,) = figures["votes"]
    assert votes["step_class"] == "sum" and round(votes["labels"]) == 36
    assert 0.5 < votes["right_low"] < votes["right_high"] < 0.95 and votes["misconceived"] > 0.1, "six wrong ones agree"
    assert votes["forms"] == "both" and votes["form_ratio"] is None, "what was measured was measured in one form"
    said = shell("report", "--out", "report.html")
    assert said.code == 0, said.err
    assert Path("report.png").read_bytes().startswith(b"\x89PNG")
    page = Path("report.html").read_text()
    assert "data:image/png;base64," in page and 'src="http' not in page and "href=" not in page
    assert "Of 12 accepted runs, 6 were verified and have a known answer" in page and "nines" in page
    assert "Of 6 that were accepted unverified" in page


def test_what_votes_alone_accepted_is_compared_apart() -> None:
    runs = [Judged(0.98, True, 0.95, 2, 0.0)] * 20 + [Judged(0.9, True, 0.95, 2, 0.0, "agreed")] * 6
    runs += [Judged(0.9, False, 0.95, 2, 0.0, "agreed"), Judged(None, True, None, 1, 0.0, "unverified")]
    figures = summary(runs, 40)
    assert (figures["judged"], figures["observed"], round(figures["predicted"], 3)) == (20, 1.0, 0.98)
    assert (figures["agreed_judged"], figures["agreed_right"], round(figures["agreed_predicted"], 3)) == (7, 6, 0.9)
    assert figures["unverified_judged"] == figures["unverified_right"] == 1
    text = page(png(figure(runs, [])), runs, 40, [], [], [])
    assert "7 were agreed (by votes alone) and have a known answer. 6 of them were right: 0.857" in text


def test_a_report_gets_a_name_that_a_browser_opens(shell: Shell) -> None:
    Store.open("runs.db").close()
    for given, written in (("rep", "rep.html"), ("rep.v2", "rep.v2.html"), ("rep.htm", "rep.htm")):
        said = shell("report", "--store", "runs.db", "--out", given)
        assert said.out.strip() == written and Path(written).exists()


def test_a_report_that_cannot_be_written_says_so(shell: Shell) -> None:
    Store.open("runs.db").close()
    said = shell("report", "--store", "runs.db", "--out", "no/such/folder/report.html")
    assert said.code == 2
    assert "cannot write no/such/folder/report.html" in said.err and "--out" in said.err
