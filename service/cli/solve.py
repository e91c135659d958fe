"""One run under the eyes of a person or a program: `run`, `resume` and `demo` go through here."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from surefoot.models.registry import packaged
from surefoot.service.cli.command import INTERRUPTED, Stopped, drive
from surefoot.service.display.clean import clean
from surefoot.service.display.receipt import as_json, asks, next_command, receipt, short
from surefoot.service.display.terminal import asked, emit, put, shown, stderr, tell, watched
from surefoot.service.display.tree import RunTree

if TYPE_CHECKING:
    from rich.text import Text

    from surefoot.engine import Engine, Result
    from surefoot.storage.records import JournalRecord, Json

Work = Callable[[Callable[["JournalRecord"], None]], Coroutine[Any, Any, "Result"]]
KEPT = 500
"""Steps that the live tree holds at most, finished ones beyond them are only counted."""


BEYOND = "the pocket model knows some kinds of word problems; for other tasks set SUREFOOT_MODEL, as in openai/gpt-5.1"


def solve(
    engine: Engine, work: Work, *, json: bool = False, quiet: bool = False, tree: RunTree | None = None, where: str = ""
) -> int:
    """Carries out `work`, which takes the run's listener; prints the answer and the receipt; returns the exit code.

    tree: what the run did before, where it did something. where: the option that names the store, for the next
    command.
    """
    tree = tree or RunTree(KEPT)
    try:
        result = watch(engine, work, tree, live=not json and not quiet)
        later: set[str] = set()
        while result.outcome.means.resume == "answers" and not json and asked():
            answers = ask(result, later)
            if not answers:
                break
            result = watch(engine, _resumed(engine, result.run_id, answers), tree, live=not quiet)
    except RunStopped as stop:
        return _interrupted(stop.run_id, where)
    pocket = packaged(engine.models["plan"].name) and "of the target" not in result.reason
    if result.outcome.value == "abstained" and pocket and "SUREFOOT_MODEL" not in result.reason:
        result.reason = f"{result.reason}; {BEYOND}"
    return finish(result, tree, json=json, quiet=quiet, where=where)


def _resumed(engine: Engine, run_id: str, answers: Json) -> Work:
    return lambda add: engine.aresume(run_id, answers, on_record=add)


class RunStopped(Stopped):
    """A run was stopped by a signal; `run_id` is None where it had not begun."""

    def __init__(self, run_id: str | None) -> None:
        self.run_id = run_id
        super().__init__()


def watch(engine: Engine, work: Work, tree: RunTree, *, live: bool) -> Result:
    """The result of `work`, with the tree growing on the terminal where there is one. Raises RunStopped."""
    running: list[str] = []

    def listen(record: JournalRecord) -> None:
        if not running:
            running.extend(engine.running[-1:])
        add(record)

    try:
        if live and watched():
            from surefoot.service.display.view import LiveTree

            with LiveTree(tree) as view:
                add = view.add
                return drive(work(listen))
        add = tree.add
        return drive(work(listen))
    except Stopped:
        raise RunStopped(running[0] if running else None) from None
    except Exception:
        if running:
            tell(f"the run {running[0]} is kept")
        raise


def finish(result: Result, tree: RunTree, *, json: bool, quiet: bool, where: str = "") -> int:
    """Puts the answer on stdout and the receipt on stderr; returns the exit code."""
    then = next_command(result, where)
    if json:
        emit(as_json(result, tree) | {"next": then})
        return result.outcome.means.exit_code
    if result.output is not None:
        put(shown(result.output))
    if not quiet:
        receipt(result, tree, then)
    elif not result:
        tell(f"{result.outcome.value.replace('_', ' ')}: {result.reason}\nnext   {then}")
    return result.outcome.means.exit_code


def ask(result: Result, later: set[str]) -> dict[str, Json]:
    """A person's answers by key, one question after another; `later` holds the keys of those that they would rather
    answer later. Raises RunStopped."""
    from rich.text import Text

    answers: dict[str, Json] = {}
    open_ = [one for one in result.questions if one["key"] not in later]
    for place, question in enumerate(open_, 1):
        try:
            text = Text(f"{place} of {len(open_)}  " if len(open_) > 1 else "").append_text(asks(question))
            said = clean(drive(_answer(text))).strip().lower()
        except EOFError:
            later.update(one["key"] for one in result.questions)
            tell()
            break
        except (KeyboardInterrupt, Stopped):
            tell()
            raise RunStopped(result.run_id) from None
        if said in ("y", "yes", "n", "no"):
            answers[question["key"]] = said.startswith("y")
        else:
            later.add(question["key"])
    return answers


async def _answer(question: Text) -> str:
    """The line that a person types below `question`. Raises EOFError.

    The question is put, and the line waited for, in an event loop: a signal that came between the last look for
    signals and the system call of `input` would not be seen before somebody types.
    """
    console, loop, typed = stderr(), asyncio.get_running_loop(), asyncio.Event()
    console.print(question)
    console.print("Agree? y: yes, n: no, Enter: decide later ", end="")
    loop.add_reader(sys.stdin, typed.set)
    try:
        await typed.wait()
    finally:
        loop.remove_reader(sys.stdin)
    return input()  # noqa: ASYNC250 (the line is there)


def _interrupted(run_id: str | None, where: str) -> int:
    if run_id is None:
        tell("interrupted before the run began")
    else:
        tell(f"interrupted; the run {run_id} is kept\nnext   surefoot resume {short(run_id)}{where}")
    return INTERRUPTED
