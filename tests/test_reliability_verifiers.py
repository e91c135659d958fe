"""Verifiers as instruments: measured, weighed, measured together."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dial import adder, adds_up, draw, labelled, shifted, sums

from surefoot.engine import Engine, Outcome
from surefoot.engine.calibrate import calibrate
from surefoot.models.question import Question
from surefoot.models.scripted import ScriptedModel
from surefoot.reflection import Case, verifier
from surefoot.reflection.base import VerifierBase
from surefoot.reflection.calibration import Calibration
from surefoot.storage.errors import SetupError
from surefoot.storage.learned import Checking, Sampling
from surefoot.storage.records import Attempt, Json, Plan, PlannedStep, Verdict
from surefoot.storage.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "runs.db") as store:
        yield store


# --- verifiers --------------------------------------------------------------------------------------------------


class Lenient(VerifierBase):
    """Passes nine right answers in ten, and three wrong ones in four."""

    def __init__(self, kind: str) -> None:
        super().__init__("lenient", "1", kind, False)

    async def examine(self, case: Case) -> Verdict:
        right = case.candidate == case.inputs["a"] + case.inputs["b"]
        return self.rule(
            "pass" if draw("judge", case.candidate, dict(case.inputs)) < (0.9 if right else 0.76) else "fail"
        )


def test_a_verifier_that_passes_three_quarters_of_wrong_answers_is_found_out_by_canaries(store: Store) -> None:
    for seed in range(40):
        plan = sums(20, seed, ("lenient", "adds_up"))
        Engine(adder(1.0), planner=plan, checks=[Lenient("judge"), adds_up], store=store, seed=seed).run("add")
    found = Calibration(store.learned()).rates("sum", "lenient", "1")
    assert found is not None
    rates, basis = found
    assert basis == "prior", "mutants are wrong in ways of our making"
    canary = next(one for one in store.learned() if isinstance(one, Checking) and one.origin == "canary")
    tried = canary.bad_passed + canary.bad_failed
    assert 55 <= tried <= 120, "they stop when the rate is known"
    assert canary.bad_passed / tried == pytest.approx(0.76, abs=0.12)
    assert rates.passes() < 0.35


def test_its_weight_is_seven_hundredths_of_a_nat(store: Store) -> None:
    engine = Engine(adder(0.5), planner=sums(1), checks=[Lenient("judge")], store=store)
    calibrate(engine, labelled(1500), samples=4)
    found = Calibration(store.learned()).rates("sum", "lenient", "1")
    assert found is not None
    assert found[1] == "measured"
    assert found[0].drift() == pytest.approx(0.07, abs=0.03)


def test_the_word_of_a_measured_judge_is_evidence_and_of_an_unmeasured_one_a_veto(store: Store) -> None:
    def judged() -> tuple[Outcome, set[float | None]]:
        plan = sums(6, 3, ("lenient",))
        result = Engine(adder(1.0), planner=plan, checks=[Lenient("judge")], store=store, canaries=0).run("add")
        said = [one for one in store.records(result.run_id, kinds=(Verdict,)) if one.verifier == "lenient"]  # type: ignore[union-attr]
        return result.outcome, {one.nats for one in said}  # type: ignore[union-attr]

    before = judged()
    assert before[1] == {None}
    engine = Engine(adder(0.6), planner=sums(1), checks=[Lenient("judge")], store=store)
    calibrate(engine, labelled(300), samples=4)
    after = judged()
    assert after[0] is Outcome.VERIFIED
    assert None not in after[1]


@verifier(version="1")
def digits(candidate: int, inputs: dict[str, Any]) -> bool:
    """Casting out nines: passes every right sum, and one wrong one in nine."""
    return (inputs["a"] + inputs["b"] - candidate) % 9 == 0


@verifier(version="1")
def digits_again(candidate: int, inputs: dict[str, Any]) -> bool:
    return (inputs["a"] + inputs["b"] - candidate) % 9 == 0


def nines(question: Question, index: int) -> Json:
    """Right six times in ten; of the others, a third are off by nine."""
    a, b = question.inputs["a"], question.inputs["b"]
    chance = draw("nines", a, b, question.seed, index)
    return str(a + b + (0 if chance < 0.6 else 9 if chance < 0.73 else 1 + int(chance * 1e6) % 7))


def test_a_copy_of_a_check_adds_nothing(store: Store) -> None:
    options: dict[str, Any] = {"checks": [digits, digits_again], "store": store}
    calibrate(Engine(ScriptedModel(nines), planner=sums(1), **options), labelled(300), samples=4)
    plan = sums(5, 8, ("digits", "digits_again"))
    result = Engine(ScriptedModel(nines), planner=plan, **options).run("add", target=0.9)
    said = [one for one in store.records(result.run_id, kinds=(Verdict,)) if one.ruling == "pass"]  # type: ignore[union-attr]
    first = {one.nats for one in said if one.verifier == "digits"}  # type: ignore[union-attr]
    again = {one.nats for one in said if one.verifier == "digits_again"}  # type: ignore[union-attr]
    assert len(first) == 1 and 0.5 < first.pop() < 1.6  # type: ignore[operator]
    assert again == {0.0}


def test_where_only_a_verifiers_word_is_known_the_share_of_right_candidates_is_estimated(store: Store) -> None:
    from surefoot.service.cli.page import estimates

    def engine(plan: Plan, seed: int = 0) -> Engine:
        return Engine(ScriptedModel(nines), planner=plan, checks=[digits], store=store, seed=seed, canaries=0)

    calibrate(engine(sums(1)), labelled(300), samples=4)
    assert store.ruled() == []
    truth: list[bool] = []
    for seed in range(15):
        result = engine(sums(10, 40 + seed, ("digits",)), seed).run("add", target=0.9)
        wanted, outputs = {}, {}
        for one in store.records(result.run_id, kinds=(PlannedStep, Attempt, Verdict)):
            if isinstance(one, PlannedStep) and one.step.args and "a" in one.step.args:
                wanted[one.seq] = one.step.args["a"] + one.step.args["b"]
            elif isinstance(one, Attempt) and one.step in wanted:
                outputs[one.seq] = one.output == wanted[one.step]
            elif isinstance(one, Verdict) and one.verifier == "digits":
                truth.append(outputs[one.attempt])
    (found,) = estimates(store.learned(), store.ruled())
    assert found["passed"] + found["failed"] == len(truth) > 150
    assert found["right_low"] < found["right"] < found["right_high"]
    assert found["right"] == pytest.approx(sum(truth) / len(truth), abs=0.08)
    assert found["basis"] == "measured"


def test_a_check_that_only_mutants_tried_leaves_the_basis_a_prior(store: Store) -> None:
    calibrate(Engine(adder(0.9), planner=sums(1), store=store), labelled(300))
    canary = Checking("sum", "digits", "1", "canary", 60, 0, 2, 118)
    store.learn([canary])
    result = Engine(adder(0.9), planner=sums(1, 4, ("digits",)), checks=[digits], store=store).run("add", target=0.9)
    assert result.reliability.basis == "prior"
    said = [one for one in store.records(result.run_id, kinds=(Verdict,)) if one.verifier == "digits"]  # type: ignore[union-attr]
    assert said and all(one.nats and one.evidence == {"basis": "prior"} for one in said)  # type: ignore[union-attr]
    store.learn([Checking("sum", "digits", "1", "audit", 60, 0, 2, 118)])
    after = Engine(adder(0.9), planner=sums(1, 4, ("digits",)), checks=[digits], store=store).run("add", target=0.9)
    assert after.reliability.basis == "measured"


def test_votes_are_not_drawn_for_what_a_check_will_say(store: Store) -> None:
    calibrate(Engine(adder(0.9), planner=sums(1), checks=[digits], store=store), labelled(400))

    def samples(*checks: str) -> float:
        plan = sums(20, 5, checks)
        run = Engine(adder(0.9), planner=plan, checks=[digits], store=store).run("add", target=0.99)
        assert run.reliability.basis == "measured"
        return run.usage.samples / 20

    assert samples("digits") < samples() - 0.5


# --- calibration ------------------------------------------------------------------------------------------------


def test_measuring_on_labelled_steps_counts_samples_and_verifiers(store: Store) -> None:
    engine = Engine(adder(0.8), planner=sums(1), checks=[Lenient("rule")], representations=[shifted], store=store)
    found = calibrate(engine, labelled(200), samples=5).counts
    samplings = {one.source: one for one in found if isinstance(one, Sampling)}
    assert set(samplings) == {"", "shifted"}
    assert samplings[""].prompts == 200
    assert samplings[""].right / 200 == pytest.approx(0.8, abs=0.06)
    origins = {one.origin for one in found if isinstance(one, Checking)}
    assert origins == {"audit", "canary"}
    assert {one.step_class for one in store.learned()} == {"sum"}
    with pytest.raises(SetupError, match="no labelled step"):
        calibrate(engine, [])
