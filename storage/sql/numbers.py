"""The numbers that rows of one store go by: looked up, or given with the row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from typing import Any

from sqlalchemy import Connection, Select, Table, bindparam, insert, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.dml import ReturningInsert

from surefoot.storage.errors import StoreError
from surefoot.storage.records import Policy
from surefoot.storage.sql.tables import FEEDBACK, POLICY, RUN

Columns = Mapping[str, Any]

# Made once: to build a statement, and the key under which its text is cached, takes longer than to run it.
ADD_RUN, ADD_FEEDBACK = (insert(table).returning(table.c.id) for table in (RUN, FEEDBACK))
FIND_RUN = select(RUN.c.id).where(RUN.c.run_id == bindparam("run_id"))


def inserted(connection: Connection, statement: ReturningInsert[Any], columns: Columns) -> int:
    return int(connection.execute(statement, dict(columns)).scalar_one())


def run_number(connection: Connection, run_id: str) -> int:
    found = connection.scalar(FIND_RUN, {"run_id": run_id})
    if found is None:
        raise unknown(run_id)
    return int(found)


def unknown(name: str) -> StoreError:
    return StoreError(f"the store holds no run {name!r}: `surefoot list` shows those that it holds")


def policy_number(connection: Connection, policy: Policy) -> int:
    columns = asdict(policy)
    return found_or_inserted(connection, POLICY, tuple(columns), columns)


def found_or_inserted(connection: Connection, table: Table, same: tuple[str, ...], columns: Columns) -> int:
    """id of the row that is the same. Two processes may come here at once: both get the row of the first."""
    find, add = _finding(table, same, connection.dialect.name)
    sought = {name: columns[name] for name in same}
    found = connection.scalar(find, sought)
    if found is None:
        found = connection.scalar(add, dict(columns))
    return int(connection.execute(find, sought).scalar_one() if found is None else found)


@cache
def _finding(table: Table, same: tuple[str, ...], dialect: str) -> tuple[Select[Any], Any]:
    add: Any = (sqlite if dialect == "sqlite" else postgresql).insert(table)
    find = select(table.c.id).where(*(table.c[name] == bindparam(name) for name in same))
    return find, add.on_conflict_do_nothing().returning(table.c.id)
