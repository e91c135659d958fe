"""Schema of the store, and the way there from older ones: Alembic's, imported only when there is work for it."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text

from surefoot.storage.errors import SchemaTooNew, StoreError

HEAD = "0006"
"""Newest revision in `migrations/versions`. Revisions are numbered, so that a greater one is known to be newer."""


def version(connection: Connection) -> str | None:
    """Revision of the connected database; None where it is empty. Raises StoreError where it is someone else's."""
    names = inspect(connection).get_table_names()
    if "alembic_version" in names:
        found: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
        return found
    if names:
        raise StoreError(f"the database holds other tables ({names[0]}): give surefoot a database of its own")
    return None


def check(found: str | None) -> bool:
    """Whether the schema is this surefoot's. Raises SchemaTooNew where it is a later one's."""
    if found is not None and found > HEAD:
        raise SchemaTooNew(
            f"the store has schema {found}, this surefoot knows schemas up to {HEAD}: "
            "upgrade surefoot (pip install -U surefoot), or give another store"
        )
    return found == HEAD


def migrate(engine: Engine, create: bool) -> None:
    """See to it that the database has the schema `HEAD`. Raises StoreError where it is empty and `create` is off."""
    with engine.connect() as connection, connection.begin():
        found = version(connection)
    if check(found):
        return
    if found is None and not create:
        raise StoreError("the database is empty: run a task first, or give the address of an existing store")
    with engine.execution_options(surefoot_write=True).connect() as connection, connection.begin():
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(7302563)"))  # any number that is always the same
        # Asked again: another process may have been at it since.
        if not check(version(connection)):
            upgrade(connection)


def upgrade(connection: Connection) -> None:
    """Bring the database to `HEAD`, inside the transaction that the caller began and will commit."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, HEAD)
