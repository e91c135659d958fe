"""A probe asks what nobody can know by heart, and what it shows is a hint and no measurement."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from dial import adder, sums
from servers import Body, ScriptedServer, say
from terminal import Shell

from surefoot.engine import Engine
from surefoot.engine.calibrate import Labelled
from surefoot.engine.probe import EACH, KINDS, questions
from surefoot.models import ScriptedModel
from surefoot.storage.learned import Agreement
from surefoot.storage.records import Outcome
from surefoot.storage.store import Store


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SUREFOOT_MODEL", "openai/test")
    return Shell(capsys)


def knowing(body: Body) -> str:
    """What a model that knows every answer says."""
    text = json.dumps(body["messages"])
    answers = {one.goal: one.answer for seed in range(3) for one in questions(seed)}
    answer = next(answer for goal, answer in answers.items() if json.dumps(goal)[1:-1] in text)
    return answer if isinstance(answer, str) else json.dumps(answer if isinstance(answer, dict) else {"answer": answer})


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedServer]:
    with ScriptedServer(lambda body: say(knowing(body))) as server:
        monkeypatch.setenv("SUREFOOT_BASE_URL", server.url)
        yield server


def test_every_seed_asks_other_questions_and_enough_of_every_kind() -> None:
    found = questions(1)
    assert Counter(one.kind for one in found) == {f"probe:{kind}": EACH for kind in KINDS}
    assert questions(1) == found
    goals = {one.goal for seed in range(20) for one in questions(seed)}
    assert len(goals) > 0.9 * 20 * len(found)


def solved(one: Labelled) -> object:
    """The answer by another way than it was made, where there is one."""
    goal, kind = one.goal, one.kind.removeprefix("probe:")
    numbers = [int(number) for number in re.findall(r"\d+", goal)]
    if kind == "ordering":
        return max(numbers) if "largest" in goal else min(numbers)
    if kind == "arithmetic":
        if "+" in goal:
            return sum(numbers)
        return numbers[0] * numbers[1] if "times" in goal else numbers[1] - numbers[0]
    if kind == "dates":
        days, year, month, day = numbers
        return date.fromordinal(date(year, month, day).toordinal() + days).isoformat()
    if kind == "reading":
        thing = re.findall(r"the (\w+)[.?]? ?", goal)[-1]
        return re.findall(rf"The {thing} is (\w+)\.", goal)[0]
    if kind == "owner":
        thing = re.findall(r"(?:has|is) the (\w+)\?", goal)[0]
        return re.findall(rf"(\w+) has a {thing}\.", goal)[0]
    if kind == "planning":
        pairs = [(first, second) for second, first in re.findall(r"The (\w+) comes after the (\w+)\.", goal)]
        ends = {first for first, _ in pairs} ^ {second for _, second in pairs}
        before = {first for first, _ in pairs}
        return next(end for end in ends if (end in before) == ("comes first" in goal))
    return one.answer


@pytest.mark.parametrize("seed", range(25))
def test_the_known_answers_are_right(seed: int) -> None:
    for one in questions(seed):
        assert solved(one) == one.answer, one.goal


def test_the_command_says_what_it_costs_before_it_asks(shell: Shell, server: ScriptedServer) -> None:
    said = shell("calibrate", "--probe")
    assert said.code == 0, said.err
    first = said.err.splitlines()[0]
    assert re.match(r"27 short questions, each asked 2 times: at most [\d,]+ tokens, if its answers are short", first)
    assert "a hint for every kind of step" in said.err and "too few to go by" not in said.err
    with Store.open(".surefoot/surefoot.db", create=False) as store:
        rows = [one for one in store.learned() if isinstance(one, Agreement)]
        assert sum(one.prompts for one in rows) == pytest.approx(27, abs=0.1)
        assert {one.step_class: one.truth for one in rows} == {f"probe:{kind}": "2" for kind in KINDS}


def test_a_probe_and_a_file_are_two_things(shell: Shell) -> None:
    for words in ((), ("--probe", "--file", "x.jsonl")):
        said = shell("calibrate", *words)
        assert said.code == 2 and "--probe" in said.err


def test_after_a_probe_a_strong_model_is_agreed_with_at_once_and_not_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SUREFOOT_PRIOR")
    model = adder(1.0)
    model.card = {}
    with Store.open(tmp_path / "runs.db") as store:
        cold = Engine(model, planner=sums(1), store=store).run("add", target=0.95)
        assert cold.outcome is Outcome.ABSTAINED and "calibrate --probe" in cold.reason
    with Store.open(tmp_path / "probed.db") as store:
        store.learn([Agreement("probe:reading", "adder@script", "", "2", "2", 27.0)])
        warm = Engine(model, planner=sums(1), store=store).run("add", target=0.95)
        assert warm.outcome is Outcome.AGREED, warm.reason


def test_a_scripted_double_states_what_is_assumed_of_it() -> None:
    assert ScriptedModel([]).card["sample"]["p"] == 0.95
