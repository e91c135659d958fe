"""`surefoot calibrate`: measures models and verifiers on steps whose answers are known."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from surefoot.service.cli import options as o
from surefoot.service.cli.command import OK, OUT_OF_BUDGET, command, usage
from surefoot.service.display.terminal import emit, stdout, tell

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
    from surefoot.service.cli.labelled import estimate, load, read
    from surefoot.service.cli.labelled import form as form_of
    from surefoot.service.display.rates import said, tables
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
        checks=[load(name) for name in check or ()],
        representations=[form_of(load(name)) for name in form or ()],
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
