"""`surefoot demo`: a first impression, on the pocket model, with no key and no network."""

from __future__ import annotations

from typing import Annotated

import typer

from surefoot.service import options as o
from surefoot.service.command import INTERRUPTED, Stopped, command
from surefoot.service.terminal import tell

Seed = Annotated[
    int | None,
    typer.Option(
        help="Make the problems anew from this seed (needs the extra 'train'); default: those that ship with surefoot.",
        show_default=False,
        min=0,
    ),
]
Problems = Annotated[int, typer.Option("--problems", help="How many problems.", min=1)]


@command
def demo(seed: Seed = None, problems: Problems = 50, store: o.StoreUrl = None, json: o.AsJson = False) -> int:
    """Watch one word problem being planned, executed and verified, then see what verification is worth on fifty."""
    from surefoot.service.tour import tour

    try:
        return tour(seed, problems, store, json)
    except Stopped:
        tell("interrupted\nnext   surefoot demo")
        return INTERRUPTED
