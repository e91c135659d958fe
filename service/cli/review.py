"""`surefoot review`: label the steps that teach the most, one key each."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from surefoot.service.cli import options as o
from surefoot.service.cli.command import OK, command, usage
from surefoot.service.cli.feedback import By
from surefoot.service.display.terminal import asked as somebody
from surefoot.service.display.terminal import emit, put, shown, stderr, tell

if TYPE_CHECKING:
    from surefoot.engine.review import ToLabel
    from surefoot.storage.records import Json
    from surefoot.storage.run_store import RunStore

Limit = Annotated[int, typer.Option("--limit", "-n", help="At most so many steps.", min=1)]
Seed = Annotated[int, typer.Option("--seed", help="Of the steps that are chosen at random.")]

KEYS = "r right   w wrong   c correct it   s skip   q stop"
SHOWN = 5
"""Candidates that are shown."""


@command
def review(limit: Limit = 20, seed: Seed = 0, by: By = "", store: o.StoreUrl = None, json: o.AsJson = False) -> int:
    """Say of some steps whether their answer is right. A few labels make promises of what votes only agree on.

    Steps come in the order of what a label would teach. One key each: r right, w wrong, c correct, s skip, q stop.
    It goes on where it stopped: what was labelled or skipped does not come again. With --json the steps are printed,
    one object a line, and nobody is asked; `surefoot feedback RUN --step N --score 1` labels one.
    """
    from surefoot.engine.review import queue

    with o.open_store(store) as opened:
        steps = queue(opened, limit, seed)
        if json:
            for one in steps:
                emit(one.to_json())
            return OK
        if not steps:
            tell(f"nothing to label: no run has a step that votes decided\nnext   surefoot run '{o.TRY}'")
            return OK
        if not somebody():
            return usage("review asks a person, one key a step: call it on a terminal, or with --json")
        with _one_by_one():
            return _ask(opened, steps, by, o.where(store))


def _ask(store: RunStore, steps: list[ToLabel], by: str, where: str) -> int:
    from surefoot.engine.review import answer, changed

    labels = 0
    for place, one in enumerate(steps, start=1):
        for line in screen(one, f"{place} of {len(steps)}"):
            stderr().print(line, soft_wrap=True)
        key = _key()
        if key == "q":
            put(f"{labels} labelled, {len(steps) - place + 1} left")
            tell(f"next   surefoot review{where}")
            return OK
        correct = _correction() if key == "c" else None
        right = {"r": True, "w": False, "c": False}.get(key)
        before, after = answer(store, one, right, correct=correct, by=by)
        if right is None:
            tell("skipped\n")
            continue
        labels += 1
        tell(f"{'right' if right else 'wrong'}: {changed(one, before, after)}\n")
    put(f"{labels} labelled, none left")
    tell(f"next   surefoot review{where}   (more), or surefoot report{where}")
    return OK


def screen(one: ToLabel, place: str) -> list[str]:
    """Task, inputs, candidates and evidence of one step."""
    first, *others = one.candidates
    lines = [f"--- {place} · {one.step_class} · {one.policy} · run {one.run_id[-8:]}, step {one.step}"]
    if one.goal and one.goal != one.task:
        lines.append(f"task       {shown(one.task)}")
    lines.append(f"step       {shown(one.goal or one.task)}")
    lines += [f"  {name} = {shown(value)}" for name, value in one.inputs.items()]
    how = "accepted by votes" if one.accepted else "not accepted: too little evidence"
    lines.append(f"answer     {shown(first.output)}   ({_votes(first.votes)}, {how})")
    lines += [f"  or       {shown(other.output)}   ({_votes(other.votes)})" for other in others[:SHOWN]]
    if len(others) > SHOWN:
        lines.append(f"  and {len(others) - SHOWN} others")
    return [*lines, KEYS]


def _votes(count: int) -> str:
    return f"{count} vote{'' if count == 1 else 's'}"


@contextmanager
def _one_by_one(on: bool = True) -> Iterator[None]:
    """Keys come as they are pressed, without a line's end; with `on` false, in lines. What was typed ahead is kept."""
    import termios
    import tty

    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    if on:
        tty.setcbreak(terminal, termios.TCSADRAIN)
    else:
        lines = termios.tcgetattr(terminal)
        lines[3] |= termios.ICANON | termios.ECHO
        termios.tcsetattr(terminal, termios.TCSADRAIN, lines)
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


def _key() -> str:
    """One key of those that mean something; "q" at the end of the input."""
    while True:
        key = os.read(sys.stdin.fileno(), 1).decode(errors="replace").lower()
        if key in ("r", "w", "c", "s"):
            return key
        if key in ("q", "", "\x04"):
            return "q"
        if not key.isspace():
            tell(f"{key!r} means nothing here: {KEYS}")


def _correction() -> Json:
    """What it should have been: JSON, or text as it is."""
    with _one_by_one(False):
        sys.stderr.write("it should be: ")
        sys.stderr.flush()
        return o.json_or_text(sys.stdin.readline().strip())
