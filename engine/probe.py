"""A probe: short questions with known answers, of many kinds, generated anew for each seed.

It measures the model and no class of steps: what it shows is a hint to every class, worth a few prompts
(`reflection.calibration.HINT`), and never a measurement of one.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from random import Random

from surefoot.engine.calibrate import Labelled
from surefoot.storage.records import Json

CLASS = "probe"
"""Class of steps that its answers are kept by; a kind follows after a colon."""

SAMPLES = 2
"""Of each question: whether they agree is half of what it shows."""

EACH = 3
"""Questions of each kind."""

NUMBER: Json = {"type": "integer"}

NAMES = ("Ana", "Boris", "Chen", "Dina", "Emil", "Farah", "Goran", "Hana", "Igor", "Jun")
THINGS = ("box", "ball", "cup", "hat", "book", "key", "lamp", "chair")
COLOURS = ("red", "green", "blue", "black", "white", "yellow")
PLACES = ("garden", "kitchen", "office", "attic", "garage", "school")

Question = tuple[str, Json, Json]
"""Goal, answer, and JSON Schema of the answer; None for text."""


def _reading(rng: Random) -> Question:
    (one, other), (near, far) = rng.sample(THINGS, 2), rng.sample(COLOURS, 2)
    told = [f"The {one} is {near}.", f"The {other} is {far}."]
    rng.shuffle(told)
    asked = (f"What colour is the {one}?", f"Name the colour of the {one}.")
    return f"{' '.join(told)} {rng.choice(asked)} Answer with one word.", near, None


def _owner(rng: Random) -> Question:
    (one, other), (thing, another) = rng.sample(NAMES, 2), rng.sample(THINGS, 2)
    told = [f"{one} has a {thing}.", f"{other} has a {another}."]
    rng.shuffle(told)
    asked = (f"Who has the {thing}?", f"Whose is the {thing}?")
    return f"{' '.join(told)} {rng.choice(asked)} Answer with the name only.", one, None


def _ordering(rng: Random) -> Question:
    numbers = rng.sample(range(10, 100), 4)
    word, answer = rng.choice((("largest", max(numbers)), ("smallest", min(numbers))))
    return f"Which of these numbers is the {word}: {', '.join(map(str, numbers))}?", answer, NUMBER


def _arithmetic(rng: Random) -> Question:
    a, b = rng.randrange(11, 60), rng.randrange(3, 10)
    return rng.choice(
        (
            (f"What is {a} + {b * 7}?", a + b * 7, NUMBER),
            (f"Subtract {b} from {a}.", a - b, NUMBER),
            (f"What is {b} times {a % 10 + 2}?", b * (a % 10 + 2), NUMBER),
        )
    )


def _dates(rng: Random) -> Question:
    day = date(rng.randrange(2001, 2030), rng.randrange(1, 13), rng.randrange(1, 28))
    later = day + timedelta(days=rng.randrange(1, 8))
    days = (later - day).days
    shape = "Answer as YYYY-MM-DD."
    return (
        f"Which date is {days} day{'s' if days > 1 else ''} after {day.isoformat()}? {shape}",
        later.isoformat(),
        None,
    )


def _extraction(rng: Random) -> Question:
    name, place, number = rng.choice(NAMES), rng.choice(PLACES), rng.randrange(100, 1000)
    text = f"Order {number}: two lamps for {name}, to be delivered to the {place}."
    return rng.choice(
        (
            (f"{text} What is the number of the order?", number, NUMBER),
            (f"{text} Where is it to be delivered? Answer with one word.", place, None),
            (f"{text} Who is it for? Answer with the name only.", name, None),
        )
    )


def _format(rng: Random) -> Question:
    words = rng.sample(THINGS, 3)
    return rng.choice(
        (
            (f"Write the word {words[0]!r} in capital letters.", words[0].upper(), None),
            (f"Give these as a list, in this order: {', '.join(words)}.", words, {"type": "array"}),
            (f"Repeat this exactly: {words[0]}-{words[1]}", f"{words[0]}-{words[1]}", None),
        )
    )


def _planning(rng: Random) -> Question:
    first, second, third = rng.sample(PLACES, 3)
    told = [f"The {second} comes after the {first}.", f"The {third} comes after the {second}."]
    rng.shuffle(told)
    asked, answer = rng.choice((("first", first), ("last", third)))
    return f"{' '.join(told)} Which comes {asked}? Answer with one word.", answer, None


def _arguments(rng: Random) -> Question:
    name, thing, number = rng.choice(NAMES), rng.choice(THINGS), rng.randrange(2, 30)
    wanted = {"item": thing, "count": number}
    gives: Json = {
        "type": "object",
        "properties": {"item": {"type": "string"}, "count": {"type": "integer"}},
        "required": ["item", "count"],
    }
    return (
        f"{name} orders {number} pieces of the item {thing!r}. Give the arguments of order(item, count).",
        wanted,
        gives,
    )


KINDS: dict[str, Callable[[Random], Question]] = {
    "reading": _reading,
    "owner": _owner,
    "ordering": _ordering,
    "arithmetic": _arithmetic,
    "dates": _dates,
    "extraction": _extraction,
    "format": _format,
    "planning": _planning,
    "arguments": _arguments,
}


def questions(seed: int = 0, each: int = EACH) -> list[Labelled]:
    """`each` questions of every kind; other seeds give others."""
    found = []
    for kind, make in KINDS.items():
        rng = Random(f"probe {kind} {seed}")
        for _ in range(each):
            goal, answer, gives = make(rng)
            found.append(Labelled(answer, {}, goal, f"{CLASS}:{kind}", gives))
    return found
