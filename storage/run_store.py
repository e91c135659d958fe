"""The seam to where runs rest: what the engine, exports and displays ask of a store. `store.py` has the database."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from operator import attrgetter
from pathlib import Path
from typing import Literal, Protocol, TypedDict, Unpack, runtime_checkable

from surefoot.storage.journal import Journal
from surefoot.storage.learned import Learned, Ruled
from surefoot.storage.outcome import Outcome
from surefoot.storage.records import Feedback, JournalRecord, Json, Policy, Reward, Task
from surefoot.storage.run import RunInfo


class Beginning(TypedDict, total=False):
    """What may be said of a run as it begins, beside its task. All but `policies` can be read back."""

    config: Json
    """How the engine was set, from which the run's decisions can be made again."""
    seed: int
    """Of 64 bits, with a sign; 0 where it is left out."""
    target: float | None
    """Wanted probability that the output is right."""
    purpose: str
    """What it is run for; `prod` where it is left out."""
    parent: str | None
    """The run that it is forked from, which must be there."""
    source: str | None
    """Where the task is from: equal tasks of different sources are different tasks."""
    policies: Iterable[Policy]
    """Those that the run may use: that `RunStore.policy` numbers them later then costs no wait each."""


@runtime_checkable
class RunStore(Protocol):
    """Runs, their records, and what was said of them and learned from them.

    Any thread may call any method. What a method wrote is durable when it returns, and every later read sees it; what
    a journal was given becomes durable behind it, in the order of its own promises. All methods but `abegin` and
    `alearned` may wait for the disk, so that a caller on an event loop calls them in a thread; only `policy` of a
    policy that the store has numbered before never waits. Values come back as they were given, as JSON has them.

    Every method raises StoreError where the store fails, and where it holds no run of the name; one that failed wrote
    nothing. A store that is handed to an engine stays open when the engine closes.
    """

    def begin(self, task: Task, **options: Unpack[Beginning]) -> Journal:
        """A new run: its journal, which numbers records from 1. Waits until the run itself is durable.

        Names sort by time of beginning. Raises StoreError where `parent` is unknown, or the seed too long.
        """

    async def abegin(self, task: Task, **options: Unpack[Beginning]) -> Journal:
        """The same without holding up the event loop. Where the caller is cancelled, the run is kept as canceled."""

    def reopen(self, run_id: str) -> Journal:
        """Go on with a run, ended or not: numbers continue behind its last durable record.

        One journal writes a run at a time. Where another process, or another opening of the store, has written a record
        of the same number, what this one writes is refused: its methods raise StoreError from then on, and the other
        goes on, as do all other runs.
        """

    def records(
        self, run_id: str, kinds: Sequence[type] | None = None, after: int = 0, steps: Collection[int] | None = None
    ) -> Iterator[JournalRecord]:
        """The durable records with a seq above `after`, in order of seq. An unknown run raises at the call.

        `kinds` keeps those types only. `steps`, seqs of steps, keeps what belongs to these steps, and the whole
        conversations that their model calls saw. Ends at the last record that was durable at the first `next`.
        """

    def run(self, run_id: str) -> RunInfo:
        """What is known of the run as a whole; it takes the whole id."""

    def runs(
        self, limit: int = 100, before: str | None = None, outcome: Outcome | Literal["running"] | None = None
    ) -> list[RunInfo]:
        """Newest first, at most `limit`; `before` is the last run of the page before this one.

        outcome: only runs that ended so; `running` are those with no outcome yet.
        """

    def resolve(self, name: str) -> str:
        """The whole id of the run that a person means: the id, at least 4 characters of either end, or `last`.

        Raises StoreError where that is no run, or several.
        """

    def step(self, run_id: str, name: str | int) -> int:
        """seq of the step that a person means, by its id or seq. Raises StoreError where there is none, or several."""

    def task(self, run_id: str) -> Task:
        """What the run was asked to do."""

    def policy(self, policy: Policy) -> int:
        """Its number in this store, given to it at the first call."""

    def policies(self) -> Mapping[int, Policy]:
        """Every policy of the store, by number, in the order of the numbers."""

    def feedback(self, feedback: Feedback) -> int:
        """Keep a person's word; returns its number."""

    def feedbacks(self, run_id: str) -> Sequence[Feedback]:
        """In the order given."""

    def reward(self, run_id: str, reward: Reward) -> int:
        """Add a reward behind the run's records; its `seq` is given here and returned. Not while it is written."""

    def learn(self, learned: Iterable[Learned]) -> None:
        """Adds counts to those of earlier runs. Older counts may lose weight for it, by a ten-thousandth or less for
        each new observation; lessons that were seen least may be forgotten."""

    def learned(self) -> Sequence[Learned]:
        """The counts of all runs, one value for each place: what all but the counts of it say."""

    def ruled(self) -> Sequence[Ruled]:
        """What verifiers that prove nothing said in all runs, by class of step, verifier and version."""

    async def alearned(self) -> Sequence[Learned]:
        """The same, with all that runs which ended before this call taught. Not to be changed: others may share it."""

    def close(self) -> None:
        """Write what waits and let go. Raises StoreError where that failed. Journals take nothing afterwards."""


STORES: dict[str, str] = {}
"""Stores that are no SQL database: by the scheme of their addresses (as in redis://...) the `module:function` that
opens one, which takes the address and `create`."""


def scheme(address: str | Path | None) -> str:
    """Of an address: what stands before ://."""
    return str(address).partition("://")[0]


def open_store(address: str | Path | None = None, *, create: bool = True) -> RunStore:
    """The store at an address; a path, and None, are one in a file. Raises StoreError as `Store.open` does."""
    module, _, name = STORES.get(scheme(address), "surefoot.storage.store:Store.open").partition(":")
    found: RunStore = attrgetter(name)(import_module(module))(address, create=create)
    return found
