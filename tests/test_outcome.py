"""What an outcome means, and which runs are called verified."""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
from dial import NUMBER, adder, adds_up, labelled, sums

from surefoot.engine import Engine, Result
from surefoot.engine.calibrate import calibrate
from surefoot.models import ScriptedModel
from surefoot.reflection import verifier
from surefoot.service.cli.command import ENDINGS
from surefoot.service.display.receipt import next_command
from surefoot.storage.outcome import MEANINGS
from surefoot.storage.records import Outcome, Plan, Reward, Step, ref
from surefoot.storage.store import Store
from surefoot.trajectories.exports.formats import export


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "runs.db") as store:
        yield store


def test_every_outcome_has_its_meaning_and_only_kept_promises_are_true() -> None:
    assert set(MEANINGS) == set(Outcome)
    assert {one.value: one.means.exit_code for one in Outcome} == ENDINGS, "shown before anything is loaded"
    assert {one for one in Outcome if one.means.true} == {Outcome.VERIFIED, Outcome.UNVERIFIED}
    assert all(one.means.accepted and one.means.ended for one in Outcome if one.means.true)
    codes = {one: one.means.exit_code for one in Outcome if one is not Outcome.UNVERIFIED}
    assert len(set(codes.values())) == len(codes), "a script can tell outcomes apart"


@pytest.mark.parametrize("target", [None, 0.9])
def test_what_votes_alone_accepted_is_agreed_and_no_promise(store: Store, target: float | None) -> None:
    result = Engine(adder(1.0), planner=sums(2), store=store).run("add", target=target)
    assert result.outcome is Outcome.AGREED and result.output is not None
    assert not result, "a script that asks `if result:` is not deceived"
    assert "votes alone" in result.reason and result.reliability.basis == "prior"
    assert list(store.records(result.run_id, kinds=(Reward,))) == [], "no reward for a promise not made"
    for format in ("trl-sft", "jsonl"):
        assert export(store, format, StringIO(), outcome=Outcome.VERIFIED) == 0
    assert export(store, "jsonl", StringIO(), outcome=Outcome.AGREED) == 1


def test_strict_turns_agreement_into_an_abstention(store: Store) -> None:
    result = Engine(adder(1.0), planner=sums(2), store=store, strict=True).run("add")
    assert result.outcome is Outcome.ABSTAINED and result.output is None and "strict" in result.reason


def test_what_was_measured_is_verified(store: Store) -> None:
    engine = Engine(adder(0.9), planner=sums(2), store=store, strict=True)
    calibrate(engine, labelled(40), samples=4)
    assert engine.run("add").outcome is Outcome.VERIFIED


def test_one_step_that_nobody_measured_makes_a_run_agreed(store: Store) -> None:
    checked = sums(3, checks=("adds_up",)).steps
    loose = Step("loose", "Add.", None, {"a": 1, "b": 2}, contract=NUMBER, kind="other")
    plan = Plan((*checked, loose), [ref(one.id) for one in (*checked, loose)])
    both = Engine(adder(1.0), planner=plan, checks=[adds_up], store=store).run("add")
    proved = Engine(adder(1.0), planner=Plan(checked, ref("s0")), checks=[adds_up], store=store).run("add")
    assert (both.outcome, proved.outcome) == (Outcome.AGREED, Outcome.VERIFIED)


def test_a_proof_of_the_whole_stands_whatever_its_steps_stood_on(store: Store) -> None:
    @verifier(exact=True)
    def is_five(candidate: int) -> bool:
        return candidate == 5

    plan = Plan((Step("sum", "Add.", None, {"a": 2, "b": 3}, contract=NUMBER),), ref("sum"))
    result = Engine(ScriptedModel(["5"] * 4), planner=plan, verifiers=[is_five], store=store).run("add")
    assert result.outcome is Outcome.VERIFIED
    assert (result.reliability.basis, result.reliability.predicted) == ("exact", 1.0)
    resumed = Engine(ScriptedModel([]), planner=plan, verifiers=[is_five], store=store).resume(result.run_id)
    assert resumed.outcome is Outcome.VERIFIED


@pytest.mark.parametrize(
    ("said", "option"),
    [
        ("the budget of 9 steps is used up; 3 tokens", "--steps"),
        ("the next call may bring the run to 90 tokens; the budget is 50; the 2 planned steps still open", "--tokens"),
        ("the budget of 2.0 seconds is used up; the 2 planned steps still open take 90 tokens", "--seconds"),
        ("the next call may bring the run to 0.1000 dollars; the budget is 0.05; the 2 steps still open", "--usd"),
    ],
)
def test_the_next_command_raises_the_budget_that_was_used_up(said: str, option: str) -> None:
    """What is missing is said behind it, in units of its own."""
    assert f"{option} N" in next_command(Result("0123456789abcdef", Outcome.OUT_OF_BUDGET, reason=said))


@pytest.mark.parametrize("outcome", Outcome)
def test_what_has_ended_is_not_to_be_resumed_and_all_else_is(outcome: Outcome) -> None:
    assert ("surefoot resume" in next_command(Result("0123456789abcdef", outcome))) is not outcome.means.ended
