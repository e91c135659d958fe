"""The seam to the record of a run: what a journal is. `sql/journal.py` has the one that writes tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from surefoot.storage.learned import Learned
from surefoot.storage.records import JournalRecord, Json, Outcome, Reliability, Usage


@runtime_checkable
class Journal(Protocol):
    """The record of one run, in the order of `append`. Belongs to one thread.

    What was appended becomes durable soon, in that order: a crash at any time leaves a prefix of it.
    `barrier` waits for it. Once the store fails for good, every method but `seq` raises StoreError.
    """

    run_id: str

    def seq(self) -> int:
        """The next number for a record, from 1; after `RunStore.reopen` from where the run stood."""

    def append(self, record: JournalRecord) -> None:
        """Take a record as it is now. Never waits, writes nothing itself.

        Raises StoreError where a value in it cannot be kept; then the record is not taken, and nothing else is lost.
        """

    async def barrier(self) -> None:
        """Return once everything appended so far is durable; at once where it is already."""

    async def room(self) -> None:
        """Return at once, unless very many records wait: then hold the caller back until they are fewer."""

    def finish(
        self,
        outcome: Outcome,
        reason: str = "",
        output: Json = None,
        reliability: Reliability | None = None,
        usage: Usage | None = None,
        learned: Sequence[Learned] = (),
    ) -> None:
        """Put the run's result on its row, and add what it taught, in its turn behind the records."""

    def close(self) -> None:
        """Write what waits and wait for it. Nothing may be appended afterwards; closing again does nothing."""
