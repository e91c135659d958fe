"""What every journal promises, held on each kind of store."""

from __future__ import annotations

import asyncio
import gc
import math
import tempfile
import threading
import time
import tracemalloc
from array import array
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from steps import TASK, Open, add_step

from surefoot.storage.errors import StoreError
from surefoot.storage.records import (
    Attempt,
    Contract,
    Effect,
    Event,
    JournalRecord,
    Message,
    ModelCall,
    Outcome,
    PlannedStep,
    Policy,
    Reliability,
    Reward,
    Step,
    Task,
    ToolCall,
    Usage,
    Verdict,
)
from surefoot.storage.sql.database import Tuning
from surefoot.storage.sql.reader import PAGE
from surefoot.storage.sql.rows import KINDS
from surefoot.storage.sql.writer import CROWD, Job
from surefoot.storage.store import Store

pytestmark = pytest.mark.anyio

pytest_plugins = ("stores",)

# --- the conformance suite ----------------------------------------------------------------------------------------


async def test_records_come_back_as_they_were_in_order_of_seq(store: Store) -> None:
    journal = store.begin(TASK)
    first = add_step(journal, 0)
    add_step(journal, 1, needs=(first, 400, 3))
    await journal.barrier()
    records = list(store.records(journal.run_id))
    assert [record.seq for record in records] == list(range(1, 21))
    assert records[10] == PlannedStep(11, None, 1, 1, Step("s1", tool="price", args={"sku": "A1"}), (1, 400, 3))
    assert {type(record) for record in records} == set(KINDS)


async def test_what_a_barrier_promised_is_there_for_another_connection(store: Store, open_store: Open) -> None:
    journal = store.begin(TASK)
    for ordinal in range(20):
        add_step(journal, ordinal)
        await journal.barrier()
        with open_store() as other:
            assert sum(1 for _ in other.records(journal.run_id)) == 10 * (ordinal + 1)


async def test_a_barrier_with_nothing_to_wait_for_does_not_wait(store: Store) -> None:
    journal = store.begin(TASK)
    await journal.barrier()
    waiting = journal.barrier()
    with pytest.raises(StopIteration):  # it never yields to the event loop
        waiting.send(None)


async def test_many_barriers_at_once_all_end(store: Store) -> None:
    journal = store.begin(TASK)

    async def work(ordinal: int) -> None:
        add_step(journal, ordinal)
        await journal.barrier()

    await asyncio.gather(*map(work, range(50)))
    assert sum(1 for _ in store.records(journal.run_id)) == 500


async def test_a_barrier_given_up_harms_nobody(store: Store) -> None:
    journal = store.begin(TASK)
    add_step(journal, 0)
    given_up = asyncio.create_task(journal.barrier())
    await asyncio.sleep(0)
    given_up.cancel()
    await asyncio.gather(given_up, return_exceptions=True)
    add_step(journal, 1)
    await journal.barrier()
    assert sum(1 for _ in store.records(journal.run_id)) == 20


async def test_a_reopened_run_goes_on_behind_its_last_record(open_store: Open) -> None:
    with open_store() as store:
        journal = store.begin(TASK)
        add_step(journal, 0)
        journal.close()
        again = store.reopen(journal.run_id)
        assert again.seq() == 11
    with open_store() as store:
        again = store.reopen(journal.run_id)
        add_step(again, 1)
        again.close()
        assert [record.seq for record in store.records(journal.run_id)] == list(range(1, 21))


async def test_runs_share_the_writer_and_keep_apart(store: Store) -> None:
    journals = [store.begin(TASK) for _ in range(5)]
    for ordinal in range(30):
        for journal in journals:
            add_step(journal, ordinal)
    for journal in journals:
        journal.close()
        assert [record.seq for record in store.records(journal.run_id)] == list(range(1, 301))


async def test_the_result_takes_its_turn_behind_the_records(store: Store, open_store: Open) -> None:
    journal = store.begin(TASK, config={"model": "scripted"}, seed=7, target=0.99)
    assert store.run(journal.run_id).outcome is None
    add_step(journal, 0)
    trust = Reliability(0.99, 0.995, 0.005, "measured")
    journal.finish(Outcome.VERIFIED, "all steps verified", {"sum": 6}, trust, Usage(1, 2, 3, 4, 5, 0.25))
    journal.close()
    with open_store() as other:
        run = other.run(journal.run_id)
    assert (run.outcome, run.reason, run.output) == (Outcome.VERIFIED, "all steps verified", {"sum": 6})
    assert (run.reliability, run.usage) == (trust, Usage(1, 2, 3, 4, 5, 0.25))
    assert (run.config, run.seed, run.target, run.goal) == ({"model": "scripted"}, 7, 0.99, TASK.goal)
    assert run.ended_at is not None
    assert run.ended_at >= run.created_at


async def test_a_closed_journal_refuses_and_closing_again_does_nothing(store: Store) -> None:
    journal = store.begin(TASK)
    add_step(journal, 0)
    journal.close()
    journal.close()
    with pytest.raises(StoreError, match="closed: reopen"):
        add_step(journal, 1)
    with pytest.raises(StoreError, match="closed"):
        await journal.barrier()
    with pytest.raises(StoreError, match="closed"):
        journal.finish(Outcome.FAILED)


async def test_after_the_store_is_closed_its_journals_refuse(open_store: Open) -> None:
    store = open_store()
    journal = store.begin(TASK)
    add_step(journal, 0)
    store.close()
    store.close()
    for refused in (lambda: add_step(journal, 1), lambda: store.begin(TASK), lambda: store.policy(Policy("m"))):
        with pytest.raises(StoreError, match="the store is closed: open it again"):
            refused()
    with pytest.raises(StoreError, match="the store is closed"):
        await journal.room()
    journal.close()
    with open_store() as store:
        assert sum(1 for _ in store.records(journal.run_id)) == 10


async def test_room_holds_back_only_a_crowd(store: Store) -> None:
    journal = store.begin(TASK)
    waiting = journal.room()
    with pytest.raises(StopIteration):
        waiting.send(None)
    slow = threading.Event()
    held = store._writer.put(Job(lambda _: slow.wait(60)))
    ordinal = 0
    while len(journal._queue) <= CROWD:  # type: ignore[attr-defined]
        waiting = journal.room()
        with pytest.raises(StopIteration):
            waiting.send(None)
        add_step(journal, ordinal)
        ordinal += 1
    room = asyncio.create_task(journal.room())
    await asyncio.sleep(0)
    assert not room.done()
    slow.set()
    await asyncio.wait_for(room, 60)
    assert held.done.result()
    assert len(journal._queue) <= CROWD // 2  # type: ignore[attr-defined]
    await journal.barrier()
    assert sum(1 for _ in store.records(journal.run_id, [Event])) == ordinal


async def test_any_text_survives(store: Store) -> None:
    texts = ["", "\0", "a\0b", "\ud800", "x\udfffy\U0001f600", "\x1a", '\x1a"', "\x1a=", "é\u2028\ufffe"]
    for said in [*texts, "\\u0000 '\"%s ?"]:
        await check_text_survives(store, said)


async def check_text_survives(store: Store, said: str) -> None:
    journal = store.begin(Task(said, {said: said}), config={said: said})
    step = Step(said, said, said, {said: [said]}, said, (said,), Contract({"const": said}), (said,), kind=said)
    records: list[JournalRecord] = [
        PlannedStep(1, None, 0, 1, step),
        Message(2, None, "assistant", said, {said: said}, said),
        Attempt(3, 1, 0, "sample", "error", said, said, said),
        Verdict(said, "fail", said, said, critique=said, blame=said, evidence=said, seq=4, attempt=3),
        ModelCall(5, 1, "act", said, said, None, 2, None, sampling=said, finish_reason=said, error=said),
        ToolCall(6, 1, said, said, None, said, said, said, said, idempotency_key=said),
        Event(7, "asked", data=said),
        Reward(8, "run", None, said, 0.5, said),
    ]
    for record in records:
        journal.append(record)
    journal.finish(Outcome.FAILED, said, said)
    await journal.barrier()
    assert list(store.records(journal.run_id)) == records
    assert store.task(journal.run_id) == Task(said, {said: said})
    run = store.run(journal.run_id)
    assert (run.goal, run.config, run.reason, run.output) == (said, {said: said}, said, said)


async def test_numbers_survive_exactly(store: Store) -> None:
    numbers = [0.1, 1e-320, 1.7976931348623157e308, -0.0, 2**53 + 1.0, 2**63, -(10**400), 10**4299, True, 1, 1.0]
    journal = store.begin(TASK, seed=-(2**63))
    journal.append(Event(1, "asked", data=numbers))
    journal.append(Reward(2, "run", None, "infinite", math.inf))
    journal.append(Reward(3, "run", None, "none", math.nan))
    journal.append(Verdict("v", "abstain", score=math.nan, seq=4, attempt=1))
    for seq, number in enumerate(numbers[:5], 5):
        journal.append(Reward(seq, "run", None, "finite", float(number)))
    await journal.barrier()
    event, infinite, nan, verdict, *finite = store.records(journal.run_id)
    assert isinstance(event, Event)
    assert list(map(repr, event.data)) == list(map(repr, numbers))
    assert infinite == Reward(2, "run", None, "infinite", math.inf)
    assert isinstance(nan, Reward)
    assert math.isnan(nan.value)
    assert isinstance(verdict, Verdict)
    assert verdict.score is None
    assert [reward.value for reward in finite if isinstance(reward, Reward)] == numbers[:5]
    assert store.run(journal.run_id).seed == -(2**63)


async def test_typed_arrays_survive(store: Store) -> None:
    ids, mask, logprobs = array("i", range(500)).tobytes(), bytes([0, 1] * 250), array("f", [-0.25] * 250).tobytes()
    journal = store.begin(TASK)
    message = Message(1, None, "assistant", "ok", None, None, True, 2, ids, mask, logprobs, "engine")
    journal.append(message)
    await journal.barrier()
    assert list(store.records(journal.run_id)) == [message]


async def test_a_model_is_named_once_and_read_back_everywhere(open_store: Open) -> None:
    policy = Policy("pocket/words", "\udead", "a" * 64, "b" * 64, "c" * 64)
    with open_store() as store:
        number = store.policy(policy)
        journal = store.begin(TASK)
        calls = [
            ModelCall(1, 1, "act", "pocket/words", "\udead", number, None, None),
            ModelCall(2, 1, "act", "pocket/words", "another", number, None, None),
            ModelCall(3, 1, "act", "pocket/words", "\udead", None, None, None),
        ]
        for call in calls:
            journal.append(call)
        journal.close()
    with open_store() as store:
        assert list(store.records(journal.run_id)) == calls
        assert store.policies() == {number: policy}
        assert store.policy(policy) == number
        assert store.policy(replace(policy, revision="2")) == number + 1
        with store._engine.connect() as connection:
            names = connection.execute(text("SELECT model, revision FROM model_call ORDER BY seq")).all()
    assert names[0] == (None, None)
    assert names[1] == ("pocket/words", "another")


async def test_a_selection_of_kinds_and_numbers(store: Store) -> None:
    journal = store.begin(TASK)
    for ordinal in range(300):
        add_step(journal, ordinal)
    await journal.barrier()
    every = list(store.records(journal.run_id))
    assert len(every) == 3000 > 2 * PAGE
    assert [record.seq for record in every] == list(range(1, 3001))
    chosen = list(store.records(journal.run_id, [Verdict, Attempt]))
    assert chosen == [record for record in every if isinstance(record, Verdict | Attempt)]
    assert list(store.records(journal.run_id, after=1500)) == every[1500:]
    assert list(store.records(journal.run_id, after=3000)) == []
    assert list(store.records(journal.run_id, [])) == []


async def test_the_records_of_a_step_come_with_its_whole_conversations(store: Store) -> None:
    journal = store.begin(TASK)
    steps = [add_step(journal, ordinal) for ordinal in range(150)]
    system = journal.seq()
    journal.append(Message(system, None, "system", "answer briefly"))
    asked, said, call = journal.seq(), journal.seq(), journal.seq()
    journal.append(Message(asked, system, "user", "again?"))
    journal.append(Message(said, asked, "assistant", "again", sampled=True, call=call))
    journal.append(ModelCall(call, steps[140], "judge", "scripted", "1", None, asked, said))
    verdict = Verdict("judge", "pass", seq=journal.seq(), attempt=steps[140] + 4)
    late = [verdict, Reward(journal.seq(), "attempt", steps[140] + 4, "judged", 0.5)]
    late += [Reward(journal.seq(), "run", None, "whole", 1.0)]
    for record in late:
        journal.append(record)
    await journal.barrier()
    found = [record.seq for record in store.records(journal.run_id, steps=[steps[140]])]
    assert found == [*range(steps[140], steps[140] + 10), system, asked, said, call, verdict.seq, late[1].seq]
    assert [record.seq for record in store.records(journal.run_id, steps={1, steps[2]}, after=25)] == [
        26,
        27,
        28,
        29,
        30,
    ]
    assert [r.seq for r in store.records(journal.run_id, [Attempt], steps=steps[:2])] == [5, 15]
    assert list(store.records(journal.run_id, steps=[])) == []


async def test_the_records_of_a_step_include_messages_from_before_it(store: Store) -> None:
    journal = store.begin(TASK)
    journal.append(Message(journal.seq(), None, "system", "answer briefly"))
    for ordinal in range(PAGE // 5):
        add_step(journal, ordinal)
    step, call = add_step(journal, 0), journal.seq()
    journal.append(ModelCall(call, step, "act", "scripted", "1", None, 1, None))
    await journal.barrier()
    found = [record.seq for record in store.records(journal.run_id, steps=[step])]
    assert found == [1, *range(step, step + 10), call]


async def test_a_reader_and_the_writer_do_not_wait_for_each_other(store: Store, open_store: Open) -> None:
    journal = store.begin(TASK)
    for ordinal in range(400):
        add_step(journal, ordinal)
    await journal.barrier()
    with open_store() as other:
        reading = other.records(journal.run_id)
        for ordinal in range(400, 405):
            first = next(reading)
            add_step(journal, ordinal)
            await asyncio.wait_for(journal.barrier(), 20)  # less than a lock is waited for
        assert first.seq == 5
        assert sum(1 for _ in reading) == 4000 - 5  # what was there at the first step


async def test_reading_a_long_run_takes_the_memory_of_a_page(store: Store) -> None:
    journal = store.begin(TASK)
    size, count = 2000, 15_000
    for _ in range(count):
        journal.append(Message(journal.seq(), None, "user", "x" * size))
    await journal.barrier()
    tracemalloc.start()
    assert sum(len(r.content) for r in store.records(journal.run_id) if isinstance(r, Message)) == size * count
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 3 * PAGE * size < size * count / 4


@pytest.mark.slow
async def test_a_hundred_thousand_records(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    journal = store.begin(TASK)
    start = time.perf_counter()
    for ordinal in range(10_000):
        add_step(journal, ordinal)
        await journal.room()
    await journal.barrier()
    written = time.perf_counter()
    assert sum(1 for _ in store.records(journal.run_id)) == 100_000
    read = time.perf_counter()
    with capsys.disabled():
        print(
            f"\n{store.mode[:30]}: {(written - start) * 10:.1f} us a record written, {(read - written) * 10:.1f} read"
        )


# --- any record -----------------------------------------------------------------------------------------------------

CHARACTERS = st.characters(exclude_categories=())
WORDS = st.text(CHARACTERS, max_size=8)
NUMBERS = st.floats(allow_nan=False)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=8,
)
SEQS = st.integers(0, 2**31 - 1)
COUNTS = st.integers(0, 2**62)
USAGES = st.builds(Usage, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS, NUMBERS)
NAMES = st.lists(WORDS, max_size=3).map(tuple)
STEPS = st.builds(
    Step,
    WORDS,
    WORDS,
    st.none() | WORDS,
    st.none() | st.dictionaries(WORDS, VALUES, max_size=3),
    st.none() | WORDS,
    NAMES,
    st.builds(Contract, VALUES, VALUES),
    NAMES,
    st.none() | SEQS,
    WORDS,
)


def _literals(kind: type) -> dict[str, st.SearchStrategy[Any]]:
    """What the type hints say of a record's fields, each drawn from the strategies above."""
    simple: dict[Any, st.SearchStrategy[Any]] = {
        int: SEQS,
        str: WORDS,
        float: NUMBERS,
        bytes: st.binary(max_size=8),
        bool: st.booleans(),
        type(None): st.none(),
        Any: VALUES,
        Usage: USAGES,
        Step: STEPS,
        Effect: st.sampled_from(Effect),
        tuple[int, ...]: st.lists(SEQS, max_size=3).map(tuple),
    }

    def strategy(hint: Any) -> st.SearchStrategy[Any]:
        if hint in simple:
            return simple[hint]
        arguments = get_args(hint)
        if get_origin(hint) is Literal:
            return st.sampled_from(arguments)
        return st.one_of(*map(strategy, arguments))

    return {name: strategy(hint) for name, hint in get_type_hints(kind).items() if name != "seq"}


RECORDS = st.one_of(*(st.builds(kind, seq=st.just(0), **_literals(kind)) for kind in KINDS))


WAL = Tuning(wal=True)  # quick, and safe for one process whatever SQLite's version


@pytest.fixture(scope="module")
def lasting() -> Iterator[Store]:
    with tempfile.TemporaryDirectory() as folder, Store.open(Path(folder) / "runs.db", tuning=WAL) as store:
        for number in range(1, 4):
            store.policy(Policy(f"model {number}", str(number)))
        yield store


@settings(max_examples=100)
@given(st.lists(RECORDS, min_size=1, max_size=30))
def test_every_kind_of_record_survives_the_round_trip(lasting: Store, drawn: list[JournalRecord]) -> None:
    journal = lasting.begin(TASK)
    records = [replace(record, seq=seq) for seq, record in enumerate(drawn, 1)]
    for record in records:
        if isinstance(record, ModelCall) and record.policy:
            record = records[record.seq - 1] = replace(record, policy=record.policy % 3 + 1)
        journal.append(record)
    journal.close()
    assert list(lasting.records(journal.run_id)) == records


@pytest.mark.postgres
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn=st.lists(RECORDS, min_size=1, max_size=30))
def test_every_kind_of_record_survives_the_round_trip_on_postgresql(database: str, drawn: list[JournalRecord]) -> None:
    with Store.open(database) as store:
        journal = store.begin(TASK)
        records = [replace(record, seq=seq) for seq, record in enumerate(drawn, 1)]
        for record in records:
            journal.append(record)
        journal.close()
        assert list(store.records(journal.run_id)) == records


def test_what_waits_to_be_written_costs_the_garbage_collector_nothing() -> None:
    """Whatever it holds are plain values, so that it is looked at once: a queue is as long as the disk is slow."""
    records = [PlannedStep(1, None, 0, 1, Step("s", "go", args={"a": [1]})), Event(2, "committed", 1, 3, {"p": 0.5})]
    items = [(KINDS[type(one)].table, KINDS[type(one)].encode(7, one), ()) for one in records]
    for _ in range(3):
        gc.collect()
    assert [gc.is_tracked(item) for item in items] == [False, False]
