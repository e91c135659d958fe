"""The schema: what Alembic makes is what the tables say, on both databases; a newer one is refused."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlmodel import Session, SQLModel, select
from steps import TASK, Open, add_step

import surefoot.storage.sql.migrations
from surefoot.storage.errors import SchemaTooNew, StoreError
from surefoot.storage.learned import Checking
from surefoot.storage.records import Contract, Effect, PlannedStep, Step, Usage
from surefoot.storage.sql import schema
from surefoot.storage.sql.rows import EDGES, KINDS
from surefoot.storage.sql.tables import AttemptRow, MessageRow, RunRow, TaskRow
from surefoot.storage.store import Store

pytest_plugins = ("stores",)


def test_the_migrated_schema_is_that_of_the_tables(open_store: Open) -> None:
    with open_store() as store, store._engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, SQLModel.metadata) == []
        if connection.dialect.name == "sqlite":
            sql = "SELECT name FROM sqlite_master WHERE type = 'table' AND sql LIKE '%WITHOUT ROWID%'"
            keyed = {
                table.name
                for table in SQLModel.metadata.tables.values()
                if table.kwargs.get("sqlite_with_rowid") is False
            }
            assert set(connection.scalars(text(sql))) == keyed != set()


def test_the_head_is_the_newest_revision() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(surefoot.storage.sql.migrations.__path__[0])))
    scripts = ScriptDirectory.from_config(config)
    assert scripts.get_heads() == [schema.HEAD]
    revisions = [script.revision for script in scripts.walk_revisions()]
    assert revisions == sorted(revisions, reverse=True)


def test_what_was_learned_before_verifiers_were_measured_together_is_kept(open_store: Open) -> None:
    alone = Checking("sum", "v", "1", "canary", 4, 1, 2, 9)
    with open_store() as store:
        store.learn([alone])
        with store._writer._engine.connect() as connection, connection.begin():
            for line in (
                "CREATE TABLE old AS SELECT id, step_class, verifier, version, origin, good_passed, good_failed, "
                "bad_passed, bad_failed, updated_at FROM checking",
                "DROP TABLE checking",
                "DROP TABLE agreement",
                "ALTER TABLE attempt DROP COLUMN form",
                "ALTER TABLE message DROP COLUMN extra",
                "ALTER TABLE old RENAME TO checking",
                "UPDATE alembic_version SET version_num = '0002'",
            ):
                connection.execute(text(line))
    with open_store() as store:
        after = replace(alone, after="other=pass")
        store.learn([after])
        assert store.learned() == [alone, after]


def test_each_value_of_a_record_stands_in_the_column_of_its_name() -> None:
    parts: dict[str, Any] = {
        "usage": Usage(*(one.name for one in fields(Usage))),  # type: ignore[arg-type]
        "effect": Effect.ONCE,
        "step": "step",
    }
    names = {one.name: one.name for one in fields(Step)} | {"id": "name", "needs": ("needs",), "checks": ("checks",)}
    step = Step(**names | {"contract": Contract("takes", "gives")})  # type: ignore[arg-type]
    for made, kind in KINDS.items():
        values = {one.name: parts.get(one.name, one.name) for one in fields(made)}
        row = kind.encode(7, made(**values | ({"step": step} if made is PlannedStep else {})))
        said = dict(zip(kind.columns, row, strict=True))
        assert (said.pop("run"), said.pop("effect", "once")) == (7, "once")
        for name, value in said.items():
            assert value is True or str(value).strip('[]"') == name, f"{kind.table}.{name} holds {value!r}"
    assert EDGES[1] == ("run", "dst", "ordinal", "src")


def test_a_newer_schema_is_refused(open_store: Open) -> None:
    with open_store() as store, store._writer._engine.connect() as connection, connection.begin():
        connection.execute(text("UPDATE alembic_version SET version_num = '0999'"))
    with pytest.raises(SchemaTooNew, match=f"has schema 0999, .* schemas up to {schema.HEAD}: upgrade"):
        open_store()


def test_a_store_that_was_left_half_made_is_refused(open_store: Open) -> None:
    with open_store() as store, store._writer._engine.connect() as connection, connection.begin():
        connection.execute(text("DELETE FROM alembic_version"))
    with pytest.raises(StoreError, match=r"cannot be opened: .*already exists"):
        open_store()


def test_a_migration_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with Store.open(tmp_path / "runs.db") as store, store._writer._engine.connect() as connection, connection.begin():
        for table in ("alembic_version", *set(SQLModel.metadata.tables) - {"verdict"}):
            connection.execute(text(f"DROP TABLE {table}"))
        connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)"))
    with pytest.raises(StoreError, match="already exists"):
        Store.open(tmp_path / "runs.db")
    with pytest.raises(StoreError, match="already exists"):
        Store.open(tmp_path / "runs.db")


def test_the_tables_can_be_queried_as_models(open_store: Open) -> None:
    with open_store() as store:
        journal = store.begin(TASK, config={"model": "x"})
        for ordinal in range(3):
            add_step(journal, ordinal)
        journal.close()
        with Session(store._engine) as session:
            run = session.exec(select(RunRow).where(RunRow.run_id == journal.run_id)).one()
            assert run.config == {"model": "x"}
            assert session.get_one(TaskRow, run.task).inputs == TASK.inputs
            outputs = session.exec(select(AttemptRow.output).where(AttemptRow.run == run.id)).all()
            assert outputs == [{"price": 1.5}] * 3
            assert session.get_one(MessageRow, (run.id, 2)).content == "What does A0 cost? Answer as JSON."
