"""Columns as the tables have them: what a value becomes on its way into the database."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Dialect, Text
from sqlalchemy.types import TypeDecorator
from sqlmodel import Field

from surefoot.storage.records import Json
from surefoot.storage.sql.values import json_text, json_value, said, word

KEYED = {"sqlite_with_rowid": False}
"""Of a table of short rows: it needs no number of its own."""


class JsonText(TypeDecorator[Json]):
    """A JSON value as compact text. Not the database's own JSON type: those round numbers and drop characters."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Json, dialect: Dialect) -> str | None:
        return json_text(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Json:
        return json_value(value)


class Words(TypeDecorator[str]):
    """Text that may hold anything, `surefoot.storage.jsonable.to_text` applied."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return word(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        return said(value)


def maybe(kind: Any) -> Any:
    """A column that may be NULL, of a type of SQLAlchemy's or one of these."""
    return Field(default=None, sa_type=kind, nullable=True)


def part_of_key() -> Any:
    """`run` has no foreign key: a check per row would cost more than the row."""
    return Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
