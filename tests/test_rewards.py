"""Reward rules: what each gives, and what every rule keeps to."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from surefoot.engine import Engine, Outcome
from surefoot.models.scripted import ScriptedModel
from surefoot.storage.records import Plan, Reliability, Reward, Step, Usage, ref
from surefoot.storage.store import Store
from surefoot.trajectories.rewards import RULES, Ended, Rule, rewards

KNOWN = [None, True, False]


def ends() -> Iterator[Ended]:
    for outcome in Outcome:
        for correct in KNOWN:
            yield Ended(outcome, 3, Reliability(0.9, 0.95, 0.05, "measured"), Usage(samples=3), correct)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_a_rule_gives_a_number_or_nothing_and_the_same_again(rule: Rule) -> None:
    for run in ends():
        value = rule(run)
        assert value is None or (isinstance(value, float) and math.isfinite(value))
        assert rule(run) == value


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_no_rule_has_an_opinion_of_everything_and_each_of_something(rule: Rule) -> None:
    """Nothing is not zero: a rule that gave zero where it knows nothing would teach that."""
    values = [rule(run) for run in ends()]
    assert None in values and any(value is not None for value in values)


def test_what_each_gives() -> None:
    given = {(run.outcome, run.correct): dict(rewards(run)) for run in ends()}
    assert given[Outcome.VERIFIED, None] == {"verified": 1.0}
    assert given[Outcome.ABSTAINED, False] == {"verified": 0.0, "answer": 0.0}
    assert given[Outcome.AGREED, True] == {"answer": 1.0}
    assert given[Outcome.FAILED, None] == {}
    assert dict(rewards(next(ends()), "answer")) == {}


def test_a_rule_that_is_registered_rewards_the_runs_that_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RULES, "thrift", lambda run: 1.0 - run.usage.samples)
    with Store.open(tmp_path / "runs.db") as store:
        plan = Plan((Step("s", tool="calculator", args={"expression": "1+1"}),), ref("s"))
        run = Engine(ScriptedModel([]), tools=["calculator"], planner=plan, store=store).run("go")
        found = {one.name: one.value for one in store.records(run.run_id, kinds=[Reward]) if isinstance(one, Reward)}
    assert found == {"verified": 1.0, "thrift": 1.0}
