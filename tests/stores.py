"""Stores for tests: SQLite in both modes, and a PostgreSQL server of our own.

A test module names it as its plugin: `pytest_plugins = ("stores",)`.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from steps import Open

from surefoot.storage.sql.database import Tuning
from surefoot.storage.store import Store


def _programs() -> Path | None:
    found = shutil.which("pg_ctl")
    places = [Path(found).resolve().parent] if found else []
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((place for place in places if (place / "initdb").exists()), None)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """Address of a server of our own, on a socket in a folder of its own."""
    programs = _programs()
    if programs is None:
        pytest.skip("PostgreSQL's server programs (initdb, pg_ctl) are not installed")
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    user: dict[str, Any] = {"cwd": folder}
    if os.geteuid() == 0:  # the server refuses to run as root
        account = pwd.getpwnam("nobody")
        os.chown(folder, account.pw_uid, account.pw_gid)
        user |= {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    options = f"-c listen_addresses='' -k {folder} -c fsync=off"
    start = [programs / "pg_ctl", "-D", folder / "data", "-l", folder / "log", "-o", options, "-w", "start"]
    try:
        initdb = [programs / "initdb", "-D", folder / "data", "-U", "tester", "-A", "trust", "-E", "UTF8", "--no-sync"]
        subprocess.run(initdb, check=True, capture_output=True, **user)
        subprocess.run(start, check=True, stdout=subprocess.DEVNULL, **user)
        yield f"postgresql://tester@/postgres?host={folder}"
        stop = [programs / "pg_ctl", "-D", folder / "data", "-m", "immediate", "-w", "stop"]
        subprocess.run(stop, check=True, capture_output=True, **user)
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def database(postgres: str) -> Iterator[str]:
    """An empty database on that server."""
    name = f"store_{time.time_ns()}"
    engine = create_engine(postgres.replace("postgresql", "postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    yield postgres.replace("/postgres?", f"/{name}?")
    with engine.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    engine.dispose()


@pytest.fixture(params=["truncate", "wal", pytest.param("postgres", marks=pytest.mark.postgres)])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """Opens the same store each time. WAL is used whatever SQLite's version: one process at a time is safe."""
    if request.param == "postgres":
        address: str = request.getfixturevalue("database")
        return lambda: Store.open(address)
    tuning = Tuning(wal=request.param == "wal")
    return lambda: Store.open(tmp_path / "runs.db", tuning=tuning)


@pytest.fixture
def store(open_store: Open) -> Iterator[Store]:
    with open_store() as store:
        yield store
