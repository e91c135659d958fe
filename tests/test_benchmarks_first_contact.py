"""The benchmark of models that nobody measured: what it asks, what it counts, and what must hold at any size."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from random import Random

import pytest
from servers import Body, ScriptedServer, say
from test_benchmarks import part

from surefoot.engine.probe import questions as probed

contact = part("first_contact")
asks = part("questions")

ALWAYS = {"policy": "always", "kind": "uniform", "p": 1.0, "spread": None, "more": 0.5}
WEAK = {"policy": "weak", "kind": "uniform", "p": 0.3, "spread": 2.0, "more": 0.3}


@pytest.fixture(autouse=True)
def nobody_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUREFOOT_PRIOR")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedServer]:
    """A model that knows every answer but those of one kind, which it always gets wrong in the same way."""
    known = [one for seed in (3, 4) for one in asks.questions(80, seed)] + probed(3)
    answers = {one.goal: "seven" if one.kind == "last" else one.answer for one in known}

    def reply(body: Body) -> Body:
        text = json.dumps(body["messages"])
        answer = next(answer for goal, answer in answers.items() if json.dumps(goal)[1:-1] in text)
        plain = isinstance(answer, dict) or "response_format" not in body
        return say(json.dumps(answer) if not isinstance(answer, str) else answer) if plain else {"answer": answer}

    with ScriptedServer(reply) as server:
        monkeypatch.setenv("SUREFOOT_BASE_URL", server.url)
        yield server


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


def test_questions_are_of_eight_kinds_and_others_with_another_seed() -> None:
    found = asks.questions(160, 1)
    assert Counter(one.kind for one in found) == dict.fromkeys(asks.KINDS, 20)
    assert len({one.goal for one in found}) > 140
    drawn = {one.goal for one in found if one.kind in ("sum", "larger", "where", "last")}
    assert len(drawn & {one.goal for one in asks.questions(160, 2)}) < 10
    assert asks.right(" Paris. ", "Paris") and asks.right(12, 12) and not asks.right("12 books", 12)
    assert not asks.right(None, "none of these")


def test_a_real_model_is_asked_cold_and_again_after_a_probe_and_labels(server: ScriptedServer) -> None:
    rows = contact.real("openai/test", 0.9, 80, 40, 3)
    cold, known = ({row["kind"]: row for row in rows if row["labels"] == labels} for labels in (0, 40))
    assert cold["all"]["tasks"] == known["all"]["tasks"] == 80
    assert cold["all"]["verified"] == known["all"]["verified"] == 0, "nothing was measured of any kind"
    assert cold["last"]["agreed"] > 5 and cold["last"]["agreed_right"] == 0
    assert known["last"]["agreed"] == 0, "labels showed what votes cannot"
    assert known["where"]["agreed"] == known["where"]["agreed_right"] == 10
    assert known["all"]["probe_tokens"] > 0 == cold["all"]["probe_tokens"]


def test_of_a_packaged_network_whose_card_is_hidden_nothing_is_known() -> None:
    (row,) = contact.packaged(1, "p95", 12, 0, [0], [0.95])
    assert (row["kind"], row["p"], row["tasks"]) == ("network", 0.95, 12)
    assert row["verified"] == 0 < row["agreed"] and row["abstained"] > 0


def test_recorded_votes_are_played_in_one_form_or_in_two_in_turn(tmp_path: Path) -> None:
    row = {"a": "yes", "kind": "k", "s": ["a", "b"], "s2": ["x", "y"]}
    (tmp_path / "votes.json").write_text(json.dumps([row]))
    (one,) = contact.recorded(str(tmp_path / "votes.json"), 0, 1)
    (two,) = contact.recorded(str(tmp_path / "votes.json"), 0, 2)
    rng = Random(0)
    assert [one.draw(rng) for _ in range(3)] == ["a", "b", "none left 3"]
    assert [two.draw(rng) for _ in range(4)] == ["a", "x", "b", "y"]
