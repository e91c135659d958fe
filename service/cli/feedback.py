"""`surefoot feedback`: a person's word on a run."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from surefoot.service.cli import options as o
from surefoot.service.cli.command import OK, command, usage
from surefoot.service.display.terminal import emit, put, shown, tell

StepName = Annotated[
    str | None, o.option("--step", help="A step, by its id or number (`surefoot show`); default: the run.")
]
Score = Annotated[float | None, o.option("--score", help="How good it is, from 0 to 1; .5 or more says right.")]
Comment = Annotated[str, o.option("--comment", help="Why, in words.")]
Correction = Annotated[str | None, o.option("--correction", help="What it should have been, as JSON.")]
Key = Annotated[str, typer.Option("--key", help="What the score is about.")]
By = Annotated[str, o.option("--by", help="Who says so.")]


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
    mended = None if correction is None else o.json_of(correction, "--correction")
    from surefoot.engine.labels import label
    from surefoot.storage.records import Feedback

    with o.open_store(store) as opened:
        run_id = opened.resolve(run)
        seq = None if step is None else opened.step(run_id, step)
        said = label(opened, Feedback(run_id, score, seq, key, comment, mended, annotator=by))
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
