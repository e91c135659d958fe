"""The tree that the live view and `show` draw, folded from records alone."""

from __future__ import annotations

from rich.console import Console

from surefoot.service.display.tree import RunTree
from surefoot.service.display.view import LiveTree, lines
from surefoot.storage.records import Attempt, Event, PlannedStep, Step, Verdict


class Made:
    """A run as it is made: one record after another, numbered."""

    def __init__(self, keep: int | None = None) -> None:
        self.tree = RunTree(keep)
        self.last = 0
        self.root = self.step("task", None, planner="model")

    def seq(self) -> int:
        self.last += 1
        return self.last

    def step(self, id: str, parent: int | None, version: int = 1, needs: tuple[int, ...] = (), **more: str) -> int:
        seq = self.seq()
        self.tree.add(PlannedStep(seq, parent, 0, version, Step(id, f"goal of {id}", **more), needs))  # type: ignore[arg-type]
        return seq

    def planned(self, version: int = 1) -> None:
        self.tree.add(Event(self.seq(), "planned", self.root, data={"version": version}))

    def attempt(self, step: int, output: object, key: str = "k") -> int:
        seq = self.seq()
        self.tree.add(Attempt(seq, step, 1, "sample", "proposed", output, key=key))
        return seq

    def commit(self, step: int, output: object) -> None:
        self.tree.add(Event(self.seq(), "committed", step, self.attempt(step, output)))

    def drawn(self, limit: int | None = None, width: int = 60, frame: int | None = None) -> list[str]:
        return [line.plain for line in lines(self.tree, width, limit, frame)]


def test_steps_are_marked_by_how_they_stand() -> None:
    run = Made()
    first = run.step("a", run.root)
    second = run.step("b", run.root, needs=(first,))
    third = run.step("c", run.root)
    run.planned()
    run.commit(first, 1)
    run.tree.add(Event(run.seq(), "failed", third, data={"reason": "no way"}))
    assert run.drawn()[1:] == [
        "├─ ✓ a  goal of a  = 1  1 of 1 votes  exact",
        "├─ · b  goal of b",
        "└─ ✗ c  goal of c  no way",
    ]
    assert run.drawn(frame=0)[2].startswith("├─ ⠋ b"), "what it needs is there, so it is under way"
    assert (run.tree.committed, run.tree.active(run.tree.nodes[second])) == (1, True)


def test_a_goal_is_cut_before_a_value_is() -> None:
    run = Made()
    run.commit(run.step("long-" * 3, run.root), "the value")
    line = run.drawn(width=76)[1]
    assert line.endswith("= the value  1 of 1 votes  exact") and len(line) == 76


def test_a_refuted_candidate_counts_with_all_its_votes() -> None:
    run = Made()
    step = run.step("a", run.root)
    first = run.attempt(step, 1)
    run.attempt(step, 1)
    run.tree.add(Verdict("check", "fail", critique="wrong", seq=run.seq(), attempt=first))
    assert run.tree.rejected == 2 == run.tree.nodes[step].rejected and "2 rejected" in run.drawn()[1]
    run.tree.add(Event(run.seq(), "asked", step, data={"key": "k", "question": "agree?"}))
    assert "? a" in run.drawn()[1] and "agree?" in run.drawn()[1]
    run.tree.add(Event(run.seq(), "answered", step, data={"key": "k"}))
    assert "· a" in run.drawn()[1]


def test_what_was_undone_or_planned_anew_stays_visible() -> None:
    run = Made()
    first = run.step("a", run.root)
    run.planned()
    run.commit(first, 1)
    run.tree.add(Event(run.seq(), "rolled_back", run.root, data={"steps": [first]}))
    assert run.tree.committed == 0 and "↺ a" in run.drawn()[1] and "undone" in run.drawn()[1]
    run.step("b", run.root, version=2)
    run.planned(version=2)
    assert "replaced" in run.drawn()[1] and "· b" in run.drawn()[2]


def test_a_long_run_keeps_a_small_tree_and_counts_the_rest() -> None:
    run = Made(keep=20)
    steps = [run.step(f"s{number}", run.root) for number in range(500)]
    run.planned()
    for step in steps[:490]:
        run.commit(step, step)
    assert run.tree.committed == 490 and len(run.tree.nodes) <= 21
    assert any("more verified" in line for line in run.drawn())


def test_what_does_not_fit_on_the_screen_is_counted_finished_steps_first() -> None:
    run = Made()
    steps = [run.step(f"s{number}", run.root) for number in range(40)]
    run.planned()
    for step in steps[:30]:
        run.commit(step, 0)
    drawn = run.drawn(limit=15)
    assert len(drawn) == 15 and "27 steps not shown" in drawn[1]
    assert sum("·" in line for line in drawn[1:]) == 10, "every open step is there"
    assert len(run.drawn(limit=5)) == 5


def test_the_live_view_draws_the_same_lines() -> None:
    run = Made()
    run.step("a", run.root)
    run.planned()
    console = Console(width=60, height=20)
    with console.capture() as shown:
        console.print(LiveTree(run.tree))
    assert "a  goal of a" in shown.get() and "0 steps verified" in shown.get()
