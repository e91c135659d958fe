"""Policies that nobody measured: drawn at random, and recorded votes of a real model."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import exp, log
from pathlib import Path
from random import Random

from benchmarks.harness import Row

KINDS = ("uniform", "attractors", "zipf", "systematic", "bimodal", "pairs")


@dataclass(frozen=True)
class Prompt:
    """A question: how to draw an answer to it, and the right one."""

    draw: Callable[[Random], str]
    answer: str
    kind: str = "question"


# --- policies drawn at random ---------------------------------------------------------------------------------


def drawn(seed: int, number: int) -> Row:
    """What a policy is like: right .1 to .995 of the time, any spread over prompts, six ways of being wrong."""
    rng = Random(f"first contact {seed} {number}")
    kind = KINDS[number % len(KINDS)]
    p = 1 - exp(rng.uniform(log(0.005), log(0.9)))
    spread = None if rng.random() < 0.3 else exp(rng.uniform(log(0.3), log(30)))
    more = {
        "uniform": rng.uniform(0.05, 0.5),
        "attractors": exp(rng.uniform(log(0.3), log(10))),
        "zipf": 1.5,
        "systematic": rng.uniform(0, 0.1),
        "bimodal": rng.uniform(0, 0.5),
        "pairs": rng.uniform(0.5, 0.9),
    }[kind]
    return {"policy": f"{seed}-{number}", "kind": kind, "p": p, "spread": spread, "more": more}


def prompts(policy: Row, seed: int) -> Iterator[Prompt]:
    """Prompts without end; the right answer to each is "0".

    uniform: wrong answers among 1/more. attractors: a Dirichlet of total weight `more` over 40, of each prompt its own.
    zipf: shares 1/rank^more. systematic: on a share `more` of the prompts one wrong answer has .7 to .98.
    bimodal: a share `more` of the prompts is hard (right .02 to .4), the others easy. pairs: two wrong answers.
    """
    rng = Random(f"prompts {policy['policy']} {seed}")
    kind, p, spread, more = policy["kind"], policy["p"], policy["spread"], policy["more"]
    while True:
        q = p if spread is None else rng.betavariate(p * spread, (1 - p) * spread)
        weights = [1.0] * max(1, round(1 / more)) if kind == "uniform" else [1.0] * 10
        if kind == "attractors":
            weights = [rng.gammavariate(more / 40, 1) + 1e-300 for _ in range(40)]
        elif kind == "zipf":
            weights = [rank**-more for rank in range(1, 21)]
        elif kind == "pairs":
            weights = [more, 1 - more]
        elif kind == "bimodal" and rng.random() < more:
            q = rng.uniform(0.02, 0.4)
        elif kind == "systematic" and rng.random() < more:
            top = rng.uniform(0.7, 0.98)
            q, weights = (1 - top) / 2, [top, *[(1 - top) / 16] * 8]
        yield Prompt(_drawer(q, weights), "0")


def _drawer(q: float, weights: list[float]) -> Callable[[Random], str]:
    forms = range(1, len(weights) + 1)
    return lambda rng: "0" if rng.random() < q else str(rng.choices(forms, weights)[0])


# --- recorded votes -------------------------------------------------------------------------------------------


def recorded(path: str, order: int, forms: int) -> list[Prompt]:
    """Prompts of a file of votes, in an order of chance; with two forms their samples come in turn."""
    rows = json.loads(Path(path).read_text())
    Random(order).shuffle(rows)
    return [Prompt(_player(row, forms), _said(row["a"]), row["kind"]) for row in rows]


def _player(row: Row, forms: int) -> Callable[[Random], str]:
    first, second = iter(row["s"]), iter(row.get("s2", ()))
    turn = 0

    def draw(_: Random) -> str:
        nonlocal turn
        turn += 1
        said = next(second if forms == 2 and turn % 2 == 0 else first, None)
        return _said(said) if said is not None else f"none left {turn}"

    return draw


def _said(text: str) -> str:
    with contextlib.suppress(ValueError, LookupError, TypeError):
        text = str(json.loads(text)["answer"])
    return text.strip().strip(".").lower()
