"""A task, and a step's worth of records."""

from __future__ import annotations

from collections.abc import Callable

from surefoot.storage.journal import Journal
from surefoot.storage.records import (
    Attempt,
    Event,
    Message,
    ModelCall,
    PlannedStep,
    Reward,
    Step,
    Task,
    ToolCall,
    Usage,
    Verdict,
)
from surefoot.storage.store import Store

TASK = Task("add up the orders", {"orders": [1, 2, 3]})

Open = Callable[[], Store]
"""Opens the same store each time."""


def add_step(journal: Journal, ordinal: int, policy: int | None = None, needs: tuple[int, ...] = ()) -> int:
    """A verified step as the engine records it: ten numbers."""
    seq, add = journal.seq, journal.append
    step = seq()
    add(PlannedStep(step, None, ordinal, 1, Step(f"s{ordinal}", tool="price", args={"sku": "A1"}), needs))
    prompt, reply, call, attempt = seq(), seq(), seq(), seq()
    add(Message(prompt, None, "user", f"What does A{ordinal} cost? Answer as JSON."))
    add(Message(reply, prompt, "assistant", '{"price":1.5}', sampled=True, call=call))
    spent = Usage(samples=1, prompt_tokens=120, completion_tokens=9, usd=0.0001)
    add(ModelCall(call, step, "act", "scripted", "1", policy, prompt, reply, attempt, usage=spent, latency_ms=3.25))
    add(Attempt(attempt, step, 0, "sample", "proposed", {"price": 1.5}, key='{"price":1.5}', call=call))
    add(ToolCall(seq(), step, "price", {"sku": "A1"}, call, "c1", '{"sku":"A1"}', 1.5, latency_ms=0.5))
    add(Verdict("contract", "pass", exact=True, seq=seq(), attempt=attempt))
    add(Verdict("votes", "pass", kind="vote", score=4.6, seq=seq(), attempt=attempt))
    add(Event(seq(), "committed", step, attempt))
    add(Reward(seq(), "step", step, "correct", 1.0, "contract"))
    return step
