"""The tables. `records.py` has the words; this is where they rest.

What belongs to a run is keyed by (run, seq): `run` is the run's number in this store, `seq` the record's place
in the run. NULL stands for the default of the record's field, so that rows stay short. Tables of short rows
have no rowid on SQLite; those that may hold long texts do, since SQLite packs long rows of keyed tables badly.
"""

from __future__ import annotations

from typing import Any, cast

from sqlalchemy import BigInteger, Dialect, Double, ForeignKey, Index, LargeBinary, Table, Text, UniqueConstraint
from sqlalchemy.types import TypeDecorator
from sqlmodel import Field, SQLModel

from surefoot.storage.jsonable import dumps, from_text, loads, to_text
from surefoot.storage.records import Json

KEYED = {"sqlite_with_rowid": False}


class JsonText(TypeDecorator[Json]):
    """A JSON value as compact text. Not the database's own JSON type: those round numbers and drop characters."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Json, dialect: Dialect) -> str | None:
        return None if value is None else dumps(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Json:
        return None if value is None else loads(value)


class Words(TypeDecorator[str]):
    """Text that may hold anything, `surefoot.storage.jsonable.to_text` applied."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else to_text(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else from_text(value)


def _json() -> Any:
    return Field(default=None, sa_type=JsonText, nullable=True)


def _words() -> Any:
    return Field(default=None, sa_type=Words)


def _text() -> Any:
    return Field(default=None, sa_type=Text)


def _real() -> Any:
    return Field(default=None, sa_type=Double)


def _count() -> Any:
    return Field(default=None, sa_type=BigInteger)


def _blob() -> Any:
    return Field(default=None, sa_type=LargeBinary)


def _key() -> Any:
    """Part of the key. `run` has no foreign key: a check per row would cost more than the row."""
    return Field(primary_key=True, sa_column_kwargs={"autoincrement": False})


class TaskRow(SQLModel, table=True):
    """What was asked for. Runs of equal tasks share the row, so that they can be compared."""

    __tablename__ = "task"

    id: int | None = Field(default=None, primary_key=True)
    digest: str = Field(sa_type=Text, unique=True)
    """blake2b of the task's JSON and its source, 32 hexadecimal digits."""
    source: str | None = _words()
    goal: str = Field(sa_type=Words)
    inputs: Any = _json()
    output_schema: Any = _json()
    tools: Any = _json()
    target: float | None = _real()
    budget: Any = _json()


class PolicyRow(SQLModel, table=True):
    """A model at one exact revision."""

    __tablename__ = "policy"
    __table_args__ = (UniqueConstraint("model", "revision", "weights_sha256", "tokenizer_sha256", "template_sha256"),)

    id: int | None = Field(default=None, primary_key=True)
    model: str = Field(sa_type=Words)
    revision: str = Field(sa_type=Words)
    weights_sha256: str = Field(sa_type=Text)
    tokenizer_sha256: str = Field(sa_type=Text)
    template_sha256: str = Field(sa_type=Text)
    parent: int | None = Field(default=None, sa_column_args=[ForeignKey("policy.id")])


class RunRow(SQLModel, table=True):
    """One execution of a task. The columns from `outcome` on stay NULL until it ends."""

    __tablename__ = "run"

    id: int | None = Field(default=None, primary_key=True)
    run_id: str = Field(sa_type=Text, unique=True)
    task: int = Field(sa_column_args=[ForeignKey("task.id")])
    parent: int | None = Field(default=None, sa_column_args=[ForeignKey("run.id")])
    """The run that this one was forked from."""
    purpose: str = Field(sa_type=Text)
    engine_version: str = Field(sa_type=Text)
    config: Any = _json()
    seed: int = Field(sa_type=BigInteger)
    target: float | None = _real()
    budget: Any = _json()
    workspace: str | None = _words()
    created_at: float = Field(sa_type=Double)
    """Seconds since the epoch."""
    outcome: str | None = _text()
    reason: str | None = _words()
    output: Any = _json()
    reliability: Any = _json()
    usage: Any = _json()
    ended_at: float | None = _real()


class PlanStepRow(SQLModel, table=True):
    """`PlannedStep`; the seqs that it needs are in `plan_edge`."""

    __tablename__ = "plan_step"
    __table_args__ = (KEYED,)

    run: int = _key()
    seq: int = _key()
    parent: int | None = None
    ordinal: int
    version: int
    name: str = Field(sa_type=Words)
    """`Step.id`."""
    goal: str | None = _words()
    tool: str | None = _words()
    args: Any = _json()
    planner: str | None = _words()
    needs: Any = _json()
    """`Step.needs`: names, as the plan states them."""
    takes: Any = _json()
    gives: Any = _json()
    checks: Any = _json()
    votes: int | None = None
    kind: str | None = _words()


class PlanEdgeRow(SQLModel, table=True):
    """Step `dst` needs the output of step `src`; both are seqs."""

    __tablename__ = "plan_edge"
    __table_args__ = (KEYED,)

    run: int = _key()
    dst: int = _key()
    ordinal: int = _key()
    src: int


class AttemptRow(SQLModel, table=True):
    """`Attempt`, rejected ones included."""

    __tablename__ = "attempt"

    run: int = _key()
    seq: int = _key()
    step: int
    ordinal: int
    role: str = Field(sa_type=Text)
    status: str = Field(sa_type=Text)
    output: Any = _json()
    error: str | None = _words()
    key: str | None = _text()
    """As `rows.twin` has it: U+001A and `=` where it is the text of `output`."""
    call: int | None = None
    source: str | None = _words()
    form: int | None = None
    """None is the usual form."""


class VerdictRow(SQLModel, table=True):
    """`Verdict`."""

    __tablename__ = "verdict"
    __table_args__ = (KEYED,)

    run: int = _key()
    seq: int = _key()
    attempt: int
    verifier: str = Field(sa_type=Words)
    ruling: str = Field(sa_type=Text)
    version: str | None = _words()
    kind: str | None = _words()
    exact: bool | None = None
    critique: str | None = _words()
    score: float | None = _real()
    blame: str | None = _words()
    evidence: Any = _json()
    attempts: int | None = _count()
    samples: int | None = _count()
    prompt_tokens: int | None = _count()
    completion_tokens: int | None = _count()
    cached_tokens: int | None = _count()
    usd: float | None = _real()
    nats: float | None = _real()


class MessageRow(SQLModel, table=True):
    """`Message`. Walking `parent` to the root gives the conversation; tokens are this message's own."""

    __tablename__ = "message"

    run: int = _key()
    seq: int = _key()
    parent: int | None = None
    role: str = Field(sa_type=Text)
    content: str = Field(sa_type=Words)
    tool_calls: Any = _json()
    tool_call_id: str | None = _words()
    sampled: bool | None = None
    call: int | None = None
    token_ids: bytes | None = _blob()
    """int32, little endian."""
    mask: bytes | None = _blob()
    """uint8, one a token."""
    logprobs: bytes | None = _blob()
    """float32, little endian, one a sampled token."""
    token_source: str | None = _text()
    extra: Any = _json()


class ModelCallRow(SQLModel, table=True):
    """`ModelCall`. `model` and `revision` are NULL where they are those of the policy."""

    __tablename__ = "model_call"
    __table_args__ = (KEYED,)

    run: int = _key()
    seq: int = _key()
    step: int
    role: str = Field(sa_type=Text)
    policy: int | None = None
    model: str | None = _words()
    revision: str | None = _words()
    prompt: int | None = None
    completion: int | None = None
    attempt: int | None = None
    sampling: Any = _json()
    finish_reason: str | None = _words()
    attempts: int | None = _count()
    samples: int | None = _count()
    prompt_tokens: int | None = _count()
    completion_tokens: int | None = _count()
    cached_tokens: int | None = _count()
    usd: float | None = _real()
    usage_source: str | None = _text()
    latency_ms: float | None = _real()
    retries: int | None = None
    repaired: bool | None = None
    error: str | None = _words()
    trainable: bool | None = None


class ToolCallRow(SQLModel, table=True):
    """`ToolCall`."""

    __tablename__ = "tool_call"

    run: int = _key()
    seq: int = _key()
    step: int
    name: str = Field(sa_type=Words)
    arguments: Any = _json()
    arguments_raw: str | None = _text()
    """As `rows.twin` has it: U+001A and `=` where it is the text of `arguments`."""
    call: int | None = None
    call_id: str | None = _words()
    result: Any = _json()
    error: str | None = _words()
    retry: bool | None = None
    effect: str | None = _text()
    idempotency_key: str | None = _words()
    latency_ms: float | None = _real()


class EventRow(SQLModel, table=True):
    """`Event`."""

    __tablename__ = "event"
    __table_args__ = (KEYED,)

    run: int = _key()
    seq: int = _key()
    kind: str = Field(sa_type=Text)
    step: int | None = None
    attempt: int | None = None
    data: Any = _json()


class RewardRow(SQLModel, table=True):
    """`Reward`. Rows are only ever added."""

    __tablename__ = "reward"
    __table_args__ = (KEYED,)

    run: int = _key()
    seq: int = _key()
    target: str = Field(sa_type=Text)
    target_seq: int | None = None
    name: str = Field(sa_type=Words)
    value: float | None = _real()
    """NULL is a reward that is not a number."""
    source: str | None = _words()


class FeedbackRow(SQLModel, table=True):
    """`Feedback`. Rows are only ever added."""

    __tablename__ = "feedback"
    __table_args__ = (Index("ix_feedback_run", "run"),)

    id: int | None = Field(default=None, primary_key=True)
    run: int = Field(sa_column_args=[ForeignKey("run.id")])
    step: int | None = None
    key: str = Field(sa_type=Words)
    score: float | None = _real()
    comment: str | None = _words()
    correction: Any = _json()
    source: str = Field(sa_type=Text)
    annotator: str | None = _words()
    created_at: float = Field(sa_type=Double)


class _Counts(SQLModel):
    """What runs taught; counts are discounted, so they are no whole numbers."""

    id: int | None = Field(default=None, primary_key=True)
    step_class: str = Field(sa_type=Text)
    updated_at: float = Field(sa_type=Double)


class SamplingRow(_Counts, table=True):
    """`Sampling`."""

    __tablename__ = "sampling"
    __table_args__ = (UniqueConstraint("step_class", "policy", "source"),)

    policy: str = Field(sa_type=Text)
    source: str = Field(sa_type=Text)
    prompts: float = Field(sa_type=Double)
    right: float = Field(sa_type=Double)
    wrong: float = Field(sa_type=Double)
    pairs: float = Field(sa_type=Double)
    again: float = Field(sa_type=Double)
    same: float = Field(sa_type=Double)
    thrice: float = Field(sa_type=Double)


class CheckingRow(_Counts, table=True):
    """`Checking`."""

    __tablename__ = "checking"
    __table_args__ = (UniqueConstraint("step_class", "verifier", "version", "origin", "after"),)

    verifier: str = Field(sa_type=Text)
    version: str = Field(sa_type=Text)
    origin: str = Field(sa_type=Text)
    good_passed: float = Field(sa_type=Double)
    good_failed: float = Field(sa_type=Double)
    bad_passed: float = Field(sa_type=Double)
    bad_failed: float = Field(sa_type=Double)
    after: str = Field(sa_type=Text)


class LessonRow(_Counts, table=True):
    """`Lesson`."""

    __tablename__ = "lesson"
    __table_args__ = (UniqueConstraint("step_class", "text"),)

    text: str = Field(sa_type=Text)
    seen: float = Field(sa_type=Double)


class AgreementRow(_Counts, table=True):
    """`Agreement`."""

    __tablename__ = "agreement"
    __table_args__ = (UniqueConstraint("step_class", "policy", "source", "counts", "truth"),)

    policy: str = Field(sa_type=Text)
    source: str = Field(sa_type=Text)
    counts: str = Field(sa_type=Text)
    truth: str = Field(sa_type=Text)
    prompts: float = Field(sa_type=Double)


def _table(model: type[SQLModel]) -> Table:
    return cast(Table, vars(model)["__table__"])


TASK, POLICY, RUN = _table(TaskRow), _table(PolicyRow), _table(RunRow)
REWARD, FEEDBACK = _table(RewardRow), _table(FeedbackRow)
SAMPLING, CHECKING, LESSON = _table(SamplingRow), _table(CheckingRow), _table(LessonRow)
AGREEMENT = _table(AgreementRow)
STEPS, ATTEMPTS, VERDICTS = _table(PlanStepRow), _table(AttemptRow), _table(VerdictRow)
