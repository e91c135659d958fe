"""`surefoot calibrate`: measures models and verifiers on steps whose answers are known."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from surefoot.service.cli import options as o
from surefoot.service.cli.command import OK, OUT_OF_BUDGET, command, usage
from surefoot.service.display.terminal import emit, stdout, tell

if TYPE_CHECKING:
    from surefoot.engine import Engine
    from surefoot.engine.calibrate import Labelled
    from surefoot.storage.learned import Checking, Learned

File = Annotated[
    Path | None,
    o.option(
        "--file",
        help='Labelled steps, one JSON object a line: {"goal", "inputs", "answer", "kind", "gives"}; - is stdin.',
    ),
]
Probe = Annotated[
    bool, typer.Option("--probe", help="Ask short questions with known answers: a first hint of what a model can do.")
]
Samples = Annotated[int | None, o.option("--samples", help="Samples of each step. Default: 8; with --probe 2", min=2)]
Check = Annotated[list[str] | None, o.option("--check", help="A verifier to measure too, as module:name. Repeatable.")]
Form = Annotated[
    list[str] | None, o.option("--form", help="A representation to measure too, as module:name. Repeatable.")
]


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


@command
def calibrate(
    file: File = None,
    probe: Probe = False,
    samples: Samples = None,
    check: Check = None,
    form: Form = None,
    models: o.Models = None,
    tokens: o.Tokens = None,
    usd: o.Usd = None,
    seconds: o.Seconds = None,
    seed: o.Seed = 0,
    store: o.StoreUrl = None,
    json: o.AsJson = False,
) -> int:
    """Measure models and verifiers on labelled steps. What that shows stands behind every run from then on.

    Exit codes: 0 all were measured, 1 error, 2 usage, 5 the budget ended before; what was measured is kept.
    """
    from surefoot.engine import Engine
    from surefoot.engine.calibrate import SAMPLES
    from surefoot.engine.calibrate import calibrate as measure
    from surefoot.engine.probe import SAMPLES as PROBED
    from surefoot.engine.probe import questions
    from surefoot.reflection.calibration import MEASURED
    from surefoot.service.display.receipt import spent
    from surefoot.storage.errors import SetupError
    from surefoot.storage.learned import Agreement, Sampling

    if (file is None) != probe:
        return usage("give labelled steps with --file, or --probe for questions that come with surefoot")
    cases = questions(seed) if file is None else list(read(file))
    if not cases:
        raise SetupError(f"{file} holds no labelled step: give one JSON object a line, with an answer")
    samples = samples or (PROBED if file is None else SAMPLES)
    engine = Engine(
        options=models,
        checks=[_load(name) for name in check or ()],
        representations=[_form(_load(name)) for name in form or ()],
        store=store,
    )
    began = time.monotonic()
    budget = o.budget_of(o.limits_of(None, tokens, usd, seconds))
    if probe:
        tell(f"{len(cases)} short questions, each asked {samples} times: {estimate(engine, cases, samples)}")
    with engine:
        found = measure(engine, cases, samples=samples, seed=seed, budget=budget)
        if json:
            for one in found.counts:
                if not isinstance(one, Agreement):  # patterns of votes say nothing to whoever reads rates
                    emit(said(one))
        elif found.counts:
            stdout().print(tables(found.counts), soft_wrap=True)
    cost = spent(found.usage, time.monotonic() - began)
    tell(f"{found.steps} labelled steps measured; the counts are in the store; spent: {cost}")
    if found.dropped:
        tell(f"{found.dropped} samples were no answers, and were dropped; the first: {found.flaw}")
    if probe:
        tell(
            "a hint for every kind of step, and a measurement of none: label steps of your own, as surefoot review does"
        )
    elif few := sorted(
        {one.step_class for one in found.counts if isinstance(one, Sampling) and one.prompts < MEASURED}
    ):
        tell(f"too few to go by of {', '.join(few)}: give at least {MEASURED} of a kind, and better some hundreds")
    if found.stopped:
        tell(f"{len(cases) - found.steps} were not: {found.stopped}")
        return OUT_OF_BUDGET
    tell(f"next   surefoot report{o.where(store)}")
    return OK


def estimate(engine: Engine, cases: list[Labelled], samples: int) -> str:
    """What asking them costs where answers are short, by the model's own estimate."""
    from surefoot.models.question import Question

    model = engine.models["act"]
    each = [
        model.estimate(Question("act", one.goal, output_schema=one.gives, max_tokens=ANSWER), samples) for one in cases
    ]
    tokens, usd = sum(one.tokens for one in each), sum(one.usd for one in each)
    return f"at most {tokens:,} tokens" + (f", {usd:.3f} US dollars" if usd else "") + ", if its answers are short"


ANSWER = 64
"""Tokens of a short answer."""


def read(path: Path) -> Iterator[Labelled]:
    """The labelled steps of a file. Raises SetupError, with the line's number, for one that is none."""
    from surefoot.engine.calibrate import Labelled
    from surefoot.service.cli.rows import lines
    from surefoot.storage.errors import SetupError

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
    from surefoot.storage.errors import meant

    place = ".".join(map(str, error["loc"]))
    if error["type"] == "extra_forbidden":
        return f"there is no key {place!r}; {meant(place, Row.model_fields)}"
    return f"{place}: {error['msg']}"


def schema_of(answer: Any) -> dict[str, Any] | None:
    """JSON Schema of a value's type; None for text, which needs none."""
    names = {bool: "boolean", int: "integer", float: "number", list: "array", dict: "object", type(None): "null"}
    name = names.get(type(answer))
    return None if name is None else {"type": name}


def _load(place: str) -> Any:
    """What `module:name` names; the current folder is looked through too. Raises SetupError."""
    import importlib

    from surefoot.storage.errors import SetupError

    module, colon, name = place.partition(":")
    if not colon:
        raise SetupError(f"{place!r}: write module:name, as in checks:names_a_supplier")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        return getattr(importlib.import_module(module), name)
    except Exception as error:  # a module of the user's may fail in any way
        raise SetupError(f"{place!r} cannot be loaded: {type(error).__name__}: {error}") from None


def _form(given: Any) -> Any:
    """A representation, also of a bare function: then it is for every class of steps."""
    from surefoot.models.representation import Representation

    return given if isinstance(given, Representation) else Representation(given.__name__, "", given)


def said(one: Learned) -> dict[str, Any]:
    """A count with its rates, for programs."""
    from dataclasses import asdict

    from surefoot.reflection.calibration import MEASURED, belief_of, source_of
    from surefoot.reflection.evidence import Belief
    from surefoot.storage.learned import Checking, Lesson, Sampling

    found = {"what": type(one).__name__.lower(), **asdict(one)}
    if isinstance(one, Sampling):
        few = one.prompts < MEASURED
        belief = belief_of(one, Belief())
        c = belief.concentration
        found |= {"p": None if few else belief.p, "p_low": belief.low}
        found["concentration"] = None if few or c == float("inf") else c
    if isinstance(one, Checking):
        found |= rates_of(one)
    if isinstance(one, Lesson):
        found["source"] = source_of(one.text)
    return found


TRIED = {"audit": "models' answers", "canary": "mutants"}
"""What a verifier was tried on."""


def telling(one: Checking) -> bool:
    """Whether people are shown it: a verifier alone, and after another one passed the same right and wrong answers."""
    alone, pair = not one.after, one.after.endswith("=pass") and one.after.count("=") == 1
    return alone or (pair and one.good_passed + one.good_failed > 0)


def rates_of(one: Checking) -> dict[str, float | None]:
    """Rates of true and false acceptance, and the evidence of one check in nats; None where nothing was tried."""
    from surefoot.reflection.calibration import rates_in

    rates = rates_in(one)
    good, bad = one.good_passed + one.good_failed, one.bad_passed + one.bad_failed
    return {
        "accept": rates.accept.mean if good else None,
        "false_accept": rates.false_accept.mean if bad else None,
        "nats": rates.drift() if good and bad else None,
    }


def figure_of(value: float | None, form: str = "{:.3f}") -> str:
    """A figure for people; none is a dash."""
    return "–" if value is None else form.format(value)


def tables(found: list[Learned]) -> Any:
    """What was measured, for people."""
    from rich.console import Group
    from rich.table import Column, Table

    from surefoot.storage.learned import Checking, Lesson, Sampling

    lessons = Table("class", "lesson", "told to steps", "asked as", title="Lessons")
    samples = Table(
        "class",
        Column("model", overflow="fold"),
        "asked",
        "steps",
        "right",
        "at least",
        "errors alike",
        title="Samples",
    )
    head = ("class", "verifier", "after", "tried on", "passes right", "passes wrong", "nats")
    checks = Table(*head, title="Verifiers")
    for one in found:
        row = said(one)
        if isinstance(one, Sampling):
            counted = f"{one.right:.0f} of {one.right + one.wrong:.0f}"  # too few for a rate
            right = counted if row["p"] is None else figure_of(row["p"])
            known = right, figure_of(row["p_low"]), figure_of(row["concentration"], "c = {:.3g}")
            samples.add_row(one.step_class, one.policy, one.source or "as it is", f"{one.prompts:.0f}", *known)
        elif isinstance(one, Checking) and telling(one):
            rates = figure_of(row["accept"]), figure_of(row["false_accept"]), figure_of(row["nats"], "{:.2f}")
            checks.add_row(one.step_class, one.verifier, one.after, TRIED[one.origin], *rates)
        elif isinstance(one, Lesson):
            lessons.add_row(one.step_class, one.text, figure_of(one.seen, "{:.0f}"), row["source"])
    return Group(*(table for table in (samples, checks, lessons) if table.row_count))
