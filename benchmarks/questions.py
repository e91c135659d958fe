"""Short questions with known answers, of eight kinds, easy and hard, for real models. The probe asks none of them."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from surefoot.engine.calibrate import Labelled
from surefoot.storage.records import Json

NUMBER: Json = {"type": "integer"}
TEXT: Json = {"type": "string"}

CAPITALS = {
    "France": "Paris",
    "Italy": "Rome",
    "Spain": "Madrid",
    "Germany": "Berlin",
    "Austria": "Vienna",
    "Poland": "Warsaw",
    "Norway": "Oslo",
    "Sweden": "Stockholm",
    "Finland": "Helsinki",
    "Denmark": "Copenhagen",
    "Greece": "Athens",
    "Portugal": "Lisbon",
    "Hungary": "Budapest",
    "Ireland": "Dublin",
    "Russia": "Moscow",
    "Ukraine": "Kyiv",
    "Turkey": "Ankara",
    "Egypt": "Cairo",
    "Kenya": "Nairobi",
    "Nigeria": "Abuja",
    "Japan": "Tokyo",
    "China": "Beijing",
    "India": "New Delhi",
    "Thailand": "Bangkok",
    "Vietnam": "Hanoi",
    "Indonesia": "Jakarta",
    "Australia": "Canberra",
    "Canada": "Ottawa",
    "Mexico": "Mexico City",
    "Cuba": "Havana",
    "Brazil": "Brasilia",
    "Argentina": "Buenos Aires",
    "Chile": "Santiago",
    "Peru": "Lima",
}

OPPOSITES = (
    "hot cold, big small, up down, left right, open closed, early late, wet dry, rich poor, young old, fast slow, "
    "full empty, light dark, hard soft, loud quiet, strong weak, long short, high low, good bad, clean dirty, "
    "near far, happy sad, true false, first last, win lose, buy sell, give take, begin end, remember forget, "
    "love hate, always never, inside outside, day night, north south, east west"
)

PEOPLE = ("Maria", "Tom", "Lena", "Omar", "Julia", "Pavel", "Sofia", "Noah")
ROOMS = ("bathroom", "cellar", "hall", "library", "stable", "workshop")
COLOURS = ("red", "green", "blue", "black", "white", "yellow")
FRUIT = ("apple", "pear", "plum", "cherry", "grape", "lemon", "melon", "peach")

Asked = tuple[str, Json, Json]
"""Question, answer, and JSON Schema of the answer."""


def _capital(rng: Random, number: int) -> Asked:
    country = list(CAPITALS)[number % len(CAPITALS)]
    return f"What is the capital of {country}? Answer with the city's name only.", CAPITALS[country], TEXT


def _opposite(rng: Random, number: int) -> Asked:
    pairs = [pair.split() for pair in OPPOSITES.split(", ")]
    word, answer = pairs[number % len(pairs)]
    return f"What is the opposite of the word {word!r}? Answer with one word.", answer, TEXT


def _sum(rng: Random, number: int) -> Asked:
    a, b = rng.randrange(2, 30), rng.randrange(2, 30)
    return f"A shelf has {a} red books and {b} blue books. How many books are on the shelf?", a + b, NUMBER


def _larger(rng: Random, number: int) -> Asked:
    a, b = rng.sample(range(10, 1000), 2)
    return f"Which number is larger: {a} or {b}?", max(a, b), NUMBER


def _where(rng: Random, number: int) -> Asked:
    person, other = rng.sample(PEOPLE, 2)
    room, elsewhere = rng.sample(ROOMS, 2)
    told = [f"{person} is in the {room}.", f"{other} is in the {elsewhere}."]
    rng.shuffle(told)
    return f"{' '.join(told)} In which room is {person}?", room, {"enum": list(ROOMS)}


def _last(rng: Random, number: int) -> Asked:
    words = rng.sample(FRUIT, 4)
    return f"Here is a list: {', '.join(words)}. What is the last word of the list?", words[-1], TEXT


def _colour(rng: Random, number: int) -> Asked:
    thing, colour = rng.choice(FRUIT), rng.choice(COLOURS)
    return f"Today the {thing} is {colour}. What colour is the {thing}?", colour, {"enum": list(COLOURS)}


def _many(rng: Random, number: int) -> Asked:
    person, fruit, many = rng.choice(PEOPLE), rng.choice(FRUIT), rng.randrange(2, 100)
    return f"{person} buys {many} pieces of {fruit}. How many pieces of {fruit} does {person} buy?", many, NUMBER


KINDS: dict[str, Callable[[Random, int], Asked]] = {
    ask.__name__.removeprefix("_"): ask for ask in (_capital, _opposite, _sum, _larger, _where, _last, _colour, _many)
}


def questions(count: int, seed: int) -> list[Labelled]:
    """`count` questions, kinds in turn, each kind in an order of chance. Facts come again where others are used up."""
    rng = Random(f"questions {seed}")
    order = rng.sample(range(len(CAPITALS)), len(CAPITALS))
    found = []
    for place in range(count):
        kind = list(KINDS)[place % len(KINDS)]
        goal, answer, gives = KINDS[kind](rng, order[place // len(KINDS) % len(order)])
        found.append(Labelled(answer, {}, goal, kind, gives))
    return found


def right(said: Json, answer: Json) -> bool:
    """Whether an answer is the known one; capital letters and a full stop at the end do not matter."""

    def plain(value: Json) -> str:
        return str(value).strip().strip(".").lower()

    return plain(said) == plain(answer)
