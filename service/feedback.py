"""`surefoot feedback`: a person's word on a run."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from surefoot.service import options as o
from surefoot.service.command import OK, command, usage
from surefoot.service.terminal import emit, put, shown, tell

if TYPE_CHECKING:
    from surefoot.storage.store import Store

StepName = Annotated[
    str | None,
    typer.Option("--step", help="A step, by its id or number (`surefoot show`); default: the run.", show_default=False),
]
Score = Annotated[
    float | None,
    typer.Option("--score", help="How good it is, from 0 to 1; .5 or more says right.", show_default=False),
]
Comment = Annotated[str, typer.Option("--comment", help="Why, in words.", show_default=False)]
Correction = Annotated[
    str | None, typer.Option("--correction", help="What it should have been, as JSON.", show_default=False)
]
Key = Annotated[str, typer.Option("--key", help="What the score is about.")]
By = Annotated[str, typer.Option("--by", help="Who says so.", show_default=False)]


@command
def feedback(
    run: o.Run,
    step: StepName = None,
    score: Score = None,
    comment: Comment = "",
    correction: Correction = None,
    key: Key = "correctness",
    by: By = "",
    store: o.StoreUrl = None,
    json: o.AsJson = False,
) -> int:
    """Say what a run, or one of its steps, was worth. It stands beside the verdicts and goes into exports."""
    if score is None and not comment and correction is None:
        return usage("say something: --score 1, --comment '...' or --correction '42'")
    if score is not None and not 0 <= score <= 1:
        return usage(f"--score {score} is not between 0 and 1")
    mended = None if correction is None else o.json_of(correction, "--correction")
    from surefoot.storage.records import Feedback

    with o.open_store(store) as opened:
        run_id = opened.resolve(run)
        seq = None if step is None else step_of(opened, run_id, step)
        said = Feedback(run_id, score, seq, key, comment, mended, annotator=by)
        opened.feedback(said)
        if said.right is not None:
            from surefoot.engine.settle import settle
            from surefoot.reflection.canonical import canonical

            known = seq is not None and not said.right and mended is not None
            settle(opened, run_id, said.right, seq, canonical(mended) if known else None)
    if json:
        emit(asdict(said))
        return OK
    parts = [f"score {score:g}"] if score is not None else []
    parts += [f"comment {shown(comment)!r}"] if comment else []
    parts += [f"correction {shown(mended)}"] if correction is not None else []
    put(
        f"kept for {'run' if step is None else f'step {shown(step)} of run'} {run_id}, {shown(key)}: {', '.join(parts)}"
    )
    tell(f"next   surefoot export --format jsonl --out trajectories.jsonl{o.where(store)}")
    return OK


def step_of(store: Store, run_id: str, name: str) -> int:
    """seq of the step with that id or number. Raises SetupError where there is none, or more than one."""
    from surefoot.service.clean import one_line
    from surefoot.storage.errors import SetupError
    from surefoot.storage.records import PlannedStep

    found = []
    for record in store.records(run_id, kinds=[PlannedStep]):
        if isinstance(record, PlannedStep):
            if str(record.seq) == name:
                return record.seq
            if record.step.id == name:
                found.append(record.seq)
    if not found:
        raise SetupError(f"the run has no step {one_line(name)!r}: `surefoot show` lists them")
    if len(found) > 1:
        raise SetupError(f"{len(found)} steps are called {one_line(name)!r}: name one by number, {found[:8]}")
    return found[0]
