"""DBOS on SQLite: a workflow of N steps, each of which asks the model and calls the tool.

One DBOS step holds both, so that there is one record of each; two would cost twice as much.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from dbos import DBOS, DBOSConfig, SetWorkflowID

from benchmarks.harness import expect


def model(value: int) -> dict[str, int]:
    """The scripted model: asks for one more."""
    return {"a": value, "b": 1}


def add(a: int, b: int) -> int:
    return a + b


@DBOS.step()
def one(value: int) -> int:
    """One more, checked as surefoot's step is: the type, and that it is one more."""
    result = add(**model(value))
    if not isinstance(result, int) or result != value + 1:
        raise ValueError(f"{result} is not one more than {value}")
    return result


@DBOS.workflow()
def count(steps: int) -> int:
    value = 0
    for _ in range(steps):
        value = one(value)
    return value


class Steps:
    """The workflow and its system database."""

    def create(self, folder: Path) -> None:
        self._launch(folder)
        DBOS.destroy()

    def open(self, folder: Path, shape: str, seed: int) -> Callable[[int], None]:
        self._launch(folder)

        def work(steps: int) -> None:
            with SetWorkflowID("count"):
                result = count(steps)
            DBOS.destroy()
            expect(result, steps, "the workflow's output")

        return work

    def count(self, folder: Path) -> int:
        """Steps with an output in the reopened database."""
        self._launch(folder)
        try:
            return sum(step["output"] is not None for step in DBOS.list_workflow_steps("count"))
        finally:
            DBOS.destroy()

    def _launch(self, folder: Path) -> None:
        # Its log goes to stderr, and says nothing of a step unless that fails.
        config = DBOSConfig(name="count", system_database_url=f"sqlite:///{folder / 'dbos.sqlite'}", log_level="ERROR")
        DBOS(config=config)
        DBOS.launch()
