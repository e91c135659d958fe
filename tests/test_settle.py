"""Truth that comes late flows back to the samples that a run stood on, once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from surefoot.engine import Engine
from surefoot.engine.labels import backfill_labels
from surefoot.models.scripted import ScriptedModel
from surefoot.reflection.calibration import Calibration
from surefoot.reflection.evidence import Belief
from surefoot.reflection.vote_belief import WRONG
from surefoot.storage.errors import SetupError
from surefoot.storage.learned import Agreement, Learned, Sampling
from surefoot.storage.records import Contract, Plan, Step, ref
from surefoot.storage.store import Store

NUMBER = Contract(gives={"type": "integer"})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "runs.db") as store:
        yield store


def run(store: Store, replies: Any, steps: int = 1) -> str:
    plan = Plan(tuple(Step(f"s{i}", "Add.", contract=NUMBER, kind="sum") for i in range(steps)), ref("s0"))
    result = Engine(ScriptedModel(replies), planner=plan, store=store, concurrency=1).run("add")
    assert result.output is not None
    return result.run_id


def counted(learned: list[Learned]) -> dict[tuple[str, str], float]:
    return {(one.counts, one.truth): one.prompts for one in learned if isinstance(one, Agreement)}


def test_a_right_result_settles_every_vote_under_it(store: Store) -> None:
    found, *labels = backfill_labels(store, run(store, ["6", "5", "5", "5"]), True)
    assert isinstance(found, Sampling)
    assert (found.step_class, found.policy) == ("sum", "scripted@script")
    assert (found.prompts, found.right, found.wrong) == (1, 0, 1), "the first sample is free of when sampling stopped"
    assert found.pairs == 0, "only accepted runs are judged, so pairs would look better than they are"
    assert [one for one in store.learned() if isinstance(one, Sampling)] == [found]
    assert counted(labels) == {("3+1~", ""): -1, ("3+1~", "3"): 1}, "the prompt was counted when it ended"
    kept = {key: prompts for key, prompts in counted(store.learned()).items() if prompts}
    assert kept == {("3+1~", "3"): 1}


def test_a_wrong_result_settles_a_step_only_where_it_alone_rested_on_votes(store: Store) -> None:
    found, *labels = backfill_labels(store, run(store, ["5", "5"]), False)
    assert isinstance(found, Sampling)
    assert (found.right, found.wrong) == (0, 1)
    assert counted(labels) == {("2", ""): -1, ("2", WRONG): 1}
    assert backfill_labels(store, run(store, ["5"] * 4, steps=2), False) == []


def test_nothing_is_counted_twice(store: Store) -> None:
    run_id = run(store, ["5", "5"])
    assert backfill_labels(store, run_id, True)
    assert backfill_labels(store, run_id, True) == []
    assert backfill_labels(store, run_id, False) == []


def test_one_step_can_be_settled_by_itself(store: Store) -> None:
    run_id = run(store, ["5"] * 4, steps=2)
    seq = next(one.seq for one in Engine(ScriptedModel([]), store=store).resume(run_id).steps if one.id == "s1")
    found, *labels = backfill_labels(store, run_id, False, seq)
    assert isinstance(found, Sampling)
    assert found.wrong == 1 and len(labels) == 2


def test_how_alike_errors_are_stays_stated(store: Store) -> None:
    counts = Sampling("sum", "m@1", "", 40, 36, 4)
    found = Calibration([counts]).belief("sum", "m@1", "", Belief())
    assert (found.basis, found.concentration) == ("prior", Belief().concentration)
    assert found.p == pytest.approx(0.9, abs=0.01)


WRONG_LABELS: list[tuple[dict[str, Any], str]] = [
    ({"score": 2}, "a score of 2 is not between 0 and 1"),
    ({"score": float("nan")}, "not between"),
    ({"step": "nobody", "score": 1}, "no step 'nobody'"),
    ({"step": "s0", "score": 0, "correction": "six"}, "cannot be right here.*integer"),
    ({"score": 0, "run": "nope"}, "no run"),
    ({"step": "s0", "score": 0, "correction": 5}, "is what was answered"),
    ({"step": "s0", "score": 0, "correction": 5.0}, "is what was answered"),
    ({"score": 0, "correction": 5}, "is what was answered"),
    ({"step": "s0", "score": 1, "correction": 6}, "needs no correction"),
]


@pytest.mark.parametrize(("said", "words"), WRONG_LABELS, ids=lambda one: one if isinstance(one, str) else "")
def test_a_label_that_cannot_be_meant_is_refused_and_not_kept(store: Store, said: dict[str, Any], words: str) -> None:
    run_id = run(store, ["5", "5"])
    before = store.learned()
    with pytest.raises(SetupError, match=words):
        Engine(ScriptedModel([]), store=store).feedback(**{"run_id": said.pop("run", run_id)} | said)
    assert store.feedbacks(run_id) == [] and store.learned() == before


def test_a_label_from_python_teaches_what_one_from_the_command_line_does(store: Store) -> None:
    run_id = run(store, ["5", "5"])
    said = Engine(ScriptedModel([]), store=store).feedback(run_id[-8:], step="s0", score=0, correction=6)
    assert store.feedbacks(run_id)[0].correction == 6 and said.run_id == run_id
    found = next(one for one in store.learned() if isinstance(one, Sampling))
    assert (found.right, found.wrong) == (0, 1)
