"""What was measured of models and verifiers, as people and programs see it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich.console import Group
from rich.table import Column, Table

from surefoot.reflection.calibration import MEASURED, belief_of, rates_in, source_of
from surefoot.reflection.evidence import Belief
from surefoot.storage.learned import Checking, Learned, Lesson, Sampling


def said(one: Learned) -> dict[str, Any]:
    """A count with its rates, for programs."""
    found = {"what": type(one).__name__.lower(), **asdict(one)}
    if isinstance(one, Sampling):
        few = one.prompts < MEASURED
        belief = belief_of(one, Belief())
        c = belief.concentration
        found |= {"p": None if few else belief.p, "p_low": belief.low}
        found["concentration"] = None if few or c == float("inf") else c
    if isinstance(one, Checking):
        found |= rates_of(one)
    if isinstance(one, Lesson):
        found["source"] = source_of(one.text)
    return found


TRIED = {"audit": "models' answers", "canary": "mutants"}
"""What a verifier was tried on."""


def telling(one: Checking) -> bool:
    """Whether people are shown it: a verifier alone, and after another one passed the same right and wrong answers."""
    alone, pair = not one.after, one.after.endswith("=pass") and one.after.count("=") == 1
    return alone or (pair and one.good_passed + one.good_failed > 0)


def rates_of(one: Checking) -> dict[str, float | None]:
    """Rates of true and false acceptance, and the evidence of one check in nats; None where nothing was tried."""
    rates = rates_in(one)
    good, bad = one.good_passed + one.good_failed, one.bad_passed + one.bad_failed
    return {
        "accept": rates.accept.mean if good else None,
        "false_accept": rates.false_accept.mean if bad else None,
        "nats": rates.drift() if good and bad else None,
    }


def figure_of(value: float | None, form: str = "{:.3f}") -> str:
    """A figure for people; none is a dash."""
    return "–" if value is None else form.format(value)


def tables(found: list[Learned]) -> Group:
    """What was measured, for people."""
    lessons = Table("class", "lesson", "told to steps", "asked as", title="Lessons")
    model = Column("model", overflow="fold")
    samples = Table("class", model, "asked", "steps", "right", "at least", "errors alike", title="Samples")
    head = ("class", "verifier", "after", "tried on", "passes right", "passes wrong", "nats")
    checks = Table(*head, title="Verifiers")
    for one in found:
        row = said(one)
        if isinstance(one, Sampling):
            counted = f"{one.right:.0f} of {one.right + one.wrong:.0f}"  # too few for a rate
            right = counted if row["p"] is None else figure_of(row["p"])
            known = right, figure_of(row["p_low"]), figure_of(row["concentration"], "c = {:.3g}")
            samples.add_row(one.step_class, one.policy, one.source or "as it is", f"{one.prompts:.0f}", *known)
        elif isinstance(one, Checking) and telling(one):
            rates = figure_of(row["accept"]), figure_of(row["false_accept"]), figure_of(row["nats"], "{:.2f}")
            checks.add_row(one.step_class, one.verifier, one.after, TRIED[one.origin], *rates)
        elif isinstance(one, Lesson):
            lessons.add_row(one.step_class, one.text, figure_of(one.seen, "{:.0f}"), row["source"])
    return Group(*(table for table in (samples, checks, lessons) if table.row_count))
