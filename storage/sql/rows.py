"""Records to rows and back: plain tuples in the order of the columns, because this is the hot path.

A field at its default becomes NULL. A test holds the values here against the columns of `tables.py`, by name, and
every kind of record against its round trip.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlmodel import SQLModel

from surefoot.storage.jsonable import dumps, from_text, loads, to_text
from surefoot.storage.records import (
    ANYTHING,
    Attempt,
    Contract,
    Effect,
    Event,
    Message,
    ModelCall,
    PlannedStep,
    Policy,
    Reward,
    Step,
    ToolCall,
    Verdict,
)
from surefoot.storage.sql import tables
from surefoot.storage.sql.values import json_text, json_value, listed, numeric, said, spent, twin, untwin, usage, word

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of record: its table, and the way there and back. A row's first two columns are run and seq."""

    table: str
    columns: tuple[str, ...]
    encode: Callable[[int, Any], Row]
    decode: Callable[[Row], Any]
    """Takes the row from `seq` on: the run is known."""


def _kind(model: type[SQLModel], encode: Callable[[int, Any], Row], decode: Callable[[Row], Any]) -> Kind:
    table = tables.table_of(model)
    # Plain text: with SQLAlchemy's own kind in it, what waits in the writer's queue would cost the garbage collector.
    return Kind(str(table.name), tuple(map(str, table.c.keys())), encode, decode)


def _from_plan(run: int, r: PlannedStep) -> Row:
    s = r.step
    contract = s.contract
    return (
        run,
        r.seq,
        r.parent,
        r.ordinal,
        r.version,
        to_text(s.id),
        word(s.goal or None),
        word(s.tool),
        json_text(s.args),
        word(s.planner),
        dumps(s.needs) if s.needs else None,
        json_text(contract.takes),
        json_text(contract.gives),
        listed(s.checks) if s.checks else None,
        s.votes,
        word(s.kind or None),
    )


def _to_plan(row: Row) -> PlannedStep:
    """The reader puts the tuple of needed seqs behind the columns."""
    seq, parent, ordinal, version, name, goal, tool, args, planner, needs, takes, gives, checks, votes, kind, src = row
    step = Step(
        from_text(name),
        said(goal) or "",
        said(tool),
        json_value(args),
        said(planner),
        tuple(loads(needs)) if needs else (),
        ANYTHING if takes is None and gives is None else Contract(json_value(takes), json_value(gives)),
        tuple(loads(checks)) if checks else (),
        votes,
        said(kind) or "",
    )
    return PlannedStep(seq, parent, ordinal, version, step, src)


def _from_attempt(run: int, r: Attempt) -> Row:
    output = json_text(r.output)
    return (
        run,
        r.seq,
        r.step,
        r.ordinal,
        r.role,
        r.status,
        output,
        word(r.error),
        twin(r.key or None, output),
        r.call,
        word(r.source or None),
        r.form or None,
    )


def _to_attempt(row: Row) -> Attempt:
    seq, step, ordinal, role, status, output, error, key, call, source, form = row
    key, source = untwin(key, output) or "", said(source) or ""
    return Attempt(seq, step, ordinal, role, status, json_value(output), said(error), key, call, source, form or 0)


def _from_verdict(run: int, r: Verdict) -> Row:
    return (
        run,
        r.seq,
        r.attempt,
        to_text(r.verifier),
        r.ruling,
        None if r.version == "1" else to_text(r.version),
        None if r.kind == "rule" else to_text(r.kind),
        True if r.exact else None,
        word(r.critique or None),
        numeric(r.score),
        word(r.blame),
        json_text(r.evidence),
        *spent(r.usage),
        numeric(r.nats),
    )


def _to_verdict(row: Row) -> Verdict:
    seq, attempt, verifier, ruling, version, kind, exact, critique, score, blame, evidence = row[:11]
    return Verdict(
        from_text(verifier),
        ruling,
        "1" if version is None else from_text(version),
        "rule" if kind is None else from_text(kind),
        bool(exact),
        said(critique) or "",
        score,
        said(blame),
        json_value(evidence),
        seq,
        attempt,
        usage(row[11:17]),
        row[17],
    )


def _from_message(run: int, r: Message) -> Row:
    return (
        run,
        r.seq,
        r.parent,
        r.role,
        to_text(r.content),
        json_text(r.tool_calls),
        word(r.tool_call_id),
        True if r.sampled else None,
        r.call,
        r.token_ids,
        r.mask,
        r.logprobs,
        None if r.token_source == "none" else r.token_source,
        json_text(r.extra),
    )


def _to_message(row: Row) -> Message:
    seq, parent, role, content, tool_calls, tool_call_id, sampled, call, token_ids, mask, logprobs, source, extra = row
    return Message(
        seq,
        parent,
        role,
        from_text(content),
        json_value(tool_calls),
        said(tool_call_id),
        bool(sampled),
        call,
        token_ids,
        mask,
        logprobs,
        source or "none",
        json_value(extra),
    )


def _from_model_call(run: int, r: ModelCall) -> Row:
    return (
        run,
        r.seq,
        r.step,
        r.role,
        r.policy,
        to_text(r.model),
        to_text(r.revision),
        r.prompt,
        r.completion,
        r.attempt,
        json_text(r.sampling),
        word(r.finish_reason),
        *spent(r.usage),
        None if r.usage_source == "none" else r.usage_source,
        numeric(r.latency_ms) or None,
        r.retries or None,
        True if r.repaired else None,
        word(r.error),
        True if r.trainable else None,
    )


def _to_model_call(row: Row) -> ModelCall:
    seq, step, role, policy, model, revision, prompt, completion, attempt, sampling, finish = row[:11]
    source, latency, retries, repaired, error, trainable = row[17:]
    return ModelCall(
        seq,
        step,
        role,
        from_text(model),
        from_text(revision),
        policy,
        prompt,
        completion,
        attempt,
        json_value(sampling),
        said(finish),
        usage(row[11:17]),
        source or "none",
        latency or 0.0,
        retries or 0,
        bool(repaired),
        said(error),
        bool(trainable),
    )


def _from_tool_call(run: int, r: ToolCall) -> Row:
    arguments = json_text(r.arguments)
    return (
        run,
        r.seq,
        r.step,
        to_text(r.name),
        arguments,
        twin(r.arguments_raw, arguments),
        r.call,
        word(r.call_id),
        json_text(r.result),
        word(r.error),
        True if r.retry else None,
        None if r.effect is Effect.PURE else str(r.effect.value),
        word(r.idempotency_key),
        numeric(r.latency_ms) or None,
    )


def _to_tool_call(row: Row) -> ToolCall:
    seq, step, name, arguments, raw, call, call_id, result, error, retry, effect, key, latency = row
    return ToolCall(
        seq,
        step,
        from_text(name),
        json_value(arguments),
        call,
        said(call_id),
        untwin(raw, arguments),
        json_value(result),
        said(error),
        bool(retry),
        Effect.PURE if effect is None else Effect(effect),
        said(key),
        latency or 0.0,
    )


def _from_event(run: int, r: Event) -> Row:
    return run, r.seq, r.kind, r.step, r.attempt, json_text(r.data)


def _to_event(row: Row) -> Event:
    seq, kind, step, attempt, data = row
    return Event(seq, kind, step, attempt, json_value(data))


def _from_reward(run: int, r: Reward) -> Row:
    return run, r.seq, r.target, r.target_seq, to_text(r.name), numeric(r.value), word(r.source or None)


def _to_reward(row: Row) -> Reward:
    seq, target, target_seq, name, value, source = row
    number = float("nan") if value is None else value
    return Reward(seq, target, target_seq, from_text(name), number, said(source) or "")


KINDS: Mapping[type, Kind] = {
    PlannedStep: _kind(tables.PlanStepRow, _from_plan, _to_plan),
    Attempt: _kind(tables.AttemptRow, _from_attempt, _to_attempt),
    Verdict: _kind(tables.VerdictRow, _from_verdict, _to_verdict),
    Message: _kind(tables.MessageRow, _from_message, _to_message),
    ModelCall: _kind(tables.ModelCallRow, _from_model_call, _to_model_call),
    ToolCall: _kind(tables.ToolCallRow, _from_tool_call, _to_tool_call),
    Event: _kind(tables.EventRow, _from_event, _to_event),
    Reward: _kind(tables.RewardRow, _from_reward, _to_reward),
}
"""Every kind of record that a journal takes."""

EDGES = (str(tables.EDGES.name), tuple(map(str, tables.EDGES.c.keys())))
"""Table and columns of `PlannedStep.needs`, one row a needed step."""


def edges(run: int, record: PlannedStep) -> tuple[Row, ...]:
    return tuple([(run, record.seq, ordinal, src) for ordinal, src in enumerate(record.needs)])


def known_model(row: Row, policies: Mapping[int, Policy]) -> Row:
    """A row of `model_call` without the model's name and revision where its policy tells both."""
    policy = policies.get(row[4])
    if policy is None or row[5] != to_text(policy.model) or row[6] != to_text(policy.revision):
        return row
    return (*row[:5], None, None, *row[7:])


def named_model(row: Row, policies: Mapping[int, Policy]) -> Row:
    """Undoes `known_model`, on a row from `seq` on."""
    policy = policies[row[3]]
    return (*row[:4], to_text(policy.model), to_text(policy.revision), *row[6:])
