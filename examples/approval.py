"""A payment that waits for a person: the run stops with a question, and the tool runs once, after the answer."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from surefoot.engine import Engine, Outcome
from surefoot.models import ScriptedModel
from surefoot.storage import Plan, Step, given, ref
from surefoot.tools import tool

PAID: list[str] = []
"""Stands for the outside world."""


@tool(effect="pure")
def total(prices: list[float]) -> float:
    """Sum of prices in euros."""
    return round(sum(prices), 2)


# `once`: the engine never runs it again by itself. `approval`: and not even the first time without a person.
@tool(effect="once", approval=True)
def pay(supplier: str, amount: float) -> str:
    """Pay a supplier."""
    PAID.append(f"{amount:.2f} euros to {supplier}")
    return f"receipt {len(PAID)}"


PLAN = Plan(
    (
        Step("sum", "Add up the invoice.", tool="total", args={"prices": given("prices")}),
        Step("pay", "Pay it.", tool="pay", args={"supplier": given("supplier"), "amount": ref("sum")}),
    ),
    output=ref("pay"),
)


def agrees(question: str) -> bool:
    """A person's answer; without a terminal there is nobody to ask, and this example agrees."""
    if sys.stdin is not None and sys.stdin.isatty():
        return input(f"{question} [y/n] ").strip().lower().startswith("y")
    print(f"{question} yes")
    return True


def main() -> None:
    # No step asks a model, so the model has nothing to say.
    with (
        tempfile.TemporaryDirectory() as folder,
        Engine(ScriptedModel([]), planner=PLAN, tools=[total, pay], store=Path(folder) / "runs.db") as engine,
    ):
        result = engine.run("Pay the invoice.", inputs={"supplier": "Smith & Sons", "prices": [19.9, 80.1]})
        print(f"{result.outcome}; paid so far: {PAID}")

        # The run rests in the store: hours later, another process may go on with it by its id.
        while result.outcome is Outcome.INPUT_REQUIRED:
            answers = {one["key"]: agrees(f"{one['question']} {one['arguments']}") for one in result.questions}
            result = engine.resume(result.run_id, answers)
        print(f"{result.outcome}: {result.output or result.reason}; paid: {PAID}")

        # A run that was verified is only read again.
        result = engine.resume(result.run_id)
        print(f"resumed once more: {result.outcome}; paid: {PAID}")


if __name__ == "__main__":
    main()
