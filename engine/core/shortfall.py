"""What a run that ran out of its budget still needs, and what that budget could have bought."""

from __future__ import annotations

from math import ceil

from surefoot.engine.core.rules import FIRST, STATED_VOTES, RulesOf, StepRules
from surefoot.engine.core.state import RunState, StepState
from surefoot.reflection.allocation import Menu, allot
from surefoot.reflection.evidence import Belief, more, posterior
from surefoot.storage.records import Budget, Task, Usage


def shortfall(state: RunState, rules_of: RulesOf, task: Task) -> str:
    """A sentence for the reason that a run ended with; empty where nothing can be said.

    Steps that are not planned yet are not in it.
    """
    spent = state.spent.usage
    open_ = [(step, rules) for step in state.steps.values() if (rules := _voted(state, rules_of, step)) is not None]
    if not open_ or not spent.samples:
        return ""
    wanted = [_votes(state, step, rules) for step, rules in open_]
    samples = sum(one for one in wanted if one is not None)
    if not samples:
        return ""
    dollars = f" ({samples * spent.usd / spent.samples:.2g} dollars)" if spent.usd else ""
    tokens = ceil(samples * spent.tokens / spent.samples)
    steps = f"{len(open_)} planned step{'s' if len(open_) > 1 else ''}"
    size = f", {tokens:,} tokens" if tokens else ""
    said = f"; the {steps} still open take about {samples} more samples{size}{dollars}"
    return said + _reach(state, task, [rules for _, rules in open_])


def _voted(state: RunState, rules_of: RulesOf, step: StepState) -> StepRules | None:
    """The rules of an open step that samples decide; None for any other."""
    if step.status not in ("waiting", "ready"):
        return None
    rules = rules_of(step.step, state.observed)
    return rules if rules.mode != "plan" and rules.voted else None


def _votes(state: RunState, step: StepState, rules: StepRules) -> int | None:
    """Further samples, if all of them agree; None where no number is enough."""
    error = rules.error(state, step)
    live = [one for one in step.candidates.values() if not one.refuted]
    best = max(live, key=lambda one: one.votes, default=None)
    source = rules.source(step.source or "")
    key = best.key if best is not None else FIRST
    return more(step.ballots(), rules.beliefs(), key, step.nats(), source.name, error, STATED_VOTES, by_votes=True)


def _reach(state: RunState, task: Task, open_: list[StepRules]) -> str:
    """The target that the whole budget buys, where one was named."""
    samples = _affordable(task.budget, state.spent.usage)
    if task.target is None or samples is None:
        return ""
    steps = state.trust.weighed + len(open_)
    try:
        bought = allot([Menu(1.0, _errors(open_[0].sources[0].belief), steps)], task.target, samples)
    except ValueError:
        return f"; the whole budget does not buy one sample for each of {steps} steps"
    return f"; for {steps} steps, the whole budget buys about {bought.reliability:.3g} of the wanted {task.target}"


def _affordable(budget: Budget, spent: Usage) -> float | None:
    """Samples that the whole budget pays for, at what they cost so far."""
    limits = ((budget.tokens, spent.tokens), (budget.usd, spent.usd), (budget.steps, spent.attempts))
    return min((limit * spent.samples / used for limit, used in limits if limit and used), default=None)


def _errors(belief: Belief) -> tuple[float, ...]:
    """Chance of error after 1, 2, 3, ... samples that agree."""
    return tuple(posterior({"": {"": votes}}, {"": belief}, "").agreed for votes in range(1, STATED_VOTES + 1))
