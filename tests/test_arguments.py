"""What callers pass that cannot be meant: refused before anything is done, in words, as one kind of error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from surefoot.engine import Budget, Engine
from surefoot.storage.errors import SetupError
from surefoot.storage.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "runs.db") as store:
        yield store


def send(to: str) -> str:
    return to


WRONG_ENGINES: list[tuple[dict[str, Any], str]] = [
    ({"model": 5}, "a model is a name"),
    ({"model": ""}, "model='' is empty"),
    ({"act_model": " "}, "act_model=' ' is empty"),
    ({"base_url": 5}, "base_url=5"),
    ({"tools": send}, "tools=.*in a list"),
    ({"tools": "python"}, "tools='python'.*in a list"),
    ({"tools": [5]}, "5 cannot be a tool"),
    ({"verifiers": send}, "verifiers=.*in a list"),
    ({"verifiers": [send]}, "is no verifier"),
    ({"checks": 1}, "checks=1.*in a list"),
    ({"planner": send}, "is no planner"),
    ({"planners": 5}, "planners=5.*in a list"),
    ({"alternates": "pocket"}, "alternates='pocket'.*in a list"),
    ({"representations": [5]}, "5 is no representation"),
    ({"ladder": "ask"}, "ladder='ask'.*in a list"),
    ({"ladder": ["x"]}, "no strategy 'x'"),
    ({"target": "0.9"}, "target='0.9' is not a number"),
    ({"target": 95}, "target=95 is no probability"),
    ({"target": 1}, "target=1 is no probability"),
    ({"target": True}, "target=True is not a number"),
    ({"target": float("nan")}, "target=nan is no probability"),
    ({"prior": 0.5}, "prior=0.5 is no probability between 0.5 and 1"),
    ({"budget": 500}, r"budget=500: say what of, as in budget=Budget\(tokens"),
    ({"budget": {"tokens": 5}}, "say what of"),
    ({"budget": Budget(tokens=-5)}, "tokens=-5 is no limit"),
    ({"budget": Budget(seconds="5")}, "budget.seconds='5' is not a number"),  # type: ignore[arg-type]
    ({"verify": "no"}, "verify='no' is not True or False"),
    ({"strict": 1}, "strict=1 is not True or False"),
    ({"votes": 0}, "votes=0 is too small"),
    ({"votes": "3"}, "votes='3' is not a whole number"),
    ({"votes": 2.5}, "votes=2.5 is not a whole number"),
    ({"seed": "a"}, "seed='a' is not a whole number"),
    ({"concurrency": 0}, "concurrency=0 is too small"),
    ({"temperature": "hot"}, "temperature='hot' is not a number"),
    ({"temperature": -1}, "temperature=-1 is too small"),
    ({"canaries": 7}, "canaries=7 is no share"),
    ({"workspace": 5}, "workspace=5 is no path"),
    ({"notes": object()}, "the notes cannot be kept"),
]
WRONG_RUNS: list[tuple[dict[str, Any], str]] = [
    ({"task": 5}, "the task is empty"),
    ({"task": " "}, "the task is empty"),
    ({"inputs": [1]}, "inputs are values by name"),
    ({"inputs": {"x": object()}}, "the inputs cannot be kept"),
    ({"output": "int"}, "output='int' is a text"),
    ({"output": 5}, "output=5 is no type"),
    ({"target": "0.9"}, "target='0.9' is not a number"),
    ({"budget": 500}, "say what of"),
    ({"verify": "no"}, "verify='no' is not True or False"),
    ({"seed": 1.5}, "seed=1.5 is not a whole number"),
    ({"source": 5}, "source=5 is not a text"),
    ({"on_record": 5}, "on_record=5 is no function"),
]


@pytest.mark.parametrize(("given", "words"), WRONG_ENGINES, ids=lambda one: one if isinstance(one, str) else "")
def test_an_engine_that_cannot_be_meant_is_refused_when_it_is_made(given: dict[str, Any], words: str) -> None:
    with pytest.raises(SetupError, match=words):
        Engine(**given)


@pytest.mark.parametrize(("given", "words"), WRONG_RUNS, ids=lambda one: one if isinstance(one, str) else "")
def test_a_run_that_cannot_be_meant_is_refused_before_it_begins(
    store: Store, given: dict[str, Any], words: str
) -> None:
    with pytest.raises(SetupError, match=words):
        Engine(store=store).run(given.pop("task", "compute 1 + 1"), **given)
    assert store.runs() == []


@pytest.mark.parametrize("use", [lambda one: one.run("compute 1 + 1"), lambda one: one.store], ids=["run", "store"])
def test_a_store_that_is_no_path_is_refused(use: Callable[[Engine], Any]) -> None:
    with pytest.raises(SetupError, match="store=5 is no path"):
        use(Engine(store=5))  # type: ignore[arg-type]
    with pytest.raises(SetupError, match=r"store=<class .*Store'> is no path"):
        use(Engine(store=Store))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", [5, None])
def test_a_run_is_named_by_a_text(store: Store, name: Any) -> None:
    for use in (Engine(store=store).resume, Engine(store=store).replay):
        with pytest.raises(SetupError, match="names no run"):
            use(name)
