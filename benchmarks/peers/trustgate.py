"""TrustGate (package theaios-trustgate): the most frequent of K answers, and one reliability level for a whole system.

Needs labels. Split conformal prediction turns labelled questions into that level: of n, the share whose most frequent
answer is right, in n + 1 (arXiv 2602.21368, definition 2.4).
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

from benchmarks.harness import Row

K = 10
"""Samples of a question: the package's default."""


def installed() -> bool:
    return find_spec("theaios") is not None and find_spec("theaios.trustgate") is not None


def accepted(answers: Sequence[tuple[Sequence[str], str]], labels: int, target: float) -> Row:
    """What it makes of questions, each with its K answers and the right one; the first `labels` of them are labelled.

    Where its level is below the target, nothing is accepted; else everything is.
    """
    from theaios.trustgate import calibrate, compute_profile

    profiles = {str(place): compute_profile(list(said)) for place, (said, _) in enumerate(answers)}
    truth = {str(place): right for place, (_, right) in enumerate(answers)}
    known, tasks = list(profiles)[:labels], list(profiles)[labels:]
    level = calibrate(profiles, truth, known, tasks, [1 - target]).reliability_level
    right = sum(profiles[place][0][0] == truth[place] for place in tasks)
    taken = len(tasks) if level >= target else 0
    found: Row = {"tasks": len(tasks), "verified": taken, "verified_right": right if taken else 0}
    found |= {"agreed": 0, "agreed_right": 0, "abstained": len(tasks) - taken, "samples": K}
    wrong = round(taken * (1 - level), 4)
    return found | {"predicted_wrong": wrong, "by_votes_wrong": wrong, "verified_predicted_wrong": wrong}
