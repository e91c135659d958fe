"""What a step does that does not get its evidence, and what later steps learn from it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from dial import NUMBER, adds_up, draw, events, labelled, shifted, sums

from surefoot.engine import Engine, Outcome
from surefoot.engine.calibrate import calibrate
from surefoot.engine.core.refold import FOLDED
from surefoot.engine.history.past import calibration_of, settings_of
from surefoot.engine.history.replay import replay
from surefoot.engine.setup.fallbacks import FALLBACKS, Fallback, Given, Variant
from surefoot.models.question import Question
from surefoot.models.representation import Representation
from surefoot.models.scripted import ScriptedModel
from surefoot.planners import planner
from surefoot.reflection import verifier
from surefoot.reflection.calibration import Calibration, source_of
from surefoot.reflection.evidence import Belief
from surefoot.storage.errors import SetupError
from surefoot.storage.learned import Lesson, Sampling
from surefoot.storage.records import Attempt, Event, Json, Plan, Step, ref
from surefoot.storage.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "runs.db") as store:
        yield store


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


@pytest.mark.parametrize("measured", [False, True])
def test_an_abstention_names_the_target_that_can_be_met(store: Store, measured: bool) -> None:
    def engine() -> Engine:
        return Engine(ScriptedModel(always), planner=sums(10), store=store)

    if measured:
        calibrate(engine(), labelled(40), samples=4)
    refused = engine().run("add", target=1 - 1e-12)
    assert refused.outcome is Outcome.ABSTAINED
    assert refused.usage.samples == 0
    (said,) = re.findall(r"a target of at most ([\d.]+) can be met here", refused.reason)
    assert engine().run("add", target=float(said)).outcome is Outcome.AGREED
    assert engine().run("add", target=1 - 0.8 * (1 - float(said))).outcome is Outcome.ABSTAINED


def always(question: Question, index: int) -> Json:
    return str(question.inputs["a"] + question.inputs["b"])


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
    assert (result.outcome, result.output) == (Outcome.AGREED, 5)
    assert rungs(store, result.run_id) == ["model"]
    assert engine.replay(result.run_id)
    with pytest.raises(SetupError, match="samples of 'model:other', which this engine was not given"):
        Engine(ScriptedModel(undecided), planner=one_step(), store=store).replay(result.run_id)


def test_an_escalation_that_the_rules_would_not_make_is_a_divergence(store: Store) -> None:
    @planner
    def decompose(a: int, b: int) -> Plan:
        return Plan((Step("t", tool="calculator", args={"expression": f"{a} + {b}"}),), ref("t"))

    parts: dict[str, Any] = {"planner": one_step(), "planners": [decompose], "tools": ["calculator"], "store": store}
    engine = Engine(ScriptedModel(undecided), **parts)
    result = engine.run("add")
    assert engine.replay(result.run_id)
    info, records = store.run(result.run_id), list(store.records(result.run_id, kinds=FOLDED))
    context = engine.parts.context(settings_of(info, engine.parts.settings), calibration_of(info))
    assert replay(info.run_id, records, context)
    place = next(at for at, one in enumerate(records) if isinstance(one, Event) and one.kind == "escalated")
    records[place:] = [replace(records[place], data={"planner": "search"})]  # type: ignore[call-arg]
    (found,) = replay(info.run_id, records, context).divergences
    assert (found.recorded, found.decided) == ("escalated", "escalate")


def test_a_rung_that_is_turned_off_is_not_climbed(store: Store) -> None:
    other = ScriptedModel(lambda q, i: "5", name="other")
    engine = Engine(ScriptedModel(undecided), planner=one_step(), alternates=[other], ladder=["critique"], store=store)
    assert engine.run("add").outcome is Outcome.ABSTAINED
    assert other.questions == []
    with pytest.raises(SetupError, match="no strategy 'prayer'"):
        Engine(ScriptedModel([]), planner=one_step(), ladder=["prayer"], store=store)


def test_a_fallback_is_one_entry_that_says_how_it_asks(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def variants(given: Given, step: Step, stated: Belief | None) -> Iterator[Variant]:
        yield Variant("translated", stated, ask=lambda goal, inputs, chance: (f"Addiere: {goal}", inputs, int))

    monkeypatch.setitem(FALLBACKS, "translate", Fallback(variants))
    model = ScriptedModel(lambda question, index: "5" if "Addiere" in question.goal else undecided(question, index))
    engine = Engine(model, planner=one_step(), ladder=["critique", "translate"], store=store)
    result = engine.run("add")
    assert (result.outcome, result.output) == (Outcome.AGREED, 5)
    assert rungs(store, result.run_id) == ["translate"]
    assert engine.replay(result.run_id)


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
    assert done.reliability.basis == "measured", "a person's word is the measure of truth"
    refused = engine.run("add")
    assert engine.resume(refused.run_id, False).outcome is Outcome.ABSTAINED
