"""What runs teach, in the store: counts that add up over runs, the older the lighter."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import asdict
from functools import cache
from typing import Any

from sqlalchemy import Connection, Float, Table, bindparam, case, delete, func, select
from sqlalchemy.dialects import postgresql, sqlite

from surefoot.storage.jsonable import from_text, to_text
from surefoot.storage.learned import Agreement, Checking, Learned, Lesson, Ruled, Sampling
from surefoot.storage.sql.tables import AGREEMENT, ATTEMPTS, CHECKING, LESSON, SAMPLING, STEPS, VERDICTS

DISCOUNT = 0.9999
"""Weight that older counts keep with every new observation: what was seen 7,000 observations ago counts half."""

LESSONS = 50
"""Texts kept for a class of steps."""

OLD = "share_of_old"

TABLES: dict[type[Learned], tuple[Table, tuple[str, ...]]] = {
    Sampling: (SAMPLING, ("step_class", "policy", "source")),
    Checking: (CHECKING, ("step_class", "verifier", "version", "origin", "after")),
    Lesson: (LESSON, ("step_class", "text")),
    Agreement: (AGREEMENT, ("step_class", "policy", "source", "counts", "truth")),
}
"""Each kind's table, and the columns that tell its rows apart; all others are counts."""


def add(connection: Connection, learned: Iterable[Learned]) -> None:
    """Adds counts to what the store has, inside the caller's transaction."""
    for one in learned:
        table, key = TABLES[type(one)]
        columns = asdict(one)
        counts = {name: value for name, value in columns.items() if name not in key}
        old = DISCOUNT ** max(counts["prompts"] if isinstance(one, Sampling) else sum(counts.values()), 0.0)
        words = {name: to_text(columns[name]) for name in key}
        connection.execute(
            _adding(table, key, connection.dialect.name), {**words, **counts, "updated_at": time.time(), OLD: old}
        )
        if isinstance(one, Lesson):
            _forget(connection, words["step_class"])


@cache
def _adding(table: Table, key: tuple[str, ...], dialect: str) -> Any:
    """The statement that adds counts to a row's own, which keep the share `OLD` of their weight."""
    statement: Any = (sqlite if dialect == "sqlite" else postgresql).insert(table)
    new = statement.excluded
    counts = [column for column in table.c if column.name not in ("id", "updated_at", *key)]
    added: dict[str, Any] = {one.name: one * bindparam(OLD, type_=Float) + new[one.name] for one in counts}
    return statement.on_conflict_do_update(index_elements=list(key), set_={**added, "updated_at": new.updated_at})


def _forget(connection: Connection, kind: str) -> None:
    """Keeps the lessons of a class that were seen most, the newest first where they are equal."""
    mine = LESSON.c.step_class == kind
    kept = select(LESSON.c.id).where(mine).order_by(LESSON.c.seen.desc(), LESSON.c.updated_at.desc()).limit(LESSONS)
    connection.execute(delete(LESSON).where(mine, LESSON.c.id.not_in(kept)))


def learned(connection: Connection) -> list[Learned]:
    """Everything that runs taught."""
    found: list[Learned] = []
    for kind, (table, key) in TABLES.items():
        for row in connection.execute(table.select().order_by(table.c.id)).mappings():
            values: dict[str, Any] = {name: row[name] for name in row if name not in ("id", "updated_at")}
            values |= {name: from_text(values[name]) for name in key}
            found.append(kind(**values))
    return found


def ruled(connection: Connection) -> list[Ruled]:
    """The rulings of verifiers that prove nothing, over all runs."""
    step, attempt, verdict = STEPS.c, ATTEMPTS.c, VERDICTS.c
    kind = func.coalesce(step.kind, step.tool, step.planner, "answer")
    passed = func.sum(case((verdict.ruling == "pass", 1), else_=0))
    joined = VERDICTS.join(ATTEMPTS, (attempt.run == verdict.run) & (attempt.seq == verdict.attempt)).join(
        STEPS, (step.run == attempt.run) & (step.seq == attempt.step)
    )
    names = (kind, verdict.verifier, func.coalesce(verdict.version, "1"))
    query = (
        select(*names, passed, func.count())
        .select_from(joined)
        .where(verdict.ruling != "abstain", verdict.exact.is_not(True))
        .group_by(*names)
        .order_by(*names)
    )
    rows = connection.execute(query)
    return [Ruled(kind, name, version, good, seen - good) for kind, name, version, good, seen in rows]
