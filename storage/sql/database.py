"""Connections to the store's database, and the one place that says what its failures mean."""

from __future__ import annotations

import sqlite3
import threading
import time
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, Pool, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from surefoot.storage.errors import MissingExtra, StoreError
from surefoot.storage.fork import PATIENCE, Forked, abandon, watch

PLACE = Path(".surefoot") / "surefoot.db"
"""Where the store is unless it is told."""

BUSY, LOCKED, READONLY, FULL, CANTOPEN, CONSTRAINT, NOTADB = 5, 6, 8, 13, 14, 19, 26
"""SQLite's primary result codes, https://www.sqlite.org/rescode.html."""

ADVICE: Mapping[int | None, str] = {
    BUSY: "another process is writing to it: wait for that, or give another store",
    LOCKED: "another process is writing to it: wait for that, or give another store",
    READONLY: "it cannot be written: check the permissions of the file and of its folder",
    FULL: "the disk is full: make room, then resume the run",
    CANTOPEN: "it cannot be opened: check the path and the permissions of its folder",
    NOTADB: "the file is no database: give another path",
}


@dataclass(frozen=True, slots=True)
class Tuning:
    """Switches for tests."""

    wal: bool | None = None
    """Overrule the choice between WAL and TRUNCATE."""
    busy_ms: int = 30_000
    patience: float = 60.0
    """Seconds for which a write that found the database busy or away is tried again."""


DEFAULT = Tuning()


def wal_is_safe(version: tuple[int, int, int]) -> bool:
    """Whether this SQLite has the fix for https://www.sqlite.org/wal.html#walresetbug; 3.52.0 was withdrawn."""
    if version == (3, 52, 0):
        return False
    return version >= (3, 51, 3) or (3, 50, 7) <= version < (3, 51) or (3, 44, 6) <= version < (3, 45)


def address(url: str | Path | None) -> URL:
    """What to connect to: a path is an SQLite file, None the default one. Raises StoreError, MissingExtra."""
    if isinstance(url, str) and url.isspace():
        raise StoreError("the address of the store is blank: give a file, or leave it out for the default")
    if url is None or isinstance(url, Path) or "://" not in url:
        return _file(url or PLACE)
    try:
        parsed = make_url(url.replace("postgres://", "postgresql://", 1))
    except (ArgumentError, ValueError):
        # The text is not repeated: it may hold a password.
        raise StoreError("that is no address of a store: give a file, or postgresql://user@host/database") from None
    if parsed.drivername == "sqlite":
        if not parsed.database or parsed.query:
            raise StoreError(f"{url!r}: a store on SQLite is a plain file: give its path, or sqlite:///path")
        return _file(parsed.database)
    if parsed.drivername in ("postgresql", "postgresql+psycopg"):
        if find_spec("psycopg") is None:
            raise MissingExtra("postgres", "a store on PostgreSQL")
        return parsed.set(drivername="postgresql+psycopg")
    raise StoreError(f"{parsed.drivername} is no kind of store: give a file, or postgresql://user@host/database")


def _file(path: str | Path) -> URL:
    """Absolute, so that the store stays the same one when the process moves to another folder."""
    if str(path) == ":memory:":
        raise StoreError("a store on SQLite is a plain file, not ':memory:': give its path, or sqlite:///path")
    return URL.create("sqlite", database=str(Path(path).absolute()))


def connect(url: URL, create: bool, tuning: Tuning) -> Engine:
    """An engine whose transactions are explicit; on SQLite those that will write take the lock at once."""
    engine = _sqlite(url, create, tuning) if url.drivername == "sqlite" else create_engine(url, pool_pre_ping=True)
    Gate(engine)
    return engine


class Gate(Forked):
    """No connection is open while the process forks.

    What SQLite knows of the locks on a file it knows for the process: a child that was forked beside an open connection
    would believe that it holds locks which only its parent holds, and ruin the file.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = weakref.ref(engine)  # it keeps the gate, not the gate it
        self._lock = threading.RLock()
        self._open: weakref.WeakSet[Any] = weakref.WeakSet()
        self._pools: weakref.WeakSet[Pool] = weakref.WeakSet()
        """Those of before earlier forks, to which connections may have gone back since."""
        self._spoiled = False
        event.listen(engine, "do_connect", self._connect)
        event.listen(engine, "close", self._closed)
        watch(self)

    def _connect(self, dialect: Any, _: object, args: Any, options: Any) -> Any:
        with self._lock:
            if self._spoiled:
                raise StoreError(
                    "the process was forked while the store was in use, so it cannot be used in this child: open the "
                    "store, or make the engine, in the child, or start it by the method 'spawn'"
                )
            connection = dialect.connect(*args, **options)
            self._open.add(connection)
        return connection

    def _closed(self, connection: Any, _: object) -> None:
        self._open.discard(connection)

    def hold(self) -> None:
        self._lock.acquire()
        if (engine := self._engine()) is None:
            return
        end = time.monotonic() + PATIENCE
        self._pools.add(engine.pool)
        self._close_idle()
        while self._open and time.monotonic() < end:  # others are read from; they come back to the pool
            time.sleep(0.001)
            self._close_idle()
        engine.dispose()

    def _close_idle(self) -> None:
        for pool in self._pools:
            pool.dispose()

    def go_on(self) -> None:
        self._lock.release()

    def renew(self) -> None:
        self._lock = threading.RLock()
        left = list(self._open)
        for connection in left:
            abandon(connection)
        self._open.clear()
        engine = self._engine()
        self._spoiled = bool(left) and engine is not None and engine.dialect.name == "sqlite"


def describe(engine: Engine) -> str:
    """How the database is used, in a sentence for people."""
    if engine.dialect.name != "sqlite":
        return engine.dialect.name
    with engine.connect() as connection:
        mode = str(connection.exec_driver_sql("PRAGMA journal_mode").scalar()).upper()
    safe = mode == "WAL" or wal_is_safe(sqlite3.sqlite_version_info)
    why = "" if safe else ": its write-ahead log can corrupt a store; SQLite 3.51.3, 3.50.7 and 3.44.6 mend that"
    return f"sqlite {sqlite3.sqlite_version}, journal_mode {mode}{why}"


class _Link(sqlite3.Connection):
    """A connection that can be referred to weakly."""


def _sqlite(url: URL, create: bool, tuning: Tuning) -> Engine:
    _prepare(Path(url.database or ""), create)
    wal = wal_is_safe(sqlite3.sqlite_version_info) if tuning.wal is None else tuning.wal
    # `bulk` has a statement for each number of rows that it puts into one: room for them all.
    arguments = {
        "check_same_thread": False,
        "timeout": tuning.busy_ms / 1000,
        "cached_statements": 512,
        "factory": _Link,
    }
    engine = create_engine(url, connect_args=arguments)

    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, _: object) -> None:
        connection.isolation_level = None
        for pragma in (f"busy_timeout={tuning.busy_ms}", "foreign_keys=ON", "mmap_size=0", "synchronous=FULL"):
            connection.execute(f"PRAGMA {pragma}")
        _choose_log(connection, wal)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # Taking the write lock at once: a transaction that reads first can be refused when it comes to write.
        write = connection.get_execution_options().get("surefoot_write")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine


def _choose_log(connection: sqlite3.Connection, wal: bool) -> None:
    """WAL stays in the file, TRUNCATE is told to each connection. Going without WAL is always safe, so a file that
    cannot be changed now (it is read-only, or in use) stays as it is; leaving WAL is not put off."""
    (found,) = connection.execute("PRAGMA journal_mode").fetchone()
    if wal and found != "wal":
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if _code(error) not in (BUSY, LOCKED, READONLY):
                raise
    elif not wal:
        connection.execute("PRAGMA journal_mode=TRUNCATE")


def _prepare(path: Path, create: bool) -> None:
    try:
        if path.is_dir():
            raise StoreError(f"{path} is a directory: give the path of a file in it, such as {path / 'surefoot.db'}")
        if path.exists():
            return
    except OSError as error:
        raise StoreError(f"cannot look at {path} ({error.strerror}): check the permissions of its folders") from error
    if not create:
        raise StoreError(f"there is no store at {path}: run a task first, or give the path of an existing store")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"cannot make {path.parent} for the store ({error.strerror}): give another path") from error


# --- what went wrong ----------------------------------------------------------------------------------------


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Turn the database's errors into StoreError."""
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error) as error:
        raise explain(what, error) from error


def explain(what: str, error: BaseException) -> StoreError:
    """What failed, and what to do next."""
    if isinstance(error, StoreError):
        return error
    cause = _cause(error)
    if _code(cause) == CONSTRAINT or getattr(cause, "sqlstate", None) == "23505":
        advice = "another process records the same run: let one of the two go on"
    elif cause is error and not isinstance(error, sqlite3.Error) and not hasattr(error, "sqlstate"):
        return StoreError(f"{what}: {type(error).__name__}: {error}")
    else:
        advice = ADVICE.get(_code(cause), "check that the database is there and sound, then try again")
    return StoreError(f"{what}: {str(cause).strip()}; {advice}")


def transient(error: BaseException) -> bool:
    """Whether trying again may help: the database is busy, or the connection to it broke."""
    cause = _cause(error)
    if isinstance(cause, sqlite3.Error):
        return _code(cause) in (BUSY, LOCKED)
    if isinstance(error, PoolTimeout) or getattr(error, "connection_invalidated", False):
        return True
    state: str | None = getattr(cause, "sqlstate", None)
    if state is None:
        return type(cause).__name__ in ("OperationalError", "InterfaceError")
    # Classes of SQLSTATE: 08 connection, 40 serialization, 53 resources (not disk_full), 55P03 lock, 57P0x shutdown.
    return state == "55P03" or (state[:2] in ("08", "40", "53", "57") and state != "53100")


def particular(error: BaseException) -> bool:
    """Whether what was to be written is at fault, and not the database: everything else can be written."""
    cause = _cause(error)
    names = {kind.__name__ for kind in type(cause).__mro__}  # of PEP 249, which every driver has
    return isinstance(cause, OverflowError) or bool(names & {"IntegrityError", "DataError"})


def _cause(error: BaseException) -> BaseException:
    return error.orig if isinstance(error, DBAPIError) and error.orig is not None else error


def _code(cause: BaseException) -> int | None:
    code: int | None = getattr(cause, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF
