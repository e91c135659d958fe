"""When does search pay? Countdown with four numbers, and judges of states that are right 50 to 100 % of the time.

    python -m benchmarks.search [--quick] [--json] [--seed S] [--peer-python PATH]

`docs/search.md` says what is measured, and what came out.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from random import Random
from typing import Any

from benchmarks.harness import Row, finish, machine, note, show
from examples.countdown_search import SIGNS, Countdown, Numbers, State, combine
from surefoot.planners.search.router import Router, measure
from surefoot.planners.search.space import Budget, Found, Offer
from surefoot.planners.search.strategies import STRATEGIES, many
from surefoot.planners.search.tree import Tree
from surefoot.reflection.rates import Beta

ACCURACIES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
TOKENS = 1_200
"""Of each search: 100 proposed steps, if nothing were judged."""
LABELLED = 400
"""States with their truth, for the router to measure the judge on."""

# --- the truth, for scoring and for making judges only ------------------------------------------------------------


@lru_cache(maxsize=1_000_000)
def solvable(target: int, numbers: Numbers) -> bool:
    if len(numbers) == 1:
        return numbers[0] == target
    for i, a in enumerate(numbers):
        for j in range(i + 1, len(numbers)):
            left = numbers[:i] + numbers[i + 1 : j] + numbers[j + 1 :]
            for sign in SIGNS:
                made = combine(a, sign, numbers[j])
                if made is not None and solvable(target, tuple(sorted((*left, made), reverse=True))):
                    return True
    return False


def problem(rng: Random) -> State:
    """Four numbers and a target that they reach; most of what they reach is reached in few ways."""
    while True:
        numbers = tuple(sorted((Fraction(rng.randint(1, 25)) for _ in range(4)), reverse=True))
        target = rng.randint(100, 400)
        if solvable(target, numbers):
            return target, numbers


class Judge:
    """Says whether a state can still be solved, and is wrong about a fixed share of states: asking again tells nothing
    new."""

    name = "judge"
    tokens = 6

    def __init__(self, accuracy: float, seed: str) -> None:
        self.accuracy = accuracy
        self.seed = seed

    async def __call__(self, states: Sequence[State]) -> list[float]:
        return [self.say(state) for state in states]

    def say(self, state: State) -> float:
        word = f"{self.seed} {state[0]} {[str(one) for one in state[1]]}".encode()
        drawn = int.from_bytes(hashlib.blake2b(word, digest_size=8).digest()) / 2**64
        truth = solvable(*state)
        # A little noise below the word itself settles ties.
        return 0.9 * (truth if drawn < self.accuracy else not truth) + 0.1 * (drawn * 997 % 1)


class Blind(Countdown):
    """Countdown where no exact rule says that the target is reached: the judge has to choose among final states."""

    def solved(self, state: State) -> bool:
        return False


# --- cells --------------------------------------------------------------------------------------------------------


async def cell(strategy: str, accuracy: float, acceptor: str, problems: Sequence[State], seed: str) -> Row:
    """One strategy, led by one judge. acceptor: `exact` stops at the target; `judge` hands in what the judge likes."""
    right = tokens = nodes = 0
    space = Countdown() if acceptor == "exact" else Blind()
    judge = Judge(accuracy, seed)
    for place, start in enumerate(problems):
        budget = Budget(TOKENS)
        found = await STRATEGIES[strategy](space, start, judge, budget, Random(f"{seed} {strategy} {place}"))
        right += found.actions is not None if acceptor == "exact" else _handed_in(found, judge)
        tokens += budget.spent
        nodes += found.nodes
        if budget.spent > TOKENS * 1.1 + 250:
            raise AssertionError(f"{strategy} spent {budget.spent} of {TOKENS} tokens")
    low, high = Beta(right, len(problems) - right).interval()
    return {
        "acceptor": acceptor,
        "accuracy": accuracy,
        "strategy": strategy,
        "problems": len(problems),
        "solved": round(right / len(problems), 4),
        "low": round(low, 4),
        "high": round(high, 4),
        "tokens": round(tokens / len(problems)),
        "states": round(nodes / len(problems), 1),
    }


def _handed_in(found: Found, judge: Judge) -> bool:
    ends = {state for _, state in found.ends}
    return bool(ends) and solvable(*max(ends, key=lambda state: (judge.say(state), str(state))))


def labelled(judge: Judge, rng: Random, count: int) -> list[tuple[State, bool]]:
    """States after one or two random steps, with their truth."""
    space, found = Countdown(), []
    while len(found) < count:
        state = problem(rng)
        for _ in range(rng.randint(1, 2)):
            offers = space.offers(state, 1, rng)
            state = space.apply(state, offers[0].action) if offers else state
        found.append((state, solvable(*state)))
    return found


# --- nodes a second -----------------------------------------------------------------------------------------------


class Endless:
    """A space without an end, whose policy and value cost nothing: what is left is the tree itself."""

    name, tokens = "flat", 0

    def apply(self, state: int, action: int) -> int:
        return (state * 8 + action + 1) % 2**61

    def key(self, state: int) -> int:
        return state

    def solved(self, state: int) -> bool:
        return False

    dead = solved

    async def propose(self, states: Sequence[int], n: int, rng: Random) -> list[list[Offer]]:
        return [[Offer(action, 1.0) for action in range(n)] for _ in states]

    async def __call__(self, states: Sequence[int]) -> list[float]:
        return [(state * 2_654_435_761 % 1000) / 1000 for state in states]


def pace(nodes: int) -> float:
    """Microseconds a node of our tree, with PUCT."""
    space: Any = Endless()
    tree = Tree(space, 1, Budget(nodes=nodes), Random(0))
    began = time.perf_counter()
    asyncio.run(many([tree], space))
    return (time.perf_counter() - began) / len(tree.nodes) * 1e6


PEER = """
import random, sys, time
import treequest as tq
def step(parent):
    return (object(), random.random())
algo = tq.ABMCTSA() if sys.argv[2] == "abmcts-a" else tq.StandardMCTS(samples_per_action=1)
tree = algo.init_tree()
began = time.perf_counter()
for _ in range(int(sys.argv[1])):
    tree = algo.step(tree, {"go": step})
print((time.perf_counter() - began) / int(sys.argv[1]) * 1e6)
"""


def peer(python: str, algorithm: str, nodes: int) -> float | None:
    """Microseconds a node of TreeQuest, in a Python that has it; None where that does not work."""
    command = [python, "-c", PEER, str(nodes), algorithm]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        note(f"TreeQuest {algorithm}: {(done.stderr.strip().splitlines() or ['failed'])[-1]}")
        return None
    return float(done.stdout.split()[-1])


# --- the whole ----------------------------------------------------------------------------------------------------


def pays(rows: Sequence[Mapping[str, Any]], acceptor: str) -> float | None:
    """The least accuracy from which on a tree search is better than best-of-n, intervals apart."""
    found = None
    for accuracy in reversed(ACCURACIES):
        mine = [row for row in rows if row["acceptor"] == acceptor and row["accuracy"] == accuracy]
        flat = next((row for row in mine if row["strategy"] == "best-of-n"), None)
        trees = [row for row in mine if row["strategy"] in ("puct", "gumbel")]
        if flat is None or not any(row["low"] > flat["high"] for row in trees):
            break
        found = accuracy
    return found


def parser() -> argparse.ArgumentParser:
    said = argparse.ArgumentParser(prog="python -m benchmarks.search", description=(__doc__ or "").splitlines()[0])
    said.add_argument("--quick", action="store_true", help="few problems, under two minutes")
    said.add_argument("--json", action="store_true", help="nothing but the JSON line on stdout")
    said.add_argument("--seed", type=int, default=0, help="of problems, judges and searches")
    said.add_argument("--problems", type=int, help="for each cell")
    said.add_argument("--peer-python", help="a Python that has treequest installed, to measure it beside ours")
    return said


def main() -> int:
    options = parser().parse_args()
    note(machine())
    count = options.problems or (40 if options.quick else 400)
    rng = Random(options.seed)
    problems = [problem(rng) for _ in range(count)]
    rows: list[Row] = []
    for acceptor in ("exact", "judge"):
        for accuracy in ACCURACIES:
            for strategy in STRATEGIES:
                rows.append(asyncio.run(cell(strategy, accuracy, acceptor, problems, f"{options.seed}")))
            note(f"{acceptor} {accuracy}: " + ", ".join(f"{row['strategy']} {row['solved']}" for row in rows[-4:]))
    routed: list[Row] = []
    for accuracy in ACCURACIES:
        judge = Judge(accuracy, f"router {options.seed}")
        seen = asyncio.run(measure(judge, labelled(judge, Random(f"labelled {options.seed}"), LABELLED)))
        routed.append({"accuracy": accuracy, "measured": round(seen.mean, 4), "router": Router(seen).choose()})
    paces: list[Row] = [{"tree": "surefoot PUCT", "nodes": 20_000, "us_per_node": round(pace(20_000), 1)}]
    for algorithm, nodes in (("standard", 300), ("abmcts-a", 100)) if options.peer_python else ():
        paces.append({"tree": f"TreeQuest {algorithm}", "nodes": nodes})
        paces[-1]["us_per_node"] = peer(options.peer_python, algorithm, nodes)
    found = [{"acceptor": one, "pays_from": pays(rows, one)} for one in ("exact", "judge")]
    if not options.json:
        for part, title in ((rows, "Countdown"), (routed, "Router"), (paces, "Pace"), (found, "Search pays from")):
            show(part, title)
    finish([*rows, *routed, *paces, *found])
    return 0


if __name__ == "__main__":
    sys.exit(main())
