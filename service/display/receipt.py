"""What is said of a finished run: a receipt for people, an object for programs, and the next command to try."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.text import Text

from surefoot.service.display.clean import clean, one_line
from surefoot.service.display.terminal import shown, stderr

if TYPE_CHECKING:
    from surefoot.engine import Result
    from surefoot.service.display.tree import RunTree
    from surefoot.storage.records import Json, Outcome, Reliability, Usage


TRUST = ("target", "predicted", "silent_error_bound", "basis", "by_votes")
UNPROVED = {"unverified": "nothing verified", "agreed": "some of them by votes alone"}


def short(run_id: str) -> str:
    """The end of a run's id, which tells runs apart better than its beginning, the time."""
    return run_id[-8:]


def ending(outcome: Outcome | None) -> tuple[str, str]:
    """How a run ended, in words, and their style."""
    return ("running", "cyan") if outcome is None else (outcome.replace("_", " "), outcome.means.style)


def usage_of(usage: Usage) -> dict[str, Json]:
    return asdict(usage) | {"tokens": usage.tokens}


def as_json(result: Result, tree: RunTree) -> dict[str, Json]:
    """A result as one object. `steps` is the number of steps committed."""
    found: dict[str, Json] = {
        "run_id": result.run_id,
        "outcome": result.outcome.value,
        "output": result.output,
        "reason": result.reason,
        "reliability": {name: getattr(result.reliability, name) for name in TRUST},
        "usage": usage_of(result.usage),
        "steps": tree.committed,
        "rejected": tree.rejected,
        "seconds": round(result.seconds, 3),
    }
    if result.questions:
        found["questions"] = result.questions
    return found


def trust(reliability: Reliability) -> str:
    """The promise in one line; empty where there is none."""
    if reliability.predicted is None:
        return ""
    parts = [f"predicted {probability(reliability.predicted)}"]
    if reliability.by_votes is not None:
        parts = [f"{parts[0]} all in", f"{probability(reliability.by_votes)} if it has no misconceptions of this kind"]
    if reliability.silent_error_bound is not None:
        parts.append(f"silent error at most {probability(reliability.silent_error_bound)}")
    if reliability.target is not None:
        parts.append(f"target {probability(reliability.target)}")
    return ", ".join(parts) + f" ({BASIS[reliability.basis]})"


BASIS = {
    "exact": "every step was proved by an exact check",
    "measured": "from measured rates",
    "prior": "by votes alone, no truth stands behind it",
    "none": "nothing was checked",
}


def probability(p: float) -> str:
    """Six digits at most; near 1, as many nines as there are."""
    return f"{p:.6g}" if p <= 0.9999 or p == 1 else f"1 - {1 - p:.2g}"


def spent(usage: Usage, seconds: float) -> str:
    parts = [f"{usage.samples} samples", f"{usage.tokens:,} tokens"]
    if usage.usd:
        parts.append(f"{usage.usd:.4f} US dollars")
    return ", ".join([*parts, f"{seconds:.1f} s"])


def next_command(result: Result, where: str = "") -> str:
    """What to try after this ending; `where` is the option that names the store."""
    run = short(result.run_id) + where
    takes = result.outcome.means.resume
    if takes == "answers":
        if len(result.questions) > 1:
            return f"surefoot resume {run} --yes   (to all; or --no, or --answer JSON by each question's key)"
        return f"surefoot resume {run} --yes   (or --no, or --answer JSON)"
    if takes == "budget":
        said = result.reason.partition(";")[0]  # what follows says what is missing, in several units
        limit = next((name for name in ("steps", "tokens", "seconds") if name in said), "usd")
        return f"surefoot resume {run} --{limit} N   (N: a larger budget)"
    if takes == "plain":
        return f"surefoot resume {run}"
    if "a person declined" in result.reason:  # a refusal stands: to resume would only meet it again
        return f"surefoot show {run}   (a person declined the call; to try anew, run the task again: surefoot run)"
    if takes == "mended":
        return f"surefoot show {run}   (once it is mended: surefoot resume {run})"
    return f"surefoot show {run}"


def receipt(result: Result, tree: RunTree, then: str) -> None:
    """Prints, on stderr, how the run ended and what that rests on."""
    console = stderr()
    outcome = result.outcome.value
    rows = [("result", Text(*ending(result.outcome)))]
    if result.reason and not result.questions:
        rows.append(("why", Text(clean(result.reason))))
    if line := trust(result.reliability):
        rows.append(("trust", Text(line)))
    rows.append(("steps", Text(f"{tree.committed} verified, {tree.rejected} rejected attempts")))
    if outcome in ("unverified", "agreed"):
        rows[-1] = ("steps", Text(f"{tree.committed} done, {UNPROVED[outcome]}; {tree.rejected} rejected attempts"))
    rows.append(("spent", Text(spent(result.usage, result.seconds))))
    rows.append(("run", Text(result.run_id)))
    rows += [*asked(result.questions), ("next", Text(then, "bold"))]
    for name, text in rows:
        console.print(labelled(name, text), soft_wrap=True)


def asked(questions: Sequence[Json]) -> list[tuple[str, Text]]:
    """Rows with what a person is asked, and how to answer each where there are several."""
    rows = []
    for question in questions:
        rows.append(("asks", asks(question)))
        if len(questions) > 1:
            rows.append(("", Text(answering(question), "dim")))
    return rows


def answering(question: Json) -> str:
    """The option that answers one question among others."""
    return f"--answer '{{\"{question['key']}\": true}}'"


def labelled(name: str, text: Text, width: int = 6) -> Text:
    return Text.assemble((f"{name:<{width}} ", "dim"), text)


def asks(question: Json) -> Text:
    """A question to a person, in one line."""
    text = Text(one_line(question.get("question", "")))
    if question.get("arguments"):
        text.append("  " + one_line(shown(question["arguments"])), "dim")
    return text
