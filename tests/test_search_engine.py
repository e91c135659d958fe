"""Search in the engine: what is found is carried out and verified, what guides accepts nothing, and poor guides do not
lead a search."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from words import Letters, Open, Words

from surefoot.engine import Budget, Engine, Outcome
from surefoot.models import ScriptedModel
from surefoot.planners.planner import Planner, Request
from surefoot.planners.search import Guide, Router, SearchPlanner, Space, Value, measure
from surefoot.reflection import Case, verifier
from surefoot.reflection.rates import Beta
from surefoot.storage.errors import ModelUnavailable, SetupError
from surefoot.storage.records import Contract, Plan, Step, ref

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "examples" / "countdown_search.py"


@pytest.fixture(scope="module")
def countdown() -> ModuleType:
    """The example's Countdown."""
    spec = importlib.util.spec_from_file_location("countdown_search", EXAMPLE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def searching(words: Words, **options: Any) -> SearchPlanner:
    return SearchPlanner(lambda request: words, Letters(words), **options)


def engine(tmp_path: Path, **options: Any) -> Engine:
    """No step of these tests asks a model."""
    return Engine(ScriptedModel([]), tools=["calculator"], store=tmp_path / "runs.db", **options)


# --- whether to search ------------------------------------------------------------------------------------------


def test_the_router_declines_where_the_guide_is_not_known_to_be_good() -> None:
    assert Router().choose(1000) == "best-of-n", "it was not measured"
    assert Router(Beta(340, 60)).choose(1000) == "best-of-n", ".85 is measured"
    assert Router(Beta(388, 12)).choose(1000) == "puct", ".97 is measured"
    assert Router(Beta(18, 0)).choose(1000) == "puct", "no error in 18 states: at least .9, at 95 %"
    assert Router(Beta(18, 1)).choose(1000) == "best-of-n"
    assert Router(Beta(388, 12), worth=0.99).choose(1000) == "best-of-n"
    assert Router(Beta(340, 60), worth=0.8).choose(1000) == "puct"


def test_the_router_takes_gumbel_for_few_simulations_where_it_is_told_to() -> None:
    assert Router(Beta(388, 12), few=64).choose(63) == "gumbel"
    assert Router(Beta(388, 12), few=64).choose(64) == "puct"
    assert Router(Beta(340, 60), few=64).choose(63) == "best-of-n"


def test_a_guide_is_measured_by_what_it_knows_worse() -> None:
    class No:
        name, tokens = "no", 0

        async def __call__(self, states: Sequence[str]) -> list[float]:
            return [0.0] * len(states)

    words = Words("12")
    states = [("1", True), ("2", False), ("3", False), ("4", False), ("12", True), ("13", False)]
    assert asyncio.run(measure(Letters(words), states)) == Beta(2, 0)
    assert asyncio.run(measure(No(), states)) == Beta(0, 2), "right about four of six, and about no way that leads on"
    assert asyncio.run(measure(No(), states[1:4])) == Beta(0, 0), "nothing is known of the others"


def test_a_verifier_can_guide(tmp_path: Path) -> None:
    @verifier
    def hopeful(candidate: str) -> bool:
        return "312".startswith(candidate)

    @verifier(exact=True)
    def right(candidate: float) -> bool:
        return candidate == 312

    words = Words("312", price=1)
    guide = Guide(hopeful, lambda state: Case(Step("word"), state), tokens=1)
    assert asyncio.run(guide(["3", "1", ""])) == [1.0, 0.0, 1.0]
    search = SearchPlanner(lambda request: words, guide, strategy="beam")
    with engine(tmp_path, planner=search, verifiers=[right]) as made:
        assert made.run("find the word").output == 312
    with pytest.raises(SetupError, match="guided by 'hopeful'"):
        engine(tmp_path, planner=search, verifiers=[hopeful])


# --- what guides accepts nothing --------------------------------------------------------------------------------


def test_what_guides_may_not_accept(tmp_path: Path) -> None:
    @verifier(name="letters")
    def letters(candidate: float) -> bool:
        return True

    search = searching(Words("12"))
    for options in ({"verifiers": [letters]}, {"checks": [letters]}):
        with pytest.raises(SetupError, match="guided by 'letters', which would accept its result too"):
            engine(tmp_path, planner=search, **options)
    step = Plan((Step("find", planner="search"),))
    with pytest.raises(SetupError, match="guided by 'letters'"):
        engine(tmp_path, planner=step, planners=[search], verifiers=[letters])
    with pytest.raises(SetupError, match="'letters' guides the search and would accept what it finds too"):
        searching(Words("12"), ranked=True, checks=[letters])


def test_without_a_rule_a_held_out_verifier_decides(tmp_path: Path) -> None:
    @verifier(name="held out", exact=True)
    def held_out(candidate: dict[str, Any]) -> bool:
        return bool(candidate["steps"][0]["args"]["expression"] == "12 + 0")

    for truth, outcome in ((True, Outcome.VERIFIED), (False, Outcome.ABSTAINED)):
        search = searching(Open("12", truth=truth), ranked=True, checks=[held_out], strategy="puct", tokens=900)
        assert search.sampled
        with engine(tmp_path, planner=search) as made:
            result = made.run("find the word")
        assert result.outcome is outcome, result.reason
        assert result.output == (12 if truth else None)


def test_without_a_rule_and_a_verifier_searches_vote(tmp_path: Path) -> None:
    search = searching(Open("12"), ranked=True, strategy="puct", tokens=900)
    with engine(tmp_path, planner=search, votes=3) as made:
        result = made.run("find the word")
    assert (result.outcome, result.output) == (Outcome.AGREED, 12)
    assert result.reliability.basis == "prior", "that searches agree proves nothing"


# --- runs -------------------------------------------------------------------------------------------------------


def test_a_search_planner_and_its_parts_keep_to_the_protocols(countdown: ModuleType) -> None:
    assert isinstance(searching(Words("12")), Planner)
    assert isinstance(Words("12"), Space) and isinstance(countdown.Countdown(1, [1]), Space)
    assert isinstance(Letters(Words("12")), Value) and isinstance(countdown.Nearness(), Value)


@pytest.mark.parametrize("strategy", ["best-of-n", "beam", "puct", "gumbel"])
def test_what_was_found_is_carried_out_and_verified(tmp_path: Path, countdown: ModuleType, strategy: str) -> None:
    @verifier(exact=True)
    def reached(candidate: float) -> bool:
        return candidate == 24

    search = SearchPlanner(
        lambda request: countdown.Countdown(**request.inputs), countdown.Nearness(), strategy=strategy, tokens=60_000
    )
    with engine(tmp_path, planner=search, verifiers=[reached]) as made:
        result = made.run("reach 24", inputs={"target": 24, "numbers": [3, 8, 9, 1]})
        again = made.run("reach 24", inputs={"target": 24, "numbers": [3, 8, 9, 1]})
    assert (result.outcome, result.output) == (Outcome.VERIFIED, 24)
    assert result.reliability.basis == "exact"
    steps = result.steps[1:]
    assert [step.does for step in steps] == ["calculator"] * 3
    assert all(any(one.kind == "recompute" and one.ruling == "pass" for one in step.verdicts) for step in steps)
    assert [step.output for step in again.steps] == [step.output for step in result.steps], "a run's seed decides"


def test_a_number_that_two_steps_made_is_used_once_each(countdown: ModuleType) -> None:
    space = countdown.Countdown(36, [1, 5, 2, 4])
    plan = space.plan([(5, "+", 1, 6), (4, "+", 2, 6), (6, "*", 6, 36)])
    assert plan.steps[2].args == {"expression": "a * b", "values": {"a": ref("s1"), "b": ref("s0")}}


def test_where_nothing_is_found_the_run_abstains_and_says_what_was_tried(tmp_path: Path, countdown: ModuleType) -> None:
    search = SearchPlanner(
        lambda request: countdown.Countdown(**request.inputs), countdown.Nearness(), strategy="gumbel", tokens=60_000
    )
    short = SearchPlanner(lambda request: Words("4" * 9), Letters(Words("4" * 9)), name="short", tokens=300)
    with engine(tmp_path, planner=search, planners=[short]) as made:
        result = made.run("reach 999", inputs={"target": 999, "numbers": [1, 1, 1, 1]})
    assert (result.outcome, result.output) == (Outcome.ABSTAINED, None)
    assert re.search(
        r"search \(gumbel\) found no way in .* tokens: all that the policy offers was tried", result.reason
    )
    with engine(tmp_path, planner=short) as made:
        result = made.run("find the word")
    assert result.outcome is Outcome.ABSTAINED
    assert "search (best-of-n)" in result.reason and "the budget is spent" in result.reason
    assert "the value function was not measured" in result.reason


def test_one_step_of_a_plan_may_be_searched_for(tmp_path: Path) -> None:
    plan = Plan(
        (
            Step("find", planner="search", args={"of": 3}),
            Step("next", tool="calculator", args={"expression": "x + 1", "values": {"x": ref("find")}}),
        ),
        ref("next"),
    )
    seen: list[Any] = []

    def space_of(request: Request) -> Words:
        seen.append(dict(request.inputs))
        return Words("321")

    search = SearchPlanner(space_of, Letters(Words("321")), strategy="beam")
    with engine(tmp_path, planner=plan, planners=[search]) as made:
        assert made.run("find it").output == 322
    assert seen == [{"of": 3}]


def test_a_step_that_samples_do_not_settle_is_searched_for(tmp_path: Path) -> None:
    """A planner called `search` is a rung of the ladder."""

    @verifier(name="right", exact=True)
    def right(candidate: float) -> bool:
        return candidate == 321

    model = ScriptedModel([{"answer": wrong} for wrong in range(40)])
    plan = Plan((Step("word", "Find the word.", checks=("right",), contract=Contract(gives={"type": "number"})),))
    for space, outcome in ((Words("321"), Outcome.VERIFIED), (None, Outcome.ABSTAINED)):
        search = SearchPlanner(lambda request, space=space: space, Letters(Words("321")), strategy="beam")
        options: Any = {"planner": plan, "planners": [search], "checks": [right], "tools": ["calculator"]}
        with Engine(model, ladder=("search",), store=tmp_path / f"{outcome}.db", **options) as made:
            result = made.run("find the word", budget=Budget(steps=30))
        assert result.outcome is outcome, result.reason
        assert result.output == (321 if space else None)


def test_what_goes_wrong_in_a_space_is_told_and_what_a_model_does_is_passed_on() -> None:
    request = Request(Step("word"))

    def broken(request: Request) -> Words:
        raise KeyError("numbers")

    (said,) = asyncio.run(SearchPlanner(broken, Letters(Words("1"))).propose(request))
    assert said.plan is None and "the search search failed: KeyError" in said.error
    (said,) = asyncio.run(SearchPlanner(lambda request: None, Letters(Words("1"))).propose(request))
    assert said.plan is None and said.unknown

    def away(request: Request) -> Words:
        raise ModelUnavailable("no answer")

    with pytest.raises(ModelUnavailable):
        asyncio.run(SearchPlanner(away, Letters(Words("1"))).propose(request))
    with pytest.raises(SetupError, match="no strategy 'luck'; there are: best-of-n, beam, puct, gumbel"):
        searching(Words("1"), strategy="luck")


# --- what is shown ----------------------------------------------------------------------------------------------


def test_the_example_prints_the_way_and_says_where_there_is_none(tmp_path: Path) -> None:
    def shown(*words: str) -> list[str]:
        command = [sys.executable, str(EXAMPLE), *words]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    *steps, last = shown()
    assert last == "verified: 308"
    assert len(steps) == 3 and steps[-1].endswith("= 308")
    (only,) = shown("999", "1", "1", "1", "1")
    assert only.startswith("abstained: the search (puct) found no way")
    assert not list(tmp_path.iterdir())


def bench(*words: str) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "benchmarks.search", "--json", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    assert "TreeQuest" in done.stderr, "it says that the peer was not measured"
    (line,) = done.stdout.splitlines()
    rows: list[dict[str, Any]] = json.loads(line)["rows"]
    return rows


def test_the_benchmark_measures_every_cell_within_its_budget() -> None:
    rows = bench("--problems", "6", "--tokens", "300", "--seed", "5", "--peer-python", sys.executable)
    cells = [row for row in rows if "solved" in row]
    assert len(cells) == 2 * 8 * 4, "acceptors, judges, strategies"
    assert all(0 <= row["low"] <= row["solved"] <= row["high"] <= 1 and row["spent"] <= 300 for row in cells)
    routed = {row["judge"]: row["router"] for row in rows if "router" in row}
    assert (routed["right 0.5"], routed["right 0.8"], routed["right 1.0"]) == ("best-of-n", "best-of-n", "puct")
    assert all(row["us a node"] > 0 for row in rows if "us a node" in row)


def test_what_the_benchmark_calls_the_truth_is_true() -> None:
    script = """
from itertools import permutations
from random import Random
from benchmarks.search import Judge, labelled, problem, solvable

def brute(target, numbers):
    if len(numbers) == 1:
        return numbers[0] == target
    for a, b, *rest in permutations(numbers):
        ways = [a + b, a * b, *([a - b] if a > b else []), *([a // b] if a % b == 0 else [])]
        if any(brute(target, (made, *rest)) for made in ways):
            return True
    return False

rng = Random(3)
for count in (1, 2, 3):
    for _ in range(60):
        numbers = sorted((rng.randint(1, 25) for _ in range(count)), reverse=True)
        target = rng.randint(1, 60)
        assert solvable(target, numbers) == brute(target, tuple(numbers)), (target, numbers)
assert brute(*problem(rng))
states = [state for state, _ in labelled(9, 60)]
judge = Judge(0.8, "a seed")
assert [judge.right(one) for one in states] == [judge.right(one) for one in states]
assert [judge.right(one) for one in states] != [Judge(0.8, "another").right(one) for one in states]
wide = [(target, (3, 2, 1)) for target in range(4000)]
print(sum(map(judge.right, wide)) / len(wide))
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == pytest.approx(0.8, abs=0.03)
