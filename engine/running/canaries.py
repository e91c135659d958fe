"""Trying a verifier on values whose truth is known: what was just committed, and mutants of it.

So a verifier's weight is found, not told. Canaries run inside the run's budget and never end a run: where it has no
room for them, there are none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from random import Random

from surefoot.engine.core.state import StepState
from surefoot.engine.running.runtime import StepRuntime
from surefoot.engine.setup.context import SOFT
from surefoot.reflection.calibration import step_class
from surefoot.reflection.mutants import mutants
from surefoot.reflection.verifier import Case, Verifier
from surefoot.storage.events import Canary
from surefoot.storage.records import Event, Json, Verdict

MUTANTS = 2
"""Tried at one commit, beside the committed value."""


async def canaries(
    run: StepRuntime, step: StepState, verifiers: Sequence[Verifier], case: Case, said: Mapping[str, Verdict]
) -> None:
    """Tries verifiers on a committed output and on mutants of it, and records what came of it.

    said: their verdicts on that output, which show what a verdict costs.
    """
    rng = Random(run.context.settings.seed * 1_000_003 + step.seq)
    bad = list(mutants(case.candidate, rng, MUTANTS))
    for good, value in ((True, case.candidate), *((False, one) for one in bad)):
        before = run.state.spent.usage.tokens
        words: dict[str, Json] = {}
        spent = 0
        for verifier in verifiers:
            cost = said[verifier.name].usage.tokens if verifier.name in said else 0
            if verifier.kind in SOFT and not _affordable(run, spent + cost):
                continue
            verdict = await _try(run, verifier, replace(case, candidate=value))
            spent = max(run.state.spent.usage.tokens - before, spent + verdict.usage.tokens)
            if verdict.ruling != "abstain":
                words[verifier.name] = [verifier.version, verdict.ruling == "pass"]
        if words:
            data: Canary = {"class": step_class(step.step), "good": good, "said": words, "tokens": spent}
            run.record(Event(run.seq(), "canary", step.seq, data=data))


def _affordable(run: StepRuntime, cost: int) -> bool:
    """Whether one more stays inside the canaries' share of the run's tokens, and half of its budget is left."""
    spent, budget = run.state.spent.usage, run.account.budget
    used = [spent.tokens / budget.tokens] if budget.tokens else []
    used += [spent.usd / budget.usd] if budget.usd else []
    return (
        all(one < 0.5 for one in used)
        and run.state.observed.tokens + cost <= run.context.settings.canaries * spent.tokens
    )


async def _try(run: StepRuntime, verifier: Verifier, case: Case) -> Verdict:
    refused = run.account.refused
    verdict = await verifier.verify(case)
    run.account.refused = refused  # a canary that did not fit into the budget is no reason to end the run
    return verdict
