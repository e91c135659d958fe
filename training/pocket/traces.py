"""Checked training traces for the word-problem model: problems with programs, and near misses.

A positive trace is a `gsm_symbolic` question (possibly with other names in it) and the reply
for it; it is kept only if running the reply exactly gives the generator's own answer. A near miss is such
a question with something changed that takes its answer away or alters its meaning; its reply is `none`.

Seeds: training draws its generators from seeds of TRAIN_SEED and above; anything below a million is left to calibration
and evaluation.
"""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from random import Random
from typing import Any

from surefoot.models.pocket import compact
from surefoot.training.pocket import foreign, lookalikes, word_lists
from surefoot.training.pocket.word_programs import PROGRAMS, program_for

TRAIN_SEED = 10_000_000
TRAILER = " Give the result as your final answer. Do not include units."
NONE = "none"

STAND_INS = (
    "James", "John", "David", "William", "Robert", "Michael", "Emma", "Sophia", "Olivia", "Isabella", "Mia", "Ava",
    "Charlotte", "Richard", "Joseph", "Sarah",
)  # fmt: skip
"""The names that most templates use."""

_CAPITALIZED = re.compile(r"(?<![^\W\d_])[A-Z][^\W\d_]*")
_NAME_KEYS = re.compile(r"(student_)?name\d?|family|teacher")
_THING_KEYS = re.compile(
    r"(food|fruit|item|items|obj|objects|animal|insect|creature|color|colors|c|place|location|sport|sports"
    r"|flavor|game|weapon|drink|liquid|container|facility|product|surface|shop|store|structure|occupation"
    r"|fake_object|obstacle|document|extra_item|hobby)\d?"
)
_SENTENCE_END = re.compile(r"(?<=[.?!])\s+(?=[A-Z0-9])")
_TITLES = ("Mr.", "Mrs.", "Ms.", "Dr.", "Prof.")


@dataclass(frozen=True)
class Problem:
    """One generated question with its template, the generator's answer and the reply of its program."""

    template: int
    question: str
    answer: Fraction
    reply: str
    variables: dict[str, Any]


@dataclass(frozen=True)
class Trace:
    """One training example: prompt text (before rendering), reply, and whether the prompt is typical."""

    text: str
    reply: str
    family: str


def templates() -> tuple[int, ...]:
    """The templates that the data set itself draws from."""
    module = importlib.import_module("reasoning_gym.arithmetic.gsm_symbolic.gsm_symbolic")
    return tuple(module.tasks_ok)


@cache
def _generator(template: int) -> Callable[[Random, float], dict[str, Any]]:
    half = "generators_00_49" if template < 50 else "generators_50_99"
    module = importlib.import_module(f"reasoning_gym.arithmetic.gsm_symbolic.{half}")
    generator: Callable[[Random, float], dict[str, Any]] = getattr(module, f"generate_{template}")
    return generator


def generate(template: int, rng: Random) -> Problem:
    """One instance of a template, not yet checked."""
    entry = _generator(template)(rng, 1.0)
    question = entry["question"]
    variables = entry["metadata"]["variables"]
    return Problem(template, question, Fraction(entry["answer"]), program_for(template, question), variables)


def reproduces(text: str, reply: str, answer: Fraction) -> bool:
    """Whether the reply, run exactly on the numbers of the text, gives the answer."""
    read = compact.program(reply)
    if read is None:
        return False
    try:
        return read.run([Fraction(number) for number in compact.mask(text).numbers]) == answer
    except ValueError:
        return False


def coverage(instances: int, seed: int = TRAIN_SEED) -> dict[int, float]:
    """For each template, the share of instances whose answer its program reproduces exactly."""
    shares: dict[int, float] = {}
    for template in templates():
        made = [generate(template, Random(seed + i)) for i in range(instances)]
        shares[template] = sum(reproduces(p.question, p.reply, p.answer) for p in made) / instances
    return shares


@cache
def names(instances: int = 300, seed: int = TRAIN_SEED) -> compact.Names:
    """How the model reads names: every capitalized word of the taught templates is known."""
    known = {*STAND_INS, *_CAPITALIZED.findall(TRAILER)}
    for template in templates():
        for index in range(instances):
            known |= set(_CAPITALIZED.findall(generate(template, Random(seed + index)).question))
    return compact.Names(frozenset(known), STAND_INS)


def shapes(instances: int = 500, seed: int = TRAIN_SEED) -> list[str]:
    """All plan shapes of the taught templates, sorted."""
    found = set()
    for template in templates():
        made = (generate(template, Random(seed + i)) for i in range(instances))
        found |= {compact.shape(p.reply, len(compact.mask(p.question).numbers)) for p in made}
    return sorted(found)


def checked(rng: Random) -> Problem:
    """A random problem whose program reproduces its answer."""
    while True:
        problem = generate(rng.choice(_learnable()), rng)
        if reproduces(problem.question, problem.reply, problem.answer):
            return problem


@cache
def _learnable() -> tuple[int, ...]:
    return tuple(template for template in templates() if template in PROGRAMS)


def positive(rng: Random) -> Trace:
    """A problem with its reply, with light changes that leave the answer alone."""
    problem = checked(rng)
    text = _varied(problem, rng)
    if not reproduces(text, problem.reply, problem.answer):
        text = problem.question
    return Trace(_finished(text, rng), problem.reply, "positive")


def near_miss(rng: Random) -> Trace:
    """A changed problem that the model must not answer."""
    while True:
        problem = checked(rng)
        text = _varied(problem, rng)
        kind = rng.choices(tuple(_MISSES), [_WEIGHTS.get(kind, 1) for kind in _MISSES])[0]
        changed = _MISSES[kind](text, problem, rng)
        if changed is not None and changed != text:
            return Trace(_finished(changed, rng), NONE, f"near:{kind}")


def _finished(text: str, rng: Random) -> str:
    """The text with or without the data set's trailing sentences, and as people type: a mark or a capital may lack."""
    text = text.strip()
    if rng.random() < 0.2:
        text = _sloppy(text, rng)
    if rng.random() < 0.6:
        return text + TRAILER
    return text.rstrip("?.") if rng.random() < 0.15 else text


def _sloppy(text: str, rng: Random) -> str:
    """Without one of its commas, or all, or without its first capital; numbers keep theirs."""
    commas = [match.start() for match in re.finditer(r",(?![0-9])", text)]
    if rng.random() < 0.25 or not commas:
        return text[:1].lower() + text[1:]
    gone = set(commas if rng.random() < 0.4 else rng.sample(commas, 1))
    return "".join(letter for place, letter in enumerate(text) if place not in gone)


def _varied(problem: Problem, rng: Random) -> str:
    """The question, half of the time with other names in it: those that stand in for unknown ones."""
    if rng.random() < 0.5:
        return rename(problem.question, problem, lambda: rng.choice(STAND_INS))
    return problem.question


def _values(problem: Problem, keys: re.Pattern[str]) -> list[str]:
    """All string values of the variables whose key matches."""
    values: list[str] = []
    for key, value in problem.variables.items():
        if keys.fullmatch(key):
            values += [v for v in (value if isinstance(value, list) else [value]) if isinstance(v, str)]
    return values


def rename(text: str, problem: Problem, pick: Callable[[], str]) -> str:
    """Give each person of the text another name, drawn by `pick`."""
    for value in _values(problem, _NAME_KEYS):
        word = value.split(" ")[-1]
        if not re.fullmatch(r"[A-Z][a-z]+", word) or (" " in value and not value.startswith(_TITLES)):
            continue
        other = pick()
        if other not in text:
            text = re.sub(rf"\b{word}\b", other, text)
    return text


def sentences(text: str) -> list[str]:
    """The sentences of a text; titles such as "Dr." do not end one."""
    parts: list[str] = []
    for part in _SENTENCE_END.split(text):
        if parts and parts[-1].endswith(_TITLES):
            parts[-1] += " " + part
        else:
            parts.append(part)
    return parts


def _drop_fact(text: str, problem: Problem, rng: Random) -> str | None:
    """Leave out one sentence whose numbers the program needs."""
    parts = sentences(text)
    read = compact.program(problem.reply)
    if len(parts) < 2 or read is None:
        return None
    used, start, candidates = read.used(), 0, []
    for index, part in enumerate(parts):
        count = len(compact.mask(part).numbers)
        if any(f"n{i}" in used for i in range(start, start + count)):
            candidates.append(index)
        start += count
    if not candidates:
        return None
    index = rng.choice(candidates)
    return " ".join(parts[:index] + parts[index + 1 :])


def _drop_question(text: str, problem: Problem, rng: Random) -> str | None:
    parts = sentences(text)
    return " ".join(parts[:-1]) if len(parts) > 1 else None


def _question_only(text: str, problem: Problem, rng: Random) -> str | None:
    parts = sentences(text)
    return parts[-1] if len(parts) > 1 else None


def _other_question(text: str, problem: Problem, rng: Random) -> str | None:
    """Ask another question: one of another template, or one of the open grammar."""
    parts = sentences(text)
    other = checked(rng)
    if len(parts) < 2 or other.template == problem.template:
        return None
    name = next((v for v in _values(problem, _NAME_KEYS) if v in text), None)
    question = foreign.question(rng, name) if rng.random() < 0.5 else sentences(other.question)[-1]
    return " ".join([*parts[:-1], question])


def _shuffle(text: str, problem: Problem, rng: Random) -> str | None:
    parts = sentences(text)
    return " ".join(rng.sample(parts, len(parts))) if len(parts) > 2 else None


def _mix(text: str, problem: Problem, rng: Random) -> str | None:
    """The beginning of one problem and the end of another."""
    other = checked(rng)
    first, second = sentences(text), sentences(other.question)
    if len(first) < 2 or len(second) < 2 or other.template == problem.template:
        return None
    return " ".join(first[: rng.randint(1, len(first) - 1)] + second[rng.randint(1, len(second) - 1) :])


def _cut(text: str, problem: Problem, rng: Random) -> str | None:
    """Stop in the middle, at least three words before the end."""
    words = text.split()
    return " ".join(words[: rng.randint(3, len(words) - 3)]) if len(words) > 8 else None


def _insert(text: str, problem: Problem, rng: Random) -> str | None:
    """Insert a sentence of the open grammar, which may change what is asked."""
    parts = sentences(text)
    name = next((v for v in _values(problem, _NAME_KEYS) if v in text), None)
    index = rng.randint(0, len(parts) - 1)
    return " ".join([*parts[:index], foreign.event(rng, name), *parts[index:]])


def _swap_word(text: str, problem: Problem, rng: Random) -> str | None:
    """Replace one word that carries quantity or direction by a different one."""
    found = [(m, w) for w in word_lists.SWAPS for m in re.finditer(rf"\b{w}\b", text)]
    if not found:
        return None
    match, word = rng.choice(found)
    changed = text[: match.start()] + rng.choice(word_lists.SWAPS[word]) + text[match.end() :]
    return changed if program_for(problem.template, changed) == problem.reply else None


def _lose_number(text: str, problem: Problem, rng: Random) -> str | None:
    """Replace one numeral by a vague word, or leave it out."""
    found = list(re.finditer(r"\d+(?:[.,/]\d+)*", text))
    if not found:
        return None
    match = rng.choice(found)
    return text[: match.start()] + rng.choice(("some", "several", "many", "", "a few")) + text[match.end() :]


def _instruct(text: str, problem: Problem, rng: Random) -> str | None:
    """Put a request before or after that asks for something else than the answer."""
    request = rng.choice(word_lists.REQUESTS_ABOUT_A_TEXT)
    return f"{request} {text}" if rng.random() < 0.6 else f"{text} {request}"


def with_question(text: str, question: str) -> str:
    """The text with its final question replaced; a condition ("If ..., how") keeps its first half."""
    *facts, last = sentences(text)
    condition = re.match(r"(If .*, )(?:how|what|calculate)", last)
    if question[0].islower():
        last = (condition.group(1) if condition else "Now, ") + question
    else:
        last = question
    return " ".join([*facts, last])


def _lookalike(text: str, problem: Problem, rng: Random) -> str | None:
    """Keep the facts and ask something else about them."""
    if problem.template in lookalikes.HELD_OUT:
        return None
    question = lookalikes.question(problem.template, problem.variables, rng)
    return with_question(problem.question, question) if question else None


def _spoken_of(text: str, problem: Problem) -> list[str]:
    """Names and things of one word that the text has."""
    found = {v for v in [*_values(problem, _NAME_KEYS), *_values(problem, _THING_KEYS)] if v in text}
    return sorted(v for v in found if re.fullmatch(r"[A-Za-z]{3,}", v))


def _exchange(text: str, problem: Problem, rng: Random) -> str | None:
    """Put one name or thing of the text where another one stood, once."""
    values = _spoken_of(text, problem)
    if len(values) < 2:
        return None
    old, new = rng.sample(values, 2)
    if old[0].isupper() != new[0].isupper():
        return None
    match = rng.choice(list(re.finditer(rf"\b{old}", text)) or [None])
    return None if match is None else text[: match.start()] + new + text[match.end() :]


def _exchange_asked(text: str, problem: Problem, rng: Random) -> str | None:
    """The same in the last sentence alone: the question is about another name or thing of the text."""
    *facts, last = sentences(text)
    start = last.lower().rfind("how ") if "how " in last.lower() else 0
    values = _spoken_of(text, problem)
    asked = [v for v in values if re.search(rf"\b{v}", last[start:])]
    if not asked or len(values) < 2:
        return None
    old = rng.choice(asked)
    others = [v for v in values if v != old and v[0].isupper() == old[0].isupper() and v not in last[start:]]
    if not others:
        return None
    changed = last[:start] + re.sub(rf"\b{old}", rng.choice(others), last[start:], count=1)
    return " ".join([*facts, changed])


def _both(text: str, problem: Problem, rng: Random) -> str | None:
    return f"{text} {checked(rng).question}"


_MISSES = {
    miss.__name__.removeprefix("_"): miss
    for miss in (
        _drop_fact, _drop_question, _question_only, _other_question, _shuffle, _mix, _cut, _insert, _swap_word,
        _lose_number, _instruct, _both, _lookalike, _exchange, _exchange_asked,
    )
}  # fmt: skip

_WEIGHTS = {"lookalike": 5, "exchange_asked": 8, "exchange": 3, "swap_word": 2}
"""How often a kind of near miss is tried; the first three suit few problems."""


def mixed(rng: Random, pool_seed: int) -> Trace:
    """One training trace: more than half positives, then near misses, and some foreign texts."""
    share = rng.random()
    if share < 0.55:
        return positive(rng)
    if share < 0.90:
        return near_miss(rng)
    text, family = foreign.text(rng, pool_seed)
    text = text + TRAILER if rng.random() < 0.15 else text
    return Trace(text, NONE, f"foreign:{family}")


if __name__ == "__main__":
    print(json.dumps(coverage(500)))
