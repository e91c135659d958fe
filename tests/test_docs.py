"""What the pages say is true: their code runs, their commands exist, their links lead somewhere, the examples work."""

from __future__ import annotations

import ast
import functools
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
FENCE = re.compile(
    r"^(?:<!-- no test: (?P<reason>[^\n]+) -->\s*\n)?^```(?P<language>\w+)[^\n]*\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
COMMAND = Path(sys.executable).with_name("surefoot")

# Blocks of one page share their names, as they do for a reader who types them in one after the other.
RUN = """
import json, sys
from surefoot.models import forbid_requests
forbid_requests()
names = {"__name__": "__main__"}
for place, text in json.load(sys.stdin):
    exec(compile(text, place, "exec"), names)
"""


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    place: str
    language: str
    text: str
    reason: str | None
    """Why it is not run, where it is not."""

    def __str__(self) -> str:
        return self.place


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def blocks(path: Path, *languages: str) -> Iterator[Block]:
    text = path.read_text()
    for found in FENCE.finditer(text):
        if found["language"] in languages:
            line = text.count("\n", 0, found.start("text"))
            # Empty lines before the code make the line numbers of a traceback those of the page.
            code = "\n" * line + found["text"] if found["language"] == "python" else found["text"]
            yield Block(f"{name(path)}:{line}", found["language"], code, found["reason"])


def commands(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Place and words of each simple command in a page's shell blocks; what a command prints is passed over."""
    for block in blocks(path, "console", "sh", "shell", "bash"):
        lines = block.text.replace("\\\n", " ").splitlines()
        if block.language == "console":
            lines = [line[2:] for line in lines if line.startswith("$ ")]
        for line in lines:
            lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
            lexer.whitespace_split = True
            for simple in split(list(lexer)):
                yield block.place, simple


def split(words: list[str]) -> Iterator[list[str]]:
    """Cuts a line into simple commands, without the assignments in front and without the folder of the program."""
    simple: list[str] = []
    for word in [*words, ";"]:
        if word in ("|", "&&", "||", ";", "&"):
            if simple:
                yield [Path(simple[0]).name, *simple[1:]]
            simple = []
        elif simple or not re.fullmatch(r"[A-Z_]+=.*", word):
            simple.append(word)


def quiet() -> dict[str, str]:
    """The environment of a reader who has set nothing, on a wide terminal without colours."""
    return {**os.environ, "COLUMNS": "240", "TERM": "dumb", "NO_COLOR": "1"}


@functools.cache
def help_of(words: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    command = [str(COMMAND), *words, "--help"]
    return subprocess.run(command, env=quiet(), capture_output=True, text=True, timeout=100)


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_the_code_of_a_page_runs(path: Path, tmp_path: Path) -> None:
    texts = [(block.place, block.text) for block in blocks(path, "python") if block.reason is None]
    if not texts:
        return
    done = subprocess.run(
        [sys.executable, "-c", RUN], input=json.dumps(texts), cwd=tmp_path, capture_output=True, text=True, timeout=110
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_only_code_that_needs_a_key_goes_untested(path: Path) -> None:
    for block in blocks(path, "python"):
        compile(block.text, block.place, "exec")
        assert block.reason is None or "key" in block.reason, block


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_the_commands_of_a_page_exist(path: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for place, (program, *words) in commands(path):
        if program == "surefoot":
            check_surefoot(place, words)
        elif program == "make":
            assert {word for word in words if "=" not in word} <= targets, f"{place}: make {words}"
        elif program.startswith("python"):
            check_python(place, words)


def check_surefoot(place: str, words: list[str]) -> None:
    options = {word.partition("=")[0] for word in words if re.match(r"--?[a-zA-Z]", word)}
    first = next((number for number, word in enumerate(words) if word.startswith("-")), len(words))
    done = help_of(tuple(words[: min(first, 1)]))
    assert done.returncode == 0, f"{place}: surefoot {words[:first]} is no command: {done.stderr}"
    known = set(re.findall(r"(?<![\w-])--?[a-zA-Z][\w-]*", done.stdout))
    assert options <= known, f"{place}: surefoot {' '.join(words)} has no {options - known}"


@pytest.mark.parametrize("words", [["nonsense"], ["run", "a task", "--nonsense"]])
def test_the_check_of_commands_catches(words: list[str]) -> None:
    assert help_of(()).returncode == 0
    with pytest.raises(AssertionError, match="nonsense"):
        check_surefoot("a page", words)


def check_python(place: str, words: list[str]) -> None:
    if words[:1] == ["-m"] and words[1].startswith("benchmarks"):
        assert (ROOT / words[1].replace(".", "/")).with_suffix(".py").exists(), f"{place}: {words[1]}"
    elif words and words[0].endswith(".py") and "/" in words[0]:
        assert (ROOT / words[0]).exists(), f"{place}: {words[0]}"


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_the_links_of_a_page_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text()):
        if not re.match(r"\w+:", target):
            assert (path.parent / target).exists(), f"{name(path)} links to {target}"


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_the_files_that_a_page_names_exist(path: Path) -> None:
    for target in re.findall(r"`((?:\.ci|[a-z]+)/(?:[\w.-]+/)*[\w.-]+\.[a-z]+)`", path.read_text()):
        assert (ROOT / target).exists(), f"{name(path)} names {target}"


def test_there_are_examples() -> None:
    assert EXAMPLES


@pytest.mark.parametrize("path", EXAMPLES, ids=name)
def test_an_example_is_short_and_says_what_it_shows(path: Path) -> None:
    text = path.read_text()
    assert ast.get_docstring(ast.parse(text)), "an example says at its top what it shows"
    assert len(text.splitlines()) < 120


LONG = "examples/reliability_dial.py"
"""An example that takes a minute: test_examples.py runs it, and looks at what it prints."""


@pytest.mark.parametrize("path", [path for path in EXAMPLES if name(path) != LONG], ids=name)
def test_an_example_works(path: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(path)]
    done = subprocess.run(command, env=quiet(), cwd=tmp_path, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
