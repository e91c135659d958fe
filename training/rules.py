"""Acceptance rules for the pocket model's replies: calibrate thresholds, and score rules on records.

    python -m surefoot.training.rules calibrate --records calibration.jsonl --out thresholds.json
    python -m surefoot.training.rules report --records evaluation.jsonl --thresholds thresholds.json

Records come from `surefoot.training.evidence`. A rule sees a record without its true answer and gives a
value or abstains; only the score compares with the answer. Each command prints one JSON line per result.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

Record = dict[str, Any]
Rule = Callable[[Record], str | None]
TOP = 3
QUANTILE = 0.99
MARGIN = 1.25


@dataclass(frozen=True)
class Thresholds:
    """Limits on a prompt's negative log-likelihood, in nats per token: its mean and its TOP largest."""

    mean: float
    top: float


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


def statistics(record: Record) -> tuple[float, float]:
    """The mean of a prompt's token NLLs and the mean of its TOP largest, in nats."""
    nll = sorted(record["prompt_nll"])
    return sum(nll) / len(nll), sum(nll[-TOP:]) / len(nll[-TOP:])


def calibrate(records: Sequence[Record]) -> Thresholds:
    """MARGIN times the QUANTILE of each statistic over the problems among the records."""
    found = [statistics(r) for r in records if r["family"] == "problem"]
    limits = [sorted(column)[int(QUANTILE * (len(column) - 1))] * MARGIN for column in zip(*found, strict=True)]
    return Thresholds(round(limits[0], 3), round(limits[1], 3))


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


def checked(rule: Rule) -> Rule:
    """The rule, abstaining from values or plans that no taught problem has.

    A value must be non-negative with at most two decimals, and every step must be used.
    """

    def stricter(record: Record) -> str | None:
        value = rule(record)
        if value is None:
            return None
        plan = next(p for p in (record["greedy"], *record["samples"]) if p.get("value") == value)
        number = Fraction(value)
        sound = number >= 0 and (number * 100).denominator == 1
        return value if sound and plan["unused_steps"] == 0 else None

    return stricter


def typical(rule: Rule, limits: Thresholds) -> Rule:
    """The rule, abstaining from texts that do not look like what the model was taught."""

    def stricter(record: Record) -> str | None:
        mean, top = statistics(record)
        return rule(record) if mean <= limits.mean and top <= limits.top else None

    return stricter


def agreeing(rule: Rule, views: Sequence[str]) -> Rule:
    """The rule, abstaining when the greedy reply to another view of the text computes something else."""

    def stricter(record: Record) -> str | None:
        value = rule(record)
        keys = [record["views"][view].partition("|")[0] for view in views]
        return value if all(key == value for key in keys) else None

    return stricter


def rules(limits: Thresholds) -> dict[str, Rule]:
    """The rules under study by name."""
    made: dict[str, Rule] = {"greedy": greedy, "one_sample": one_sample, "greedy+checks": checked(greedy)}
    made["greedy+checks+typical"] = typical(checked(greedy), limits)
    for lead in (2, 3, 4):
        name = f"ahead{lead}"
        made[name] = ahead(lead, 12)
        made[f"{name}+checks"] = checked(made[name])
        made[f"{name}+checks+toggled"] = agreeing(checked(made[name]), ["toggled"])
        made[f"{name}+checks+typical"] = typical(checked(made[name]), limits)
        made[f"{name}+checks+typical+toggled"] = typical(agreeing(checked(made[name]), ["toggled"]), limits)
        made[f"{name}+checks+typical+both"] = typical(agreeing(checked(made[name]), ["toggled", "renamed"]), limits)
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


def report(records: Sequence[Record], limits: Thresholds) -> list[dict[str, Any]]:
    """One line per rule: problems, variants, and wrong acceptances per family of other texts."""
    groups: dict[str, list[Record]] = {}
    for r in records:
        groups.setdefault(_group(r["family"]), []).append(r)
    lines = []
    for name, rule in rules(limits).items():
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


def main() -> None:
    """Read the command line, then calibrate or report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("command", choices=("calibrate", "report"))
    parser.add_argument("--records", type=Path, required=True)
    parser.add_argument("--thresholds", type=Path, help="for report: the calibrated thresholds")
    parser.add_argument("--out", type=Path, help="for calibrate: where to write the thresholds")
    given = parser.parse_args()
    lines = given.records.read_text(encoding="utf-8").splitlines()
    records: list[Record] = [json.loads(line) for line in lines]
    if given.command == "calibrate":
        found = json.dumps(asdict(calibrate(records)))
        print(found)
        if given.out:
            given.out.write_text(found + "\n", encoding="utf-8")
        return
    limits = Thresholds(**json.loads(given.thresholds.read_text(encoding="utf-8")))
    for line in report(records, limits):
        print(json.dumps(line))


if __name__ == "__main__":
    main()
