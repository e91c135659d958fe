"""What two forms of a question show: agreement across them, and which one is better."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from surefoot.reflection.calibration import Calibration, patterns
from surefoot.reflection.forms import (
    FORMS,
    FormCounts,
    Openings,
    opening_in,
    shape_of,
    split_in,
    split_of,
    text_of_split,
    truth_of,
)
from surefoot.storage.learned import Agreement


def test_a_split_is_written_and_read_back() -> None:
    split = split_of([("a", 0), ("b", 1), ("a", 0), ("a", 1)])
    assert split == {"a": (2, 1), "b": (0, 1)}
    assert text_of_split(split.values()) == "2/1+0/1" and split_in("2/1+0/1") == [(2, 1), (0, 1)]
    assert text_of_split([(1, 0), (3, 0)]) == "3+1" and split_in("3+1") == [(3, 0), (1, 0)]


def test_beliefs_learn_from_shapes_without_their_forms() -> None:
    assert patterns({("2/1+0/1", ""): 2.0, ("1/2+1", ""): 1.0, ("4", "4"): 3.0}) == {
        ((3, 1), ""): 3.0,
        ((4,), "4"): 3.0,
    }

    one = {("0/3+3/0", "0/3"): 1.0, ("0/2+3/0", "0/2"): 2.0, ("1/0", ""): 4.0, ("2/1+1/0", "wrong"): 5.0}
    assert patterns(one, (1,)) == {((3,), "3"): 1.0, ((2,), "2"): 2.0, ((1,), ""): 5.0}


def stopped(rng: Random, first: dict[str, float], second: dict[str, float]) -> dict[str, tuple[int, int]]:
    """Samples in turn until one answer leads by two, or twelve were drawn."""
    asked: list[tuple[str, int]] = []
    while len(asked) < 12:
        shares = (first, second)[len(asked) % 2]
        asked.append((rng.choices(list(shares), list(shares.values()))[0], len(asked) % 2))
        counts = sorted((sum(pair) for pair in split_of(asked).values()), reverse=True)
        if counts[0] - (counts[1] if len(counts) > 1 else 0) >= 2:
            break
    return split_of(asked)


def test_where_forms_make_no_difference_the_ratio_is_near_one_and_both_are_kept() -> None:
    rng = Random(3)
    found = FormCounts()
    for _ in range(4000):
        p = rng.betavariate(2, 1)
        shares = {"right": p, "wrong": 0.7 * (1 - p), "other": 0.3 * (1 - p)}
        split = stopped(rng, shares, shares)
        found = found.plus(list(split.values()), list(split).index("right") if "right" in split else -1, 1.0)
    assert found.ratio == pytest.approx(1.0, abs=0.08)
    assert found.kept == FORMS


def test_a_model_that_goes_by_the_form_is_seen_and_with_labels_the_better_form_is_kept() -> None:
    rng = Random(4)
    found = FormCounts()
    for _ in range(40):
        said = (("wrong" if form == 0 and rng.random() < 0.9 else "right", form) for form in FORMS * 3)
        split = split_of(said)
        found = found.plus(list(split.values()), list(split).index("right"), 1.0)
    assert found.ratio is not None and found.ratio < 0.3
    assert found.kept == (1,)


def test_of_two_answers_with_as_many_votes_the_one_that_is_right_is_told_by_its_forms() -> None:
    for right, kept in (("a", (0,)), ("b", (1,))):
        split = split_of([("a", 0), ("b", 1), ("a", 0), ("b", 1)])
        row = Agreement("owner", "m@1", "", text_of_split(split.values()), truth_of(split, right), 20.0)
        assert Calibration([row]).forms("owner", "m@1", "").kept == kept


@pytest.mark.parametrize(
    ("said", "shape", "alike"),
    [
        ("a", "1", None),
        ("aa", "1/1", True),
        ("ab", "1/0+0/1", False),
        ("aba", "2/0+0/1~", False),
        ("aab", "1/0+1/1=", True),
        ("abcd", "1/0+1/0+0/1+0/1", False),
    ],
)
def test_a_shape_says_whether_the_first_two_samples_agree(said: str, shape: str, alike: bool | None) -> None:
    found = shape_of([(key, place % 2) for place, key in enumerate(said)])
    assert Counter(found) == Counter(shape) and opening_in(found) is alike
    assert sum(sum(one) for one in split_in(found)) == len(said)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_how_often_first_samples_agree_bounds_how_often_they_are_right(p: float) -> None:
    rng = Random(5)
    for forms in (1, 2):
        found = Openings()
        for _ in range(400):
            q = rng.betavariate(3 * p, 3 * (1 - p))
            said = [("right" if rng.random() < q else f"wrong {rng.randrange(9)}", place % forms) for place in range(4)]
            found = found.plus(shape_of(said), 1.0)
        assert found.at_most is not None and p < found.at_most < 1
        assert sum(found.within if forms == 1 else found.across) == 400
    assert Openings((3.0, 1.0), (2.0, 0.0)).at_most is None, "a few prompts bound nothing"


def test_a_few_prompts_settle_nothing() -> None:
    found = FormCounts()
    for _ in range(5):
        found = found.plus([(2, 0), (0, 2)], 1, 1.0)
    assert found.ratio is None and found.kept == FORMS


def test_what_the_store_holds_tells_of_forms_and_comes_back_from_a_record() -> None:
    rows = [Agreement("owner", "m@1", "", "3/0+0/3", "3/0", 20.0), Agreement("owner", "m@1", "", "3/3", "", 5.0)]
    known = Calibration(rows)
    assert known.forms("owner", "m@1", "").ratio == pytest.approx(0.2)
    again = Calibration.from_json(known.to_json(["m@1"]))
    assert again.forms("owner", "m@1", "") == known.forms("owner", "m@1", "")
    assert known.forms("other", "m@1", "").ratio is None
