"""What is read of runs that began before, to go on with them. All of it waits for the database: call it in a thread."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from surefoot.engine.core.refold import FOLDED, before_step, refold
from surefoot.engine.core.state import RunState
from surefoot.engine.history.replay import Replay, replay
from surefoot.engine.setup.context import RunContext
from surefoot.engine.setup.settings import Settings
from surefoot.reflection.calibration import Calibration
from surefoot.storage.journal import Journal
from surefoot.storage.records import Budget, Json, Policy, Task
from surefoot.storage.run import RunInfo
from surefoot.storage.run_store import RunStore

Make = Callable[[Settings, Calibration], RunContext]


@dataclass(frozen=True, slots=True)
class Past:
    """Where a run stood, and what it goes on with."""

    context: RunContext
    task: Task
    journal: Journal
    state: RunState


def find(store: RunStore, name: str) -> RunInfo:
    """The run that a person means. Raises StoreError where there is none."""
    return store.run(store.resolve(name))


def settings_of(info: RunInfo, usual: Settings) -> Settings:
    saved = (info.config or {}).get("settings")
    return Settings(**saved) if saved else usual


def calibration_of(info: RunInfo) -> Calibration:
    """What was known when the run began: its decisions stand on that."""
    return Calibration.from_json((info.config or {}).get("calibration"))


def reopened(
    store: RunStore, run_id: str, usual: Settings, make: Make, policies: Iterable[Policy], budget: Budget | None = None
) -> Past:
    """A run to go on with. policies: those that it may use; they have their numbers afterwards."""
    journal = store.reopen(run_id)  # first: what another process writes from here on is refused there
    try:
        info, task = store.run(run_id), store.task(run_id)
        context = make(settings_of(info, usual), calibration_of(info))
        state = refold(store.records(run_id, kinds=FOLDED), context.rules)
        for policy in policies:
            store.policy(policy)
    except BaseException:
        journal.close()
        raise
    return Past(context, task if budget is None else replace(task, budget=budget), journal, state)


def replayed(
    store: RunStore, name: str, target: float | None, votes: int | None, usual: Settings, make: Make
) -> Replay:
    """A run's record, decided again: under its own rules, or under another target or number of votes."""
    info = find(store, name)
    settings = settings_of(info, usual)
    settings = replace(
        settings,
        target=settings.target if target is None else target,
        votes=settings.votes if votes is None else votes,
    )
    records = store.records(info.run_id, kinds=FOLDED)
    return replay(info.run_id, records, make(settings, calibration_of(info)))


def forked(
    store: RunStore,
    name: str,
    step: str,
    seed: int | None,
    usual: Settings,
    make: Make,
    config: Callable[[RunContext], Json],
) -> str:
    """The id of a new run that has the records of another one before the first attempt at a step."""
    info = find(store, name)
    task = store.task(info.run_id)
    settings = settings_of(info, usual)
    if seed is not None:
        settings = replace(settings, seed=seed)
    made = config(make(settings, calibration_of(info)))
    journal = store.begin(task, config=made, seed=settings.seed, target=task.target, purpose="fork", parent=info.run_id)
    for record in before_step(store.records(info.run_id), store.step(info.run_id, step)):
        journal.append(record)
    journal.close()
    return journal.run_id
