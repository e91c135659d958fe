"""`surefoot report`: what was predicted and what came out, what it cost, and what verifiers are worth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from surefoot.service.cli import options as o
from surefoot.service.cli.command import OK, command
from surefoot.service.display.terminal import emit, put, tell

Out = Annotated[Path, typer.Option("--out", "-o", help="The page to write; the picture goes beside it, as .png.")]
Limit = Annotated[int, typer.Option("--limit", help="Look at the newest runs only, so many.", min=1)]


@command
def report(
    out: Out = Path("surefoot-report.html"), limit: Limit = 10_000, store: o.StoreUrl = None, json: o.AsJson = False
) -> int:
    """Draw predicted against observed, reliability against cost, and each verifier's rates (PNG and one HTML page)."""
    from surefoot.service.cli.page import estimates, instruments, judged, page, summary, voted
    from surefoot.service.display import charts
    from surefoot.service.display.rates import said
    from surefoot.storage.errors import SetupError
    from surefoot.storage.learned import Agreement

    with o.open_store(store) as opened:
        runs, accepted = judged(opened, limit)
        learned = opened.learned()
        shares = estimates(learned, opened.ruled())
        votes = voted(learned)
    if json:
        rates = [said(one) for one in learned if not isinstance(one, Agreement)]
        emit(summary(runs, accepted) | {"learned": rates, "votes": votes, "estimates": shares})
        return OK
    if out.suffix.lower() not in (".html", ".htm"):
        out = out.with_name(f"{out.name}.html")  # a name that a browser opens
    picture = charts.png(charts.figure(runs, instruments(learned)))
    try:
        out.with_suffix(".png").write_bytes(picture)
        out.write_text(page(picture, runs, accepted, learned, votes, shares), encoding="utf-8")
    except OSError as error:
        raise SetupError(f"cannot write {out}: {error.strerror}; give another --out") from None
    put(str(out))
    tell(f"{len(runs)} accepted runs with a known answer, of {accepted}; the picture is {out.with_suffix('.png')}")
    if not runs:
        tell(f"next   surefoot run --file tasks.jsonl --score{o.where(store)}   (tasks with answers)")
    return OK
