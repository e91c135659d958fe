"""When does search pay? Countdown with four numbers, and judges of states that are right 50 to 100 % of the time.

    python -m benchmarks.search [--quick] [--json] [--seed S] [--tokens 600,1200] [--problems N] [--peer-python PATH]

`docs/search.md` says what is measured, and what came out.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import subprocess
import time
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import product
from random import Random
from typing import Any

from benchmarks.harness import Row, WrongResult, command, finish, fresh, machine, note, numbers
from examples.countdown_search import Countdown, Nearness, State, actions
from surefoot.planners.search import Offer, Router, Value, measure
from surefoot.planners.search.drive import Problem, drive
from surefoot.planners.search.space import Budget, Found
from surefoot.planners.search.strategies import STRATEGIES, simulations
from surefoot.reflection.rates import Beta

ACCURACIES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
TOKENS = (600, 1200, 2400)
"""Of each search. A proposed step costs 12, the judge's word on a state 6; exact rules cost nothing."""
LABELLED = 400
"""States with their truth that a judge is measured on, for the router."""
ACCEPTORS = ("rule", "judge")
"""What makes a final state a result: an exact rule, or that no other is liked better by the judge."""

# --- the truth: for scoring, and for making judges -------------------------------------------------------------------


def solvable(target: int, numbers: Sequence[int]) -> bool:
    """Whether the target can be reached with all of the numbers, the largest first."""
    if len(numbers) == 1:
        return numbers[0] == target
    if len(numbers) == 2:
        a, b = numbers
        return target in (a + b, a * b, a - b) or target * b == a
    for a, _, b, made in actions(numbers):
        left = list(numbers)
        left.remove(a)
        left.remove(b)
        if solvable(target, sorted((*left, made), reverse=True)):
            return True
    return False


def problem(rng: Random) -> State:
    """Four numbers up to 25 and a target between 100 and 400 that can be reached, most often in few ways."""
    while True:
        numbers = tuple(sorted((rng.randint(1, 25) for _ in range(4)), reverse=True))
        target = rng.randint(100, 400)
        if solvable(target, numbers):
            return target, numbers


class Judge:
    """Says whether a state can still be solved, and is wrong about a fixed share of states: asking again tells nothing
    new."""

    tokens = 6

    def __init__(self, accuracy: float, seed: str) -> None:
        self.accuracy = accuracy
        self.seed = seed
        self.name = f"right {accuracy}"

    async def __call__(self, states: Sequence[State]) -> list[float]:
        return [float(solvable(*state) == self.right(state)) for state in states]

    def right(self, state: State) -> bool:
        drawn = hashlib.blake2b(f"{self.seed} {state}".encode(), digest_size=8).digest()
        return int.from_bytes(drawn) / 2**64 < self.accuracy


class Blind(Countdown):
    """Countdown where no exact rule says that the target is reached: the judge has to choose among final states."""

    def solved(self, state: State) -> bool:
        return False

    dead = solved


@lru_cache
def labelled(seed: int, count: int) -> list[tuple[State, bool]]:
    """States after one or two random steps, half of them solvable, with their truth."""
    space, rng, found = Countdown(1, [1]), Random(f"labelled {seed}"), []
    for place in range(count):
        while True:
            state = problem(rng)
            for _ in range(rng.randint(1, 2)):
                state = space.apply(state, rng.choice(list(actions(state[1]))))
            if solvable(*state) == bool(place % 2):
                break
        found.append((state, solvable(*state)))
    return found


# --- cells --------------------------------------------------------------------------------------------------------


def solve(strategy: str, judge: Value, acceptor: str, problems: Sequence[State], tokens: int, seed: str) -> list[Found]:
    """All problems by one strategy, led by one judge, side by side."""
    space = Countdown(1, [1]) if acceptor == "rule" else Blind(1, [1])
    tasks = [
        Problem(space, start, Budget(tokens), Random(f"{seed} {place}"), judge.tokens, acceptor == "judge")
        for place, start in enumerate(problems)
    ]
    found = asyncio.run(drive(space, judge, [(one, STRATEGIES[strategy](one)) for one in tasks]))
    for one in found:
        if one.tokens > tokens:
            raise WrongResult(f"{strategy} spent {one.tokens} of {tokens} tokens")
    return found


def right(problems: Sequence[State], found: Sequence[Found]) -> list[bool]:
    """Which problems were solved: the way that was found is walked again, by the rules of the game."""
    space, said = Countdown(1, [1]), []
    for start, one in zip(problems, found, strict=True):
        state = start
        for action in one.best.actions if one.best is not None else ():
            if action not in actions(state[1]):
                raise WrongResult(f"{action} is no step from {state}")
            state = space.apply(state, action)
        said.append(space.solved(state))
    return said


def row(part: str, judge: str, strategy: str, tokens: int, found: Sequence[Found], said: Sequence[bool]) -> Row:
    rate = Beta(sum(said), len(said) - sum(said))
    low, high = rate.interval()
    return {
        "acceptor": part,
        "judge": judge,
        "strategy": strategy,
        "tokens": tokens,
        "problems": len(said),
        "solved": round(sum(said) / len(said), 4),
        "low": round(low, 4),
        "high": round(high, 4),
        "spent": round(sum(one.tokens for one in found) / len(found)),
        "states": round(sum(one.states for one in found) / len(found), 1),
    }


def better(one: Sequence[bool], other: Sequence[bool]) -> int:
    """1 where `one` solved more of the same problems than `other`, -1 where fewer, 0 where that may be chance.

    Among problems that only one of the two solved, the share of the first, with Jeffreys' 95 % interval.
    """
    won = sum(a and not b for a, b in zip(one, other, strict=True))
    lost = sum(b and not a for a, b in zip(one, other, strict=True))
    low, high = Beta(won, lost).interval()
    return (low > 0.5) - (high < 0.5)


SIGNS = {1: "better", 0: "no difference", -1: "worse"}


def cells(judges: Sequence[Value], problems: Sequence[State], budgets: Iterable[int], seed: int) -> tuple[Rows, Rows]:
    """A row for each acceptor, judge, budget and strategy; and the tree searches against best-of-n."""
    rows: Rows = []
    against: Rows = []
    router = {judge.name: route(judge, seed) for judge in judges}
    for acceptor, tokens, judge in product(ACCEPTORS, budgets, judges):
        said = {}
        for strategy in STRATEGIES:
            found = solve(strategy, judge, acceptor, problems, tokens, f"{seed} {strategy}")
            said[strategy] = right(problems, found)
            rows.append(row(acceptor, judge.name, strategy, tokens, found, said[strategy]))
        note(f"{acceptor} {tokens} {judge.name}: {', '.join(f'{k} {sum(v)}' for k, v in said.items())}")
        against.append(compare(acceptor, judge, tokens, said, router[judge.name]))
    return rows, against


def compare(acceptor: str, judge: Value, tokens: int, said: dict[str, list[bool]], router: Router) -> Row:
    """How the tree searches did against best-of-n, and whether the router would have taken the worse side."""
    space = Countdown(1, [1])
    signs = {one: better(said[one], said["best-of-n"]) for one in ("beam", "puct", "gumbel")}
    budget = Problem(space, None, Budget(tokens), Random(0), judge.tokens)
    chosen = router.choose(simulations(budget))
    loss = signs["puct"] > 0 if chosen == "best-of-n" else signs[chosen] < 0
    return {
        "acceptor": acceptor,
        "judge": judge.name,
        "tokens": tokens,
        **{one: SIGNS[sign] for one, sign in signs.items()},
        "measured": round(router.accuracy.mean, 3),
        "at least": round(router.accuracy.lower(), 3),
        "router": chosen,
        "router is": "wrong" if loss else "right",
    }


def route(judge: Value, seed: int) -> Router:
    """A router for a judge that was measured on a labelled sample of states."""
    return Router(asyncio.run(measure(judge, labelled(seed, LABELLED))))


def pays(against: Sequence[Row], acceptor: str, tokens: int) -> Row:
    """The least accuracy from which on PUCT is better than best-of-n, and the least from which on it is not worse."""
    mine = [one for one in against if one["acceptor"] == acceptor and one["tokens"] == tokens]
    found: dict[str, float | None] = {"better": None, "no worse": None}
    for name, wanted in (("better", ("better",)), ("no worse", ("better", "no difference"))):
        for accuracy in reversed(ACCURACIES):
            if not any(one["judge"] == f"right {accuracy}" and one["puct"] in wanted for one in mine):
                break
            found[name] = accuracy
    return {"acceptor": acceptor, "tokens": tokens, "puct better from": found["better"], "no worse": found["no worse"]}


# --- microseconds a node ------------------------------------------------------------------------------------------


class Endless:
    """A space without an end, whose policy and value cost nothing: what is left is the tree itself."""

    name, tokens = "flat", 0

    def start(self) -> int:
        return 1

    async def propose(self, states: Sequence[int], n: int, seeds: Sequence[int]) -> list[list[Offer]]:
        return [[Offer(action) for action in range(n)] for _ in states]

    def apply(self, state: int, action: int) -> int:
        return (state * 8 + action + 1) % 2**61

    def key(self, state: int) -> int:
        return state

    def solved(self, state: int) -> bool:
        return False

    dead = solved

    async def __call__(self, states: Sequence[int]) -> list[float]:
        return [(state * 2_654_435_761 % 1000) / 1000 for state in states]


def pace(strategy: str, nodes: int) -> Row:
    """One tree of ours. A node is one that was expanded, as a peer's is: each has the states that it leads to beside
    it, judged too."""
    space: Any = Endless()
    task = Problem(space, 1, Budget(float("inf"), nodes), Random(0))
    began = time.perf_counter()
    (found,) = asyncio.run(drive(space, space, [(task, STRATEGIES[strategy](task))]))
    wall = time.perf_counter() - began
    each = round(wall / found.simulations * 1e6, 1)
    return {"tree": f"surefoot {strategy}", "nodes": nodes, "us a node": each, "states": found.states}


PEER = """
import random, sys, time
from importlib import metadata
import treequest
sys.setrecursionlimit(1_000_000)  # it copies its tree at every step, by recursion
def step(parent):
    return object(), random.random()
search = treequest.ABMCTSA() if sys.argv[2] == "AB-MCTS-A" else treequest.StandardMCTS(samples_per_action=1)
tree, count = search.init_tree(), int(sys.argv[1])
began = time.perf_counter()
for _ in range(count):
    tree = search.step(tree, {"go": step})
print((time.perf_counter() - began) / count * 1e6, metadata.version("treequest"))
"""


def peer(python: str, algorithm: str, nodes: int) -> Row | None:
    """A tree of TreeQuest, in a Python that has it; None where that does not work."""
    command = [python, "-c", PEER, str(nodes), algorithm]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        note(f"TreeQuest {algorithm}: {(done.stderr.strip().splitlines() or ['failed'])[-1]}")
        return None
    each, version = done.stdout.split()
    return {"tree": f"TreeQuest {version} {algorithm}", "nodes": nodes, "us a node": round(float(each), 1)}


def paces(python: str | None) -> Rows:
    ours = [(strategy, nodes) for strategy in ("puct", "gumbel") for nodes in (100, 300, 10_000)]
    found: Rows = [fresh("benchmarks.search:pace", strategy=strategy, nodes=nodes) for strategy, nodes in ours]
    if python is None:
        note("TreeQuest: skipped; name a Python that has it with --peer-python")
        return found
    for algorithm in ("MCTS", "AB-MCTS-A"):
        found += [one for nodes in (100, 300) if (one := peer(python, algorithm, nodes)) is not None]
    return found


# --- the whole ----------------------------------------------------------------------------------------------------

Rows = list[Row]


def table(rows: Sequence[Row]) -> Rows:
    """The share solved: a line for each acceptor, budget and strategy, a column for each judge."""
    lines: dict[tuple[str, int, str], Row] = {}
    for one in rows:
        key = (one["acceptor"], one["tokens"], one["strategy"])
        line = lines.setdefault(key, {"acceptor": key[0], "tokens": key[1], "strategy": key[2]})
        line[one["judge"].removeprefix("right ")] = one["solved"]
    return list(lines.values())


def parser() -> argparse.ArgumentParser:
    quick = "few problems and one budget, under two minutes"
    said = command("search", __doc__, "of problems, judges and searches", quick)
    said.add_argument("--tokens", type=numbers(1), help="budgets of a search, parted by commas")
    said.add_argument("--problems", type=int, help="for each cell")
    said.add_argument("--peer-python", help="a Python that has treequest installed, to measure it beside ours")
    return said


def main() -> None:
    options = parser().parse_args()
    note(machine())
    budgets = options.tokens or ([1200] if options.quick else list(TOKENS))
    rng = Random(options.seed)
    problems = [problem(rng) for _ in range(options.problems or (150 if options.quick else 600))]
    judges: list[Value] = [Judge(accuracy, f"judge {options.seed}") for accuracy in ACCURACIES]
    rows, against = cells([*judges, Nearness()], problems, budgets, options.seed)
    found = [pays(against, acceptor, tokens) for acceptor in ACCEPTORS for tokens in budgets]
    timed = paces(options.peer_python)
    finish(
        [*rows, *against, *found, *timed],
        options.json,
        (table(rows), f"Share of {len(problems)} problems solved, by the judge's accuracy"),
        (against, "Against best-of-n, on the same problems; and what the router says"),
        (found, "Search pays from"),
        ([{"states": None} | one for one in timed], "Time of the tree itself"),
    )


if __name__ == "__main__":
    main()
