"""Records to rows and back: plain tuples in the order of the columns, because this is the hot path.

A field at its default becomes NULL. A test holds the columns here against `tables.py` and every kind of
record against its round trip.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from surefoot.storage.jsonable import ESCAPE, dumps, from_text, loads, to_text
from surefoot.storage.records import (
    ANYTHING,
    Attempt,
    Contract,
    Effect,
    Event,
    Json,
    Message,
    ModelCall,
    PlannedStep,
    Policy,
    Reward,
    Step,
    ToolCall,
    Usage,
    Verdict,
)

Row = tuple[Any, ...]

TWIN = ESCAPE + "="
"""Stored in place of a text that another column of the row holds already."""

_USAGE = "attempts, samples, prompt_tokens, completion_tokens, cached_tokens, usd"
_NOTHING = Usage()
_ABSENT: Row = (None,) * 6


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of record: its table, and the way there and back. A row's first two columns are run and seq."""

    table: str
    columns: tuple[str, ...]
    encode: Callable[[int, Any], Row]
    decode: Callable[[Row], Any]
    """Takes the row from `seq` on: the run is known."""


def _kind(table: str, columns: str, encode: Callable[[int, Any], Row], decode: Callable[[Row], Any]) -> Kind:
    return Kind(table, tuple(columns.split(", ")), encode, decode)


# --- single values ------------------------------------------------------------------------------------------


def _json(value: Json) -> str | None:
    return None if value is None else dumps(value)


def _value(text: str | None) -> Json:
    return None if text is None else loads(text)


def _word(text: str | None) -> str | None:
    return to_text(text) if text is not None else None


_listed = lru_cache(maxsize=1024)(dumps)
"""Of a tuple of words that many steps share."""


def _said(text: str | None) -> str | None:
    return from_text(text) if text is not None else None


def _number(value: float | None) -> float | None:
    """NaN is no number, and SQLite would make it NULL anyhow; PostgreSQL would not."""
    return value if value is not None and value == value else None


def _spent(usage: Usage) -> Row:
    if usage is _NOTHING:
        return _ABSENT
    return (
        usage.attempts or None,
        usage.samples or None,
        usage.prompt_tokens or None,
        usage.completion_tokens or None,
        usage.cached_tokens or None,
        _number(usage.usd) or None,
    )


def _usage(row: Row) -> Usage:
    if row == _ABSENT:
        return _NOTHING
    attempts, samples, prompt, completion, cached, usd = row
    return Usage(attempts or 0, samples or 0, prompt or 0, completion or 0, cached or 0, usd or 0.0)


def twin(text: str | None, other: str | None) -> str | None:
    """`text` for storing beside the stored text `other`: a mark where the two are the same."""
    if text is None:
        return None
    return TWIN if text == other else to_text(text)


def untwin(stored: str | None, other: str | None) -> str | None:
    """The text that `twin` was given."""
    if stored is None:
        return None
    return other if stored == TWIN else from_text(stored)


# --- kinds of records ---------------------------------------------------------------------------------------


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
        _word(s.goal or None),
        _word(s.tool),
        _json(s.args),
        _word(s.planner),
        dumps(s.needs) if s.needs else None,
        _json(contract.takes),
        _json(contract.gives),
        _listed(s.checks) if s.checks else None,
        s.votes,
        _word(s.kind or None),
    )


def _to_plan(row: Row) -> PlannedStep:
    """The reader puts the tuple of needed seqs behind the columns."""
    seq, parent, ordinal, version, name, goal, tool, args, planner, needs, takes, gives, checks, votes, kind, src = row
    step = Step(
        from_text(name),
        from_text(goal) if goal else "",
        _said(tool),
        _value(args),
        _said(planner),
        tuple(loads(needs)) if needs else (),
        ANYTHING if takes is None and gives is None else Contract(_value(takes), _value(gives)),
        tuple(loads(checks)) if checks else (),
        votes,
        from_text(kind) if kind else "",
    )
    return PlannedStep(seq, parent, ordinal, version, step, src)


def _from_attempt(run: int, r: Attempt) -> Row:
    output = _json(r.output)
    return (
        run,
        r.seq,
        r.step,
        r.ordinal,
        r.role,
        r.status,
        output,
        _word(r.error),
        twin(r.key or None, output),
        r.call,
        _word(r.source or None),
        r.form or None,
    )


def _to_attempt(row: Row) -> Attempt:
    seq, step, ordinal, role, status, output, error, key, call, source, form = row
    return Attempt(
        seq,
        step,
        ordinal,
        role,
        status,
        _value(output),
        _said(error),
        untwin(key, output) or "",
        call,
        from_text(source) if source else "",
        form or 0,
    )


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
        _word(r.critique or None),
        _number(r.score),
        _word(r.blame),
        _json(r.evidence),
        *_spent(r.usage),
        _number(r.nats),
    )


def _to_verdict(row: Row) -> Verdict:
    seq, attempt, verifier, ruling, version, kind, exact, critique, score, blame, evidence = row[:11]
    return Verdict(
        from_text(verifier),
        ruling,
        "1" if version is None else from_text(version),
        "rule" if kind is None else from_text(kind),
        bool(exact),
        from_text(critique) if critique else "",
        score,
        _said(blame),
        _value(evidence),
        seq,
        attempt,
        _usage(row[11:17]),
        row[17],
    )


def _from_message(run: int, r: Message) -> Row:
    return (
        run,
        r.seq,
        r.parent,
        r.role,
        to_text(r.content),
        _json(r.tool_calls),
        _word(r.tool_call_id),
        True if r.sampled else None,
        r.call,
        r.token_ids,
        r.mask,
        r.logprobs,
        None if r.token_source == "none" else r.token_source,
        _json(r.extra),
    )


def _to_message(row: Row) -> Message:
    seq, parent, role, content, tool_calls, tool_call_id, sampled, call, token_ids, mask, logprobs, source, extra = row
    return Message(
        seq,
        parent,
        role,
        from_text(content),
        _value(tool_calls),
        _said(tool_call_id),
        bool(sampled),
        call,
        token_ids,
        mask,
        logprobs,
        source or "none",
        _value(extra),
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
        _json(r.sampling),
        _word(r.finish_reason),
        *_spent(r.usage),
        None if r.usage_source == "none" else r.usage_source,
        _number(r.latency_ms) or None,
        r.retries or None,
        True if r.repaired else None,
        _word(r.error),
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
        _value(sampling),
        _said(finish),
        _usage(row[11:17]),
        source or "none",
        latency or 0.0,
        retries or 0,
        bool(repaired),
        _said(error),
        bool(trainable),
    )


def _from_tool_call(run: int, r: ToolCall) -> Row:
    arguments = _json(r.arguments)
    return (
        run,
        r.seq,
        r.step,
        to_text(r.name),
        arguments,
        twin(r.arguments_raw, arguments),
        r.call,
        _word(r.call_id),
        _json(r.result),
        _word(r.error),
        True if r.retry else None,
        None if r.effect is Effect.PURE else str(r.effect.value),
        _word(r.idempotency_key),
        _number(r.latency_ms) or None,
    )


def _to_tool_call(row: Row) -> ToolCall:
    seq, step, name, arguments, raw, call, call_id, result, error, retry, effect, key, latency = row
    return ToolCall(
        seq,
        step,
        from_text(name),
        _value(arguments),
        call,
        _said(call_id),
        untwin(raw, arguments),
        _value(result),
        _said(error),
        bool(retry),
        Effect.PURE if effect is None else Effect(effect),
        _said(key),
        latency or 0.0,
    )


def _from_event(run: int, r: Event) -> Row:
    return run, r.seq, r.kind, r.step, r.attempt, _json(r.data)


def _to_event(row: Row) -> Event:
    seq, kind, step, attempt, data = row
    return Event(seq, kind, step, attempt, _value(data))


def _from_reward(run: int, r: Reward) -> Row:
    return run, r.seq, r.target, r.target_seq, to_text(r.name), _number(r.value), _word(r.source or None)


def _to_reward(row: Row) -> Reward:
    seq, target, target_seq, name, value, source = row
    number = float("nan") if value is None else value
    return Reward(seq, target, target_seq, from_text(name), number, from_text(source) if source else "")


KINDS: Mapping[type, Kind] = {
    PlannedStep: _kind(
        "plan_step",
        "run, seq, parent, ordinal, version, name, goal, tool, args, planner, needs, takes, gives, checks, votes, kind",
        _from_plan,
        _to_plan,
    ),
    Attempt: _kind(
        "attempt",
        "run, seq, step, ordinal, role, status, output, error, key, call, source, form",
        _from_attempt,
        _to_attempt,
    ),
    Verdict: _kind(
        "verdict",
        f"run, seq, attempt, verifier, ruling, version, kind, exact, critique, score, blame, evidence, {_USAGE}, nats",
        _from_verdict,
        _to_verdict,
    ),
    Message: _kind(
        "message",
        "run, seq, parent, role, content, tool_calls, tool_call_id, sampled, call, token_ids, mask, logprobs, "
        "token_source, extra",
        _from_message,
        _to_message,
    ),
    ModelCall: _kind(
        "model_call",
        "run, seq, step, role, policy, model, revision, prompt, completion, attempt, sampling, finish_reason, "
        f"{_USAGE}, usage_source, latency_ms, retries, repaired, error, trainable",
        _from_model_call,
        _to_model_call,
    ),
    ToolCall: _kind(
        "tool_call",
        "run, seq, step, name, arguments, arguments_raw, call, call_id, result, error, retry, effect, "
        "idempotency_key, latency_ms",
        _from_tool_call,
        _to_tool_call,
    ),
    Event: _kind("event", "run, seq, kind, step, attempt, data", _from_event, _to_event),
    Reward: _kind("reward", "run, seq, target, target_seq, name, value, source", _from_reward, _to_reward),
}
"""Every kind of record that a journal takes."""

EDGES = ("plan_edge", ("run", "dst", "ordinal", "src"))
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
