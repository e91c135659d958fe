"""The figures of the report, and the page that shows them."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from surefoot.reflection.calibration import Calibration, rates_in
from surefoot.reflection.forms import FORMS
from surefoot.reflection.rates import Beta, rogan_gladen
from surefoot.service.display.charts import COLOURS, Instrument, Judged
from surefoot.service.display.rates import TRIED, figure_of, said, telling
from surefoot.storage.learned import Checking, Learned, Lesson, Ruled, Sampling
from surefoot.storage.records import Reward, Usage
from surefoot.storage.run import RunInfo
from surefoot.storage.run_store import RunStore


def judged(store: RunStore, limit: int) -> tuple[list[Judged], int]:
    """Accepted runs whose truth is known, by a known answer or a person, and how many were accepted in all."""
    found, accepted = [], 0
    for info in _runs(store, limit):
        if info.outcome is None or not info.outcome.means.accepted:
            continue
        accepted += 1
        right = truth(store, info.run_id)
        if right is not None:
            usage, predicted = info.usage or Usage(), info.reliability.predicted if info.reliability else None
            found.append(Judged(predicted, right, info.target, usage.samples, usage.usd, info.outcome.value))
    return found, accepted


def _runs(store: RunStore, limit: int) -> Iterator[RunInfo]:
    before = None
    while limit > 0:
        part = store.runs(min(limit, 500), before)
        yield from part
        if len(part) < 500:
            return
        limit -= len(part)
        before = part[-1].run_id


def truth(store: RunStore, run_id: str) -> bool | None:
    """Whether a run's result was right: a person's last word, else a known answer; None where nobody knows."""
    words = [one.right for one in store.feedbacks(run_id) if one.step is None and one.right is not None]
    if words:
        return words[-1]
    known = [one for one in store.records(run_id, kinds=(Reward,)) if isinstance(one, Reward) and one.name == "answer"]
    return known[-1].value >= 0.5 if known else None


def instruments(learned: Sequence[Learned]) -> list[Instrument]:
    """Verifiers that were measured, with how often they pass right and wrong answers."""
    found = []
    for one in learned:
        if not isinstance(one, Checking) or one.after:
            continue
        if one.bad_passed + one.bad_failed and one.good_passed + one.good_failed:
            rates = rates_in(one)
            name = f"{one.verifier} v{one.version} on {one.step_class}\n({TRIED[one.origin]})"
            found.append(Instrument(name, rates.accept, rates.false_accept, rates.drift()))
    return found


def estimates(learned: Sequence[Learned], ruled: Sequence[Ruled]) -> list[dict[str, Any]]:
    """How many candidates of runs were right, where nobody but a measured verifier has looked (Rogan and Gladen)."""
    known = Calibration(learned)
    found = []
    for one in ruled:
        rates = known.rates(one.step_class, one.verifier, one.version)
        if rates is not None and (a := rates[0].accept.mean) > (b := rates[0].false_accept.mean):
            seen = Beta(one.passed, one.failed)
            low, high = seen.interval()
            figures = {"right": seen.mean, "right_low": low, "right_high": high}
            right = {name: rogan_gladen(share, a, b) for name, share in figures.items()}
            found.append(asdict(one) | right | {"basis": rates[1]})
    return found


def summary(runs: Sequence[Judged], accepted: int) -> dict[str, Any]:
    """Figures of the accepted runs whose truth is known: what was predicted, and what came out.

    Those that votes alone accepted are counted apart (`agreed_...`), and so is what was accepted unverified, which
    predicts nothing.
    """
    found: dict[str, Any] = {"accepted": accepted}
    for outcome in COLOURS:
        known = [one for one in runs if one.outcome == outcome and one.predicted is not None]
        prefix = "" if outcome == "verified" else f"{outcome}_"
        found |= {f"{prefix}{name}": value for name, value in _compared(known).items()}
    bare = [one for one in runs if one.outcome not in COLOURS]
    return found | {"unverified_judged": len(bare), "unverified_right": sum(one.right for one in bare)}


def _compared(known: Sequence[Judged]) -> dict[str, float | None]:
    right = sum(one.right for one in known)
    low, high = Beta(right, len(known) - right).interval() if known else (None, None)
    return {
        "judged": len(known),
        "right": right,
        "observed": right / len(known) if known else None,
        "observed_low": low,
        "observed_high": high,
        "predicted": sum(one.predicted or 0.0 for one in known) / len(known) if known else None,
        "samples_per_run": sum(one.samples for one in known) / len(known) if known else None,
    }


def voted(learned: Sequence[Learned]) -> list[dict[str, Any]]:
    """What the votes of each policy told, with labels and without: a row for each class of steps and way of asking."""
    known = Calibration(learned)
    found = []
    for place in known.classes():
        belief, forms = known.votes(*place), known.forms(*place)
        low, high = belief.interval()
        found.append(
            {
                **dict(zip(("step_class", "policy", "source"), place, strict=True)),
                "prompts": belief.prompts,
                "labels": belief.truths,
                "right_low": low,
                "right_high": high,
                "right_at_most": known.openings(*place).at_most,
                "misconceived": belief.misconceived,
                "form_ratio": forms.ratio,
                "forms": "both" if forms.kept == FORMS else ("first", "second")[forms.kept[0]],
            }
        )
    return found


STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #22272e; max-width: 1100px; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; margin: .5rem 0 2rem } td, th { padding: .3rem .8rem; text-align: left;
border-bottom: 1px solid #d8dde3 } td.n { text-align: right; font-variant-numeric: tabular-nums } img { width: 100% }
p { max-width: 46rem }
"""


def page(
    picture: bytes,
    runs: Sequence[Judged],
    accepted: int,
    learned: Sequence[Learned],
    votes: Sequence[dict[str, Any]],
    shares: Sequence[dict[str, Any]],
) -> str:
    """One HTML file that needs nothing beside it."""
    figures = summary(runs, accepted)
    rows = [said(one) for one in learned]
    tables: dict[str, list[list[str]]] = {}
    tables["Samples"] = [
        [row["step_class"], row["policy"], row["source"] or "as it is", figure_of(row["p"]), figure_of(row["p_low"]),
         figure_of(row["concentration"], "{:.3g}"), figure_of(row["prompts"], "{:.0f}")]
        for row, one in zip(rows, learned, strict=True) if isinstance(one, Sampling)
    ]  # fmt: skip
    tables["Votes"] = [
        [row["step_class"], row["policy"], row["source"] or "as it is", figure_of(row["prompts"], "{:.0f}"),
         figure_of(row["labels"], "{:.0f}"), f"{figure_of(row['right_low'])} to {figure_of(row['right_high'])}",
         figure_of(row["right_at_most"]), figure_of(row["misconceived"]), figure_of(row["form_ratio"], "{:.2f}"),
         row["forms"]]
        for row in votes
    ]  # fmt: skip
    tables["Verifiers"] = [
        [row["step_class"], row["verifier"], row["version"], row["after"] or "–", row["origin"],
         figure_of(row["accept"]), figure_of(row["false_accept"]), figure_of(row["nats"], "{:.2f}"),
         figure_of(one.bad_passed + one.bad_failed, "{:.0f}")]
        for row, one in zip(rows, learned, strict=True) if isinstance(one, Checking) and telling(one)
    ]  # fmt: skip
    tables["Candidates that nobody else judged"] = [
        [row["step_class"], row["verifier"], str(row["passed"]), str(row["failed"]), figure_of(row["right"]),
         f"{figure_of(row['right_low'])} to {figure_of(row['right_high'])}"]
        for row in shares
    ]  # fmt: skip
    tables["Lessons"] = [
        [row["step_class"], one.text, figure_of(one.seen, "{:.0f}"), row["source"]]
        for row, one in zip(rows, learned, strict=True) if isinstance(one, Lesson)
    ]  # fmt: skip
    told = "".join(
        f"<p>Of {accepted} accepted runs, {figures[prefix + 'judged']} {how} and have a known answer. "
        f"{figures[prefix + 'right']} of them were right: {figure_of(figures[prefix + 'observed'])} "
        f"(95&nbsp;% interval {figure_of(figures[prefix + 'observed_low'])} to "
        f"{figure_of(figures[prefix + 'observed_high'])}). "
        f"Predicted was {figure_of(figures[prefix + 'predicted'])}.</p>"
        for prefix, how in (("", "were verified"), ("agreed_", "were agreed (by votes alone)"))
        if figures[prefix + "judged"]
    )
    told = told or "<p>No accepted run has a known answer yet.</p>"
    if figures["unverified_judged"]:
        told += (
            f"<p>Of {figures['unverified_judged']} that were accepted unverified, "
            f"{figures['unverified_right']} were right.</p>"
        )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>surefoot: report</title><style>{STYLE}</style>'
        f"<h1>Reliability</h1>{told}"
        f'<img alt="Predicted against observed; reliability against cost; rates of verifiers" '
        f'src="data:image/png;base64,{base64.b64encode(picture).decode()}">'
        + "".join(
            f"<h2>{title}</h2><p>{WORDS[title]}</p>{_table(HEADS[title], rows)}"
            for title, rows in tables.items()
            if rows or title in ("Samples", "Votes", "Verifiers")
        )
        + "</html>\n"
    )


WORDS = {
    "Samples": "How often one sample of a model is right on a class of steps. “Errors alike” is the "
    "concentration c of the Beta mixture over prompts: the smaller it is, the more samples of one prompt err "
    "together, and the less their agreement is worth.",
    "Votes": "What the answers themselves show of a model, labelled or not. “At most” "
    "bounds it by how often the first two answers agree, whatever errors are like. “Misconceived” is the "
    "share of questions that it may get wrong in the same way again and again: no vote shows those, labels do. "
    "“Forms” is how often its answers agree across two forms of a question, divided by how often they agree "
    "within one: far below 1, answers hang on the form.",
    "Verifiers": "How often a verifier passes right and wrong answers, and what its word is worth. "
    "“audit” are answers of models whose truth came out, “canary” are known-bad mutants of right answers. “After” "
    "counts only answers of which other verifiers had said so before: a copy of one of them is worth nothing "
    "there.",
    "Candidates that nobody else judged": "Of what was put before a measured verifier in runs, about "
    "so much was right: the share that it passed, corrected for what it passes and fails wrongly.",
    "Lessons": "What attempts were told before they came out right. One that was told twice is tried "
    "at other steps of its class; what it is worth stands under “Samples”.",
}
HEADS = {
    "Samples": "step class|model|asked|right|at least (95 %)|errors alike, c|prompts",
    "Votes": "step class|model|asked|prompts|labels|right (95 %)|at most|misconceived|forms|asked in",
    "Verifiers": "step class|verifier|version|after|on|passes right|passes wrong|nats|wrong ones",
    "Candidates that nobody else judged": "step class|verifier|passed|failed|right, about|95 %",
    "Lessons": "step class|lesson|told to steps|asked as",
}


def _table(head: str, rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return "<p>Nothing was measured yet: <code>surefoot calibrate --file labelled.jsonl</code></p>"
    top = "".join(f"<th>{html.escape(name)}</th>" for name in head.split("|"))
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{top}</tr>{body}</table>"
