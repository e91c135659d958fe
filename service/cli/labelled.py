"""What `calibrate` is given: labelled steps, and the verifiers and representations that are measured on them."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from surefoot.engine import Engine
from surefoot.engine.calibrate import Labelled
from surefoot.models.question import Question
from surefoot.models.representation import Representation
from surefoot.service.cli.rows import lines
from surefoot.storage.errors import SetupError, meant

ANSWER = 64
"""Tokens of a short answer."""


class Row(BaseModel):
    """One line of the file."""

    model_config = ConfigDict(extra="forbid", strict=True)

    id: Any = None
    """For whoever keeps the file; not read."""
    answer: Any
    goal: str = ""
    inputs: dict[str, Any] = Field(default_factory=dict)
    kind: str = ""
    """Class of steps that it stands for; empty for steps that a model answers without a class of their own."""
    gives: dict[str, Any] | None = None
    """JSON Schema of the answer; default: that of its type, text excepted."""


def estimate(engine: Engine, cases: list[Labelled], samples: int) -> str:
    """What asking them costs where answers are short, by the model's own estimate."""
    model = engine.models["act"]
    each = [
        model.estimate(Question("act", one.goal, output_schema=one.gives, max_tokens=ANSWER), samples) for one in cases
    ]
    tokens, usd = sum(one.tokens for one in each), sum(one.usd for one in each)
    return f"at most {tokens:,} tokens" + (f", {usd:.3f} US dollars" if usd else "") + ", if its answers are short"


def read(path: Path) -> Iterator[Labelled]:
    """The labelled steps of a file. Raises SetupError, with the line's number, for one that is none."""
    for number, line in lines(path):
        try:
            row = Row.model_validate(json.loads(line.decode("utf-8-sig")))
        except ValidationError as error:
            wrong = "; ".join(map(_wrong, error.errors()))
            raise SetupError(f"{path}, line {number}: {wrong}") from None
        except (ValueError, RecursionError) as error:
            raise SetupError(f"{path}, line {number}: it is no JSON: {error}") from None
        gives = row.gives if row.gives is not None else schema_of(row.answer)
        yield Labelled(row.answer, row.inputs, row.goal, row.kind, gives)


def _wrong(error: Any) -> str:
    """One defect of a row in words."""
    place = ".".join(map(str, error["loc"]))
    if error["type"] == "extra_forbidden":
        return f"there is no key {place!r}; {meant(place, Row.model_fields)}"
    return f"{place}: {error['msg']}"


def schema_of(answer: Any) -> dict[str, Any] | None:
    """JSON Schema of a value's type; None for text, which needs none."""
    names = {bool: "boolean", int: "integer", float: "number", list: "array", dict: "object", type(None): "null"}
    name = names.get(type(answer))
    return None if name is None else {"type": name}


def load(place: str) -> Any:
    """What `module:name` names; the current folder is looked through too. Raises SetupError."""
    module, colon, name = place.partition(":")
    if not colon:
        raise SetupError(f"{place!r}: write module:name, as in checks:names_a_supplier")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        return getattr(importlib.import_module(module), name)
    except Exception as error:  # a module of the user's may fail in any way
        raise SetupError(f"{place!r} cannot be loaded: {type(error).__name__}: {error}") from None


def form(given: Any) -> Representation:
    """A representation, also of a bare function: then it is for every class of steps."""
    return given if isinstance(given, Representation) else Representation(given.__name__, "", given)
