"""Acceptance rules for the pocket model's replies: calibrate thresholds, and score rules on records.

    python -m surefoot.training.pocket.rules calibrate --records calibration.jsonl --card card.json
    python -m surefoot.training.pocket.rules report --records evaluation.jsonl --card card.json
    python -m surefoot.training.pocket.rules accepted --records results.jsonl --card card.json

Records come from `surefoot.training.pocket.evidence`. A rule sees a record without its true answer and gives a
value or abstains; only the score compares with the answer. Each command prints one JSON line per result.

`accepted` reads what `surefoot run --file problems.jsonl --score --json` printed, and puts into the card how often
answers that the engine accepted were right: no number of votes may claim more than that.
"""

from __future__ import annotations

import argparse
import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, astuple, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from surefoot.reflection.rates import Beta
from surefoot.reflection.typical import Surprise, limits, surprise
from surefoot.training.pocket import traces

Record = dict[str, Any]
Rule = Callable[[Record], str | None]
POSITIONS = 512
MAX_REPLY = 140
QUANTILE = 0.99
MARGIN = 1.1


@dataclass(frozen=True)
class Score:
    """What a rule did on the problems and on the texts to abstain from."""

    problems: int
    accepted: int
    right: int
    others: int
    others_accepted: int

    @property
    def precision(self) -> float:
        """Share of right answers among accepted ones on problems; 1 when none is accepted."""
        return self.right / self.accepted if self.accepted else 1.0


def prompt(record: Record) -> tuple[list[float], list[int]]:
    """Log-probabilities and ids of a record's prompt."""
    return [-nll for nll in record["prompt_nll"]], record["prompt_ids"]


def calibrate(records: Sequence[Record]) -> Surprise:
    """MARGIN times the QUANTILE of each figure over the records that have an answer."""
    found = limits((prompt(r) for r in records if r["answer"] is not None), QUANTILE)
    return Surprise(*(round(limit * MARGIN, 3) for limit in astuple(found)))


def share(right: int, total: int) -> dict[str, float]:
    """A measured rate, and the lower end of its 95 % Wilson interval."""
    z, p = 1.96, right / total
    centre, spread = p + z * z / (2 * total), z * math.sqrt(p * (1 - p) / total + z * z / (4 * total**2))
    return {"p": round(p, 4), "low": round((centre - spread) / (1 + z * z / total), 4)}


def greedy(record: Record) -> str | None:
    """Accept the greedy reply unless it is `none` or outside the grammar."""
    value: str | None = record["greedy"].get("value")
    return value


def one_sample(record: Record) -> str | None:
    """Accept the first sampled reply."""
    value: str | None = record["samples"][0].get("value")
    return value


def ahead(lead: int, cap: int) -> Rule:
    """Accept what is first `lead` votes ahead of every other outcome within `cap` samples.

    `none` is an outcome like any other and abstains; a reply outside the grammar only uses up a sample.
    """

    def rule(record: Record) -> str | None:
        votes: Counter[str] = Counter()
        for sample in record["samples"][:cap]:
            if sample["key"] == "invalid":
                continue
            votes[sample["key"]] += 1
            ranked = [*votes.most_common(2), ("", 0)]
            if ranked[0][1] - ranked[1][1] >= lead:
                return None if ranked[0][0] == "none" else _entry(record, ranked[0][0])["value"]
        return None

    return rule


def _entry(record: Record, key: str) -> dict[str, Any]:
    """The first sample with a key."""
    found: dict[str, Any] = next(s for s in record["samples"] if s["key"] == key)
    return found


def _plan(record: Record, value: str) -> dict[str, Any]:
    """The first plan among the greedy and sampled ones that gives a value."""
    plans = (record["greedy"], *record["samples"])
    found: dict[str, Any] = next(p for p in plans if p.get("value") == value)
    return found


def where(rule: Rule, fits: Callable[[Record, str], bool]) -> Rule:
    """The rule, abstaining from values that do not fit their record."""

    def stricter(record: Record) -> str | None:
        value = rule(record)
        return value if value is not None and fits(record, value) else None

    return stricter


def checked(rule: Rule) -> Rule:
    """The rule, abstaining from values or plans that no taught problem has.

    A value must be non-negative with at most two decimals, and every step must be used.
    """

    def sound(record: Record, value: str) -> bool:
        number = Fraction(value)
        return number >= 0 and (number * 100).denominator == 1 and _plan(record, value)["unused_steps"] == 0

    return where(rule, sound)


def typical(rule: Rule, usual: Surprise) -> Rule:
    """The rule, abstaining from texts that do not look like what the model was taught."""

    return where(rule, lambda record, value: surprise(*prompt(record)).within(usual))


def agreeing(rule: Rule) -> Rule:
    """The rule, abstaining when the greedy reply to the other view of the text gives another value."""
    return where(rule, lambda record, value: record["toggled"].partition("|")[0] == value)


def taught(rule: Rule, shapes: frozenset[str]) -> Rule:
    """The rule, abstaining from plans of a shape that no taught template has."""
    return where(rule, lambda record, value: _plan(record, value)["shape"] in shapes)


def rules(within: Surprise, shapes: frozenset[str]) -> dict[str, Rule]:
    """The rules under study by name; each "+" adds a reason to abstain."""
    made: dict[str, Rule] = {"one_sample": one_sample}
    bases = {"greedy": greedy, **{f"ahead{lead}": ahead(lead, 12) for lead in (2, 3, 4)}}
    for name, base in bases.items():
        sound = checked(base)
        made[name] = base
        made[f"{name}+checks"] = sound
        made[f"{name}+checks+typical"] = typical(sound, within)
        made[f"{name}+checks+toggled"] = agreeing(sound)
        made[f"{name}+checks+typical+toggled"] = typical(agreeing(sound), within)
        made[f"{name}+checks+shapes"] = taught(sound, shapes)
        made[f"{name}+checks+typical+shapes"] = typical(taught(sound, shapes), within)
        made[f"{name}+checks+typical+toggled+shapes"] = typical(taught(agreeing(sound), shapes), within)
    return made


def score(rule: Rule, records: Sequence[Record]) -> Score:
    """Count a rule's decisions; a text too long to read counts as an abstention."""
    decided = [(r, None if r.get("too_long") else rule(r)) for r in records]
    problems = [(r, value) for r, value in decided if r["answer"] is not None]
    others = [value for r, value in decided if r["answer"] is None]
    accepted = [(r, value) for r, value in problems if value is not None]
    right = sum(value == r["answer"] for r, value in accepted)
    return Score(len(problems), len(accepted), right, len(others), sum(v is not None for v in others))


def _group(family: str) -> str:
    """The family of a record as the report names it."""
    return family.split(":")[0] if family.startswith(("near", "made")) else family


def report(records: Sequence[Record], card: dict[str, Any]) -> list[dict[str, Any]]:
    """One line per rule: problems, variants, and wrong acceptances per family of other texts."""
    within = Surprise(**card["typical"])
    groups: dict[str, list[Record]] = {}
    for r in records:
        groups.setdefault(_group(r["family"]), []).append(r)
    lines = []
    for name, rule in rules(within, frozenset(card["plan_shapes"])).items():
        line: dict[str, Any] = {"rule": name}
        for group, members in groups.items():
            result = score(rule, members)
            if result.problems:
                counts = [result.right, result.accepted, result.problems]
                line[group] = {"right/accepted/all": counts, "precision": round(result.precision, 4)}
            else:
                line[group] = f"{result.others_accepted}/{result.others}"
        unseen = [r for g, rs in groups.items() if g.startswith(("rg", "hand")) for r in rs]
        total = score(rule, unseen)
        line["unseen families accepted"] = f"{total.others_accepted}/{total.others}"
        lines.append(line)
    return lines


def new_card(records: Sequence[Record]) -> dict[str, Any]:
    """The model's card for an engine: how to read, when to accept, and how the limits were set."""
    known = [r for r in records if r["answer"] is not None]
    right = sum(one_sample(r) == r["answer"] for r in known)
    return {
        "dialect": "compact",
        "names": {"known": sorted(traces.names().known), "stand_ins": list(traces.STAND_INS)},
        "max_prompt_tokens": POSITIONS - MAX_REPLY,
        "max_reply_tokens": MAX_REPLY,
        "typical": asdict(calibrate(known)),
        "typical_basis": f"{MARGIN} times the {QUANTILE} quantile over {len(known)} taught problems, "
        "half of them with names that training never used",
        "sample": share(right, len(known)),
        "sample_basis": f"one sample at temperature 1 on the same {len(known)} problems",
        "other_view": traces.TRAILER,
        "plan_shapes": traces.shapes(),
    }


def accepted(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The posterior mean and 5 % quantile, after Jeffreys' prior, of the rate at which accepted answers are right."""
    marks = [bool(row["correct"]) for row in results if row.get("outcome") == "verified"]
    right, wrong = sum(marks), len(marks) - sum(marks)
    rate = Beta(right, wrong)
    basis = f"{right} right of {len(marks)} accepted, of {sum('outcome' in row for row in results)} problems"
    return {"p": round(rate.mean, 5), "low": round(rate.lower(), 5), "basis": basis}


def main() -> None:
    """Read the command line, then do what it says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("command", choices=("calibrate", "report", "accepted"))
    parser.add_argument("--records", type=Path, required=True)
    parser.add_argument("--card", type=Path, required=True, help="written by calibrate, read by report")
    given = parser.parse_args()
    lines = given.records.read_text(encoding="utf-8").splitlines()
    records: list[Record] = [json.loads(line) for line in lines]
    if given.command == "calibrate":
        card = new_card(records)
        given.card.write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
        print(json.dumps({key: card[key] for key in ("typical", "sample")}))
        return
    if given.command == "accepted":
        card = json.loads(given.card.read_text(encoding="utf-8")) | {"accepted": accepted(records)}
        given.card.write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
        print(json.dumps(card["accepted"]))
        return
    for line in report(records, json.loads(given.card.read_text(encoding="utf-8"))):
        print(json.dumps(line))


if __name__ == "__main__":
    main()
