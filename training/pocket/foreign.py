"""Texts that are no word problem of the taught kinds; the right reply to each is `none`.

Everything is generated from word lists and from other reasoning-gym families. Some reasoning-gym families
are held out: no training text is drawn from them, so that they measure how the model treats new kinds.
"""

from __future__ import annotations

import string
from collections.abc import Callable
from functools import cache
from random import Random
from typing import Any

from surefoot.training.pocket import word_lists as words

HELD_OUT_FAMILIES = (
    "basic_arithmetic", "chain_sum", "leg_counting", "word_sorting", "products", "time_intervals", "aiw",
    "simple_geometry", "needle_haystack", "family_relationships", "zebra_puzzles", "letter_counting",
    "polynomial_equations", "number_format",
)  # fmt: skip
TAUGHT_FAMILIES = (
    "decimal_arithmetic", "decimal_chain_sum", "simple_equations", "gcd", "lcm", "calendar_arithmetic",
    "coin_flip", "dice", "jugs", "power_function", "bitwise_arithmetic", "fraction_simplification",
    "count_primes", "number_sorting", "number_sequence", "spell_backward", "caesar_cipher",
    "sentence_reordering", "syllogism", "knights_knaves", "base_conversion", "prime_factorization",
    "number_filtering", "ransom_note", "letter_jumble", "propositional_logic", "group_anagrams",
    "word_sequence_reversal", "course_schedule", "string_insertion", "count_bits", "self_reference",
)  # fmt: skip
MAX_WORDS = 90


def name(rng: Random) -> str:
    """A first name, from the list or made of syllables."""
    if rng.random() < 0.6:
        return rng.choice(words.NAMES)
    return "".join(rng.choices(words.SYLLABLES, k=rng.choice((2, 2, 3)))).capitalize()


def thing(rng: Random) -> str:
    """A countable noun, from the list or, rarely, made of syllables."""
    if rng.random() < 0.85:
        return rng.choice(words.THINGS)
    return "".join(rng.choices(words.SYLLABLES, k=2)) + rng.choice("bdgklmnprt")


def _number(rng: Random) -> str:
    kind = rng.random()
    if kind < 0.75:
        return str(rng.randint(1, rng.choice((10, 100, 3000))))
    return f"{rng.randint(1, 99)}.{rng.randint(1, 99)}" if kind < 0.9 else f"{rng.randint(1, 900)},000"


def _fill(pattern: str, rng: Random, person: str | None = None, item: str | None = None) -> str:
    """A pattern with its slots filled; `person` and `item` fix {name} and {a}."""
    text = pattern
    fixed = {"name": person or name(rng), "a": item or thing(rng)}
    makers: dict[str, Callable[[], str]] = {
        "name": lambda: fixed["name"],
        "a": lambda: fixed["a"],
        "other": lambda: name(rng),
        "b": lambda: thing(rng),
        **dict.fromkeys("nmk", lambda: _number(rng)),
        "place": lambda: rng.choice(words.PLACES),
        "adj": lambda: rng.choice(words.ADJECTIVES),
        "verb": lambda: rng.choice(words.VERBS),
        "word": lambda: rng.choice(words.ABSTRACT if rng.random() < 0.7 else words.THINGS),
        "style": lambda: rng.choice(words.STYLES),
        "language": lambda: rng.choice(words.LANGUAGES),
    }
    for slot, make in makers.items():
        while "{" + slot + "}" in text:
            text = text.replace("{" + slot + "}", make(), 1)
    return text


def event(rng: Random, person: str | None = None) -> str:
    """One sentence that states a quantity."""
    return _fill(rng.choice(words.EVENTS), rng, person)


def question(rng: Random, person: str | None = None) -> str:
    """One question about a quantity."""
    return _fill(rng.choice(words.QUESTIONS), rng, person)


def word_problem(rng: Random) -> str:
    """A word problem of the open grammar: one to four statements and a question."""
    person, item = name(rng), thing(rng)
    facts = [_fill(p, rng, person, item) for p in rng.sample(words.EVENTS, rng.randint(1, 4))]
    return " ".join([*facts, _fill(rng.choice(words.QUESTIONS), rng, person, item)])


def _prose(rng: Random) -> str:
    return " ".join(_fill(p, rng) for p in rng.sample(words.PROSE, rng.randint(1, 5)))


def _command(rng: Random) -> str:
    return _fill(rng.choice(words.COMMANDS), rng)


def _code(rng: Random) -> str:
    return "\n".join(_fill(p, rng) for p in rng.sample(words.CODE, rng.randint(1, 2)))


def _language(rng: Random) -> str:
    vocabulary = rng.choice(tuple(words.FRAGMENTS.values())).split()
    parts = [_number(rng) if rng.random() < 0.1 else rng.choice(vocabulary) for _ in range(rng.randint(3, 20))]
    return " ".join(parts).capitalize() + rng.choice((".", "?", ""))


def _gibberish(rng: Random) -> str:
    letters = string.ascii_lowercase + rng.choice(("", string.digits, string.punctuation, " äöüéñ"))
    return " ".join("".join(rng.choices(letters, k=rng.randint(1, 10))) for _ in range(rng.randint(1, 15)))


def _salad(rng: Random) -> str:
    pool = words.ADJECTIVES + words.THINGS + words.VERBS + words.PLACES + words.NAMES
    parts = [_number(rng) if rng.random() < 0.2 else rng.choice(pool) for _ in range(rng.randint(2, 25))]
    return " ".join(parts)


def _short(rng: Random) -> str:
    return rng.choice(("Hello", "Hi there!", "Thanks.", "ok", "?", "...", "yes", "help", "42", "test", " ")) + (
        f" {name(rng)}" if rng.random() < 0.3 else ""
    )


GENERATED: dict[str, Callable[[Random], str]] = {
    "word_problem": word_problem,
    "prose": _prose,
    "asking": lambda rng: _fill(rng.choice(words.ASKING), rng),
    "command": _command,
    "command_with_text": lambda rng: f"{_command(rng)} {_prose(rng)}",
    "code": _code,
    "language": _language,
    "gibberish": _gibberish,
    "salad": _salad,
    "short": _short,
}
_WEIGHTS = {"word_problem": 8, "prose": 2, "command": 2, "short": 0.5}


@cache
def pool(family: str, seed: int, size: int = 300) -> tuple[str, ...]:
    """Questions of one reasoning-gym family, cut to MAX_WORDS words."""
    import reasoning_gym

    data: Any = reasoning_gym.create_dataset(family, seed=seed, size=size)
    return tuple(" ".join(data[i]["question"].split(" ")[:MAX_WORDS]) for i in range(size))


def text(rng: Random, seed: int) -> tuple[str, str]:
    """A training text of a taught family and the name of the family."""
    body, family = _text(rng, seed)
    return (body + " Give the result as your final answer." if rng.random() < 0.1 else body), family


def _text(rng: Random, seed: int) -> tuple[str, str]:
    if rng.random() < 0.3:
        family = rng.choice(TAUGHT_FAMILIES)
        return rng.choice(pool(family, seed)), family
    family = rng.choices(tuple(GENERATED), [_WEIGHTS.get(kind, 1) for kind in GENERATED])[0]
    return GENERATED[family](rng), family
