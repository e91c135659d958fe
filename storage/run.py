"""A run as a whole: the row that names it, and how it ended."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from surefoot.storage.jsonable import dumps, to_json
from surefoot.storage.records import Budget, Json, Outcome, Reliability, Task, Usage


@dataclass(frozen=True, slots=True)
class RunInfo:
    """What the store knows of a run without reading its records. What comes with the end is None before it."""

    run_id: str
    task: int
    """Equal for runs of equal tasks."""
    goal: str
    created_at: float
    """Seconds since the epoch."""
    purpose: str = "prod"
    parent: str | None = None
    """The run that this one was forked from."""
    engine_version: str = ""
    config: Json = None
    seed: int = 0
    target: float | None = None
    workspace: str | None = None
    outcome: Outcome | None = None
    reason: str = ""
    output: Json = None
    reliability: Reliability | None = None
    usage: Usage | None = None
    ended_at: float | None = None

    @property
    def over(self) -> bool:
        """Whether there is nothing to go on with."""
        return self.outcome is not None and self.outcome.means.ended


def info(row: Mapping[str, Any]) -> RunInfo:
    """From the columns of `run`, with `goal` and the parent's public name as `parent_id`."""
    same = ("run_id", "task", "goal", "created_at", "purpose", "engine_version", "config", "seed", "target")
    return RunInfo(
        parent=row["parent_id"],
        workspace=row["workspace"],
        outcome=Outcome(row["outcome"]) if row["outcome"] else None,
        reason=row["reason"] or "",
        output=row["output"],
        reliability=Reliability(**row["reliability"]) if row["reliability"] else None,
        usage=Usage(**row["usage"]) if row["usage"] else None,
        ended_at=row["ended_at"],
        **{name: row[name] for name in same},
    )


def task_row(task: Task, source: str | None) -> dict[str, Any]:
    """Columns of `task`; equal tasks of one source have equal digests."""
    columns = {
        "source": source,
        "goal": task.goal,
        "inputs": to_json(task.inputs),
        "output_schema": to_json(task.output_schema),
        "tools": None,  # no run was ever held to it; it stays a part of the digest, so that equal tasks stay equal
        "target": task.target,
        "budget": asdict(task.budget),
    }
    digest = hashlib.blake2b(dumps(sorted(columns.items())).encode(), digest_size=16).hexdigest()
    return {"digest": digest, **columns}


def task(row: Mapping[str, Any]) -> Task:
    """Undoes `task_row`."""
    return Task(
        goal=row["goal"],
        inputs=row["inputs"],
        output_schema=row["output_schema"],
        target=row["target"],
        budget=Budget(**row["budget"]),
    )
