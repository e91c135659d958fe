"""The house rules that a machine can hold: which way imports point, what is public, how large files are."""

from __future__ import annotations

import ast
import graphlib
import importlib
import io
import json
import os
import re
import subprocess
import sys
import tokenize
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parent.parent
ORDER = ("storage", "trajectories", "models", "tools", "reflection", "planners", "engine", "training", "service")
"""From the bottom to the top: a folder imports from itself and from those before it."""
OTHERS = ("tests", "examples", "benchmarks")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

PUBLIC: dict[str, set[str]] = {
    "storage": {"Contract", "Feedback", "Plan", "Step", "given", "ref"},
    "trajectories": set(),
    "models": {"Model", "Question", "ReplayModel", "Reply", "ScriptedModel", "forbid_requests", "load"},
    "tools": {"Tool", "ToolContext", "tool"},
    "reflection": {"Case", "ExecutionCheck", "Judge", "Recompute", "Verifier", "verifier"},
    "planners": {"ModelPlanner", "NextStepPlanner", "planner"},
    "engine": {"Budget", "Engine", "Outcome", "Result"},
    "training": set(),
    "service": set(),
}
"""Every public name. Adding one here is a promise to keep it. A name that two folders hand on counts once."""


def files(*folders: str, suffix: str = ".py") -> list[Path]:
    found = [path for folder in folders for path in sorted((ROOT / folder).rglob(f"*{suffix}"))]
    return [path for path in found if "__pycache__" not in path.parts]


def module(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(("surefoot", *(parts[:-1] if parts[-1] == "__init__" else parts)))


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """Line and full dotted name of everything that a file imports, wherever in the file it does.

    `from a import b` gives `a.b`, for b may be a module.
    """
    package = module(path).split(".") if path.name == "__init__.py" else module(path).split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = [*above, *([node.module] if node.module else [])]
            yield from ((node.lineno, ".".join([*base, alias.name])) for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in ("import_module", "__import__"):
            yield from ((node.lineno, str(word.value)) for word in node.args[:1] if isinstance(word, ast.Constant))


def place(path: Path, line: int) -> str:
    return f"{path.relative_to(ROOT)}:{line}"


def wrong_direction(path: Path) -> list[str]:
    own = ORDER.index(path.relative_to(ROOT).parts[0])
    wrong = []
    for line, name in imported(path):
        first, *rest = name.split(".")
        if first in (*ORDER, *OTHERS):
            wrong.append(f"{place(path, line)} imports {name}; write surefoot.{first} for a folder of the package")
        if first == "surefoot" and rest and (rest[0] not in ORDER or ORDER.index(rest[0]) > own):
            wrong.append(f"{place(path, line)} imports {name} from above")
    return wrong


def test_imports_only_point_down() -> None:
    assert [line for path in files(*ORDER) for line in wrong_direction(path)] == []


@pytest.mark.parametrize(
    ("folder", "line"),
    [
        ("storage", "from surefoot.models import question"),
        ("storage", "def f():\n    from surefoot import engine"),
        ("models", "if TYPE_CHECKING:\n    import surefoot.tools.tool"),
        ("tools", "from ..service import cli"),
        ("engine", "importlib.import_module('surefoot.training.update')"),
        ("engine", "import tools"),
        ("engine", "from storage.records import Step"),
        ("service", "from tests import conftest"),
    ],
)
def test_the_import_rule_catches(folder: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    path = tmp_path / folder / "noun.py"
    path.parent.mkdir()
    path.write_text(line)
    assert len(wrong_direction(path)) == 1


ROOMS = ("core", "setup", "running", "history", "")
"""Of the engine, from the inside to the outside. What stands at the top is what users call."""

DOES = {"asyncio", "concurrent", "datetime", "logging", "os", "pathlib", "socket", "subprocess", "threading", "time"}
"""What a pure room has no use for."""


def room(name: str) -> int:
    parts = name.split(".")
    return ROOMS.index(parts[2] if len(parts) > 2 and parts[2] in ROOMS else "")


def test_rooms_of_the_engine_only_see_those_inside() -> None:
    wrong = [
        f"{place(path, line)} imports {name}"
        for path in files("engine")
        for line, name in imported(path)
        if name.startswith("surefoot.engine.") and room(name) > room(module(path))
    ]
    assert wrong == []


def test_what_decides_is_pure() -> None:
    """No clock, no disk, no model, nothing that waits: records, beliefs and itself are all that it sees."""
    allowed = tuple(
        f"surefoot.{one}."
        for one in (
            *("engine.core", "reflection", "planners.refs", "planners.canonical"),
            *("storage.records", "storage.learned", "storage.events", "storage.errors"),
        )
    )
    wrong = []
    for path in files("engine/core"):
        for line, name in imported(path):
            own = name.startswith("surefoot.")
            if (own and not name.startswith(allowed)) or name.split(".")[0] in DOES:
                wrong.append(f"{place(path, line)} imports {name}")
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.AsyncFunctionDef | ast.Await):
                wrong.append(f"{place(path, node.lineno)} waits")
    assert wrong == []


def test_no_import_goes_in_a_circle() -> None:
    """Not even one inside a function: such an import hides a noun that wants a file of its own."""
    modules = {module(path): path for path in files(*ORDER)}
    graph: dict[str, set[str]] = {}
    for name, path in modules.items():
        targets = [target for _, target in imported(path)]
        known = {target if target in modules else target.rpartition(".")[0] for target in targets}
        graph[name] = (known & modules.keys()) - {name}
    graphlib.TopologicalSorter(graph).prepare()


def test_every_package_is_listed_for_the_wheel() -> None:
    packages = {module(path.parent / "__init__.py") for path in files(*ORDER)}
    assert packages == set(PROJECT["tool"]["setuptools"]["packages"])
    assert PROJECT["tool"]["setuptools"]["package-dir"] == {f"surefoot.{folder}": folder for folder in ORDER}
    assert not (ROOT / "__init__.py").exists()


@pytest.mark.parametrize("folder", ORDER)
def test_the_public_names_are_the_ones_promised(folder: str) -> None:
    package = importlib.import_module(f"surefoot.{folder}")
    names = getattr(package, "__all__", [])
    assert sorted(names) == sorted(PUBLIC[folder])
    for name in names:
        assert getattr(package, name).__doc__, f"surefoot.{folder}.{name} says nothing of itself"


def test_there_are_fewer_than_thirty_public_names() -> None:
    assert len(set.union(*PUBLIC.values())) < 30


@pytest.mark.parametrize("path", [path for path in files(*ORDER) if path.name == "__init__.py"], ids=module)
def test_an_init_hands_on_names_and_does_nothing_else(path: Path) -> None:
    for node in ast.parse(path.read_text()).body:
        names = [ast.unparse(target) for target in node.targets] if isinstance(node, ast.Assign) else []
        words = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        assert words or names == ["__all__"] or isinstance(node, ast.Import | ast.ImportFrom), place(path, node.lineno)


LIGHT = """
import json, os, sys

ROOT, HEAVY = sys.argv[1], {"torch", "litellm", "transformers", "tokenizers", "datasets", "trl", "openai"}
seen = []

ACTS = ("socket.connect", "socket.bind", "socket.getaddrinfo", "subprocess.Popen", "os.mkdir", "sqlite3.connect")

def hook(event, args):
    if event in ACTS:
        seen.append([event, str(args)])
    elif event == "open" and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        seen.append([event, str(args[0])])

real = type(os.environ).__getitem__

def read(self, key):
    frame = sys._getframe(1)
    # `environ.get` and `os.getenv` go through the standard library, parts of which are frozen.
    while frame.f_code.co_filename in ("<frozen os>", "<frozen _collections_abc>", os.__file__):
        frame = frame.f_back
    if frame.f_code.co_filename.startswith(ROOT + os.sep) and os.sep + "site-packages" not in frame.f_code.co_filename:
        seen.append(["environ", key])
    elif key.startswith("SUREFOOT_") or key.endswith("_API_KEY"):
        seen.append(["environ", key])
    return real(self, key)

type(os.environ).__getitem__ = read
sys.addaudithook(hook)
import surefoot.engine
type(os.environ).__getitem__ = real
print(json.dumps({"seen": list(seen), "heavy": sorted(HEAVY & sys.modules.keys())}))
"""


def test_importing_the_engine_is_light_and_silent(tmp_path: Path) -> None:
    command = [sys.executable, "-B", "-c", LIGHT, str(ROOT)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert done.stderr == ""
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert len(lines) == 1, "the import printed something"
    assert json.loads(lines[0]) == {"seen": [], "heavy": []}
    assert list(tmp_path.iterdir()) == []


def test_no_file_is_longer_than_four_hundred_lines_and_no_test_than_five_hundred() -> None:
    lengths = {path.relative_to(ROOT): len(path.read_text().splitlines()) for path in files(*ORDER, *OTHERS)}
    assert {name: many for name, many in lengths.items() if many > (500 if name.parts[0] == "tests" else 400)} == {}


def test_no_file_only_hands_on_names() -> None:
    """A package's own names stand in its `__init__`; a further file that only imports is a second way to them."""
    empty = []
    for path in files(*ORDER):
        body = ast.parse(path.read_text()).body
        own = [one for one in body if not isinstance(one, ast.Import | ast.ImportFrom | ast.Expr)]
        if path.name != "__init__.py" and own == [] and "migrations" not in path.parts:
            empty.append(place(path, 1))
    assert empty == []


def code_lines(text: str) -> int:
    """Lines that hold code: no empty ones, no comments, no docstrings, for words should cost nothing."""
    layout = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    lines = {line for token in tokens if token.type not in layout for line in range(token.start[0], token.end[0] + 1)}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            lines -= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(lines)


LOOP = ("core/state.py", "core/actions.py", "core/decide.py", "core/weighing.py", "running/flow.py")
"""The loop itself: what is known, what may be done, what to do next, what is enough, and who does it."""


def test_the_core_can_be_read_in_one_sitting() -> None:
    lengths = {name: code_lines((ROOT / "engine" / name).read_text()) for name in LOOP}
    assert sum(lengths.values()) <= 800, lengths


def requirements(extras: tuple[str, ...]) -> list[Requirement]:
    optional = PROJECT["project"]["optional-dependencies"]
    lines = [*PROJECT["project"]["dependencies"], *(line for extra in extras for line in optional[extra])]
    return [Requirement(line) for line in lines]


def test_every_third_party_import_is_declared() -> None:
    users = tuple(extra for extra in PROJECT["project"]["optional-dependencies"] if extra not in ("test", "dev"))
    declared = {canonicalize_name(requirement.name) for requirement in requirements(users)}
    owners = metadata.packages_distributions()
    missing = []
    for path in files(*ORDER):
        for line, name in imported(path):
            first = name.split(".")[0]
            if first not in ("surefoot", "__future__", *ORDER, *OTHERS) and first not in sys.stdlib_module_names:
                distributions = {canonicalize_name(owner) for owner in owners.get(first, [first])}
                missing += [] if distributions & declared else [f"{place(path, line)} imports {first}"]
    assert missing == [], "pyproject.toml names none of these"


def pins() -> dict[str, Version]:
    lines = [line.split("#")[0].strip() for line in (ROOT / "constraints.txt").read_text().splitlines()]
    pairs = [line.split("==") for line in lines if line]
    return {canonicalize_name(name): Version(version) for name, version in pairs}


def test_the_constraints_pin_every_package_that_an_install_brings() -> None:
    pinned = pins()
    waiting = requirements(tuple(PROJECT["project"]["optional-dependencies"]))
    waiting += [Requirement(line) for line in PROJECT["build-system"]["requires"]]
    assert {name for name, version in pinned.items() if version.local} == set(), (
        "a local version is on one machine only"
    )
    seen: set[str] = set()
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        assert name in pinned, f"{name} has no line in constraints.txt"
        assert requirement.specifier.contains(pinned[name], prereleases=True), (
            f"{requirement} is pinned at {pinned[name]}"
        )
        for extra in {"", *requirement.extras} - {key.partition("/")[2] for key in seen if key.startswith(f"{name}/")}:
            seen.add(f"{name}/{extra}")
            lines = [Requirement(line) for line in metadata.requires(name) or []]
            waiting += [line for line in lines if line.marker is None or line.marker.evaluate({"extra": extra})]


def texts() -> Iterator[tuple[Path, str]]:
    """Every text file of the project, by the folders that it has and the files at its root."""
    loose = [path for path in ROOT.iterdir() if not path.name.startswith((".coverage", ".env")) and path.name != ".git"]
    for path in [*files(*ORDER, *OTHERS, "docs", ".ci", suffix=""), *loose]:
        if path.is_file():
            data = path.read_bytes()
            if b"\0" not in data:
                yield path, data.decode()


def test_no_file_names_a_machine() -> None:
    """A path that exists on one machine only, or the name of a person's folder, is of no use to anyone else."""
    machine = re.compile(r"(?<![\w.\-])/(home|root|work|farm|Users|mnt|srv)/")
    homes = {str(path) for path in (ROOT, Path.home()) if len(path.parts) > 2}
    found = []
    for path, text in texts():
        for number, line in enumerate(text.splitlines(), 1):
            if machine.search(line) or any(home + os.sep in line for home in homes):
                found.append(f"{place(path, number)} {line.strip()[:100]}")
    assert found == []


# --- done in one place ------------------------------------------------------------------------------------------

CHANGERS = {"state.py", "fold.py", "fold_plans.py", "refold.py", "derived.py"}
"""Of `engine/core`: what a record does to the state, and what the state keeps of what follows from it."""

MUTATORS = {"append", "pop", "clear", "remove", "update", "add", "discard", "extend", "insert", "setdefault"}


def changed(tree: ast.AST, names: set[str]) -> Iterator[ast.Attribute]:
    """Attributes of these names, of anything but `self`, that code assigns to, deletes, or changes by a method."""
    for node in ast.walk(tree):
        found: list[ast.expr] = []
        if isinstance(node, ast.Assign | ast.Delete):
            found = list(node.targets)
        elif isinstance(node, ast.AugAssign | ast.AnnAssign):
            found = [node.target]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in MUTATORS:
            found = [node.func.value]
        for one in found:
            part = one
            while isinstance(part, ast.Attribute | ast.Subscript):
                if isinstance(part, ast.Attribute) and part.attr in names and ast.unparse(part.value) != "self":
                    yield part
                part = part.value


def state_names() -> set[str]:
    from dataclasses import fields

    from surefoot.engine.core.state import Candidate, RunState, StepState

    own = {one.name for kind in (Candidate, RunState, StepState) for one in fields(kind)}
    return own - {"step", "steps", "source", "key"}  # names that other objects have, too


def state_changes(path: Path) -> list[str]:
    return [f"{place(path, at.lineno)} {ast.unparse(at)}" for at in changed(ast.parse(path.read_text()), state_names())]


def test_the_state_is_changed_in_one_place() -> None:
    rooms = files("engine/core", "engine/setup", "engine/running", "engine/history")
    elsewhere = [path for path in rooms if path.parent.name != "core" or path.name not in CHANGERS]
    elsewhere += [ROOT / "engine" / name for name in ("engine.py", "handle.py", "runs.py")]
    assert [line for path in elsewhere for line in state_changes(path)] == []


@pytest.mark.parametrize("line", ["step.status = 'failed'", "run.state.ready.append(3)", "del step.candidates[key]"])
def test_the_rule_of_the_state_catches(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    path = tmp_path / "noun.py"
    path.write_text(line)
    assert state_changes(path)


def test_spending_is_counted_in_one_place() -> None:
    """The record's: who else wants to know what was spent reads it there."""
    found = [
        place(path, at.lineno)
        for path in files("engine")
        for at in changed(ast.parse(path.read_text()), {"spent"})
        if path.name != "fold.py"
    ]
    assert found == []


READS_EVENTS = {
    *("trajectories/standing.py", "engine/core/fold.py", "engine/core/fold_plans.py"),
    "engine/history/replay.py",  # was it the right decision? what it means for others it leaves to the fold
}
"""Who says what a rolled back, replaced or failed step means for the others."""


def test_what_stands_is_folded_in_one_place() -> None:
    """And in the engine's own state, which has to know more. Everybody else asks `Standing`."""
    found = {
        str(path.relative_to(ROOT))
        for path in files(*ORDER)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Compare | ast.Dict)
        and any(isinstance(one, ast.Constant) and one.value == "rolled_back" for one in ast.walk(node))
    }
    assert found <= READS_EVENTS
