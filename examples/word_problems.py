"""Word problems on the packaged model: planned, computed and checked without a key or a network, or refused."""

from __future__ import annotations

import tempfile
from pathlib import Path

from surefoot.engine import Engine, Result

PROBLEMS = (
    "The Smith family is busy making muffins. So far, they've made 6500 muffins. They have 1987 vanilla muffins, "
    "2443 peanut butter muffins, and some blueberry muffins. How many blueberry muffins have they made?",
    "Julia gets 68 emails a day. 25% of those emails don't require any response. Julia responds to the rest of them. "
    "How many emails does Julia respond to in a 6 day work week?",
    "Darius has 70 square meters of a mango field. There are 18 mangos per square meter. Darius can harvest his "
    "mangos every 3 months. How many mangos can Darius harvest within a year?",
    # Not a word problem at all: the model was never taught what to do with it, and must say so.
    "Write a poem about the 7 seas.",
)


def show(result: Result) -> None:
    for step in result.steps:
        if step.does == "calculator":
            print(f"    {step.id}: {step.goal} = {step.output}")
    if result:  # true where there is an output that was accepted
        predicted = result.reliability.predicted
        print(f"  {result.output}  ({result.outcome}, right with probability {predicted:.3f} by its own account)")
    else:
        print(f"  no answer: {result.outcome}, because {result.reason}")
    print(f"  {result.usage.samples} samples, {result.usage.tokens} tokens, {result.seconds:.2f} s\n")


def main() -> None:
    # A temporary store, so that the example leaves nothing behind; by default runs are kept in ./.surefoot.
    with (
        tempfile.TemporaryDirectory() as folder,
        Engine("pocket", tools=["calculator"], store=Path(folder) / "runs.db") as engine,
    ):
        for problem in PROBLEMS:
            print(problem)
            show(engine.run(problem))


if __name__ == "__main__":
    main()
