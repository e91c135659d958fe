"""`surefoot demo`: a first impression, on the pocket model, with no key and no network."""

from __future__ import annotations

from typing import Annotated

import typer

from surefoot.service.cli import options as o
from surefoot.service.cli.command import INTERRUPTED, Stopped, command
from surefoot.service.display.terminal import tell

Seed = Annotated[
    int | None, o.option(help="Draw all tasks and samples from this seed. Default: a fresh one, which is shown.", min=0)
]
Problems = Annotated[
    int, typer.Option("--problems", help="How often the sums in a row are done, without and with verification.", min=1)
]


@command
def demo(seed: Seed = None, problems: Problems = 50, store: o.StoreUrl = None, json: o.AsJson = False) -> int:
    """See what verification is worth, in four scenes: a word problem, sums in a row, a model too weak, the record.

    With --json one object with the figures of all scenes.
    """
    from surefoot.service.cli.tour import tour

    try:
        return tour(seed, problems, store, json)
    except (Stopped, KeyboardInterrupt):
        tell("interrupted\nnext   surefoot demo")
        return INTERRUPTED
