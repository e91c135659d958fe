"""`jsonl`: the whole trajectory of a run, one line of JSON.

    {"schema_version": 1,
     "run": {...}, "task": {...},
     "plan": [...], "attempts": [...], "accepted": [...], "verdicts": [...], "messages": [...],
     "model_calls": [...], "tool_calls": [...], "events": [...], "rewards": [...],
     "policies": {...}, "feedback": [...]}

The parts are the run's records (`surefoot.storage.records`) in order of `seq`, with the fields of the same names.
A field that is not there is None, or nothing (no usage, no edges): absent is absent, and a missing reward is not a
reward of zero. `accepted` holds the seqs of the attempts that stood at the end; every other attempt was rejected,
outvoted or undone. `policies` are those that `model_calls` refer to, by number. Of each message `token_ids`,
`mask` and `logprobs` are its own tokens, as arrays; `trajectories.tokens.path_tokens` says how they join.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import fields
from math import isfinite
from typing import Any, TextIO

from surefoot.storage.jsonable import dumps
from surefoot.storage.records import (
    ANYTHING,
    SETTLED,
    Attempt,
    Budget,
    Contract,
    Event,
    JournalRecord,
    Json,
    Message,
    ModelCall,
    PlannedStep,
    Reliability,
    Reward,
    Step,
    ToolCall,
    Usage,
    Verdict,
)
from surefoot.storage.run import RunInfo
from surefoot.storage.run_store import RunStore
from surefoot.trajectories.standing import Standing
from surefoot.trajectories.tokens import tokens

SCHEMA_VERSION = 1
"""Goes up when a reader of the old form would misread the new one."""

PARTS: tuple[tuple[str, type], ...] = (
    ("plan", PlannedStep),
    ("attempts", Attempt),
    ("verdicts", Verdict),
    ("messages", Message),
    ("model_calls", ModelCall),
    ("tool_calls", ToolCall),
    ("events", Event),
    ("rewards", Reward),
)

_NOTHING = (None, (), Usage(), ANYTHING)
_OF_THE_STORE = ("task", "goal", "workspace")
"""Fields of a run's row that mean something in its store alone, or stand in the task."""


def write(store: RunStore, run: RunInfo, out: TextIO) -> int:
    """Write one run. Its records are read part by part and written one by one, so a run may be of any length."""
    out.write(f'{{"schema_version":{SCHEMA_VERSION},"run":{dumps(_present(run, _OF_THE_STORE))}')
    out.write(f',"task":{dumps({"id": run.task} | _present(store.task(run.run_id)))}')
    policies: set[int] = set()
    for name, kind in PARTS:
        _list(out, name, _part(store, run.run_id, kind, policies))
        if kind is Attempt:
            _list(out, "accepted", _accepted(store, run.run_id))
    known = store.policies() if policies else {}
    out.write(f',"policies":{dumps({str(one): _present(known[one]) for one in sorted(policies)})}')
    _list(out, "feedback", (_present(one, ("run_id",)) for one in store.feedbacks(run.run_id)))
    out.write("}\n")
    return 1


def _part(store: RunStore, run_id: str, kind: type, policies: set[int]) -> Iterator[Json]:
    for record in store.records(run_id, kinds=(kind,)):
        if isinstance(record, Reward) and record.name == SETTLED:
            continue
        if isinstance(record, ModelCall) and record.policy is not None:
            policies.add(record.policy)
        yield plain(record)


def _accepted(store: RunStore, run_id: str) -> Iterator[int]:
    """seqs of the attempts that stood at the end, in the order of their acceptance."""
    standing = Standing(store.records(run_id, kinds=(PlannedStep, Event)))
    for record in store.records(run_id, kinds=(PlannedStep, Event)):
        if isinstance(record, (PlannedStep, Event)) and (attempt := standing.accepts(record)) is not None:
            yield attempt


def _list(out: TextIO, name: str, values: Iterable[Json]) -> None:
    out.write(f',"{name}":[')
    for position, value in enumerate(values):
        out.write(("," if position else "") + dumps(value))
    out.write("]")


def plain(record: JournalRecord) -> dict[str, Json]:
    """A record as a JSON object."""
    if isinstance(record, Message):
        return _present(record, ("token_ids", "mask", "logprobs")) | _tokens(record)
    if isinstance(record, ModelCall) and record.usage_source == "none":
        return _present(record, ("usage",)) | {"usage": {"samples": record.usage.samples}}
    if isinstance(record, Reward) and not isfinite(record.value):
        return _present(record, ("value",))
    return _present(record)


def _present(value: Any, without: tuple[str, ...] = ()) -> dict[str, Json]:
    """The fields of a dataclass that say something; `dumps` makes JSON of what is in them."""
    names = (field.name for field in fields(value) if field.name not in without)
    found = {name: getattr(value, name) for name in names}
    return {name: _inner(one) for name, one in found.items() if one not in _NOTHING}


def _inner(value: Any) -> Json:
    return _present(value) if isinstance(value, (Step, Contract, Budget, Usage, Reliability)) else value


def _tokens(message: Message) -> dict[str, Json]:
    if message.token_ids is None:
        return {}
    ids, mask, logprobs = tokens(message)
    found: dict[str, Json] = {"token_ids": ids.tolist(), "mask": mask.tolist()}
    # Nine digits tell every float32 from its neighbours.
    return found | ({"logprobs": [float(f"{one:.9g}") for one in logprobs]} if message.logprobs is not None else {})
