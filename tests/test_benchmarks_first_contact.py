"""The benchmark of models that nobody measured: what it asks, what it counts, and what must hold at any size."""

from __future__ import annotations

import asyncio
import json
from itertools import islice
from pathlib import Path
from random import Random

import pytest
from test_benchmarks import part

contact = part("first_contact")

ALWAYS = {"policy": "always", "kind": "uniform", "p": 1.0, "spread": None, "more": 0.5}
WEAK = {"policy": "weak", "kind": "uniform", "p": 0.3, "spread": 2.0, "more": 0.3}


@pytest.fixture(autouse=True)
def nobody_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUREFOOT_PRIOR")


def asked(policy: dict[str, object], count: int) -> list[object]:
    return list(islice(contact.prompts(policy, 7), count))


def test_policies_are_right_as_often_as_they_say() -> None:
    made = {**ALWAYS, "p": 0.7, "spread": 5.0}
    rng = Random(1)
    right = sum(prompt.draw(rng) == prompt.answer for prompt in asked(made, 4000))
    assert abs(right / 4000 - 0.7) < 0.03


def test_a_model_that_is_always_right_is_agreed_and_with_labels_verified() -> None:
    cold = asyncio.run(contact.play(asked(ALWAYS, 20), 0.95, 0, 0, "1"))
    assert cold["verified"] == 0 and cold["agreed"] >= 15 and cold["agreed"] == cold["agreed_right"]
    known = asyncio.run(contact.play(asked(ALWAYS, 50), 0.95, 0, 30, "1"))
    assert known["verified"] >= 18 and known["verified"] == known["verified_right"]


def test_of_a_weak_model_hardly_anything_is_accepted() -> None:
    row = asyncio.run(contact.play(asked(WEAK, 40), 0.95, 0, 0, "2"))
    assert row["verified"] == 0 and row["abstained"] >= 36
    assert contact.rival(asked(WEAK, 40), "first sample", "2")["agreed"] == 40


def test_recorded_votes_are_played_in_one_form_or_in_two_in_turn(tmp_path: Path) -> None:
    row = {"a": "yes", "kind": "k", "s": ["a", "b"], "s2": ["x", "y"]}
    (tmp_path / "votes.json").write_text(json.dumps([row]))
    (one,) = contact.recorded(str(tmp_path / "votes.json"), 0, 1)
    (two,) = contact.recorded(str(tmp_path / "votes.json"), 0, 2)
    rng = Random(0)
    assert [one.draw(rng) for _ in range(3)] == ["a", "b", "none left 3"]
    assert [two.draw(rng) for _ in range(4)] == ["a", "x", "b", "y"]
