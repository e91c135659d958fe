"""Draws the house from its code into `docs/architecture.md`: the rooms, what each is for, and which it imports.

    python docs/draw.py [--check]

A room is a folder with an `__init__.py`, whose docstring says what it is for. With --check nothing is written; the
exit code is 1 where the page shows something else than the code.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- rooms: drawn by docs/draw.py -->\n", "<!-- end of rooms -->\n"
FOLDERS = ("service", "training", "engine", "planners", "reflection", "tools", "models", "trajectories", "storage")
"""From the top to the bottom."""


def rooms() -> dict[str, str]:
    """What each room is for, by its path."""
    found = {}
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("__init__.py")):
            if "migrations" not in path.parts:
                name = str(path.parent.relative_to(ROOT))
                found[name] = (ast.get_docstring(ast.parse(path.read_text())) or "").split("\n")[0]
    return found


def imports(room: str, known: dict[str, str]) -> set[str]:
    """The rooms that the files of a room import, wherever in a file they do."""
    found = set()
    for path in sorted((ROOT / room).glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("surefoot."):
                parts = str(node.module).split(".")[1:]
                found.add(next(name for end in range(len(parts), 0, -1) if (name := "/".join(parts[:end])) in known))
    return found - {room}


def drawn(edges: dict[str, set[str]]) -> dict[str, set[str]]:
    """The edges to draw. A folder that a room of its own leans on is not drawn to lean on that room, too."""
    return nearest(
        {
            name: {to for to in found if name not in edges[to] or not to.startswith(f"{name}/")}
            for name, found in edges.items()
        }
    )


def nearest(edges: dict[str, set[str]]) -> dict[str, set[str]]:
    """The edges without those that a longer way stands for, so that a drawing can be read."""

    def reached(start: str, seen: set[str]) -> set[str]:
        for one in edges[start] - seen:
            seen.add(one)
            reached(one, seen)
        return seen

    return {
        name: {one for one in to if not any(one in reached(other, {name}) for other in to - {one})}
        for name, to in edges.items()
    }


def drawing() -> str:
    known = rooms()
    edges = {name: imports(name, known) for name in known}
    lines = ["```mermaid", "flowchart TD"]
    for folder in FOLDERS:
        inside = [name for name in known if name == folder or name.startswith(f"{folder}/")]
        if len(inside) > 1:
            lines += [f'  subgraph {folder}_["{folder}/"]', *(f'    {_id(one)}["{one}"]' for one in inside), "  end"]
        else:
            lines.append(f'  {_id(folder)}["{folder}"]')
    lines += [f"  {_id(name)} --> {_id(one)}" for name, to in drawn(edges).items() for one in sorted(to)]
    lines += ["```", "", "| room | what it is for |", "| --- | --- |"]
    for name, words in known.items():
        lines.append(f"| `{name}/` | {words} |")
    return "\n".join(lines) + "\n"


def _id(room: str) -> str:
    return room.replace("/", "_")


def main() -> int:
    page = PAGE.read_text()
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    drawn = f"{before}{BEGIN}\n{drawing()}\n{END}{after}"
    if "--check" in sys.argv[1:]:
        if drawn != page:
            sys.stderr.write("docs/architecture.md shows other rooms than the code has: run python docs/draw.py\n")
        return int(drawn != page)
    PAGE.write_text(drawn)
    return 0


if __name__ == "__main__":
    sys.exit(main())
