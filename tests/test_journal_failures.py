"""What a journal leaves behind when its process or its database goes away."""

from __future__ import annotations

import asyncio
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from steps import TASK, Open, add_step

from surefoot.storage.errors import StoreError
from surefoot.storage.journal import Journal
from surefoot.storage.records import Event, Outcome, PlannedStep, Policy
from surefoot.storage.sql.database import Tuning
from surefoot.storage.store import Store

pytestmark = pytest.mark.anyio

pytest_plugins = ("stores",)

HEAD = f"""
import asyncio, random, resource, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from steps import TASK, add_step
from surefoot.storage.store import Store
from surefoot.storage.sql.database import Tuning
from surefoot.storage.errors import StoreError
url, wal = sys.argv[1], {{"None": None, "True": True, "False": False}}[sys.argv[2]]
store = Store.open(url, tuning=Tuning(wal=wal))
journal = store.begin(TASK)
print(journal.run_id, flush=True)
"""

ENDLESS = """
async def main():
    steps = 0
    while True:
        for _ in range(random.randint(1, 400)):
            add_step(journal, steps, needs=(1,))
            steps += 1
        await journal.barrier()
        print(10 * steps, flush=True)
asyncio.run(main())
"""

CRAMPED = """
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
async def main():
    for ordinal in range(100_000):
        add_step(journal, ordinal)
        if ordinal % 100 == 0:
            await journal.barrier()
            print(journal.seq(), flush=True)
try:
    asyncio.run(main())
except StoreError as error:
    print(error)
"""

FORGETFUL = """
for ordinal in range(1000):
    add_step(journal, ordinal)
print("done")
"""


def child(code: str, url: str, wal: bool | None = None) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", HEAD + code, url, str(wal)], stdout=subprocess.PIPE, text=True)


def check_prefix(store: Store, run_id: str, promised: int) -> int:
    """Whole transactions, in order: numbers without a gap, at least the promised ones, edges with their steps."""
    seqs = []
    for record in store.records(run_id):
        seqs.append(record.seq)
        if isinstance(record, PlannedStep):
            assert record.needs == (1,)
    assert seqs == list(range(1, len(seqs) + 1))
    assert len(seqs) >= promised
    return len(seqs)


# --- the process goes away ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["truncate", "wal", pytest.param("postgres", marks=pytest.mark.postgres)])
def test_killed_at_any_moment_it_leaves_a_prefix(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    url = request.getfixturevalue("database") if kind == "postgres" else str(tmp_path / "runs.db")
    wal = kind == "wal"
    chance = random.Random(kind)
    for _ in range(4):
        process = child(ENDLESS, url, wal)
        assert process.stdout is not None
        run_id = process.stdout.readline().strip()
        promised = "0"
        for _ in range(chance.randint(1, 8)):
            promised = process.stdout.readline()
        # Somewhere in the work that follows: a random moment is the point.
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(chance.uniform(0, 0.06))
        process.send_signal(signal.SIGKILL)
        promised = [promised, *process.stdout.read().splitlines()][-1]
        process.stdout.close()
        process.wait()
        if kind != "postgres":
            connection = sqlite3.connect(url)
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            connection.close()
        with Store.open(url, tuning=Tuning(wal=wal)) as store:
            count = check_prefix(store, run_id, int(promised))
            journal = store.reopen(run_id)
            assert journal.seq() == count + 1
            journal.append(Event(count + 1, "resumed"))
            journal.close()
            assert [record.seq for record in store.records(run_id, after=count)] == [count + 1]


def test_a_process_that_ends_without_closing_loses_nothing(tmp_path: Path) -> None:
    process = child(FORGETFUL, str(tmp_path / "runs.db"))
    output, _ = process.communicate(timeout=60)
    run_id, done = output.split()
    assert (done, process.returncode) == ("done", 0)
    with Store.open(tmp_path / "runs.db") as store:
        assert sum(1 for _ in store.records(run_id)) == 10_000


async def test_a_journal_keeps_its_store_open(tmp_path: Path) -> None:
    journal = Store.open(tmp_path / "runs.db").begin(TASK)
    add_step(journal, 0)
    await journal.barrier()
    journal.close()
    with Store.open(tmp_path / "runs.db") as store:
        assert sum(1 for _ in store.records(journal.run_id)) == 10


def test_an_event_loop_that_ended_harms_nobody(tmp_path: Path) -> None:
    lock = sqlite3.connect(tmp_path / "runs.db", isolation_level=None)
    with Store.open(tmp_path / "runs.db", tuning=Tuning(busy_ms=20)) as store:
        journal = store.begin(TASK)

        async def give_up() -> None:
            lock.execute("BEGIN EXCLUSIVE")
            add_step(journal, 0)
            await asyncio.wait_for(journal.barrier(), 0.1)

        with pytest.raises(TimeoutError):
            asyncio.run(give_up())
        lock.execute("ROLLBACK")
        lock.close()
        journal.close()
        assert sum(1 for _ in store.records(journal.run_id)) == 10


# --- the database refuses -----------------------------------------------------------------------------------------


async def check_refuses_everything(store: Store, journal: Journal, why: str) -> None:
    with pytest.raises(StoreError, match=why):
        journal.append(Event(journal.seq(), "resumed"))
    with pytest.raises(StoreError, match=why):
        await journal.barrier()
    with pytest.raises(StoreError, match=why):
        await journal.room()
    with pytest.raises(StoreError, match=why):
        journal.finish(Outcome.FAILED)
    with pytest.raises(StoreError, match=why):
        journal.close()
    with pytest.raises(StoreError, match=why):
        store.policy(Policy("another"))
    with pytest.raises(StoreError, match=why):
        store.close()


async def test_a_lock_that_ends_in_time_loses_nothing(tmp_path: Path) -> None:
    with Store.open(tmp_path / "runs.db", tuning=Tuning(busy_ms=20)) as store:
        journal = store.begin(TASK)
        lock = sqlite3.connect(tmp_path / "runs.db", isolation_level=None)
        lock.execute("BEGIN EXCLUSIVE")
        add_step(journal, 0)
        waiting = asyncio.create_task(journal.barrier())
        await asyncio.wait({waiting}, timeout=0.3)
        assert not waiting.done()
        add_step(journal, 1)
        lock.execute("ROLLBACK")
        lock.close()
        await waiting
        await journal.barrier()
        assert sum(1 for _ in store.records(journal.run_id)) == 20


async def test_a_lock_that_does_not_end_fails_the_journal_and_keeps_what_was_promised(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "runs.db", tuning=Tuning(busy_ms=20, patience=0.2))
    journal = store.begin(TASK)
    add_step(journal, 0)
    await journal.barrier()
    lock = sqlite3.connect(tmp_path / "runs.db", isolation_level=None)
    lock.execute("BEGIN EXCLUSIVE")
    add_step(journal, 1)
    with pytest.raises(StoreError, match="the run could not be recorded: database is locked; another process"):
        await journal.barrier()
    await check_refuses_everything(store, journal, "another process is writing")
    lock.execute("ROLLBACK")
    lock.close()
    with Store.open(tmp_path / "runs.db") as store:
        assert [record.seq for record in store.records(journal.run_id)] == list(range(1, 11))


def test_a_file_that_may_not_grow_fails_the_journal_and_keeps_what_was_promised(tmp_path: Path) -> None:
    process = child(CRAMPED, str(tmp_path / "runs.db"))
    output, _ = process.communicate(timeout=60)
    run_id, *promised, error = output.splitlines()
    assert error.startswith("the run could not be recorded: ")
    with Store.open(tmp_path / "runs.db") as store:
        seqs = [record.seq for record in store.records(run_id)]
    assert len(promised) > 2
    # At least what was promised, and whatever else was written before the file was full: no gap in it.
    end = max(int(promised[-1]), seqs[-1] + 1)
    assert seqs == [seq for seq in range(1, end) if str(seq) not in promised]


async def test_what_is_no_json_is_refused_with_the_reason_and_harms_nothing_else(tmp_path: Path) -> None:
    with Store.open(tmp_path / "runs.db") as store:
        journal = store.begin(TASK)
        add_step(journal, 0)
        with pytest.raises(StoreError, match="of the kind event cannot be kept: TypeError: a value of type object"):
            journal.append(Event(journal.seq(), "asked", data=object()))
        add_step(journal, 1)
        await journal.barrier()
        assert sum(1 for _ in store.records(journal.run_id, [Event])) == 2


async def test_a_record_is_kept_as_it_was_when_it_was_taken(tmp_path: Path) -> None:
    with Store.open(tmp_path / "runs.db") as store:
        journal = store.begin(TASK)
        data = {"said": "before"}
        journal.append(Event(journal.seq(), "asked", data=data))
        data["said"] = "after"
        await journal.barrier()
        assert [record.data for record in store.records(journal.run_id, [Event])] == [{"said": "before"}]


async def check_refused(journal: Journal) -> None:
    """Every method says why, and says what to do."""
    why = r"(?s)the run could not be recorded: .*another process records the same run: let one of the two go on"
    with pytest.raises(StoreError, match=why):
        await journal.barrier()
    with pytest.raises(StoreError, match=why):
        journal.append(Event(journal.seq(), "resumed"))
    with pytest.raises(StoreError, match=why):
        journal.finish(Outcome.FAILED)
    with pytest.raises(StoreError, match=why):
        journal.close()


async def test_a_run_that_two_record_at_once_is_refused_to_the_second(open_store: Open) -> None:
    with open_store() as store, open_store() as other:
        journal = store.begin(TASK)
        second = other.reopen(journal.run_id)
        add_step(journal, 0)
        journal.finish(Outcome.VERIFIED)
        await journal.barrier()
        add_step(second, 0)
        second.finish(Outcome.FAILED)
        await check_refused(second)
        assert sum(1 for _ in store.records(journal.run_id)) == 10
        assert store.run(journal.run_id).outcome is Outcome.VERIFIED


async def test_other_runs_of_the_process_go_on_where_one_is_refused(open_store: Open) -> None:
    with open_store() as store, open_store() as other:
        journal = store.begin(TASK)
        neighbours = [other.begin(TASK) for _ in range(3)]
        second = other.reopen(journal.run_id)
        add_step(journal, 0)
        await journal.barrier()
        for ordinal in range(2):  # all into one transaction, or into several: it makes no difference
            for one in (neighbours[0], second, *neighbours[1:]):
                add_step(one, ordinal)
        await check_refused(second)
        for one in neighbours:
            await one.barrier()
            add_step(one, 2)
        late = other.begin(TASK)
        add_step(late, 0)
        late.close()
        other.policy(Policy("another"))
        for one in neighbours:
            one.close()
            assert [record.seq for record in store.records(one.run_id)] == list(range(1, 31))
        assert sum(1 for _ in store.records(late.run_id)) == 10


async def test_a_refused_run_that_is_reopened_goes_on_behind_what_the_other_wrote(open_store: Open) -> None:
    with open_store() as store, open_store() as other:
        journal = store.begin(TASK)
        second = other.reopen(journal.run_id)
        add_step(journal, 0)
        journal.close()
        add_step(second, 0)
        await check_refused(second)
        again = other.reopen(journal.run_id)
        add_step(again, 1)
        again.close()
        assert [record.seq for record in store.records(journal.run_id)] == list(range(1, 21))


async def test_a_job_that_is_wrong_fails_alone(open_store: Open) -> None:
    with open_store() as store:
        journal = store.begin(TASK)
        add_step(journal, 0)
        with pytest.raises(StoreError, match="the store refused it"):
            store._writer.do(lambda connection: connection.execute(text("INSERT INTO nowhere VALUES (1)")))
        await journal.barrier()
        assert sum(1 for _ in store.records(journal.run_id)) == 10


# --- the database goes away ---------------------------------------------------------------------------------------


class Wire:
    """A wire to PostgreSQL that can be cut: at once, or after the next COMMIT got through but before its answer."""

    def __init__(self, server: Path) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="wire-"))
        self.cut_after_commit = False
        self.cuts = 0
        self._server = str(server / ".s.PGSQL.5432")
        self._open: list[socket.socket] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.folder / ".s.PGSQL.5432"))
        self._listener.listen()
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def through(self, address: str) -> str:
        return f"{address.partition('=')[0]}={self.folder}"

    def cut(self) -> None:
        """No connection, old or new, from now on."""
        _hang_up(self._listener)
        for end in self._open:
            _hang_up(end)

    def close(self) -> None:
        self.cut()
        for thread in self._threads:
            thread.join()
        for end in (self._listener, *self._open):
            end.close()
        shutil.rmtree(self.folder)

    def _start(self, target: Callable[..., None], *ends: socket.socket) -> None:
        thread = threading.Thread(target=target, args=ends, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(self._server)
            self._open += [client, server]
            self._start(self._up, client, server)
            self._start(self._down, server, client)

    def _up(self, client: socket.socket, server: socket.socket) -> None:
        while data := _receive(client):
            if self.cut_after_commit and b"COMMIT" in data:
                self.cut_after_commit = False
                self.cuts += 1
                _hang_up(client)
            try:
                server.sendall(data)
            except OSError:  # cut meanwhile
                return
        _hang_up(server)

    def _down(self, server: socket.socket, client: socket.socket) -> None:
        while data := _receive(server):
            try:
                client.sendall(data)
            except OSError:
                return
        _hang_up(client)


def _hang_up(end: socket.socket) -> None:
    with suppress(OSError):  # hung up already
        end.shutdown(socket.SHUT_RDWR)


def _receive(end: socket.socket) -> bytes:
    try:
        return end.recv(65536)
    except OSError:
        return b""


@pytest.fixture
def wire(postgres: str) -> Iterator[Wire]:
    wire = Wire(Path(postgres.rpartition("=")[2]))
    yield wire
    wire.close()


@pytest.mark.postgres
async def test_a_server_that_ends_its_connections_loses_nothing(database: str) -> None:
    killer = create_engine(database.replace("postgresql", "postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    end = text(f"SELECT count(pg_terminate_backend(pid)) {others}")
    with Store.open(database) as store, killer.connect() as connection:
        journal = store.begin(TASK)
        ended = 0
        for ordinal in range(40):
            for _ in range(20):
                add_step(journal, ordinal)
            ended += connection.execute(end).scalar_one()
            await journal.barrier()
        assert ended >= 20
        assert [record.seq for record in store.records(journal.run_id)] == list(range(1, 8001))
    killer.dispose()


@pytest.mark.postgres
async def test_a_commit_whose_answer_got_lost_is_not_done_twice(database: str, wire: Wire) -> None:
    with Store.open(wire.through(database)) as store:
        journal = store.begin(TASK)
        for ordinal in range(5):
            add_step(journal, ordinal)
            wire.cut_after_commit = True
            await journal.barrier()
        assert wire.cuts == 5
        assert [record.seq for record in store.records(journal.run_id)] == list(range(1, 51))


@pytest.mark.postgres
async def test_a_server_that_stays_away_fails_the_journal(database: str, wire: Wire) -> None:
    store = Store.open(wire.through(database), tuning=Tuning(patience=0.3))
    journal = store.begin(TASK)
    add_step(journal, 0)
    await journal.barrier()
    wire.cut()
    add_step(journal, 1)
    with pytest.raises(StoreError, match="check that the database is there and sound, then try again"):
        await journal.barrier()
    await check_refuses_everything(store, journal, "could not be recorded")
    with Store.open(database) as store:
        assert sum(1 for _ in store.records(journal.run_id)) == 10
