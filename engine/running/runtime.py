"""What the hands of a run need of it: the seam between deciding and doing inside the engine."""

from __future__ import annotations

import asyncio
from typing import Protocol

from surefoot.engine.core.state import Candidate, RunState, StepState
from surefoot.engine.running.account import Account
from surefoot.engine.running.recorder import Conversation, Recorder
from surefoot.engine.setup.context import RunContext
from surefoot.models.question import Reply
from surefoot.reflection.trust import Support
from surefoot.storage.errors import RunError
from surefoot.storage.records import JournalRecord, Json
from surefoot.tools.tool import ToolContext


class Missing(RunError):
    """A reference to what a committed output, or an input, does not have."""


class StepRuntime(Protocol):
    """A run under way, as `act`, `propose` and `expand` see it. `Flow` is one; a test may make its own."""

    context: RunContext
    state: RunState
    account: Account
    recorder: Recorder
    tool_context: ToolContext
    replies: dict[int, Reply]
    """The model's reply behind each open candidate, by attempt, for verifiers that look at it."""
    talks: dict[int, Conversation]
    """What is stored of each open step's conversations."""
    running: dict[str, asyncio.Event]
    """Effects under way in this process, by idempotency key; each is set when it has ended."""

    def seq(self) -> int: ...

    def record(self, record: JournalRecord) -> None:
        """Appends to the journal and folds."""
        ...

    async def barrier(self) -> None:
        """Returns once everything recorded is durable."""
        ...

    def inputs(self, step: StepState) -> dict[str, Json]:
        """The step's arguments, references resolved. Raises Missing for a path that does not exist."""
        ...

    def known(self, step: StepState) -> tuple[str, ...]:
        """ids of committed steps that a further part of the plan may refer to."""
        ...

    def commit(self, step: StepState, candidate: Candidate, backing: Support) -> None: ...

    def fail(
        self, step: StepState, reason: str, *, out_of_scope: bool = False, infrastructure_error: bool = False
    ) -> None: ...

    def let_go(self, step: StepState) -> None:
        """Forgets what was kept for a step's candidates."""
        ...
