"""The pocket models for single steps: the languages that they speak, and policies of known accuracy."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surefoot.models import Question, Reply, load
from surefoot.models.local.dialects import Beyond, DigitsDialect, PegsDialect, dialect
from surefoot.models.packaged import FOLDER, names
from surefoot.models.pocket import digits, pegs
from surefoot.storage.errors import SetupError
from surefoot.training.pocket import hanoi_moves, running_sums

NUMBERS = st.integers(0, 10**digits.PLACES - 1)


@given(NUMBERS)
def test_a_number_is_read_as_it_was_written(number: int) -> None:
    assert digits.read(digits.digits(number)) == number


@pytest.mark.parametrize("reply", ["", "1 2 3", "1 2 3 4 5 6 7 8", "1 2 3 4 5 6 x", "1 2 3 4 5 6 12", "1 2 3 + 5 6 7"])
def test_a_sum_in_another_form_is_dropped(reply: str) -> None:
    with pytest.raises(ValueError, match="a sum has 7 digits"):
        digits.read(reply)


@pytest.mark.parametrize("number", [-1, 10**digits.PLACES])
def test_a_number_that_does_not_fit_is_refused(number: int) -> None:
    with pytest.raises(ValueError, match="up to 7 digits"):
        digits.prompt(number, 1)


@given(st.integers(1, pegs.DISKS), st.data())
def test_the_path_of_a_tower_follows_the_rules_and_is_read_as_it_was_written(disks: int, data: st.DataObject) -> None:
    turn = data.draw(st.integers(1, 2**disks - 1))
    before, after = pegs.path(disks, turn - 1), pegs.path(disks, turn)
    assert after.move is not None and pegs.legal(before.places, after.move)
    moved = list(before.places)
    moved[after.move[0] - 1] = after.move[2]
    assert tuple(moved) == after.places
    assert pegs.read(pegs.said(after)) == after


def test_a_tower_is_moved_from_the_first_peg_to_the_last() -> None:
    for disks in range(1, pegs.DISKS + 1):
        assert pegs.path(disks, 0) == pegs.Turn(None, (0,) * disks)
        assert set(pegs.path(disks, 2**disks - 1).places) == {2}


@pytest.mark.parametrize(
    "reply",
    [
        *("", "d1 A B", "d1 A B |", "d0 A B | " + "A " * 20, "d1 A D | " + "A " * 20, "d1 A B | " + ". " * 20),
        *("d1 A B | A . B " + ". " * 17, "d21 A B | " + "A " * 20),
    ],
)
def test_a_turn_in_another_form_is_dropped(reply: str) -> None:
    with pytest.raises(ValueError):
        pegs.read(reply)


@pytest.mark.parametrize(
    ("move", "places", "legal"),
    [
        *(((1, 0, 1), (0, 0), True), ((2, 0, 1), (0, 0), False), ((2, 0, 1), (1, 0), False)),
        *(((2, 0, 2), (1, 0), True), ((1, 1, 2), (0, 0), False), ((1, 0, 0), (0, 0), False)),
    ],
)
def test_a_move_is_legal_onto_none_or_a_larger_disk(
    move: tuple[int, int, int], places: tuple[int, ...], legal: bool
) -> None:
    assert pegs.legal(places, move) is legal


def test_a_reply_becomes_a_value_or_an_error() -> None:
    asked = Question("act", "Add.", inputs={"total": 173, "add": 49})
    assert DigitsDialect().read(asked, Reply(digits.digits(222), ())).parsed == 222
    assert "7 digits" in (DigitsDialect().read(asked, Reply("1 2", ())).error or "")
    turn = pegs.path(3, 2)
    read = PegsDialect().read(Question("act", "Move."), Reply(pegs.said(turn), ()))
    assert read.parsed == {"move": list(turn.move or ()), "places": list(turn.places)}
    assert PegsDialect().read(Question("act", "Move."), Reply("d1 A", ())).error


@pytest.mark.parametrize(
    ("name", "question", "reason"),
    [
        ("digits", Question("act", "Add.", inputs={"total": 1}), "'add' is missing"),
        ("digits", Question("act", "Add.", inputs={"total": 1.5, "add": 1}), "1.5 is no whole number"),
        ("digits", Question("act", "Add.", inputs={"total": 10**7, "add": 1}), "up to 7 digits"),
        ("digits", Question("plan", "Add.", inputs={"total": 1, "add": 1}), "does not plan"),
        ("pegs", Question("act", "Move.", inputs={"places": [0]}), "'move' is missing"),
        ("pegs", Question("act", "Move.", inputs={"move": None, "places": [3]}), "pegs are counted"),
        ("pegs", Question("act", "Move.", inputs={"move": [9, 0, 1], "places": [0]}), "no disk 9"),
        ("pegs", Question("act", "Move.", inputs={"move": None, "places": [0] * 21}), "not 21"),
        ("pegs", Question("judge", "Move.", inputs={"move": None, "places": [0]}), "does not judge"),
    ],
)
def test_what_is_beyond_a_dialect_is_said(name: str, question: Question, reason: str) -> None:
    with pytest.raises(Beyond) as beyond:
        dialect(name).prompt(question, None)
    assert reason in str(beyond.value)


def test_an_unknown_name_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(SetupError, match="there is no dialect 'latin'; there are: chat, compact, digits, pegs"):
        dialect("latin")
    with pytest.raises(SetupError, match=r"there is no packaged model 'pocket/sums'; there are: .*running-sums/p95"):
        load("pocket/sums")


STEPS = [name for name in names() if "/p" in name]


def test_there_are_policies_of_four_accuracies_for_each_step() -> None:
    kept = {task: [name.rsplit("/")[1] for name in STEPS if name.startswith(task)] for task in ("hanoi", "running")}
    assert kept == {"hanoi": ["p80", "p90", "p95", "p99"], "running": ["p80", "p90", "p95", "p99"]}


def asked(name: str, rng: Random) -> tuple[Question, Any]:
    """A fresh step and its right answer."""
    if name.startswith("running"):
        total, add = (rng.randrange(10 ** rng.randint(1, 6)) for _ in range(2))
        return Question("act", "Add.", inputs={"total": total, "add": add}, seed=rng.randrange(2**31)), total + add
    before, after = hanoi_moves.turns(rng)
    inputs = {"move": before.move and list(before.move), "places": list(before.places)}
    answer = {"move": list(after.move or ()), "places": list(after.places)}
    return Question("act", "Move.", inputs=inputs, seed=rng.randrange(2**31)), answer


@pytest.mark.anyio
@pytest.mark.parametrize("name", STEPS)
async def test_a_policy_is_as_accurate_as_its_card_says(name: str) -> None:
    """Fresh steps, sampled through the model itself: the card's rate is within four standard errors of what is seen."""
    model = load(f"pocket/{name}")
    card = json.loads((FOLDER / name.replace("-", "_") / "card.json").read_text())
    rng = Random(20261125)
    made = [asked(name, rng) for _ in range(300)]
    replies = await asyncio.gather(*(model.ask(question) for question, _ in made))
    right = sum(reply.parsed == answer for (reply,), (_, answer) in zip(replies, made, strict=True))
    p = card["sample"]["p"]
    assert abs(right / len(made) - p) < 4 * (p * (1 - p) / len(made)) ** 0.5 + 0.005


def test_a_turn_in_another_form_has_the_same_next_turn() -> None:
    """The right answer to the other question, turned back, is the right answer to the first; whichever turn it is."""
    rng = Random(7)
    for _ in range(400):
        before, after = hanoi_moves.turns(rng)
        inputs = {"move": before.move and list(before.move), "places": list(before.places)}
        other, back = pegs.shortened(inputs, rng)
        assert back(following(other)) == {"move": list(after.move or ()), "places": list(after.places)}


def following(inputs: Any) -> Any:
    """The next turn by the rule of the solution: the smallest disk every other move, always the same way round."""
    places, move = list(inputs["places"]), inputs["move"]
    if move is None:
        disk, goal = 1, 2 if len(places) % 2 else 1
    elif move[0] == 1:
        tops = {peg: places.index(peg) + 1 for peg in range(3) if peg in places and peg != places[0]}
        disk = min(tops.values())
        goal = 3 - places[0] - places[disk - 1]
    else:
        # A tower of move[0] - 1 disks now goes from the third peg onto the one that was moved.
        disk, goal = 1, move[2] if move[0] % 2 == 0 else move[1]
    move = [disk, places[disk - 1], goal]
    places[disk - 1] = goal
    return {"move": move, "places": places}


def test_a_sum_in_another_form_is_the_same_sum() -> None:
    rng = Random(8)
    for _ in range(400):
        total, add = rng.randrange(10**6), rng.randrange(10**6)
        other, back = digits.split({"total": total, "add": add}, rng)
        assert 0 <= other["total"] <= digits.LONGEST and 0 <= other["add"] <= digits.LONGEST
        assert back(other["total"] + other["add"]) == total + add


def test_training_pairs_are_right() -> None:
    rng = Random(5)
    for _ in range(200):
        prompt, reply = running_sums.pair(rng)
        total, add = (int("".join(reversed(part.split()))) for part in prompt.removesuffix("=").split("+"))
        assert digits.read(reply) == total + add
        prompt, reply = hanoi_moves.pair(rng)
        assert pegs.read(reply).move is not None and prompt.endswith("=")


def test_the_cards_are_whole() -> None:
    for name in STEPS:
        card = json.loads((Path(FOLDER) / name.replace("-", "_") / "card.json").read_text())
        assert {"dialect", "sample", "sample_basis", "hard", "trained"} <= card.keys()
        assert abs(card["sample"]["p"] - int(name[-2:]) / 100) < 0.04, name
