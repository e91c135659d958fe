"""Repairs a module until its tests pass: a repair is accepted because the tests ran on it, not because it looks right.

    SUREFOOT_MODEL=openai/gpt-5.1 python examples/code_repair.py

Without SUREFOOT_MODEL (or with --scripted) a scripted server answers, wrong first and right later.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from _scripted import stand_in

from surefoot.engine import Budget, Engine
from surefoot.reflection import ExecutionCheck
from surefoot.storage import Contract, Plan, Step, given, ref

BUGGY = '''\
def median(values):
    """The middle value; of an even number of values the mean of the middle two."""
    values = sorted(values)
    return values[len(values) // 2]
'''

TESTS = """\
import pytest
from stats import median

def test_odd():
    assert median([3, 1, 2]) == 2

def test_even():
    assert median([4, 1, 3, 2]) == 2.5

def test_empty():
    with pytest.raises(ValueError):
        median([])
"""

# What the scripted model answers: its first repair forgets the empty list.
FORGETFUL = """\
def median(values):
    values = sorted(values)
    half = len(values) // 2
    return values[half] if len(values) % 2 else (values[half - 1] + values[half]) / 2
"""
RIGHT = FORGETFUL.replace("    half", "    if not values:\n        raise ValueError('no values')\n    half")
SCRIPT = [json.dumps({"answer": text}) for text in (FORGETFUL, RIGHT)]

# One step. Its output is text, and is accepted once the check that it names has passed.
PLAN = Plan(
    (
        Step(
            "repair",
            "Mend the module so that its tests pass. The answer is the text of the whole module.",
            args={"module": given("module"), "tests": given("tests")},
            contract=Contract(gives={"type": "string"}),
            checks=("tests",),
        ),
    ),
    output=ref("repair"),
)


def main() -> None:
    # The candidate becomes stats.py beside the tests, in a folder and a process of its own.
    tests = ExecutionCheck({"test_stats.py": TESTS}, path="stats.py", name="tests")
    with (
        tempfile.TemporaryDirectory() as folder,
        stand_in(SCRIPT) as url,
        Engine(
            "openai/scripted" if url else None,
            base_url=url,
            planner=PLAN,
            checks=[tests],
            store=Path(folder) / "runs.db",
        ) as engine,
    ):
        inputs = {"module": BUGGY, "tests": TESTS}
        result = engine.run("Mend the module.", inputs=inputs, budget=Budget(steps=12, usd=0.50))
        repair = next(step for step in result.steps if step.id == "repair")

    for verdict in repair.verdicts:
        if verdict.verifier == "tests":
            errors = [line for line in verdict.critique.splitlines() if line.startswith("E ")]
            print(verdict.ruling, *errors[:1])
    print(f"{result.outcome} after {len(repair.attempts)} attempts\n\n{result.output or result.reason}")


if __name__ == "__main__":
    main()
