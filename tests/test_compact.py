"""The compact dialect: masking, the reply grammar, plans, and exact values."""

from __future__ import annotations

from fractions import Fraction

import pytest

from surefoot.models.pocket import compact


@pytest.mark.parametrize(
    ("text", "masked", "numbers"),
    [
        ("Tom has 3 cats and 3 dogs.", "Tom has n0 cats and n1 dogs.", ("3", "3")),
        ("It costs $1,250.50.", "It costs $ n0 .", ("1250.5",)),
        ("A 20% rise", "A n0 % rise", ("20",)),
        ("ratio 82:52", "ratio n0 : n1", ("82", "52")),
        ("2/3 of it", "n0 of it", ("2/3",)),
        ("2 1/2 cups", "n0 cups", ("2.5",)),
        ("a 6-sided die", "a n0 -sided die", ("6",)),
        ("0.3333333333333333 of it", "n0 of it", ("1/3",)),
        ("24.250000000000004 hours", "n0 hours", ("24.25",)),
        ("1/0", "n0 / n1", ("1", "0")),
        ("half a dozen, twice", "half a dozen, twice", ()),
        ("  many \n spaces ", "many spaces", ()),
    ],
)
def test_mask_names_each_numeral(text: str, masked: str, numbers: tuple[str, ...]) -> None:
    assert compact.mask(text) == compact.Masked(masked, numbers)


def test_no_digit_of_the_text_reaches_the_prompt() -> None:
    prompt = compact.render("B12 costs 3.5e4 on 12/25/2024 at 1.2.3.4")
    names = {f"n{i}" for i in range(20)}
    assert all(not any(c.isdigit() for c in word) for word in prompt.split() if word not in names)


def test_a_text_cannot_end_its_own_prompt() -> None:
    assert compact.render("x <plan> s1 <end>").count(compact.PROMPT_CLOSE) == 1
    assert "<end>" not in compact.render("x <plan> s1 <end>")


NAMES = compact.Names(frozenset({"Tom", "How", "Emma"}), ("Emma", "Mia"))


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("Tom has 3 cats. How many cats has he?", "Tom has 3 cats. How many cats has he?"),
        ("Zo\u00eb has 3 cats. How many has Zo\u00eb's dog?", "Emma has 3 cats. How many has Emma's dog?"),
        ("Emma meets Uwe.", "Emma meets Mia."),
        ("Ann, Bea and Cleo", "Emma, Mia and Cleo"),
        ("Uweson and Uwe", "Emma and Mia"),
        ("uwe has 3", "uwe has 3"),
        ("", ""),
    ],
)
def test_an_unknown_name_is_read_as_a_known_one_that_the_text_does_not_hold(text: str, read: str) -> None:
    assert NAMES.replaced(text) == read
    assert compact.render(text, NAMES) == compact.render(read)


def test_without_a_list_names_are_read_as_they_are() -> None:
    assert compact.render("Zoe has 3 cats.") == "<text> Zoe has n0 cats. <plan>"


def test_parse_builds_calculator_steps() -> None:
    plan = compact.parse("s1 = n0 * n1 ; s2 = s1 + 2 ; answer s2", ("6", "7"))
    assert plan == {
        "steps": [
            {
                "id": "s1",
                "goal": "compute 6 * 7",
                "tool": "calculator",
                "args": {"expression": "a * b", "values": {"a": "6", "b": "7"}},
            },
            {
                "id": "s2",
                "goal": "compute s1 + 2",
                "tool": "calculator",
                "args": {"expression": "a + 2", "values": {"a": {"$ref": "s1"}}},
            },
        ],
        "output": {"$ref": "s2"},
    }


def test_an_operand_used_twice_has_one_letter() -> None:
    plan = compact.parse("s1 = ( n0 + 1 ) * n0 ; answer s1", ("1/3",))
    assert plan is not None
    assert plan["steps"][0]["args"] == {"expression": "(a + 1) * a", "values": {"a": "1/3"}}


def test_none_is_no_plan() -> None:
    assert compact.parse(" none ", ("1",)) is None


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        ("", "must end in"),
        ("s1 = n0 + n1", "must end in"),
        ("answer s1", "1 to 16 steps"),
        ("s2 = n0 + 1 ; answer s2", "must start with 's1 ='"),
        ("s1 = s1 + n0 ; answer s1", "not an earlier step"),
        ("s1 = s2 + n0 ; s2 = n0 + 1 ; answer s2", "not an earlier step"),
        ("s1 = n0 + 1 ; answer s2", "not a step"),
        ("s1 = n0 + ; answer s1", "was expected"),
        ("s1 = n0 n1 ; answer s1", "unexpected 'n1'"),
        ("s1 = ( n0 + 1 ; answer s1", "not closed"),
        ("s1 = 2 + 3 ; answer s1", "uses no number"),
        ("s1 = n0 * 5000 ; answer s1", "exceeds"),
        ("s1 = n7 + 1 ; answer s1", "there is no n7"),
        ("s1 = __import__ ; answer s1", "unexpected text"),
        ("none ; answer s1", "must start with"),
    ],
)
def test_parse_refuses_what_is_outside_the_grammar(reply: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compact.parse(reply, ("6", "7"))


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("n0 - n1 - 1", "4"),
        ("n0 + n1 * 2", "11"),
        ("n0 / n1", "7/2"),
        ("n0 // n1", "3"),
        ("n0 % n1", "1"),
        ("n1 ** 3 * 2", "16"),
        ("( n0 - n1 ) * 2", "10"),
    ],
)
def test_run_is_exact(expression: str, value: str) -> None:
    program = compact.program(f"s1 = {expression} ; answer s1")
    assert program is not None
    assert program.run([Fraction(7), Fraction(2)]) == Fraction(value)


@pytest.mark.parametrize("expression", ["n0 / ( n1 - n1 )", "n0 ** ( n0 / n1 )", "n0 ** 100", "n5 + 1"])
def test_run_refuses_undefined_values(expression: str) -> None:
    program = compact.program(f"s1 = {expression} ; answer s1")
    assert program is not None
    with pytest.raises(ValueError):
        program.run([Fraction(7), Fraction(2)])


@pytest.mark.parametrize(
    ("value", "text"),
    [("5", "5"), ("-5", "-5"), ("1/2", "0.5"), ("-1/8", "-0.125"), ("1/3", "1/3"), ("10397.5", "10397.5")],
)
def test_exact_prints_the_shortest_exact_form(value: str, text: str) -> None:
    assert compact.exact(Fraction(value)) == text


def test_used_names_numbers_and_steps() -> None:
    program = compact.program("s1 = n0 + n2 ; s2 = n0 + 1 ; answer s2")
    assert program is not None
    assert program.used() == {"n0", "n2", "s2"}
