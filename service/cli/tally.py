"""Runs of one kind counted by how they ended, and two such counts side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table

from surefoot.storage.records import Json, Outcome

if TYPE_CHECKING:
    from surefoot.engine import Result


@dataclass(frozen=True, slots=True)
class Tally:
    """How runs ended whose answers are known. What votes alone accepted is no promise, and is counted apart."""

    runs: int
    right: int
    wrong: int
    agreed: int
    samples: int
    tokens: int
    predicted: float | None
    """Probability that a run is right, as it was said beforehand; None where nothing was said."""

    @property
    def abstained(self) -> int:
        """Runs without an answer, whatever the reason."""
        return self.runs - self.right - self.wrong - self.agreed

    @property
    def observed(self) -> float | None:
        """Share of right answers among those given; None where there was none."""
        given = self.right + self.wrong
        return self.right / given if given else None

    def as_json(self) -> dict[str, Json]:
        names = ("runs", "right", "wrong", "agreed", "abstained", "predicted", "observed", "samples", "tokens")
        return {name: getattr(self, name) for name in names}


def tally(results: Sequence[Result], answers: Sequence[Json], predicted: float | None = None) -> Tally:
    """Counts runs against their known answers. predicted: default, the mean of what the accepted runs predict."""
    accepted = [
        (result, answer)
        for result, answer in zip(results, answers, strict=True)
        if result.outcome in (Outcome.VERIFIED, Outcome.UNVERIFIED)
    ]
    said = [result.reliability.predicted for result, _ in accepted if result.reliability.predicted is not None]
    right = sum(result.output == answer for result, answer in accepted)
    return Tally(
        runs=len(results),
        right=right,
        wrong=len(accepted) - right,
        agreed=sum(result.outcome is Outcome.AGREED for result in results),
        samples=sum(result.usage.samples for result in results),
        tokens=sum(result.usage.tokens for result in results),
        predicted=sum(said) / len(said) if predicted is None and said else predicted,
    )


def table(without: Tally, verified: Tally) -> Table:
    """Two counts of the same tasks: the first answers as they are, and verification on."""
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    made.add_column("")
    made.add_column("unverified", justify="right")
    made.add_column("verified", justify="right", style="bold")
    rows: list[tuple[str, Callable[[Tally], str]]] = [
        ("right", lambda one: str(one.right)),
        ("wrong, without a warning", lambda one: str(one.wrong)),
        ("agreed: votes alone, no promise", lambda one: str(one.agreed)),
        ("abstained: no answer", lambda one: str(one.abstained)),
        ("predicted right, of 100 answers", lambda one: hundred(one.predicted)),
        ("observed right, of 100 answers", lambda one: hundred(one.observed)),
        ("samples (answers drawn)", lambda one: f"{one.samples:,}"),
        ("tokens (read and written)", lambda one: f"{one.tokens:,}"),
    ]
    for name, figure in rows:
        if not name.startswith("agreed") or without.agreed or verified.agreed:
            made.add_row(name, figure(without), figure(verified))
    return made


def hundred(share: float | None) -> str:
    """So many of 100, to a tenth; nothing is rounded up to all of them."""
    if share is None:
        return "-"
    return f"{min(100 * share, 99.9):.1f}" if share < 1 else "100"
