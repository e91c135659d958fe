"""The promises of every store, kept by each one: in a file, on a server, and in memory."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from memory_store import Memory, MemoryStore
from steps import TASK, add_step

from surefoot.engine import Budget, Engine, Outcome
from surefoot.models import ScriptedModel
from surefoot.models.question import Question
from surefoot.storage import Feedback, Plan, Step, ref
from surefoot.storage.errors import StoreError
from surefoot.storage.journal import Journal
from surefoot.storage.learned import Agreement, Checking, Learned, Lesson, Ruled, Sampling
from surefoot.storage.records import (
    Attempt,
    Event,
    JournalRecord,
    Message,
    ModelCall,
    PlannedStep,
    Policy,
    Reliability,
    Reward,
    Task,
    ToolCall,
    Usage,
    Verdict,
)
from surefoot.storage.run_store import RunStore
from surefoot.storage.store import Store
from surefoot.tools import tool
from surefoot.trajectories.exports.formats import export

pytest_plugins = ("stores",)
pytestmark = pytest.mark.anyio

Opens = Callable[[], RunStore]
"""Opens the same store each time."""


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres), "memory"])
def opens(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opens]:
    made: list[RunStore] = []
    memory = Memory()
    address: Any = request.getfixturevalue("database") if request.param == "postgres" else tmp_path / "runs.db"

    def another() -> RunStore:
        made.append(MemoryStore(memory) if request.param == "memory" else Store.open(address))
        return made[-1]

    yield another
    for one in made:
        one.close()


@pytest.fixture
def store(opens: Opens) -> RunStore:
    return opens()


def seqs(store: RunStore, run_id: str, *args: Any, **options: Any) -> list[int]:
    return [record.seq for record in store.records(run_id, *args, **options)]


def test_it_is_a_store_and_its_journals_are_journals(store: RunStore) -> None:
    assert isinstance(store, RunStore)
    assert isinstance(store.begin(TASK), Journal)


# --- beginning ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("waiting", [True, False], ids=["begin", "abegin"])
async def test_a_run_is_there_once_begun(opens: Opens, waiting: bool) -> None:
    store = opens()
    task = Task("sum", {"rows": (1, 2)}, {"type": "integer"}, 0.99, Budget(steps=5, usd=0.5))
    options: Any = {"config": {"a": (1,)}, "seed": -(2**63), "target": 0.9, "purpose": "train", "source": "gym"}
    policies = [Policy("a", "1"), Policy("b", "1")]
    first = (
        store.begin(task, **options, policies=policies)
        if waiting
        else await store.abegin(task, **options, policies=policies)
    )
    fork = store.begin(task, parent=first.run_id)
    other = opens()
    run = other.run(first.run_id)
    assert other.task(first.run_id) == Task("sum", {"rows": [1, 2]}, {"type": "integer"}, 0.99, task.budget)
    assert (run.run_id, run.goal, run.config, run.seed) == (first.run_id, "sum", {"a": [1]}, -(2**63))
    assert (run.target, run.purpose, run.parent, run.outcome, run.over) == (0.9, "train", None, None, False)
    assert (run.reason, run.usage, run.reliability, run.ended_at) == ("", None, None, None)
    assert run.engine_version and run.created_at > 0
    assert (other.run(fork.run_id).parent, other.run(fork.run_id).purpose) == (first.run_id, "prod")
    assert list(other.policies().values()) == policies
    assert first.seq() == 1 and seqs(store, first.run_id) == []


def test_runs_of_equal_tasks_of_one_source_have_the_same_task(store: RunStore) -> None:
    tasks = [TASK, Task(TASK.goal, dict(TASK.inputs)), Task(TASK.goal), Task(TASK.goal, TASK.inputs, target=0.5)]
    numbers = [store.run(store.begin(task).run_id).task for task in tasks]
    numbers.append(store.run(store.begin(TASK, source="elsewhere").run_id).task)
    assert numbers[0] == numbers[1] and len(set(numbers)) == 4


@pytest.mark.parametrize("options", [{"seed": 2**63}, {"parent": "none"}])
def test_a_run_that_cannot_begin_leaves_nothing(store: RunStore, options: Any) -> None:
    with pytest.raises(StoreError, match=r"give one of 64 bits|holds no run 'none'"):
        store.begin(TASK, **options)
    with pytest.raises(TypeError, match="workspace"):
        store.begin(TASK, workspace="here")  # type: ignore[call-arg]
    assert store.runs() == []


async def test_many_runs_begin_at_once_and_names_sort_by_time(store: RunStore) -> None:
    journals = await asyncio.gather(*(store.abegin(Task(f"task {number}")) for number in range(20)))
    names = [journal.run_id for journal in journals]
    assert sorted(run.run_id for run in store.runs()) == sorted(names)
    assert store.begin(TASK).run_id > max(names)


async def test_a_caller_that_is_cancelled_leaves_no_run_that_seems_to_run(opens: Opens) -> None:
    store = opens()
    begun = asyncio.create_task(store.abegin(TASK))
    await asyncio.sleep(0)
    begun.cancel()
    (journal,) = await asyncio.gather(begun, return_exceptions=True)
    store.close()
    outcomes = [run.outcome for run in opens().runs()]
    assert outcomes == ([Outcome.CANCELED] if isinstance(journal, BaseException) else [None])


# --- records --------------------------------------------------------------------------------------------------------


async def test_records_come_back_as_they_were_in_order_of_seq(opens: Opens) -> None:
    store = opens()
    journal = store.begin(TASK)
    numbers = [journal.seq() for _ in range(9)]
    records: list[JournalRecord] = [
        PlannedStep(numbers[0], None, 0, 1, Step("s", "Ask.", args={"a": [1.5, "\0"]}, checks=("c",)), (7,)),
        Message(numbers[1], None, "user", "\ud800 ask", extra={"x": None}),
        Message(numbers[2], numbers[1], "assistant", "4", sampled=True, call=numbers[3], token_ids=b"\1\0\0\0"),
        ModelCall(numbers[3], numbers[0], "act", "m", "r", None, numbers[1], numbers[2], usage=Usage(samples=1)),
        Attempt(numbers[4], numbers[0], 0, "sample", "proposed", {"n": 10**30}, key="k", call=numbers[3]),
        Verdict("v", "fail", "2", "judge", critique="no", score=0.5, seq=numbers[5], attempt=numbers[4]),
        ToolCall(numbers[6], numbers[0], "t", {"a": 1}, arguments_raw='{"a":1}', result=[True], error="e"),
        Event(numbers[7], "failed", numbers[0], data={"why": "it"}),
        Reward(numbers[8], "step", numbers[0], "right", 0.0),
    ]
    for record in reversed(records):
        journal.append(record)
    await journal.barrier()
    assert list(opens().records(journal.run_id)) == records
    assert seqs(store, journal.run_id, after=7) == [8, 9]
    assert seqs(store, journal.run_id, (Message, Reward), 2) == [3, 9]
    assert seqs(store, journal.run_id, after=9) == seqs(store, journal.run_id, kinds=()) == []


async def test_a_record_is_taken_as_it_is_now_and_one_that_cannot_be_kept_is_not_taken(store: RunStore) -> None:
    journal, rows = store.begin(TASK), [1]
    journal.append(Event(journal.seq(), "started", data={"rows": rows}))
    rows.append(2)
    with pytest.raises(StoreError, match="cannot be kept"):
        journal.append(Event(journal.seq(), "started", data=object()))
    journal.append(Event(journal.seq(), "finished"))
    await journal.barrier()
    assert [record.data for record in store.records(journal.run_id) if isinstance(record, Event)] == [
        {"rows": [1]},
        None,
    ]


async def test_reading_ends_where_the_run_stood_when_it_began(store: RunStore) -> None:
    journal = store.begin(TASK)
    add_step(journal, 0)
    await journal.barrier()
    reading = store.records(journal.run_id)
    assert next(reading).seq == 1
    add_step(journal, 1)
    await journal.barrier()
    assert [record.seq for record in reading] == list(range(2, 11))
    assert len(seqs(store, journal.run_id)) == 20


async def test_the_records_of_a_step_come_with_its_whole_conversations(store: RunStore) -> None:
    journal = store.begin(TASK)
    journal.append(Message(journal.seq(), None, "system", "answer briefly"))
    first, step = add_step(journal, 0), add_step(journal, 1)
    ask, say, call = journal.seq(), journal.seq(), journal.seq()
    journal.append(Message(ask, 1, "user", "again?"))
    journal.append(Message(say, ask, "assistant", "again", sampled=True, call=call))
    journal.append(ModelCall(call, step, "judge", "scripted", "1", None, ask, say))
    late: list[JournalRecord] = [Verdict("judge", "pass", seq=journal.seq(), attempt=step + 4)]
    late += [Reward(journal.seq(), "attempt", step + 4, "judged", 0.5), Reward(journal.seq(), "run", None, "all", 1.0)]
    for record in late:
        journal.append(record)
    await journal.barrier()
    own = [1, *range(step, step + 10), ask, say, call, late[0].seq, late[1].seq]
    assert seqs(store, journal.run_id, steps=[step]) == own
    assert seqs(store, journal.run_id, steps=[step], after=step + 8) == own[10:]
    assert seqs(store, journal.run_id, (Attempt,), steps={first, step}) == [first + 4, step + 4]
    assert seqs(store, journal.run_id, steps=[]) == []


# --- reopening, ending, closing -------------------------------------------------------------------------------------


async def test_a_reopened_run_goes_on_with_the_next_number(opens: Opens) -> None:
    store = opens()
    journal = store.begin(TASK)
    add_step(journal, 0)
    journal.finish(Outcome.FAILED, "it broke")
    journal.close()
    store.close()
    store = opens()
    again = store.reopen(journal.run_id)
    add_step(again, 1)
    again.finish(Outcome.VERIFIED)
    again.close()
    assert seqs(store, journal.run_id) == list(range(1, 21))
    assert store.run(journal.run_id).outcome is Outcome.VERIFIED


async def test_of_two_who_write_one_run_the_first_goes_on(opens: Opens) -> None:
    store, other = opens(), opens()
    first = store.begin(TASK)
    second, neighbour = other.reopen(first.run_id), other.begin(TASK)
    add_step(first, 0)
    await first.barrier()
    with pytest.raises(StoreError, match="let one of the two go on"):
        add_step(second, 0)
        await second.barrier()
    for refused in (lambda: add_step(second, 1), lambda: second.finish(Outcome.VERIFIED), second.close):
        with pytest.raises(StoreError):
            refused()
    add_step(first, 1)
    add_step(neighbour, 0)
    for journal in (first, neighbour):
        journal.close()
    assert (len(seqs(store, first.run_id)), len(seqs(store, neighbour.run_id))) == (20, 10)
    again = other.reopen(first.run_id)
    assert again.seq() == 21
    again.close()


async def test_the_result_takes_its_turn_behind_the_records(opens: Opens) -> None:
    store = opens()
    journal = store.begin(TASK)
    add_step(journal, 0)
    trust = Reliability(0.99, 0.995, 0.005, "measured")
    taught = Sampling("price", "scripted@1", prompts=2.0, right=2.0)
    journal.finish(Outcome.VERIFIED, "all of it", {"sum": 6}, trust, Usage(1, 2, 3, 4, 5, 0.25), [taught])
    await journal.room()
    journal.close()
    other = opens()
    run = other.run(journal.run_id)
    assert (run.outcome, run.reason, run.output) == (Outcome.VERIFIED, "all of it", {"sum": 6})
    assert (run.reliability, run.usage, run.over) == (trust, Usage(1, 2, 3, 4, 5, 0.25), True)
    assert run.ended_at is not None and run.ended_at >= run.created_at
    assert await other.alearned() == [taught]


async def test_what_is_closed_refuses_and_closing_again_does_nothing(opens: Opens) -> None:
    store = opens()
    closed, left = store.begin(TASK), store.begin(TASK)
    add_step(closed, 0)
    add_step(left, 0)
    closed.close()
    closed.close()
    with pytest.raises(StoreError, match="closed: reopen"):
        add_step(closed, 1)
    with pytest.raises(StoreError, match="closed"):
        await closed.barrier()
    store.close()
    store.close()
    for refused in (lambda: add_step(left, 1), lambda: store.begin(TASK), lambda: store.policy(Policy("m"))):
        with pytest.raises(StoreError, match="the store is closed"):
            refused()
    assert [len(seqs(opens(), journal.run_id)) for journal in (closed, left)] == [10, 10]


# --- naming ---------------------------------------------------------------------------------------------------------


def test_a_run_can_be_named_by_either_end(store: RunStore) -> None:
    with pytest.raises(StoreError):
        store.resolve("last")
    names = [store.begin(TASK).run_id for _ in range(3)]
    assert store.resolve("last") == names[-1]
    for name in names:
        assert store.resolve(name) == store.resolve(f" {name[-8:].upper()} ") == name
        assert store.resolve(name[:-1]) == name
    for unknown in (names[0][:4], names[0][-3:], "", "zzzz", "____", "%%%%", "0" * 36, 5):
        with pytest.raises(StoreError, match=r"give|holds no run"):
            store.resolve(unknown)  # type: ignore[arg-type]


def test_runs_are_listed_newest_first_page_by_page(store: RunStore) -> None:
    for number in range(7):
        journal = store.begin(Task(f"task {number}"))
        if number % 2:
            journal.finish(Outcome.VERIFIED if number == 1 else Outcome.ABSTAINED)
            journal.close()
    page = store.runs(limit=3)
    assert [run.goal for run in page] == ["task 6", "task 5", "task 4"]
    assert [run.goal for run in store.runs(2, page[-1].run_id)] == ["task 3", "task 2"]
    assert [run.goal for run in store.runs(outcome=Outcome.ABSTAINED)] == ["task 5", "task 3"]
    assert [run.goal for run in store.runs(outcome="running", before=page[-1].run_id)] == ["task 2", "task 0"]


def test_a_step_is_named_by_its_id_or_its_number(store: RunStore) -> None:
    journal = store.begin(TASK)
    steps = [add_step(journal, ordinal) for ordinal in (0, 1, 1)]
    journal.close()
    assert store.step(journal.run_id, "s0") == steps[0]
    assert store.step(journal.run_id, steps[2]) == store.step(journal.run_id, str(steps[2])) == steps[2]
    for wrong in ("s1", "s9", 2):
        with pytest.raises(StoreError, match="step"):
            store.step(journal.run_id, wrong)


def test_an_unknown_run_is_refused_everywhere(store: RunStore) -> None:
    calls: list[Callable[[], object]] = [
        lambda: store.run("none"),
        lambda: store.task("none"),
        lambda: store.reopen("none"),
        lambda: store.records("none"),
        lambda: store.step("none", 1),
        lambda: store.runs(before="none"),
        lambda: store.feedback(Feedback("none", 1.0)),
        lambda: store.feedbacks("none"),
        lambda: store.reward("none", Reward(0, "run", None, "x", 1.0)),
    ]
    for call in calls:
        with pytest.raises(StoreError, match="the store holds no run 'none'"):
            call()


# --- policies, words, counts ----------------------------------------------------------------------------------------


def test_a_policy_has_one_number_whoever_asks(opens: Opens) -> None:
    store, other = opens(), opens()
    first = store.policy(Policy("a", "1"))
    second = other.policy(Policy("a", "2"))
    with ThreadPoolExecutor(8) as threads:
        (third,) = set(threads.map(lambda _: store.policy(Policy("b")), range(8)))
    assert (other.policy(Policy("a", "1")), store.policy(Policy("a", "2"))) == (first, second)
    assert first < second < third
    for one in (store, other):
        assert list(one.policies().items()) == [
            (first, Policy("a", "1")),
            (second, Policy("a", "2")),
            (third, Policy("b")),
        ]


def test_feedback_is_kept_in_the_order_given(opens: Opens) -> None:
    store = opens()
    journal = store.begin(TASK)
    add_step(journal, 0)
    journal.close()
    said = [
        Feedback(journal.run_id, 0.0, 1, comment="wrong", correction={"price": (2,)}, annotator="ann"),
        Feedback(journal.run_id, None, key="skipped", source="CODE"),
    ]
    numbers = [store.feedback(one) for one in said]
    assert numbers[0] < numbers[1]
    first, second = opens().feedbacks(journal.run_id)
    assert (first.score, first.step, first.comment, first.correction) == (0.0, 1, "wrong", {"price": [2]})
    assert (first.annotator, first.created_at) == ("ann", said[0].created_at)
    assert second == said[1]
    assert store.feedbacks(store.begin(TASK).run_id) == []


def test_a_reward_takes_the_next_number_of_a_run_that_is_over(opens: Opens) -> None:
    store = opens()
    journal = store.begin(TASK)
    add_step(journal, 0)
    journal.finish(Outcome.VERIFIED)
    journal.close()
    assert store.reward(journal.run_id, Reward(0, "run", None, "answer", 1.0, "gym")) == 11
    assert store.reward(journal.run_id, Reward(0, "step", 1, "answer", 0.5)) == 12
    assert list(opens().records(journal.run_id, after=10)) == [
        Reward(11, "run", None, "answer", 1.0, "gym"),
        Reward(12, "step", 1, "answer", 0.5),
    ]
    assert store.reopen(journal.run_id).seq() == 13


async def test_what_runs_teach_adds_up_by_place(opens: Opens) -> None:
    store, other = opens(), opens()
    counts: list[Learned] = [
        Sampling("add", "m@1", prompts=3.0, right=2.0, wrong=1.0),
        Sampling("add", "m@1", "lesson:x", prompts=1.0, right=1.0),
        Checking("add", "v", "1", "audit", good_passed=4.0),
        Lesson("add", "carry the one", 1.0),
        Agreement("add", "m@1", "", "2+1", prompts=1.0),
    ]
    assert store.learned() == []
    store.learn(counts)
    assert set(other.learned()) == set(counts)
    other.learn(counts[:1])
    found = {one for one in await store.alearned() if isinstance(one, Sampling) and one.source == ""}
    (added,) = found
    assert (added.prompts, added.right, added.wrong) == pytest.approx((6.0, 4.0, 2.0), rel=1e-3)
    assert len(store.learned()) == 5


# --- a whole task ---------------------------------------------------------------------------------------------------


class World:
    """A tool that asks before it acts, and notes what it did."""

    def __init__(self) -> None:
        self.paid: list[int] = []

        @tool(effect="once", approval=True)
        async def pay(amount: int) -> str:
            """Pays."""
            self.paid.append(amount)
            return f"receipt {len(self.paid)}"

        self.pay = pay

    def engine(self, store: RunStore) -> Engine:
        steps = (
            Step("sum", "What is 2 + 2?", kind="adding"),
            Step("pay", "Pay it.", tool="pay", args={"amount": ref("sum")}),
        )
        return Engine(ScriptedModel(said), tools=[self.pay], planner=Plan(steps, ref("pay")), store=store, seed=1)


def said(question: Question, index: int) -> Any:
    return 4


def test_a_task_runs_is_resumed_and_said_more_of(opens: Opens) -> None:
    """What the engine does with a store, all of it: and it is the same whatever the store."""
    world, store = World(), opens()
    with world.engine(store) as engine:
        first = engine.run("pay the sum", source="test")
        assert engine.store is store
        assert (first.outcome, world.paid) == (Outcome.INPUT_REQUIRED, []), first.reason
    assert store.runs(), "the engine leaves open what it was handed"
    store.close()

    store = opens()
    with world.engine(store) as engine:
        declined = engine.resume("last", False)
        assert (declined.run_id, declined.outcome, world.paid) == (first.run_id, Outcome.FAILED, [])
        result = engine.run("pay the sum", source="test")
        result = engine.resume(result.run_id, True)
        assert (result.outcome, result.output, world.paid) == (Outcome.AGREED, "receipt 1", [4]), result.reason
        assert [one.output for one in result.steps if one.id in ("sum", "pay")] == ["4", "receipt 1"]
        assert engine.resume(result.run_id).output == "receipt 1" and world.paid == [4]
        assert engine.replay(result.run_id)
        handle = engine.handle(result.run_id)
        assert handle.result().output == "receipt 1"
        engine.feedback(result.run_id, step="sum", score=1.0, comment="right")
        forked = engine.fork(result.run_id, "pay")
        assert forked.outcome is Outcome.INPUT_REQUIRED
        assert store.run(forked.run_id).parent == result.run_id
    assert any(isinstance(one, Sampling) and one.step_class == "adding" for one in store.learned())
    numbers = seqs(store, result.run_id)
    assert numbers == sorted(set(numbers))
    out = io.StringIO()
    assert export(store, "jsonl", out, runs=[result.run_id]) == 1
    row = json.loads(out.getvalue())
    assert (row["run"]["outcome"], row["task"]["goal"]) == ("agreed", "pay the sum")
    assert [one["comment"] for one in row["feedback"]] == ["right"]


async def test_what_verifiers_said_is_counted_by_class_of_step(opens: Opens) -> None:
    with closing(opens()) as store:
        journal = store.begin(TASK)
        for record in (
            PlannedStep(journal.seq(), None, 0, 1, Step("s", "go", kind="letters")),
            Attempt(journal.seq(), 1, 1, "act", "candidate", "a"),
            Verdict("judge", "pass", "2", seq=journal.seq(), attempt=2),
            Verdict("judge", "fail", "2", seq=journal.seq(), attempt=2),
            Verdict("judge", "abstain", "2", seq=journal.seq(), attempt=2),
            Verdict("proof", "pass", exact=True, seq=journal.seq(), attempt=2),
        ):
            journal.append(record)
        journal.finish(Outcome.VERIFIED, "")
        journal.close()
        assert store.ruled() == [Ruled("letters", "judge", "2", 1, 1)]
