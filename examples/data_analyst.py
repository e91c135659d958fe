"""Answers a question about a CSV file with the python tool, and believes the answer once it was computed another way.

    SUREFOOT_MODEL=openai/gpt-5.1 python examples/data_analyst.py

Without SUREFOOT_MODEL (or with --scripted) a scripted server answers, wrong first and right later.
"""

from __future__ import annotations

import csv
import statistics
import tempfile
from pathlib import Path

from _scripted import stand_in

from surefoot.engine import Budget, Engine
from surefoot.reflection import Recompute
from surefoot.storage import Contract, Plan, Step, given, ref

ORDERS = """\
region,status,amount
north,paid,120.00
north,paid,80.00
south,paid,200.00
south,cancelled,900.00
north,paid,100.00
south,paid,150.00
south,paid,130.00
"""
QUESTION = "What is the median amount of the paid orders of the region? Read the file with the python tool."

PLAN = Plan(
    (
        Step(
            "median",
            QUESTION,
            args={"file": given("file"), "region": given("region")},
            contract=Contract(gives={"type": "number"}),
            checks=("recomputed",),
        ),
    ),
    output=ref("median"),
)

# What the scripted model writes: the first program counts the cancelled order as well.
PROGRAM = """
import csv, statistics
rows = csv.DictReader(open("orders.csv"))
print(statistics.median(float(row["amount"]) for row in rows if row["region"] == "south"{more}))
"""
SCRIPT = (
    {"tool": "python", "arguments": {"code": PROGRAM.format(more="")}},
    '{"answer": 175.0}',
    {"tool": "python", "arguments": {"code": PROGRAM.format(more=' and row["status"] == "paid"')}},
    '{"answer": 150.0}',
)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, stand_in(SCRIPT) as url:
        orders = Path(folder, "orders.csv")
        orders.write_text(ORDERS)

        def recomputed(inputs: dict[str, str]) -> float:
            """The same question, answered by code that no model wrote."""
            with orders.open(newline="") as file:
                paid = [row for row in csv.DictReader(file) if row["status"] == "paid"]
            return statistics.median(float(row["amount"]) for row in paid if row["region"] == inputs["region"])

        with Engine(
            "openai/scripted" if url else None,
            base_url=url,
            planner=PLAN,
            tools=["python"],
            checks=[Recompute(recomputed)],
            store=Path(folder) / "runs.db",
            workspace=folder,  # the folder that the tool runs in
        ) as engine:
            inputs = {"file": "orders.csv", "region": "south"}
            result = engine.run(QUESTION, inputs=inputs, output=float, budget=Budget(steps=12, usd=0.50))
            median = next(step for step in result.steps if step.id == "median")

    for attempt in median.attempts:
        for verdict in median.verdicts:
            if verdict.attempt == attempt.seq and verdict.verifier == "recomputed":
                print(f"attempt {attempt.ordinal}: {attempt.output} {verdict.ruling}  {verdict.critique}")
    # A result is true where it was accepted; otherwise its reason says why there is no output.
    print(f"{result.outcome}: {result.output if result else result.reason} (it rests on: {result.reliability.basis})")


if __name__ == "__main__":
    main()
