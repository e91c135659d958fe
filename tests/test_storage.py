"""The store as a whole: opening it, naming runs, policies, feedback."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from memory_store import Memory, MemoryStore
from steps import TASK, Open, add_step

from surefoot.engine import Engine
from surefoot.models import ScriptedModel
from surefoot.service.cli.health import _store
from surefoot.storage import Feedback
from surefoot.storage.errors import MissingExtra, StoreError
from surefoot.storage.ids import run_id
from surefoot.storage.records import Budget, Outcome, Policy, Reward, Task
from surefoot.storage.run_store import STORES, RunStore, open_store
from surefoot.storage.sql.database import PLACE, Tuning, wal_is_safe
from surefoot.storage.store import Store

pytest_plugins = ("stores",)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "runs.db") as store:
        yield store


# --- opening --------------------------------------------------------------------------------------------------------


def test_without_an_address_the_store_is_in_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Store.open().close()
    assert (tmp_path / PLACE).is_file()
    Store.open(create=False).close()


@pytest.mark.parametrize("form", ["{}", "sqlite:///{}"])
def test_a_path_and_an_address_name_the_same_store(tmp_path: Path, form: str) -> None:
    path = tmp_path / "with space" / "runs.db"
    with Store.open(path) as store:
        known = store.begin(TASK).run_id
    with Store.open(form.format(path), create=False) as store:
        assert store.resolve("last") == known


def test_what_cannot_be_a_store_is_refused_with_what_to_do(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("not a database, but long enough to be looked at " * 40)
    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("CREATE TABLE notes (text)")
    other.close()
    refused = {
        str(tmp_path): "is a directory: give the path of a file in it",
        str(file / "runs.db"): "cannot make .*: give another path",
        str(file): "file is not a database; the file is no database: give another path",
        str(tmp_path / "other.db"): r"holds other tables \(notes\): give surefoot a database of its own",
        "/proc/runs.db": "unable to open database file; it cannot be opened: check the path and the permissions",
        "sqlite://": "a store on SQLite is a plain file: give its path",
        "sqlite:///:memory:": "a store on SQLite is a plain file",
        ":memory:": "a store on SQLite is a plain file",
        "sqlite:///a.db?mode=ro": "a store on SQLite is a plain file",
        "mysql://host/runs": "mysql is no kind of store: give a file, or postgresql://",
        "postgresql://user:secret@host:port/runs": "^that is no address of a store: give a file",
    }
    for url, why in refused.items():
        with pytest.raises(StoreError, match=why):
            Store.open(url)
    assert not (tmp_path / "a.db").exists()


def test_a_store_that_must_exist_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"there is no store at .*: run a task first"):
        Store.open(tmp_path / "runs.db", create=False)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "empty.db").touch()
    with pytest.raises(StoreError, match="the database is empty: run a task first"):
        Store.open(tmp_path / "empty.db", create=False)


def test_a_store_stays_the_same_when_the_process_moves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    with Store.open("runs.db") as store:
        monkeypatch.chdir(tmp_path / "elsewhere")
        with Store.open(tmp_path / "runs.db") as other:
            journal = store.begin(TASK)
            assert other.resolve("last") == journal.run_id
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.parametrize("wal", [False, True])
def test_a_store_that_may_not_be_written_says_so_and_can_be_read(tmp_path: Path, wal: bool) -> None:
    path = tmp_path / "runs.db"
    Store.open(path).close()
    path.chmod(0o444)
    tmp_path.chmod(0o555)
    code = f"""
import os, tempfile
from surefoot.storage.store import Store
from surefoot.storage.errors import StoreError
from surefoot.storage.run_store import STORES, RunStore, open_store
from surefoot.storage.sql.database import Tuning
from surefoot.storage.records import Task
with tempfile.TemporaryDirectory() as folder:
    with Store.open(os.path.join(folder, "other.db")) as store:
        store.begin(Task("x"))  # everything is imported now
if os.geteuid() == 0:  # whom no permissions stop
    os.setegid(65534)
    os.seteuid(65534)
with Store.open({str(path)!r}, tuning=Tuning(wal={wal})) as store:
    assert store.runs() == []
    try:
        store.begin(Task("x"))
    except StoreError as error:
        print(error)
"""
    for parent in tmp_path.parents[:3]:  # one more where tests run in several processes
        parent.chmod(0o755)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    tmp_path.chmod(0o755)
    assert "it cannot be written: check the permissions of the file and of its folder" in done.stdout, done.stderr


def test_postgresql_without_its_driver_names_the_extra() -> None:
    code = """
import sys
sys.modules["psycopg"] = None
from surefoot.storage.store import Store
Store.open("postgresql://localhost/runs")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert MissingExtra.__name__ in done.stderr
    assert "pip install 'surefoot[postgres]'" in done.stderr


def test_a_password_is_not_told() -> None:
    with pytest.raises(StoreError) as error:
        Store.open("postgres://user:secret@127.0.0.1:1/runs", tuning=Tuning(patience=0.1))
    assert "cannot be opened" in str(error.value)
    assert "secret" not in str(error.value)


def test_opening_a_current_store_does_not_load_alembic(tmp_path: Path) -> None:
    Store.open(tmp_path / "runs.db").close()
    code = f"""
import sys
from surefoot.storage.store import Store
Store.open({str(tmp_path / "runs.db")!r}).close()
print("alembic" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize(
    ("version", "safe"),
    [
        ((3, 40, 1), False),
        ((3, 44, 5), False),
        ((3, 44, 6), True),
        ((3, 45, 0), False),
        ((3, 50, 6), False),
        ((3, 50, 7), True),
        ((3, 51, 2), False),
        ((3, 51, 3), True),
        ((3, 52, 0), False),
        ((3, 52, 1), True),
        ((3, 53, 0), True),
    ],
)
def test_wal_is_used_where_sqlite_is_mended(version: tuple[int, int, int], safe: bool) -> None:
    assert wal_is_safe(version) is safe


def test_a_wal_store_is_brought_back_where_wal_is_not_safe(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    with Store.open(path, tuning=Tuning(wal=True)) as store:
        assert store.mode.endswith("journal_mode WAL")
        known = store.begin(TASK).run_id
    with Store.open(path, tuning=Tuning(wal=False)) as store:
        assert "journal_mode TRUNCATE: its write-ahead log can corrupt" in store.mode
        assert store.resolve("last") == known
        connection = sqlite3.connect(path)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)  # that is: not wal
        connection.close()


def test_wal_waits_for_a_store_that_is_in_use(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    with Store.open(path, tuning=Tuning(wal=False)) as store:
        journal = store.begin(TASK)
        lock = sqlite3.connect(path, isolation_level=None)
        lock.execute("BEGIN IMMEDIATE")
        with Store.open(path, tuning=Tuning(wal=True, busy_ms=20)) as other:
            assert "journal_mode DELETE" in other.mode
            assert other.resolve("last") == journal.run_id
        lock.execute("ROLLBACK")
        lock.close()


def test_the_settings_that_durability_rests_on(store: Store) -> None:
    for engine in (store._engine, store._writer._engine):
        with engine.connect() as connection:
            found = {
                name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
                for name in ("synchronous", "busy_timeout", "foreign_keys", "mmap_size")
            }
        assert found == {"synchronous": 2, "busy_timeout": 30_000, "foreign_keys": 1, "mmap_size": 0}


def test_a_store_that_several_open_at_once_is_made_once(open_store: Open) -> None:
    failures: list[BaseException] = []

    def use() -> None:
        try:
            with open_store() as store:
                store.begin(TASK).close()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with open_store() as store:
        assert len(store.runs()) == 4
        assert {run.task for run in store.runs()} == {1}


def test_an_error_of_the_caller_is_not_hidden_by_closing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), Store.open(tmp_path / "runs.db") as store:
        journal = store.begin(TASK)
        add_step(journal, 0)
        raise ZeroDivisionError
    with Store.open(tmp_path / "runs.db") as store:
        assert sum(1 for _ in store.records(journal.run_id)) == 10


# --- runs -------------------------------------------------------------------------------------------------------------


def test_names_of_runs_sort_by_time() -> None:
    names = [run_id() for _ in range(1000)]
    assert names == sorted(set(names))
    assert {name[14] for name in names} == {"7"}


def test_a_run_is_there_once_begun(tmp_path: Path, store: Store) -> None:
    task = Task("sum", {"rows": [1]}, {"type": "integer"}, 0.99, Budget(steps=5, usd=0.5))
    first = store.begin(task, config={"a": 1}, seed=3, target=0.9, purpose="train", source="gym")
    fork = store.begin(task, parent=first.run_id)
    with Store.open(tmp_path / "runs.db", create=False) as other:
        run = other.run(first.run_id)
        assert other.task(first.run_id) == task
        assert other.run(fork.run_id).parent == first.run_id
    assert (run.config, run.seed, run.target, run.purpose) == ({"a": 1}, 3, 0.9, "train")
    assert (run.parent, run.outcome, run.reason, run.usage, run.reliability) == (None, None, "", None, None)
    assert run.engine_version


def test_runs_of_equal_tasks_share_the_task(store: Store) -> None:
    tasks = [TASK, Task(TASK.goal, dict(TASK.inputs)), Task(TASK.goal), Task(TASK.goal, TASK.inputs, target=0.5)]
    numbers = [store.run(store.begin(task).run_id).task for task in tasks]
    numbers.append(store.run(store.begin(TASK, source="elsewhere").run_id).task)
    assert numbers == [1, 1, 2, 3, 4]


def test_runs_are_listed_newest_first_page_by_page(store: Store) -> None:
    names = []
    for number in range(7):
        journal = store.begin(Task(f"task {number}"))
        names.append(journal.run_id)
        if number % 2:
            journal.finish(Outcome.VERIFIED if number == 1 else Outcome.ABSTAINED)
            journal.close()
    assert [run.run_id for run in store.runs()] == names[::-1]
    page = store.runs(limit=3)
    assert [run.goal for run in page] == ["task 6", "task 5", "task 4"]
    assert [run.goal for run in store.runs(limit=3, before=page[-1].run_id)] == ["task 3", "task 2", "task 1"]
    assert [run.goal for run in store.runs(outcome=Outcome.ABSTAINED)] == ["task 5", "task 3"]
    assert [run.goal for run in store.runs(outcome="running")] == ["task 6", "task 4", "task 2", "task 0"]


def test_a_run_can_be_named_by_either_end(store: Store) -> None:
    with pytest.raises(StoreError, match="holds no run yet"):
        store.resolve("last")
    names = [store.begin(TASK).run_id for _ in range(3)]
    assert store.resolve("last") == names[-1]
    for name in names:
        assert store.resolve(name) == name
        assert store.resolve(f" {name[-6:].upper()} ") == name
    with pytest.raises(StoreError, match=f"could be {names[2]}, {names[1]}, {names[0]}: give more characters"):
        store.resolve(names[0][:4])
    with pytest.raises(StoreError, match="too short to name a run: give 4 characters"):
        store.resolve(names[0][-3:])
    for unknown in ("zzzz", "____", "%%%%", "0" * 36):
        with pytest.raises(StoreError, match=r"holds no run .*: `surefoot list` shows"):
            store.resolve(unknown)


def test_an_unknown_run_is_refused_everywhere(store: Store) -> None:
    calls = [
        lambda: store.run("none"),
        lambda: store.task("none"),
        lambda: store.reopen("none"),
        lambda: store.records("none"),
        lambda: store.runs(before="none"),
        lambda: store.begin(TASK, parent="none"),
        lambda: store.feedback(Feedback("none", 1.0)),
        lambda: store.feedbacks("none"),
        lambda: store.reward("none", Reward(0, "run", None, "x", 1.0)),
    ]
    for call in calls:
        with pytest.raises(StoreError, match="the store holds no run 'none'"):
            call()


def test_a_seed_of_more_than_64_bits_is_refused(store: Store) -> None:
    with pytest.raises(StoreError, match="give one of 64 bits"):
        store.begin(TASK, seed=2**63)
    assert store.runs() == []


# --- policies, feedback, rewards --------------------------------------------------------------------------------------


def test_a_policy_has_one_number_whoever_asks(open_store: Open) -> None:
    with open_store() as store, open_store() as other:
        first = store.policy(Policy("a", "1"))
        second = other.policy(Policy("b", "1"))
        assert other.policy(Policy("a", "1")) == first
        assert store.policy(Policy("b", "1")) == second
        assert store.policies() == other.policies() == {first: Policy("a", "1"), second: Policy("b", "1")}


def test_feedback_is_kept_beside_the_run_in_order(open_store: Open) -> None:
    with open_store() as store:
        name = store.begin(TASK).run_id
        given = [
            Feedback(name, 1.0, 4, "correctness", "fine \ud800", {"to": [1]}, "HUMAN", "ann", 12.5),
            Feedback(name, None, source="CODE"),
        ]
        assert [store.feedback(feedback) for feedback in given] == [1, 2]
        assert store.feedbacks(name) == given
        assert store.feedback(Feedback(name, float("nan"))) == 3
        assert store.feedbacks(name)[2].score is None


def test_a_reward_can_be_added_when_the_run_is_over(open_store: Open) -> None:
    with open_store() as store:
        journal = store.begin(TASK)
        add_step(journal, 0)
        journal.close()
        assert store.reward(journal.run_id, Reward(0, "step", 1, "late", 0.5, "person")) == 11
        assert store.reward(journal.run_id, Reward(0, "run", None, "nan", float("nan"))) == 12
        assert next(store.records(journal.run_id, after=10)) == Reward(11, "step", 1, "late", 0.5, "person")
        assert store.reopen(journal.run_id).seq() == 13


def test_a_store_that_is_damaged_says_so_when_read(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    with Store.open(path) as store:
        journal = store.begin(TASK)
        for ordinal in range(500):
            add_step(journal, ordinal)
        journal.close()
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 2)
        file.write(os.urandom(size // 2))
    with Store.open(path) as store, pytest.raises(StoreError, match=r"the run cannot be read: .*; check that the data"):
        list(store.records(journal.run_id))


def test_a_store_can_be_moved(tmp_path: Path) -> None:
    with Store.open(tmp_path / "runs.db") as store:
        journal = store.begin(TASK)
        add_step(journal, 0)
        journal.close()
    (tmp_path / "runs.db").rename(tmp_path / "moved.db")
    with Store.open(tmp_path / "moved.db", create=False) as store:
        assert sum(1 for _ in store.records(journal.run_id)) == 10
    assert [path.name for path in tmp_path.iterdir() if path.stat().st_size] == ["moved.db"]


def test_a_step_takes_well_under_a_kilobyte(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    with Store.open(path) as store:
        number = store.policy(Policy("scripted", "1"))
        empty = path.stat().st_size
        journal = store.begin(TASK)
        for ordinal in range(5000):
            add_step(journal, ordinal, number, (1, 2))
        journal.close()
    assert (path.stat().st_size - empty) / 5000 < 800


def test_a_store_of_another_kind_is_opened_by_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(STORES, "memory", f"{__name__}:in_memory")
    with closing(open_store("memory://one")) as store, Engine(ScriptedModel([]), store="memory://two") as engine:
        assert isinstance(store, MemoryStore) and isinstance(engine.store, MemoryStore)
    found = _store("memory://three")
    assert (found.status, found.detail) == ("ok", "memory://three (no run yet)"), "doctor opens it, too"


def in_memory(address: str, *, create: bool) -> RunStore:
    return MemoryStore(Memory())
