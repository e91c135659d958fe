"""Thousands of runs without a model: whatever samples and verdicts come, the promises hold.

The watcher sees the records alone and keeps its own books; it shares nothing with `state.py` but the records.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from math import prod

import pytest
from bench import Bench, World, worlds
from hypothesis import given as examples
from hypothesis import settings
from hypothesis import strategies as st

from surefoot.storage.records import Attempt, Event, JournalRecord, PlannedStep, Verdict


@dataclass
class Books:
    """What the records say of one step."""

    record: PlannedStep
    attempts: list[Attempt] = field(default_factory=list)
    """Since it was last opened, planned or rolled back."""
    alive: bool = False
    committed: bool = False
    failed: bool = False
    expanded: bool = False
    children: list[int] = field(default_factory=list)
    odds: list[float] = field(default_factory=list)
    """Of its plan, each part of it, and its output to be right, where that is not exact."""


class Watcher:
    """Checks every record against everything before it."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.books: dict[int, Books] = {}
        self.verdicts: dict[int, dict[str, str]] = {}
        self.plain: dict[int, list[int]] = {}
        self.seen: Counter[str] = Counter()

    def __call__(self, record: JournalRecord) -> None:
        if isinstance(record, PlannedStep):
            self.books[record.seq] = Books(record, alive=record.parent is None)
        elif isinstance(record, Attempt):
            self.attempt(self.books[record.step], record)
        elif isinstance(record, Verdict):
            self.verdicts.setdefault(record.attempt, {})[record.verifier] = record.ruling
        elif isinstance(record, Event) and record.step is not None:
            self.seen[record.kind] += 1
            getattr(self, record.kind)(self.books[record.step], record)

    def started(self, books: Books, event: Event) -> None:
        assert books.record.parent is None

    def attempt(self, books: Books, attempt: Attempt) -> None:
        assert books.alive, "an attempt at a step that is not part of the plan"
        assert not books.committed, "an attempt at a committed step"
        assert not books.failed
        for need in books.record.needs:
            assert self.books[need].committed, "a step started before what it needs was committed"
        books.attempts.append(attempt)

    def planned(self, books: Books, event: Event) -> None:
        assert not books.committed
        if not event.data.get("extend"):
            for seq in books.children:
                self.books[seq].alive = False
            books.children, books.odds = [], []
        drafted = [
            one for one in self.books.values()
            if one.record.parent == event.step and not one.alive and one.record.version == event.data["version"]
        ]  # fmt: skip
        for one in drafted:
            one.alive = True
            books.children.append(one.record.seq)
        if event.attempt is not None:
            self.enough(books, event)
            books.odds += [event.data["p"]] if "p" in event.data else []
        books.expanded, books.attempts = True, []

    def committed(self, books: Books, event: Event) -> None:
        candidate = next(one for one in books.attempts if one.seq == event.attempt)
        assert candidate.status == "proposed"
        for seq in books.children:
            assert self.books[seq].committed, "a plan's output was committed before its steps"
        if candidate.role != "reused":
            self.enough(books, event)
        books.committed = True
        books.odds += [event.data["p"]] if event.data else []

    def enough(self, books: Books, event: Event) -> None:
        """Every check passed, and either an exact one spoke or the votes are far enough ahead."""
        rules = self.bench.context.rules(books.record.step)
        checks = rules.plan_checks if event.kind == "planned" else rules.checks
        said = self.verdicts.get(event.attempt or 0, {})
        for check in checks:
            assert said.get(check.name) == "pass", f"{check.name} did not pass what was committed"
        result = event.kind == "committed" and books.expanded
        if result or not rules.sampled or (rules.votes is None and any(check.exact for check in checks)):
            return
        votes = Counter(
            one.key if one.status == "proposed" else "?" for one in books.attempts if one.key or one.status == "unknown"
        )
        refuted = {one.key for one in books.attempts if "fail" in self.verdicts.get(one.seq, {}).values()}
        mine = next(one.key for one in books.attempts if one.seq == event.attempt)
        runner_up = max((count for key, count in votes.items() if key != mine and key not in refuted), default=0)
        least = rules.votes or 2  # nothing here is measured
        assert votes[mine] - runner_up >= least, "a plurality was committed"

    def failed(self, books: Books, event: Event) -> None:
        books.failed = True

    def rolled_back(self, books: Books, event: Event) -> None:
        books.attempts = []
        if not event.data["steps"]:
            books.expanded = False
            return
        slices = [self.readers(books, seq) for seq in event.data["steps"]]
        assert set(event.data["steps"]) in slices, "what is undone is one step and exactly its transitive readers"
        for seq in event.data["steps"]:
            one = self.books[seq]
            assert one.committed, "what was not committed cannot be undone"
            one.committed = one.expanded = False
            one.attempts, one.children, one.odds = [], [], []

    def right(self, books: Books) -> float:
        """The probability that a step and everything under it is right."""
        return prod(books.odds) * prod(self.right(self.books[seq]) for seq in books.children)

    def readers(self, books: Books, seq: int) -> set[int]:
        found = {seq}
        while more := {one for one in books.children if found & set(self.books[one].record.needs)} - found:
            found |= more
        return found


def watched(world: World, planner: str, order: int = 0) -> tuple[Watcher, str]:
    bench = Bench(world, order=order)
    watcher = bench.listener = Watcher(bench)
    bench.begin(planner)
    status, output = bench.run()
    assert (output is None) == (status == "failed")
    if status == "committed":
        root = watcher.books[bench.state.root]
        predicted = bench.state.trust.reliability().predicted
        assert predicted == pytest.approx(watcher.right(root)), "the prediction rests on other steps than the output"
    return watcher, status


TOTAL: Counter[str] = Counter()


@settings(max_examples=250)
@examples(worlds(), st.sampled_from(["known", "model"]), st.integers(0, 99))
def test_nothing_is_committed_that_did_not_earn_it(world: World, planner: str, order: int) -> None:
    watcher, status = watched(world, planner, order)
    TOTAL.update(watcher.seen)
    TOTAL[status] += 1


@settings(max_examples=100)
@examples(worlds(target=True), st.sampled_from(["known", "model"]), st.integers(0, 99))
def test_nor_with_a_target_that_asks_for_more(world: World, planner: str, order: int) -> None:
    watcher, status = watched(world, planner, order)
    TOTAL.update(watcher.seen)
    TOTAL[status] += 1


def test_these_runs_met_everything_that_can_happen() -> None:
    assert min(TOTAL[kind] for kind in ("planned", "committed", "failed", "rolled_back")) > 50, TOTAL


@settings(max_examples=60)
@examples(worlds(), st.integers(0, 99), st.integers(0, 99))
def test_the_order_in_which_steps_are_driven_does_not_change_the_outcome(world: World, one: int, other: int) -> None:
    ended = []
    for order in (one, other):
        bench = Bench(world, order=order)
        bench.begin("known")
        ended.append(bench.run())
    assert ended[0] == ended[1]
