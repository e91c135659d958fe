"""Many rows into one table at once, each database's fastest way."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from itertools import chain
from typing import Any

from surefoot.storage.sql.rows import EDGES, KINDS, Row

WIDE, NARROW = 128, 16
"""Rows that one INSERT statement takes on SQLite. `executemany` would give the interpreter lock away once a row, and
a busy event loop keeps it for 5 ms each time: 470 us a row were measured, against 11 with statements of 128 rows."""

COLUMNS = {kind.table: kind.columns for kind in KINDS.values()} | dict([EDGES])

Bulk = Callable[[Any, str, list[Row]], None]
"""Called with the driver's cursor, a table of `COLUMNS` and its rows."""


def bulk(dialect: str) -> Bulk:
    return insert if dialect == "sqlite" else copy


def insert(cursor: Any, table: str, rows: list[Row]) -> None:
    """SQLite: few different statements, which the driver caches by their text, and few of them to run.

    Half of all columns are NULL in most runs, and leaving them out halves the time. Only where there are many
    rows: each row alone may have NULLs of its own, and every choice of columns is another statement.
    """
    many = len(rows) - len(rows) % NARROW
    names, some = _filled(COLUMNS[table], rows[:many])
    wide = many - many % WIDE
    parts = [(names, some[start : start + WIDE]) for start in range(0, wide, WIDE)]
    parts += [(names, some[start : start + NARROW]) for start in range(wide, many, NARROW)]
    if many < len(rows):
        parts.append((COLUMNS[table], rows[many:]))
    for chosen, part in parts:
        cursor.execute(_values(table, chosen, len(part)), tuple(chain.from_iterable(part)))


def _filled(names: tuple[str, ...], rows: list[Row]) -> tuple[tuple[str, ...], list[Row]]:
    """The columns in which any row has a value, and the rows without the others. No column's default is a value."""
    columns = list(zip(*rows, strict=True))
    kept = [place for place, column in enumerate(columns) if column.count(None) < len(column)]
    if len(kept) == len(columns):
        return names, rows
    return tuple(names[place] for place in kept), list(zip(*(columns[place] for place in kept), strict=True))


@lru_cache(maxsize=512)
def _values(table: str, names: tuple[str, ...], rows: int) -> str:
    row = f"({', '.join('?' * len(names))})"
    return f"INSERT INTO {table} ({_quoted(names)}) VALUES {', '.join([row] * rows)}"


def copy(cursor: Any, table: str, rows: list[Row]) -> None:
    """PostgreSQL, through psycopg: a twentieth of what INSERT costs."""
    with cursor.copy(f"COPY {table} ({_quoted(COLUMNS[table])}) FROM STDIN") as stream:
        for row in rows:
            stream.write_row(row)


def _quoted(names: tuple[str, ...]) -> str:
    return ", ".join(f'"{name}"' for name in names)
