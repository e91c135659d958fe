"""The tables. `records.py` has the words; this is where they rest.

What belongs to a run is keyed by (run, seq): `run` is the run's number in this store, `seq` the record's place
in the run. NULL stands for the default of the record's field, so that rows stay short. Tables of short rows
have no rowid on SQLite; those that may hold long texts do, since SQLite packs long rows of keyed tables badly.
"""

from __future__ import annotations

from typing import Any, cast

from sqlalchemy import BigInteger, Double, ForeignKey, Index, LargeBinary, Table, Text, UniqueConstraint
from sqlmodel import Field, SQLModel

from surefoot.storage.sql.columns import KEYED, JsonText, Words, maybe, part_of_key


class TaskRow(SQLModel, table=True):
    """What was asked for. Runs of equal tasks share the row, so that they can be compared."""

    __tablename__ = "task"

    id: int | None = Field(default=None, primary_key=True)
    digest: str = Field(sa_type=Text, unique=True)
    """blake2b of the task's JSON and its source, 32 hexadecimal digits."""
    source: str | None = maybe(Words)
    goal: str = Field(sa_type=Words)
    inputs: Any = maybe(JsonText)
    output_schema: Any = maybe(JsonText)
    tools: Any = maybe(JsonText)
    """Not in use."""
    target: float | None = maybe(Double)
    budget: Any = maybe(JsonText)


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
    """Not in use."""


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
    config: Any = maybe(JsonText)
    seed: int = Field(sa_type=BigInteger)
    target: float | None = maybe(Double)
    budget: Any = maybe(JsonText)
    workspace: str | None = maybe(Words)
    """Not in use."""
    created_at: float = Field(sa_type=Double)
    """Seconds since the epoch."""
    outcome: str | None = maybe(Text)
    reason: str | None = maybe(Words)
    output: Any = maybe(JsonText)
    reliability: Any = maybe(JsonText)
    usage: Any = maybe(JsonText)
    ended_at: float | None = maybe(Double)


class PlanStepRow(SQLModel, table=True):
    """`PlannedStep`; the seqs that it needs are in `plan_edge`."""

    __tablename__ = "plan_step"
    __table_args__ = (KEYED,)

    run: int = part_of_key()
    seq: int = part_of_key()
    parent: int | None = None
    ordinal: int
    version: int
    name: str = Field(sa_type=Words)
    """`Step.id`."""
    goal: str | None = maybe(Words)
    tool: str | None = maybe(Words)
    args: Any = maybe(JsonText)
    planner: str | None = maybe(Words)
    needs: Any = maybe(JsonText)
    """`Step.needs`: names, as the plan states them."""
    takes: Any = maybe(JsonText)
    gives: Any = maybe(JsonText)
    checks: Any = maybe(JsonText)
    votes: int | None = None
    kind: str | None = maybe(Words)


class PlanEdgeRow(SQLModel, table=True):
    """Step `dst` needs the output of step `src`; both are seqs."""

    __tablename__ = "plan_edge"
    __table_args__ = (KEYED,)

    run: int = part_of_key()
    dst: int = part_of_key()
    ordinal: int = part_of_key()
    src: int


class AttemptRow(SQLModel, table=True):
    """`Attempt`, rejected ones included."""

    __tablename__ = "attempt"

    run: int = part_of_key()
    seq: int = part_of_key()
    step: int
    ordinal: int
    role: str = Field(sa_type=Text)
    status: str = Field(sa_type=Text)
    output: Any = maybe(JsonText)
    error: str | None = maybe(Words)
    key: str | None = maybe(Text)
    """As `values.twin` has it: U+001A and `=` where it is the text of `output`."""
    call: int | None = None
    source: str | None = maybe(Words)
    form: int | None = None
    """None is the usual form."""


class VerdictRow(SQLModel, table=True):
    """`Verdict`."""

    __tablename__ = "verdict"
    __table_args__ = (KEYED,)

    run: int = part_of_key()
    seq: int = part_of_key()
    attempt: int
    verifier: str = Field(sa_type=Words)
    ruling: str = Field(sa_type=Text)
    version: str | None = maybe(Words)
    kind: str | None = maybe(Words)
    exact: bool | None = None
    critique: str | None = maybe(Words)
    score: float | None = maybe(Double)
    blame: str | None = maybe(Words)
    evidence: Any = maybe(JsonText)
    attempts: int | None = maybe(BigInteger)
    samples: int | None = maybe(BigInteger)
    prompt_tokens: int | None = maybe(BigInteger)
    completion_tokens: int | None = maybe(BigInteger)
    cached_tokens: int | None = maybe(BigInteger)
    usd: float | None = maybe(Double)
    nats: float | None = maybe(Double)


class MessageRow(SQLModel, table=True):
    """`Message`. Walking `parent` to the root gives the conversation; tokens are this message's own."""

    __tablename__ = "message"

    run: int = part_of_key()
    seq: int = part_of_key()
    parent: int | None = None
    role: str = Field(sa_type=Text)
    content: str = Field(sa_type=Words)
    tool_calls: Any = maybe(JsonText)
    tool_call_id: str | None = maybe(Words)
    sampled: bool | None = None
    call: int | None = None
    token_ids: bytes | None = maybe(LargeBinary)
    """int32, little endian."""
    mask: bytes | None = maybe(LargeBinary)
    """uint8, one a token."""
    logprobs: bytes | None = maybe(LargeBinary)
    """float32, little endian, one a sampled token."""
    token_source: str | None = maybe(Text)
    extra: Any = maybe(JsonText)


class ModelCallRow(SQLModel, table=True):
    """`ModelCall`. `model` and `revision` are NULL where they are those of the policy."""

    __tablename__ = "model_call"
    __table_args__ = (KEYED,)

    run: int = part_of_key()
    seq: int = part_of_key()
    step: int
    role: str = Field(sa_type=Text)
    policy: int | None = None
    model: str | None = maybe(Words)
    revision: str | None = maybe(Words)
    prompt: int | None = None
    completion: int | None = None
    attempt: int | None = None
    sampling: Any = maybe(JsonText)
    finish_reason: str | None = maybe(Words)
    attempts: int | None = maybe(BigInteger)
    samples: int | None = maybe(BigInteger)
    prompt_tokens: int | None = maybe(BigInteger)
    completion_tokens: int | None = maybe(BigInteger)
    cached_tokens: int | None = maybe(BigInteger)
    usd: float | None = maybe(Double)
    usage_source: str | None = maybe(Text)
    latency_ms: float | None = maybe(Double)
    retries: int | None = None
    repaired: bool | None = None
    error: str | None = maybe(Words)
    trainable: bool | None = None


class ToolCallRow(SQLModel, table=True):
    """`ToolCall`."""

    __tablename__ = "tool_call"

    run: int = part_of_key()
    seq: int = part_of_key()
    step: int
    name: str = Field(sa_type=Words)
    arguments: Any = maybe(JsonText)
    arguments_raw: str | None = maybe(Text)
    """As `values.twin` has it: U+001A and `=` where it is the text of `arguments`."""
    call: int | None = None
    call_id: str | None = maybe(Words)
    result: Any = maybe(JsonText)
    error: str | None = maybe(Words)
    retry: bool | None = None
    effect: str | None = maybe(Text)
    idempotency_key: str | None = maybe(Words)
    latency_ms: float | None = maybe(Double)


class EventRow(SQLModel, table=True):
    """`Event`."""

    __tablename__ = "event"
    __table_args__ = (KEYED,)

    run: int = part_of_key()
    seq: int = part_of_key()
    kind: str = Field(sa_type=Text)
    step: int | None = None
    attempt: int | None = None
    data: Any = maybe(JsonText)


class RewardRow(SQLModel, table=True):
    """`Reward`. Rows are only ever added."""

    __tablename__ = "reward"
    __table_args__ = (KEYED,)

    run: int = part_of_key()
    seq: int = part_of_key()
    target: str = Field(sa_type=Text)
    target_seq: int | None = None
    name: str = Field(sa_type=Words)
    value: float | None = maybe(Double)
    """NULL is a reward that is not a number."""
    source: str | None = maybe(Words)


class FeedbackRow(SQLModel, table=True):
    """`Feedback`. Rows are only ever added."""

    __tablename__ = "feedback"
    __table_args__ = (Index("ix_feedback_run", "run"),)

    id: int | None = Field(default=None, primary_key=True)
    run: int = Field(sa_column_args=[ForeignKey("run.id")])
    step: int | None = None
    key: str = Field(sa_type=Words)
    score: float | None = maybe(Double)
    comment: str | None = maybe(Words)
    correction: Any = maybe(JsonText)
    source: str = Field(sa_type=Text)
    annotator: str | None = maybe(Words)
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


def table_of(model: type) -> Table:
    return cast(Table, vars(model)["__table__"])


TASK, POLICY, RUN, REWARD, FEEDBACK = map(table_of, (TaskRow, PolicyRow, RunRow, RewardRow, FeedbackRow))
SAMPLING, CHECKING, LESSON, AGREEMENT = map(table_of, (SamplingRow, CheckingRow, LessonRow, AgreementRow))
STEPS, EDGES, ATTEMPTS, VERDICTS = map(table_of, (PlanStepRow, PlanEdgeRow, AttemptRow, VerdictRow))
