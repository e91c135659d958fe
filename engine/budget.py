"""The run's account: what an action may cost is reserved before it starts and settled after."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from surefoot.storage.errors import OutOfBudget
from surefoot.storage.records import Budget, Usage

ONE_ATTEMPT = Usage(attempts=1)
FREE: AbstractContextManager[None] = nullcontext()


class Tally:
    """A sum of usages that grows in place: it is added to several times a step."""

    __slots__ = ("attempts", "cached", "completion", "prompt", "samples", "usd")

    def __init__(self) -> None:
        self.attempts = self.samples = self.prompt = self.completion = self.cached = 0
        self.usd = 0.0

    def add(self, usage: Usage, times: int = 1) -> None:
        self.attempts += times * usage.attempts
        self.samples += times * usage.samples
        self.prompt += times * usage.prompt_tokens
        self.completion += times * usage.completion_tokens
        self.cached += times * usage.cached_tokens
        self.usd += times * usage.usd

    @property
    def tokens(self) -> int:
        return self.prompt + self.completion

    @property
    def usage(self) -> Usage:
        return Usage(self.attempts, self.samples, self.prompt, self.completion, self.cached, self.usd)


class Account:
    """Limits, what is spent, and what is held by actions under way."""

    def __init__(self, budget: Budget, spent: Usage, clock: Callable[[], float] = time.monotonic) -> None:
        self.budget = budget
        self.limited = budget != Budget()
        self.spent = Tally()
        self.spent.add(spent)
        self.held = Tally()
        self.refused: OutOfBudget | None = None
        """The last reservation that was refused."""
        self.clock = clock
        self.started = clock()

    @property
    def seconds_left(self) -> float | None:
        limit = self.budget.seconds
        return None if limit is None else max(0.0, limit - (self.clock() - self.started))

    def reserve(self, estimate: Usage) -> AbstractContextManager[None]:
        """Holds an upper bound of a cost. Raises OutOfBudget, and spends nothing, where a limit would be passed."""
        return self._hold(estimate) if self.limited else FREE

    @contextmanager
    def _hold(self, estimate: Usage) -> Iterator[None]:
        try:
            self._check(estimate)
        except OutOfBudget as error:
            self.refused = error
            raise
        self.held.add(estimate)
        try:
            yield
        finally:
            self.held.add(estimate, -1)

    def _check(self, more: Usage) -> None:
        budget, spent, held = self.budget, self.spent, self.held
        if budget.steps is not None and spent.attempts + held.attempts + more.attempts > budget.steps:
            raise OutOfBudget("steps", f"the budget of {budget.steps} steps is used up")
        if budget.tokens is not None and (wanted := spent.tokens + held.tokens + more.tokens) > budget.tokens:
            raise OutOfBudget(
                "tokens", f"the next call may bring the run to {wanted} tokens; the budget is {budget.tokens}"
            )
        if budget.usd is not None and (cost := spent.usd + held.usd + more.usd) > budget.usd:
            raise OutOfBudget(
                "usd", f"the next call may bring the run to {cost:.4f} dollars; the budget is {budget.usd}"
            )
        if self.seconds_left == 0.0:
            raise OutOfBudget("seconds", f"the budget of {budget.seconds} seconds is used up")
