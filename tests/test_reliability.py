"""Reliability as a dial: what is measured, shared out, decorrelated, climbed, and refused."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from surefoot.engine import Engine, Outcome
from surefoot.engine.calibrate import Labelled, calibrate
from surefoot.models.question import Question
from surefoot.models.representation import Representation, representation
from surefoot.models.scripted import ScriptedModel
from surefoot.planners import planner
from surefoot.reflection import Case, verifier
from surefoot.reflection.base import VerifierBase
from surefoot.reflection.calibration import Calibration, belief_of, source_of
from surefoot.reflection.evidence import Belief
from surefoot.storage.errors import SetupError
from surefoot.storage.records import (
    Attempt,
    Budget,
    Checking,
    Contract,
    Event,
    Json,
    Lesson,
    Plan,
    PlannedStep,
    Sampling,
    Step,
    Verdict,
    ref,
)
from surefoot.storage.store import Store

NUMBER = Contract(gives={"type": "integer"})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "runs.db") as store:
        yield store


def draw(*parts: Any) -> float:
    """A number in 0..1 that these parts decide."""
    return int(hashlib.sha256(repr(parts).encode()).hexdigest()[:12], 16) / 16**12


def adder(p: float, hard: float = 0.0, name: str = "adder") -> ScriptedModel:
    """Adds `a` and `b`: right with probability p, and on a share `hard` of the pairs always wrong in the same way."""

    def script(question: Question, index: int) -> Json:
        a, b = question.inputs["a"], question.inputs["b"]
        if draw("hard", name, a, b) < hard:
            return str(a + b + 1)
        chance = draw(name, a, b, question.seed, index)
        return str(a + b) if chance < p else str(a + b + 1 + int(chance * 1e6) % 4)

    return ScriptedModel(script, name=name)


def sums(count: int, seed: int = 0, checks: tuple[str, ...] = ()) -> Plan:
    rng = Random(seed)
    steps = tuple(
        Step(
            f"s{i}",
            "Add.",
            None,
            {"a": rng.randrange(999), "b": rng.randrange(999)},
            None,
            (),
            NUMBER,
            checks,
            kind="sum",
        )
        for i in range(count)
    )
    return Plan(steps, [ref(step.id) for step in steps])


def answers(plan: Plan) -> list[int]:
    return [(step.args or {})["a"] + (step.args or {})["b"] for step in plan.steps]


def labelled(count: int, seed: int = 99) -> list[Labelled]:
    rng = Random(seed)
    pairs = [(rng.randrange(999), rng.randrange(999)) for _ in range(count)]
    return [Labelled(a + b, {"a": a, "b": b}, "Add.", "sum", {"type": "integer"}) for a, b in pairs]


@representation(kind="sum")
def shifted(inputs: Any, rng: Random) -> Any:
    """The same sum of two other numbers."""
    by = rng.randrange(1, 500)
    return {"a": inputs["a"] + by, "b": inputs["b"] - by}, lambda answer: answer


@verifier(exact=True)
def adds_up(candidate: int, inputs: dict[str, Any]) -> bool:
    return candidate == inputs["a"] + inputs["b"]


def events(store: Store, run_id: str, kind: str) -> list[Event]:
    return [one for one in store.records(run_id, kinds=(Event,)) if one.kind == kind]  # type: ignore[union-attr,misc]


# --- what a first run costs -------------------------------------------------------------------------------------


def test_with_nothing_measured_ten_steps_cost_at_most_two_and_a_half_times_their_unverified_form(store: Store) -> None:
    drawn = []
    for seed in range(20):
        plan = sums(10, seed)
        result = Engine(adder(0.97), planner=plan, store=store, seed=seed).run("add")
        drawn.append(result.usage.samples)
        assert result.reliability.basis == "prior"
    assert sum(drawn) / len(drawn) <= 2.5 * 10


def test_a_run_out_of_its_budget_says_what_the_rest_costs_and_what_the_budget_buys(store: Store) -> None:
    engine = Engine(adder(1.0), planner=sums(10), store=store, concurrency=1)
    result = engine.run("add", target=0.99, budget=Budget(steps=20))
    assert result.outcome is Outcome.OUT_OF_BUDGET
    found = re.search(r"the (\d+) planned steps still open take about (\d+) more samples;", result.reason)
    assert found is not None, result.reason
    open_, samples = map(int, found.groups())
    assert 1 <= open_ < 10 and samples >= 2 * open_
    bought = re.search(r"for 10 steps, the whole budget buys about (0\.\d+) of the wanted 0.99", result.reason)
    assert bought is not None and 0.5 < float(bought[1]) < 0.99
    again = engine.run("add", target=float(bought[1]) - 0.01, budget=Budget(steps=20 + 2))
    assert again.outcome is Outcome.VERIFIED
    small = engine.run("add", target=0.99, budget=Budget(steps=5))
    assert "does not buy one sample for each of 10 steps" in small.reason


def test_the_prior_is_shown_and_can_be_overridden(store: Store) -> None:
    plan = sums(1)
    sure = Engine(adder(1.0), planner=plan, store=store, prior=0.99).run("add", target=0.99)
    wary = Engine(adder(1.0), planner=plan, store=store, prior=0.7).run("add", target=0.99)
    assert sure.usage.samples < wary.usage.samples
    assert sure.reliability.basis == wary.reliability.basis == "prior"
    assert sure.reliability.samples == sure.usage.samples
    with pytest.raises(SetupError, match=r"prior=0\.3"):
        Engine(adder(1.0), planner=plan, store=store, prior=0.3)


# --- what runs teach --------------------------------------------------------------------------------------------


def test_runs_with_an_exact_check_teach_what_samples_are_worth_without_it(store: Store) -> None:
    for seed in range(4):
        Engine(adder(0.9), planner=sums(25, seed, ("adds_up",)), checks=[adds_up], store=store, seed=seed).run("add")
    (counts,) = (one for one in store.learned() if isinstance(one, Sampling))
    assert (counts.step_class, counts.policy) == ("sum", "adder@script")
    assert counts.prompts == pytest.approx(100, rel=0.01)
    assert belief_of(counts, Belief()).p == pytest.approx(0.9, abs=0.08)
    after = Engine(adder(0.9), planner=sums(3, 77), store=store).run("add", target=0.9)
    assert after.reliability.basis == "measured"


def test_what_was_measured_makes_the_next_run_cheaper(store: Store) -> None:
    plan = sums(10, 5)
    before = Engine(adder(0.999), planner=plan, store=store).run("add", target=0.95)
    calibrate(Engine(adder(0.999), planner=plan, store=store), labelled(600))
    after = Engine(adder(0.999), planner=plan, store=store).run("add", target=0.95)
    assert after.usage.samples < before.usage.samples
    assert (before.reliability.basis, after.reliability.basis) == ("prior", "measured")
    assert after.reliability.predicted is not None and after.reliability.predicted >= 0.95


def test_a_run_decides_by_what_was_known_when_it_began(store: Store) -> None:
    plan = sums(5, 6)
    engine = Engine(adder(0.95), planner=plan, store=store)
    result = engine.run("add", target=0.95)
    calibrate(engine, labelled(200))
    assert engine.replay(result.run_id), "what was learned since changes nothing in its record"


def test_another_revision_of_the_model_starts_from_nothing(store: Store) -> None:
    calibrate(Engine(adder(0.95), planner=sums(1), store=store), labelled(100))
    result = Engine(adder(0.95, name="newer"), planner=sums(1), store=store).run("add")
    assert result.reliability.basis == "prior"


# --- predicted and observed -------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", [0.9, 0.99])
def test_what_is_predicted_is_what_is_observed(store: Store, target: float) -> None:
    calibrate(Engine(adder(0.85), planner=sums(1), store=store), labelled(1500))
    right, accepted, predicted = 0, 0, 0.0
    for seed in range(60):
        plan = sums(5, 1000 + seed)
        result = Engine(adder(0.85), planner=plan, store=store, seed=seed).run("add", target=target)
        accepted += bool(result)
        if result:
            right += result.output == answers(plan)
            predicted += result.reliability.predicted or 0
    assert accepted >= 55
    assert predicted / accepted >= target
    # A run is wrong with chance 1 - predicted: four standard deviations of that many runs.
    expected = accepted - predicted
    assert accepted - right <= expected + 4 * (expected + 0.25) ** 0.5


def test_where_errors_are_alike_no_measured_promise_is_made_that_is_not_kept(store: Store) -> None:
    """On one pair in twelve all samples agree on the same wrong sum: votes cannot see it, the measurement can."""
    model = adder(0.99, hard=1 / 12)
    calibrate(Engine(model, planner=sums(1), store=store), labelled(600))
    promised = 0
    for seed in range(10):
        result = Engine(model, planner=sums(10, seed), store=store, seed=seed).run("add", target=0.95)
        promised += bool(result)
        if not result:
            assert result.outcome is Outcome.ABSTAINED
            assert "err together" in result.reason or "disagree" in result.reason
    assert promised == 0


def test_another_representation_keeps_the_promise_where_errors_are_alike(store: Store) -> None:
    model = adder(0.99, hard=1 / 12)
    options: dict[str, Any] = {"store": store, "representations": [shifted]}
    calibrate(Engine(model, planner=sums(1), **options), labelled(600))
    right = 0
    for seed in range(10):
        plan = sums(10, seed)
        result = Engine(model, planner=plan, seed=seed, **options).run("add", target=0.95)
        assert result.outcome is Outcome.VERIFIED
        assert result.reliability.basis == "measured"
        right += result.output == answers(plan)
        sources = {one.source for one in store.records(result.run_id, kinds=(Attempt,)) if one.role == "sample"}  # type: ignore[union-attr]
        assert sources == {"shifted"}
    assert right == 10


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
    from surefoot.service.reliability import estimates

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


def test_what_was_measured_at_one_temperature_says_nothing_of_another(store: Store) -> None:
    calibrate(Engine(adder(0.95), planner=sums(1), store=store, temperature=0.3), labelled(100))
    cold = Engine(adder(0.95), planner=sums(1), store=store, temperature=0.3).run("add")
    warm = Engine(adder(0.95), planner=sums(1), store=store).run("add")
    assert (cold.reliability.basis, warm.reliability.basis) == ("measured", "prior")


# --- lessons ----------------------------------------------------------------------------------------------------


@verifier(exact=True)
def in_cents(candidate: int, inputs: dict[str, Any]) -> bool | str:
    return True if candidate == 100 * inputs["euros"] else "give the price in cents"


def prices(count: int, seed: int) -> Plan:
    rng = Random(seed)
    made = [
        Step(f"s{i}", "What is the price?", args={"euros": rng.randrange(1, 90)}, checks=("in_cents",), contract=NUMBER)
        for i in range(count)
    ]
    return Plan(tuple(replace(one, kind="price") for one in made), ref("s0"))


def teachable(question: Question, index: int) -> Json:
    """Gives cents only where it is told to."""
    told = "cents" in str({name: value for name, value in question.inputs.items() if name != "euros"})
    return str(question.inputs["euros"] * (100 if told else 1))


def misled(question: Question, index: int) -> Json:
    """Right six times in ten, and with a lesson of others only twice."""
    told = any(name.startswith("what went wrong with earlier attempts") for name in question.inputs)
    chance = draw(question.seed, index, question.inputs["euros"])
    return str(question.inputs["euros"] * (100 if chance < (0.2 if told else 0.6) else 1))


def test_a_lesson_of_some_steps_is_told_to_others_and_saves_their_first_attempts(store: Store) -> None:
    def samples(seed: int, **options: Any) -> int:
        plan = prices(20, seed)
        engine = Engine(ScriptedModel(teachable), planner=plan, checks=[in_cents], store=store, seed=seed, **options)
        result = engine.run("price")
        assert result.outcome is Outcome.VERIFIED
        assert engine.replay(result.run_id)
        return result.usage.samples

    assert samples(0) == 40, "each step is wrong once, and right once it was told so"
    lesson = next(one for one in store.learned() if isinstance(one, Lesson))
    assert (lesson.step_class, lesson.text, lesson.seen) == ("price", "give the price in cents", 20)
    assert samples(1) <= 23
    assert samples(2) <= 21
    assert samples(3, ladder=["critique"]) <= 21


def test_a_lesson_that_does_not_help_is_hardly_told_and_then_expires(store: Store) -> None:
    policy, name = "scripted@script", source_of("give the price in cents")
    for seed in range(20):
        plan = prices(20, seed)
        Engine(ScriptedModel(misled), planner=plan, checks=[in_cents], store=store, seed=seed).run("price")
    right, wrong = Calibration(store.learned()).counts("price", policy, name)
    assert 3 <= right + wrong <= 40, "of 400 steps"
    store.learn([Sampling("price", policy, name, 20, 4, 16)])
    assert Calibration(store.learned()).lessons("price", policy) == []


def test_what_is_told_only_once_is_no_lesson(store: Store) -> None:
    @verifier(exact=True)
    def in_cents(candidate: int, inputs: dict[str, Any]) -> bool | str:
        return True if candidate == 100 * inputs["euros"] else f"{inputs['euros']} euros are not {candidate} cents"

    for seed in range(3):
        plan = prices(30, seed)
        Engine(ScriptedModel(teachable), planner=plan, checks=[in_cents], store=store, seed=seed).run("price")
    assert len([one for one in store.learned() if isinstance(one, Lesson)]) <= 50
    store.learn([Lesson("price", f"text {i}", 1) for i in range(80)])
    assert len([one for one in store.learned() if isinstance(one, Lesson)]) == 50


# --- the ladder -------------------------------------------------------------------------------------------------


def undecided(question: Question, index: int) -> Json:
    """Never twice the same."""
    undecided.n += 1  # type: ignore[attr-defined]
    return str(undecided.n)  # type: ignore[attr-defined]


undecided.n = 1000  # type: ignore[attr-defined]


def one_step() -> Plan:
    return Plan((Step("s", "Add.", None, {"a": 2, "b": 3}, contract=NUMBER, kind="sum"),), ref("s"))


def rungs(store: Store, run_id: str) -> list[str]:
    return [one.data["rung"] for one in events(store, run_id, "escalated")]


def test_an_abstention_says_what_was_missing(store: Store) -> None:
    lines = iter(["5", "6"] * 6)
    result = Engine(ScriptedModel(lambda q, i: next(lines)), planner=one_step(), store=store).run("add")
    assert result.outcome is Outcome.ABSTAINED
    assert "the samples disagree: 6 votes against 6" in result.reason
    assert "missing: 2 more votes" in result.reason


@verifier(exact=True)
def five(candidate: int) -> bool:
    return candidate == 5


def test_a_step_that_was_taken_back_is_asked_in_another_form(store: Store) -> None:
    """Asked as it is, the model says six each time, and no check of the step sees it."""
    model = ScriptedModel(lambda q, i: "6" if (q.inputs["a"], q.inputs["b"]) == (2, 3) else "5")
    options: dict[str, Any] = {"planner": one_step(), "verifiers": [five], "store": store}
    result = Engine(model, representations=[shifted], **options).run("add")
    assert (result.outcome, result.output) == (Outcome.VERIFIED, 5)
    samples = [one.source for one in store.records(result.run_id, kinds=(Attempt,)) if one.role == "sample"]  # type: ignore[union-attr]
    assert samples == [""] * samples.count("") + ["shifted"] * samples.count("shifted")
    assert len(events(store, result.run_id, "rolled_back")) == 1
    without = Engine(model, **options).run("add")
    assert without.outcome is Outcome.ABSTAINED


def test_a_reason_names_the_step_that_failed_and_no_plan_above_it(store: Store) -> None:
    inner = Plan((Step("deep", "Add.", None, {"a": 2, "b": 3}, checks=("five",), contract=NUMBER),), ref("deep"))

    @planner
    def nested() -> Plan:
        return inner

    plan = Plan((Step("outer", "Do it.", planner="nested"),), ref("outer"))
    engine = Engine(ScriptedModel(lambda q, i: "7"), planner=plan, planners=[nested], checks=[five], store=store)
    result = engine.run("add")
    assert result.outcome is Outcome.ABSTAINED
    assert result.reason.count("failed") == 1 and "step deep failed" in result.reason


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda inputs, rng: ({"a": inputs["absent"]}, lambda answer: answer), "KeyError: 'absent'"),
        (lambda inputs, rng: 7, "TypeError: cannot unpack"),
        (lambda inputs, rng: (inputs, 7), "it returned dict and int"),
    ],
)
def test_a_representation_that_fails_is_named(store: Store, change: Any, why: str) -> None:
    options: dict[str, Any] = {"representations": [Representation("odd", "sum", change)], "store": store}
    engine = Engine(ScriptedModel(undecided), planner=one_step(), **options)
    with pytest.raises(SetupError, match="the representation 'odd' failed") as caught:
        engine.run("add")
    assert why in str(caught.value)
    with pytest.raises(SetupError, match="the representation 'odd' failed"):
        calibrate(engine, labelled(3))


def test_where_samples_were_measured_to_be_wrong_often_more_of_them_are_refuted_before_it_gives_up(
    store: Store,
) -> None:
    def scattered(question: Question, index: int) -> Json:
        a, b = question.inputs["a"], question.inputs["b"]
        chance = draw("scattered", a, b, question.seed, index)
        return str(a + b + (0 if chance < 0.35 else 1 + int(chance * 1e6) % 1000))

    def outcome(seed: int) -> Outcome:
        plan = sums(30, seed, ("adds_up",))
        engine = Engine(ScriptedModel(scattered), planner=plan, checks=[adds_up], store=store, seed=seed)
        return engine.run("add").outcome

    assert outcome(0) is Outcome.ABSTAINED, "four in a row are wrong somewhere in thirty steps"
    calibrate(Engine(ScriptedModel(scattered), planner=sums(1), store=store), labelled(200))
    assert {outcome(seed) for seed in range(3)} == {Outcome.VERIFIED}


def test_another_model_is_asked_where_the_first_does_not_get_there(store: Store) -> None:
    engine = Engine(
        ScriptedModel(undecided),
        planner=one_step(),
        alternates=[ScriptedModel(lambda q, i: "5", name="other")],
        store=store,
    )
    result = engine.run("add")
    assert (result.outcome, result.output) == (Outcome.VERIFIED, 5)
    assert rungs(store, result.run_id) == ["model"]
    assert engine.replay(result.run_id)


def test_a_rung_that_is_turned_off_is_not_climbed(store: Store) -> None:
    other = ScriptedModel(lambda q, i: "5", name="other")
    engine = Engine(ScriptedModel(undecided), planner=one_step(), alternates=[other], ladder=["critique"], store=store)
    assert engine.run("add").outcome is Outcome.ABSTAINED
    assert other.questions == []
    with pytest.raises(SetupError, match="no strategy 'prayer'"):
        Engine(ScriptedModel([]), planner=one_step(), ladder=["prayer"], store=store)  # type: ignore[list-item]


def test_a_step_that_cannot_be_answered_is_decomposed(store: Store) -> None:
    @planner
    def decompose(a: int, b: int) -> Plan:
        return Plan((Step("t", tool="calculator", args={"expression": f"{a} + {b}"}),), ref("t"))

    engine = Engine(
        ScriptedModel(undecided), planner=one_step(), planners=[decompose], tools=["calculator"], store=store
    )
    result = engine.run("add")
    assert (result.outcome, result.output) == (Outcome.VERIFIED, 5)
    assert rungs(store, result.run_id) == ["decompose"]


def test_a_person_is_asked_only_where_that_is_wanted_and_has_the_last_word(store: Store) -> None:
    engine = Engine(ScriptedModel(undecided), planner=one_step(), ladder=["critique", "ask"], store=store)
    waiting = engine.run("add")
    assert waiting.outcome is Outcome.INPUT_REQUIRED
    assert "Give the step's output" in waiting.reason
    done = engine.resume(waiting.run_id, {waiting.questions[0]["key"]: {"output": 5}})
    assert (done.outcome, done.output) == (Outcome.VERIFIED, 5)
    assert done.reliability.basis == "prior"
    refused = engine.run("add")
    assert engine.resume(refused.run_id, False).outcome is Outcome.ABSTAINED


# --- calibration ------------------------------------------------------------------------------------------------


def test_measuring_on_labelled_steps_counts_samples_and_verifiers(store: Store) -> None:
    engine = Engine(adder(0.8), planner=sums(1), checks=[Lenient("rule")], representations=[shifted], store=store)
    found = calibrate(engine, labelled(200), samples=5)
    samplings = {one.source: one for one in found if isinstance(one, Sampling)}
    assert set(samplings) == {"", "shifted"}
    assert samplings[""].prompts == 200
    assert samplings[""].right / 200 == pytest.approx(0.8, abs=0.06)
    origins = {one.origin for one in found if isinstance(one, Checking)}
    assert origins == {"audit", "canary"}
    assert json.dumps([one.step_class for one in store.learned()])
    with pytest.raises(SetupError, match="no labelled step"):
        calibrate(engine, [])
