"""Drawing a run: lines of text for its tree, and the live view on a terminal."""

from __future__ import annotations

import threading
import time

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.live import Live
from rich.text import Text

from surefoot.service.display.clean import one_line
from surefoot.service.display.terminal import stderr, value
from surefoot.service.display.tree import Node, RunTree
from surefoot.storage.records import JournalRecord

SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
MARKS = {
    "committed": ("✓", "green"),
    "failed": ("✗", "red"),
    "asked": ("?", "magenta"),
    "undone": ("↺", "yellow"),
    "replaced": ("↺", "dim"),
    "open": ("·", "dim"),
}
LONGEST = 400
"""Characters of a goal or value that a line looks at; the terminal's width cuts it further."""


def lines(tree: RunTree, width: int, limit: int | None = None, frame: int | None = None) -> list[Text]:
    """A line a step, in plan order, as wide as `width` allows; goals are cut before values are.

    Where there are more than `limit`, those of finished steps go first, and are counted.

    `frame` turns the marks of steps under way; None draws a tree that nobody works on.
    """
    drawn: list[tuple[Node, Text]] = []
    for depth, node, lasts in tree.walk():
        guides = "".join("   " if last else "│  " for last in lasts[:-1])
        guides += ("└─ " if lasts[-1] else "├─ ") if depth else ""
        drawn.append((node, _line(tree, node, guides, width, frame)))
        if node.hidden:
            drawn.append((node, Text(f"{guides}   … {node.hidden} more verified", style="dim", no_wrap=True)))
    return _fitted(drawn, limit)


def _fitted(drawn: list[tuple[Node, Text]], limit: int | None) -> list[Text]:
    surplus = 0 if limit is None else len(drawn) - max(limit, 4)
    if surplus <= 0:
        return [text for _, text in drawn]
    surplus += 1  # for the line that counts them
    done = [index for index, (node, _) in enumerate(drawn) if index and node.status != "open"]
    rest = [index for index in range(len(drawn) - 1, 0, -1) if drawn[index][0].status == "open"]
    left_out = set((done + rest)[:surplus])
    kept = [text for index, (_, text) in enumerate(drawn) if index not in left_out]
    return [kept[0], Text(f"   … {len(left_out)} steps not shown", style="dim"), *kept[1:]]


def _line(tree: RunTree, node: Node, guides: str, width: int, frame: int | None) -> Text:
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(guides, "dim")
    mark, style = MARKS[node.status]
    if frame is not None and tree.active(node):
        mark, style = SPINNER[frame % len(SPINNER)], "cyan"
    text.append(mark + " ", style)
    if node.parent is not None:
        text.append(one_line(node.step.id, 40) + "  ", "bold")
    goal = Text(one_line(node.step.goal or node.step.tool or node.step.planner or "", LONGEST))
    outcome = _outcome(node)
    goal.truncate(max(16, width - text.cell_len - outcome.cell_len), overflow="ellipsis")
    return text.append_text(goal).append_text(outcome)


def _outcome(node: Node) -> Text:
    text = Text()
    if node.status == "committed":
        text.append("  = ", "dim")
        text.append(value(node.output, LONGEST), "bold green")
    elif node.status in ("failed", "asked"):
        text.append("  " + one_line(node.reason, LONGEST), MARKS[node.status][1])
    elif node.status in ("undone", "replaced"):
        text.append("  " + node.status, "yellow")
        text.append(f": {one_line(node.reason, LONGEST)}" if node.reason else "", "dim")
    for note in notes(node):
        text.append("  " + note, "dim")
    return text


def notes(node: Node) -> list[str]:
    """What a line says of a step beside its value."""
    found = []
    if node.plan_votes is not None:
        found.append(f"plan: {node.plan_votes[0]} of {node.plan_votes[1]} proposals agree")
    elif node.status == "open" and node.step.planner is not None and not (node.children or node.hidden):
        # A plan that nobody voted on, as a fixed one, shows by its steps that it was accepted.
        found.append(f"planning: {node.attempts} proposals, {node.best} agree" if node.attempts else "planning")
    elif node.sampled and node.votes:
        found.append(f"{node.best} of {node.attempts} votes")
    if node.status == "committed" and node.sampled and node.basis and node.plan_votes is None:
        found.append(node.basis)
    if node.rejected:
        found.append(f"{node.rejected} rejected")
    return found


def tally(tree: RunTree, seconds: float) -> str:
    parts = [f"{tree.committed} steps verified", f"{tree.rejected} attempts rejected"]
    parts += [f"{tree.usage.samples} samples", f"{seconds:.1f} s"]
    return " · ".join(parts)


class LiveTree:
    """The tree on the terminal while the run goes on. `add` may be called from any thread."""

    def __init__(self, tree: RunTree) -> None:
        self.tree = tree
        self._lock = threading.Lock()
        self._began = time.monotonic()
        self._live = Live(self, console=stderr(), refresh_per_second=10, vertical_overflow="crop")
        self._over = False

    def __enter__(self) -> LiveTree:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True
        self._live.stop()

    def add(self, record: JournalRecord) -> None:
        with self._lock:
            self.tree.add(record)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        seconds = time.monotonic() - self._began
        frame = None if self._over else int(seconds * 10)
        with self._lock:
            drawn = lines(self.tree, options.max_width, max(4, console.height - 4), frame)
            summary = tally(self.tree, seconds)
        yield Group(*drawn, Text(summary, style="dim", no_wrap=True))
