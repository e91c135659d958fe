"""The run's account: what an action may cost is reserved before it starts and settled after."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass

from surefoot.engine.core.spending import Tally
from surefoot.models.question import Model, Reply
from surefoot.storage.errors import OutOfBudget
from surefoot.storage.records import Budget, Role, Usage

ONE_ATTEMPT = Usage(attempts=1)
FREE: AbstractAsyncContextManager[None] = nullcontext()


@dataclass(eq=False, slots=True)
class Bill:
    """What one request cost: a reply, or an error that was charged for."""

    step: int
    role: Role
    model: Model
    usage: Usage
    reply: Reply | None = None
    error: str = ""


class Account:
    """Limits, what is spent, and what is held by actions under way."""

    def __init__(self, budget: Budget, spent: Tally, clock: Callable[[], float] = time.monotonic) -> None:
        self.budget = budget
        self.limited = budget != Budget()
        self.spent = spent
        """The one ledger; in a run it is that of the record, and nothing else is added to it."""
        self.bills: list[Bill] = []
        """Paid for, and not in the record yet."""
        self.holds: list[Usage] = []
        self._settled = asyncio.Event()
        self.refused: OutOfBudget | None = None
        """The last reservation that was refused."""
        self.clock = clock
        self.started = clock()

    @property
    def seconds_left(self) -> float | None:
        limit = self.budget.seconds
        return None if limit is None else max(0.0, limit - (self.clock() - self.started))

    def paid(self, bill: Bill) -> None:
        """Where there is no record that says so."""
        self.spent.add(bill.usage)

    def settle(self, usage: Usage) -> None:
        """A bill of that is in the record now. Usages are told apart as objects, which two replies may share."""
        for place, bill in enumerate(self.bills):
            if bill.usage is usage:
                del self.bills[place]
                return

    def reserve(self, estimate: Usage) -> AbstractAsyncContextManager[None]:
        """Holds an upper bound of a cost. Waits where what others hold is in the way: they may spend less than that.

        Raises OutOfBudget, and spends nothing, where a limit would be passed even if they spent nothing.
        """
        return self._hold(estimate) if self.limited else FREE

    @property
    def held(self) -> Tally:
        """Summed anew each time: a running sum of dollars would keep rounding errors, and somebody waiting for them."""
        held = Tally()
        for estimate in self.holds:
            held.add(estimate)
        return held

    @asynccontextmanager
    async def _hold(self, estimate: Usage) -> AsyncIterator[None]:
        while self._short(estimate, self.held) is not None:
            if (error := self._short(estimate, Tally())) is not None:
                self.refused = error
                raise error
            await self._settled.wait()
        self.holds.append(estimate)
        try:
            yield
        finally:
            self.holds.remove(estimate)
            self._settled.set()  # wakes all who wait, and nobody who comes later
            self._settled.clear()

    def _short(self, more: Usage, held: Tally) -> OutOfBudget | None:
        """The limit that would be passed."""
        budget, spent = self.budget, self.spent
        for bill in self.bills:
            held.add(bill.usage)
        if budget.steps is not None and (tried := spent.attempts + held.attempts + more.attempts) > budget.steps:
            return OutOfBudget(
                "steps", f"the next action may bring the run to {tried} steps; the budget is {budget.steps}"
            )
        if budget.tokens is not None and (wanted := spent.tokens + held.tokens + more.tokens) > budget.tokens:
            return OutOfBudget(
                "tokens", f"the next call may bring the run to {wanted} tokens; the budget is {budget.tokens}"
            )
        if budget.usd is not None and (cost := spent.usd + held.usd + more.usd) > budget.usd:
            return OutOfBudget(
                "usd", f"the next call may bring the run to {cost:.4f} dollars; the budget is {budget.usd}"
            )
        if self.seconds_left == 0.0:
            return OutOfBudget("seconds", f"the budget of {budget.seconds} seconds is used up")
        return None
