"""Puts a benchmark's rows into the page.

    python -m benchmarks.overhead --peers --json | python -m benchmarks.page overhead

The table goes between `<!-- overhead -->` and `<!-- end of overhead -->`, under a line on this machine.
"""

from __future__ import annotations

import datetime
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import ROOT, cell, machine, note

PAGE = ROOT / "docs" / "benchmarks.md"


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows in Markdown. Raises ValueError where there are none."""
    if not rows:
        raise ValueError("there are no rows: did the benchmark fail?")
    names = list(rows[0])
    numbers = [isinstance(rows[0][name], int | float) for name in names]
    lines = [names, ["---:" if number else "---" for number in numbers]]
    lines += [[cell(row[name]) for name in names] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def fill(page: str, name: str, text: str) -> str:
    """The page with `text` between the marks of that name. Raises ValueError where it has no such marks."""
    start, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    before, found, rest = page.partition(start)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise ValueError(f"the page has no {start.strip()} followed by {end}")
    return f"{before}{start}{text}\n{end}{after}"


def main(name: str, page: Path = PAGE) -> None:
    rows = json.loads(sys.stdin.read().splitlines()[-1])["rows"]
    said = f"{machine()}; {datetime.datetime.now(datetime.UTC).date()}.\n\n{table(rows)}"
    page.write_text(fill(page.read_text(), name, said))
    note(f"{page.name}: {len(rows)} rows of {name}")


if __name__ == "__main__":
    main(sys.argv[1])
