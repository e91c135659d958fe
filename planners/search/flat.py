"""Search without a tree: whole attempts, and beams."""

from __future__ import annotations

from collections.abc import Generator, Hashable, Sequence
from typing import Any

from surefoot.planners.search.drive import Ask, Judge, Problem, Search, ask, judge
from surefoot.planners.search.space import Action, End, Found, State

DEPTH = 64
"""Steps after which an attempt or a beam is cut off."""

Way = tuple[tuple[Action, ...], State]
"""A state, and the actions that led there."""


class Record:
    """What a flat search has seen."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.seen: set[Hashable] = set()
        self.said: dict[Hashable, float] = {}
        self.ends: dict[Hashable, tuple[Way, int]] = {}
        """Final states, and how often each was reached."""

    def end(self, way: Way) -> None:
        key = self.problem.space.key(way[1])
        first, count = self.ends.get(key, (way, 0))
        self.ends[key] = (first, count + 1)

    def values(self, states: Sequence[State]) -> Generator[Judge, Any, list[float]]:
        """Values of states, each asked for once. Who asked for what led to them has set aside what they cost."""
        keys = [self.problem.space.key(state) for state in states]
        fresh = {key: state for key, state in zip(keys, states, strict=True) if key not in self.said}
        if fresh:
            said = yield from judge(self.problem, list(fresh.values()))
            self.said.update(zip(fresh, said, strict=True))
        return [self.said[key] for key in keys]

    def found(self, solved: Way | None) -> Found:
        ends = tuple(
            End(*way, self.said[key], count) for key, (way, count) in self.ends.items() if key in self.said
        ) if self.problem.ranked else ()  # fmt: skip
        best = max(ends, key=lambda one: (one.score, one.support), default=None)
        if solved is not None:
            best = End(*solved, 1.0, 1.0)
        budget = self.problem.budget
        return Found(best, solved is not None, False, budget.spent, budget.made, len(self.seen), ends)


def best_of(problem: Problem) -> Search:
    """Whole attempts until one is solved or the budget is spent.

    The value function is not asked, but to rank final states where no rule says which is right; then equally good ones
    are ranked by how many attempts ended there.
    """
    record, budget = Record(problem), problem.budget
    if problem.space.solved(problem.start):
        return record.found(((), problem.start))
    while budget.made < budget.simulations:
        before = budget.spent, budget.made
        ended: list[Way] = []
        solved = yield from _attempts(problem, record, ended)
        if solved is not None:
            return record.found(solved)
        for way in ended:
            record.end(way)
        if problem.ranked:
            yield from record.values([state for _, state in ended])
        if (budget.spent, budget.made) == before:
            break
    return record.found(None)


def _attempts(problem: Problem, record: Record, ended: list[Way]) -> Generator[Ask | Judge, Any, Way | None]:
    """A batch of attempts, until each is solved, at its end, or beyond the budget."""
    space, budget = problem.space, problem.budget
    kept = problem.price if problem.ranked else 0
    going: list[Way] = [((), problem.start)] * int(min(problem.batch, budget.simulations - budget.made))
    for _ in range(DEPTH):
        going = going[: budget.room(space.tokens + kept, len(going), kept * len(ended))]
        if not going:
            break
        offered = yield from ask(problem, [state for _, state in going], [1] * len(going))
        coming: list[Way] = []
        for (actions, state), offers in zip(going, offered, strict=True):
            if not offers:
                if actions:
                    budget.made += 1
                    ended.append((actions, state))
                continue
            after = space.apply(state, offers[0].action)
            record.seen.add(space.key(after))
            coming.append(((*actions, offers[0].action), after))
            if space.solved(after):
                budget.made += 1
                return coming[-1]
            if space.dead(after):
                budget.made += 1
                coming.pop()
        going = coming
    budget.made += len(going)  # cut off
    return None


def beam(problem: Problem, *, size: int = 1, width: int = 6) -> Search:
    """The `size` best distinct states of each depth go on, each with `width` offers; then anew with twice the size."""
    record, budget = Record(problem), problem.budget
    if problem.space.solved(problem.start):
        return record.found(((), problem.start))
    while True:
        before = budget.spent, budget.made
        solved = yield from _beam(problem, record, size, width)
        if solved is not None or (budget.spent, budget.made) == before or budget.made >= budget.simulations:
            return record.found(solved)
        size *= 2


def _beam(problem: Problem, record: Record, size: int, width: int) -> Generator[Ask | Judge, Any, Way | None]:
    space, budget = problem.space, problem.budget
    level: list[Way] = [((), problem.start)]
    for _ in range(DEPTH):
        level = level[: int(min(len(level), budget.simulations - budget.made))]
        each = budget.room(space.tokens + problem.price, len(level) * width) // max(len(level), 1)
        if not each:
            return None
        budget.made += len(level)
        fresh: dict[Hashable, Way] = {}
        offered = yield from ask(problem, [state for _, state in level], [each] * len(level))
        for (actions, state), offers in zip(level, offered, strict=True):
            if not offers and actions:
                record.end((actions, state))
            for one in offers:
                after = space.apply(state, one.action)
                fresh.setdefault(space.key(after), ((*actions, one.action), after))
        record.seen.update(fresh)
        for way in fresh.values():
            if space.solved(way[1]):
                return way
        open_ = [way for way in fresh.values() if not space.dead(way[1])]
        said = yield from record.values([state for _, state in open_])
        level = [open_[place] for place in sorted(range(len(open_)), key=said.__getitem__, reverse=True)[:size]]
    return None
