"""What each example shows is true. That all of them run, and are short, is in test_docs.py."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from servers import ScriptedServer

EXAMPLES = Path(__file__).parent.parent / "examples"
WEIGHTS = Path(__file__).parent.parent / "models" / "pocket" / "word_problems" / "card.json"


def shown(folder: Path, name: str, *arguments: str, **environment: str) -> str:
    """What an example prints, run from an empty folder, in which it leaves nothing."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *arguments],
        cwd=folder,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stderr
    assert not list(folder.iterdir())
    return done.stdout


def test_hanoi_verifies_every_move(tmp_path: Path) -> None:
    text = shown(tmp_path, "hanoi.py", "--disks", "6")
    assert "verified: 63 moves, each one checked; it rests on: exact" in text
    assert "the end: {'A': [], 'B': [], 'C': [6, 5, 4, 3, 2, 1]}" in text
    assert re.search(r"[0-9.]+ s for 94 durable steps, [0-9]+ us a step", text)


def test_the_dial_costs_more_and_keeps_its_word(tmp_path: Path) -> None:
    head, *rows = shown(tmp_path, "reliability_dial.py", "--runs", "6", "--seed", "8").splitlines()
    assert head.split() == ["target", "predicted", "right", "samples", "a", "step"]
    found = [re.fullmatch(r" *(as it is|[.\d]+) +(–|[.\d]+) +(\d+) of +(\d+) +([.\d]+)", row) for row in rows]
    assert [one[1] for one in found if one] == ["as it is", "0.9", "0.99", "0.999"]
    costs = [float(one[5]) for one in found if one]
    assert costs[0] == 1 and costs == sorted(costs)
    assert all(one and float(one[2]) >= float(one[1]) for one in found[1:])
    assert all(one and one[4] == "6" for one in found)


def test_the_rules_of_hanoi_are_checked_twice_and_apart() -> None:
    """By the tool from the pegs, and by the verifier from the two states alone."""
    script = """
import asyncio, hanoi
from surefoot.storage.errors import ToolError
from surefoot.tools import ToolContext
def call(source, target):
    arguments = {"towers": {"A": [3, 1], "B": [2], "C": []}, "source": source, "target": target}
    return asyncio.run(hanoi.move.call(arguments, ToolContext()))
before = {"towers": {"A": [3, 1], "B": [2], "C": []}}
print(call("A", "B"), hanoi.legal(call("A", "B"), before), hanoi.legal(call("A", "C"), before))
for source, target in (("B", "A"), ("C", "A")):
    try:
        print(call(source, target))
    except ToolError as error:
        print(error)
for wrong in ({"A": [3, 1, 2], "B": [], "C": []}, {"A": [3], "B": [2], "C": [3]}, {"A": [], "B": [2], "C": [3, 1]}):
    print(hanoi.legal(wrong, before))
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=EXAMPLES, capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines() == [
        "{'A': [3], 'B': [2, 1], 'C': []} True True",
        "no disk can be moved from B to A",
        "no disk can be moved from C to A",
        "a disk lies on a smaller one",
        "not exactly one disk was moved",
        "not exactly one disk was moved",
    ], done.stderr


def test_code_repair_rejects_the_first_repair_for_what_the_tests_say(tmp_path: Path) -> None:
    with ScriptedServer() as server:
        text = shown(tmp_path, "code_repair.py", "--scripted", **mine(server))
        assert not server.requests, "a script was asked for, and not the model that is configured"
    first, second, outcome = text.splitlines()[:3]
    assert first == "fail E   IndexError: list index out of range"
    assert (second, outcome) == ("pass", "verified after 2 attempts")
    assert "raise ValueError" in text


def test_data_analyst_believes_what_was_computed_twice(tmp_path: Path) -> None:
    first, second, last = shown(tmp_path, "data_analyst.py").splitlines()
    assert first.startswith("attempt 1: 175.0 fail")
    assert second.startswith("attempt 2: 150.0 pass")
    assert last == "verified: 150.0 (it rests on: exact)"


def test_a_configured_model_is_asked_in_place_of_the_script(tmp_path: Path) -> None:
    with ScriptedServer(lambda body: "I do not know.") as server:
        text = shown(tmp_path, "data_analyst.py", **mine(server))
        assert "What is the median amount" in server.requests[0]["messages"][-1]["content"]
        assert server.requests[0]["tools"][0]["function"]["name"] == "python"
    assert text.startswith("abstained: ") and "None" not in text


def mine(server: ScriptedServer) -> dict[str, str]:
    return {"SUREFOOT_MODEL": "openai/of-mine", "SUREFOOT_BASE_URL": server.url}


def test_approval_pays_once_and_not_before_a_person_agrees(tmp_path: Path) -> None:
    stopped, question, paid, again = shown(tmp_path, "approval.py").splitlines()
    assert stopped == "input_required; paid so far: []"
    assert question.startswith("pay wants to run: agree? {'supplier': 'Smith & Sons', 'amount': 100.0} yes")
    assert paid == "verified: receipt 1; paid: ['100.00 euros to Smith & Sons']"
    assert again.endswith("paid: ['100.00 euros to Smith & Sons']")


@pytest.mark.slow
@pytest.mark.skipif(not WEIGHTS.exists(), reason="no weights in this checkout")
def test_word_problems_answers_three_and_refuses_the_poem(tmp_path: Path) -> None:
    text = shown(tmp_path, "word_problems.py")
    answers = re.findall(r"^  ([0-9]+)  \((\w+),", text, re.MULTILINE)
    assert answers == [("2070", "verified"), ("306", "verified"), ("5040", "verified")]
    assert re.search(r"poem about the 7 seas\.\n  no answer: abstained, because \S", text)
