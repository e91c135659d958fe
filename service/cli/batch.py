"""Many tasks in one event loop, so that a local model answers their questions together."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, Iterable, Iterator
from dataclasses import dataclass, field

from surefoot.engine import Engine, Result
from surefoot.engine.labels import backfill_labels
from surefoot.engine.setup.setup import check_fixed
from surefoot.service.cli.rows import Broken, TaskRow
from surefoot.service.cli.scoring import same
from surefoot.service.display.receipt import as_json
from surefoot.service.display.tree import RunTree
from surefoot.storage.errors import PlanError, SetupError
from surefoot.storage.records import Json, Outcome, Reward
from surefoot.trajectories.rewards import Ended, rewards


@dataclass(slots=True)
class Done:
    """One row that was run. `result` is None where an unexpected error broke it off; then `error` says which."""

    id: str | int | None
    task: str
    result: Result | None
    tree: RunTree
    correct: bool | None = None
    """None where nothing was accepted, or no answer is known."""
    error: Exception | None = None

    @property
    def outcome(self) -> Outcome:
        return self.result.outcome if self.result is not None else Outcome.FAILED

    def as_json(self) -> dict[str, Json]:
        if self.result is None:
            return {"id": self.id, "outcome": "failed", "error": f"{type(self.error).__name__}: {self.error}"}
        found = {"id": self.id} | as_json(self.result, self.tree)
        return found if self.correct is None else found | {"correct": self.correct}


@dataclass(slots=True)
class Summary:
    """Totals over the rows that were run."""

    outcomes: Counter[str] = field(default_factory=Counter)
    scored: bool = False
    judged: int = 0
    """Accepted answers that could be compared with a known one."""
    right: int = 0
    right_agreed: int = 0
    """Right among those that votes alone accepted."""
    broken: int = 0
    samples: int = 0
    tokens: int = 0
    usd: float = 0.0
    steps: int = 0
    rejected: int = 0
    seconds: float = 0.0

    @property
    def tasks(self) -> int:
        return self.outcomes.total()

    @property
    def accepted(self) -> int:
        """What may be relied on; what votes alone accepted is counted apart, as `agreed`."""
        return sum(count for name, count in self.outcomes.items() if Outcome(name).means.true)

    @property
    def agreed(self) -> int:
        return self.outcomes[Outcome.AGREED]

    @property
    def precision(self) -> float | None:
        """Share of right answers among the accepted ones; None is not zero: nothing was accepted, or none scored."""
        return self.right / self.judged if self.judged else None

    @property
    def coverage(self) -> float | None:
        return self.accepted / self.tasks if self.tasks else None

    def counts(self) -> str:
        """How many ended in which way, the most frequent first."""
        return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in self.outcomes.most_common())

    def add(self, done: Done) -> None:
        self.outcomes[done.outcome] += 1
        if done.outcome is Outcome.AGREED:
            self.right_agreed += bool(done.correct)
        else:
            self.judged += done.correct is not None
            self.right += bool(done.correct)
        self.steps += done.tree.committed
        self.rejected += done.tree.rejected
        if done.result is not None:
            self.samples += done.result.usage.samples
            self.tokens += done.result.usage.tokens
            self.usd += done.result.usage.usd

    def as_json(self) -> dict[str, Json]:
        return {
            "tasks": self.tasks,
            "accepted": self.accepted,
            "agreed": self.agreed,
            "correct_agreed": self.right_agreed if self.scored else None,
            "correct_accepted": self.right if self.scored else None,
            "precision": self.precision if self.scored else None,
            "coverage": self.coverage,
            "abstained": self.outcomes["abstained"],
            "outcomes": dict(self.outcomes),
            "broken": self.broken,
            "steps": self.steps,
            "samples": self.samples,
            "tokens": self.tokens,
            "usd": self.usd,
            "seconds": round(self.seconds, 3),
        }


async def run_rows(
    engine: Engine,
    rows: Iterable[TaskRow | Broken],
    summary: Summary,
    *,
    concurrency: int,
    verify: bool,
    source: str | None = None,
) -> AsyncGenerator[Done | Broken, None]:
    """Runs the rows, `concurrency` at once, and yields each as it ends. `summary` is kept up on the way.

    Raises SetupError where no row could run: a store that fails, a plan that cannot be carried out.
    """
    began = time.monotonic()
    waiting: Iterator[TaskRow | Broken] = iter(rows)
    running: set[asyncio.Task[Done | Broken]] = set()
    ended: set[asyncio.Task[Done | Broken]] = set()
    check_fixed(engine.parts.context(), engine.parts.planner, None)
    try:
        while True:
            while len(running) < concurrency and (row := next(waiting, None)) is not None:
                if isinstance(row, Broken):
                    summary.broken += 1
                    yield row
                else:
                    running.add(asyncio.create_task(_one(engine, row, summary.scored, verify, source)))
            if not running:
                break
            ended, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                done = await task
                if isinstance(done, Broken):
                    summary.broken += 1
                else:
                    summary.add(done)
                summary.seconds = time.monotonic() - began
                yield done
    finally:
        summary.seconds = time.monotonic() - began
        for task in running:
            task.cancel()
        await asyncio.gather(*running, *ended, return_exceptions=True)


async def _one(engine: Engine, row: TaskRow, score: bool, verify: bool, source: str | None) -> Done | Broken:
    tree = RunTree(0)
    done = Done(row.id, row.task, None, tree)
    try:
        result = await engine.arun(row.task, inputs=row.inputs, verify=verify, source=source, on_record=tree.add)
    except PlanError as error:  # the plan is sound: it lacks an input of this row
        return Broken(row.line, str(error), row.id)
    except SetupError:
        raise
    except Exception as error:  # the engine has put it on the run's row; the other rows go on
        done.error = error
        return done
    done.result = result
    if score and result.outcome.means.accepted and row.answer is not None:
        done.correct = same(result.output, row.answer)
        ended = Ended(result.outcome, result.output, result.reliability, result.usage, done.correct)
        for name, value in rewards(ended, "answer"):
            reward = Reward(0, "run", None, name, value, source or "known answer")
            await asyncio.to_thread(engine.store.reward, result.run_id, reward)
        await asyncio.to_thread(backfill_labels, engine.store, result.run_id, done.correct)
    return done
