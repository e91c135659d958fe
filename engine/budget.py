"""The run's account: what an action may cost is reserved before it starts and settled after."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from surefoot.storage.errors import OutOfBudget
from surefoot.storage.records import Budget, Usage


class Account:
    """Limits, what is spent, and what is reserved by actions under way."""

    def __init__(self, budget: Budget, spent: Usage, clock: Callable[[], float] = time.monotonic) -> None:
        self.budget = budget
        self.spent = spent
        self.held = Usage()
        self.clock = clock
        self.started = clock()

    @property
    def seconds_left(self) -> float | None:
        limit = self.budget.seconds
        return None if limit is None else max(0.0, limit - (self.clock() - self.started))

    @contextmanager
    def reserve(self, estimate: Usage) -> Iterator[None]:
        """Holds an upper bound of a cost. Raises OutOfBudget, and spends nothing, where a limit would be passed."""
        self._check(estimate)
        self.held += estimate
        try:
            yield
        finally:
            self.held = _less(self.held, estimate)

    def _check(self, more: Usage) -> None:
        budget = self.budget
        if budget.steps is not None and self.spent.attempts + self.held.attempts + more.attempts > budget.steps:
            raise OutOfBudget("steps", f"the budget of {budget.steps} steps is used up")
        if budget.tokens is not None:
            wanted = self.spent.tokens + self.held.tokens + more.tokens
            if wanted > budget.tokens:
                raise OutOfBudget(
                    "tokens",
                    f"the next call may bring the run to {wanted} tokens; the budget is {budget.tokens}",
                )
        if budget.usd is not None:
            wanted_usd = self.spent.usd + self.held.usd + more.usd
            if wanted_usd > budget.usd:
                raise OutOfBudget(
                    "usd", f"the next call may bring the run to {wanted_usd:.4f} dollars; the budget is {budget.usd}"
                )
        if self.seconds_left == 0.0:
            raise OutOfBudget("seconds", f"the budget of {budget.seconds} seconds is used up")


def _less(one: Usage, other: Usage) -> Usage:
    return Usage(
        one.attempts - other.attempts,
        one.samples - other.samples,
        one.prompt_tokens - other.prompt_tokens,
        one.completion_tokens - other.completion_tokens,
        one.cached_tokens - other.cached_tokens,
        one.usd - other.usd,
    )
