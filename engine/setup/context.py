"""What a run works with, and the rules that follow from it for each step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from itertools import combinations
from typing import TypeVar

from surefoot.engine.core.observations import Observations
from surefoot.engine.core.rules import PERSON, PLAIN, Mode, SampleSource, StepRules
from surefoot.engine.setup.fallbacks import FALLBACKS, Variant
from surefoot.engine.setup.settings import Settings
from surefoot.models.question import Model, ToolSpec, card_of, temperature_of
from surefoot.models.representation import Representation
from surefoot.planners.planner import Planner
from surefoot.planners.structure import StructureCheck
from surefoot.reflection.arithmetic import arithmetic
from surefoot.reflection.calibration import (
    FORMAL,
    MEASURED,
    PLENTY,
    USUAL_TEMPERATURE,
    Calibration,
    belief_in,
    policy_of,
    step_class,
)
from surefoot.reflection.evidence import Belief, pace
from surefoot.reflection.schema import SchemaCheck
from surefoot.reflection.verifier import Verifier
from surefoot.reflection.vote_belief import Pattern
from surefoot.storage.errors import SetupError
from surefoot.storage.records import Effect, Role, Step
from surefoot.tools.registry import spec
from surefoot.tools.tool import Tool

T = TypeVar("T")

SOFT = ("judge", "model")
"""Verifiers that ask a model: their word costs. Once it was measured it is evidence; what others fail is refuted."""

CANARIES = 60
"""Wrong values that a verifier is tried on, and half as many right ones: none passed certifies a rate of .05."""

SLOWEST = 1e-3
"""Nats a sample below which a source is taken for one that tells nothing."""

ROOT = "task"
"""id and kind of the outermost step, which is the task itself."""


@cache
def _tool_checks() -> Mapping[str, tuple[Verifier, ...]]:
    return {"calculator": (arithmetic(),)}


@dataclass(frozen=True)
class RunContext:
    """Models by role, and everything that a plan may name."""

    models: Mapping[Role, Model]
    tools: Mapping[str, Tool]
    planners: Mapping[str, Planner]
    verifiers: Mapping[str, Verifier]
    settings: Settings = Settings()
    stated: Mapping[Role, Belief] = field(default_factory=dict)
    """What models' cards say of their samples, by role."""
    calibration: Calibration = field(default_factory=Calibration)
    """What earlier runs taught."""
    representations: tuple[Representation, ...] = ()
    alternates: Mapping[str, Model] = field(default_factory=dict)
    """Further models for steps that the first one does not settle, by source."""
    tool_checks: Mapping[str, tuple[Verifier, ...]] = field(default_factory=_tool_checks)
    """Checks of direct calls of a tool: arithmetic is always recomputed by another route."""
    final: tuple[Verifier, ...] = ()
    """Further checks of the task's own output."""
    _rules: dict[tuple[object, ...], StepRules] = field(default_factory=dict, repr=False, compare=False)
    _later: dict[tuple[object, ...], StepRules] = field(default_factory=dict, init=False, repr=False, compare=False)
    """Rules that follow from what the run has shown itself."""

    def again(self) -> RunContext:
        """The same for another run, which shares the rules that follow from this alone."""
        return replace(self)

    @cached_property
    def specs(self) -> dict[str, ToolSpec]:
        return {name: spec(tool) for name, tool in self.tools.items()}

    def mode(self, step: Step) -> Mode:
        if step.planner is not None:
            return "plan"
        if step.tool is not None:
            return "arguments" if step.args is None else "tool"
        return "answer"

    def sampled(self, step: Step) -> bool:
        """Whether asking again may give something else."""
        if step.planner is not None:
            return self.planners[step.planner].sampled
        return step.tool is None or step.args is None

    @cached_property
    def structure(self) -> StructureCheck:
        schemas = {name: (tool.parameters, tool.returns) for name, tool in self.tools.items()}
        return StructureCheck(schemas, self.planners, self.verifiers)

    def rules(self, step: Step, observed: Observations | None = None) -> StepRules:
        """The rules of a step. Steps of one make share them, so that a plan of a million needs few.

        observed: what the run has shown so far, where votes are believed by what they teach.
        """
        wants = (step.args is None, step.contract.gives is None, step.kind == ROOT)
        make = (step.tool, step.planner, step.kind, step.votes, step.checks, *wants)
        known = self._rules.get(make)
        if known is None:
            known = self._rules[make] = self._make(step, {})
        if observed is None or not known.learning:
            return known
        role: Role = "plan" if known.mode == "plan" else "act"
        place = (step_class(step), role)
        epoch = observed.epoch(*place)
        if not epoch:
            return known
        later = self._later.get((*make, epoch))
        if later is None:
            later = self._later[*make, epoch] = self._make(step, observed.known[place])
        return later

    def _make(self, step: Step, seen: Mapping[str, Mapping[Pattern, float]]) -> StepRules:
        settings = self.settings
        mode = self.mode(step)
        if step.tool is not None:
            _one_of(self.tools, step.tool, "tool")
        if step.planner is not None:
            _one_of(self.planners, step.planner, "planner")
        checks = [_one_of(self.verifiers, name, "verifier") for name in step.checks]
        if step.kind == ROOT:
            checks += self.final
        if mode == "tool":
            checks += self.tool_checks.get(step.tool or "", ())
        checks.sort(key=lambda one: not one.exact)  # what proves comes before what only speaks for it
        if step.contract.gives is not None:
            checks.insert(0, SCHEMA)
        plan_checks: tuple[Verifier, ...] = ()
        if mode == "plan" and step.planner is not None and self.planners[step.planner].sampled:
            plan_checks = (self.structure, *self.planners[step.planner].checks)
        sampled = mode != "plan" and self.sampled(step)
        direct = mode in ("tool", "arguments")
        soft_checks = self._soft_checks(step, checks) if sampled else {}
        votes = self._votes(step, mode)
        proved = mode != "plan" and votes is None and any(one.exact for one in checks)
        weighed = self.sampled(step) and not proved
        sources = self._sources(step, mode, seen, weighed)
        return StepRules(
            mode=mode,
            sampled=self.sampled(step),
            checks=tuple(checks),
            plan_checks=plan_checks,
            votes=votes,
            sources=sources,
            learning=weighed and any(one.belief.votes is not None for one in sources),
            target=settings.target,
            tries=1 if "critique" not in settings.ladder or (direct and self._harmful(step, mode)) else settings.tries,
            samples=settings.samples,
            replans=settings.replans,
            seed=settings.seed,
            verify=settings.verify,
            handovers=self._handovers(mode),
            fallbacks=settings.ladder,
            watched=self._watched(step, checks) if sampled and settings.verify else (),
            check_nats=self._check_nats(step, checks, soft_checks) if sampled and settings.verify else 0.0,
            soft_checks=soft_checks,
        )

    def alternate(self, name: str) -> Belief | None:
        """What is stated of another model: of a double, what it says; of others nothing."""
        sample = card_of(self.alternates[name]).get("sample")
        return Belief(sample["p"]) if sample else None

    def budget_share(self, step: Step) -> float:
        """Share of the error budget that a step is to have, relative to others: its cost per nat; 0: it needs none."""
        rules = self.rules(step)
        if not rules.sampled:
            return 1.0 if rules.mode == "plan" else 0.0
        exact = rules.mode != "plan" and rules.votes is None and any(one.exact for one in rules.checks)
        if exact or not rules.verify:
            return 0.0
        return 1 / max(pace(rules.sources[0].belief), SLOWEST)

    # --- where samples come from ----------------------------------------------------------------------------

    def policy(self, source: str, role: Role = "act") -> str:
        """The model, its revision and temperature behind a source of samples."""
        model = self.alternates[source] if source in self.alternates else self.models[role]
        return policy_of(model.name, model.policy.revision, self._temperature(model))

    def _temperature(self, model: Model) -> float | None:
        return temperature_of(model) if self.settings.temperature is None else self.settings.temperature

    def _sources(
        self, step: Step, mode: Mode, seen: Mapping[str, Mapping[Pattern, float]], weighed: bool
    ) -> tuple[SampleSource, ...]:
        """weighed: votes decide, so that what they teach is worth working out."""
        role: Role = "plan" if mode == "plan" else "act"
        if role not in self.models:
            return PLAIN
        stated = self.stated.get(role)
        if self.settings.prior is not None and (stated is None or stated.basis != "measured"):
            stated = Belief(self.settings.prior)
        elif stated is not None and self._temperature(self.models[role]) not in (None, USUAL_TEMPERATURE):
            stated = Belief(stated.p)  # its card was measured at another temperature
        kind = step_class(step)

        def believed(name: str, stated: Belief | None) -> Belief:
            policy = self.policy(name, role)
            found = self.calibration.belief(kind, policy, name, stated or Belief())
            if not weighed:
                return found
            carded = stated is not None and stated.basis == "measured"
            if found.basis == "measured" and (carded or sum(self.calibration.counts(kind, policy, name)) >= PLENTY):
                return found
            votes = self.calibration.votes(kind, policy, name, seen.get(name))
            return belief_in(votes) if stated is None or votes.truths >= MEASURED else found

        def source(variant: Variant, fallback: str | None = None, first: bool = False) -> SampleSource:
            place = (kind, self.policy(variant.name, role), variant.name)
            return SampleSource(
                variant.name,
                believed(variant.name, variant.stated),
                fallback,
                first,
                variant.lesson,
                variant.ask,
                self.calibration.forms(*place).kept,
                self.calibration.forms(*place).ratio,
                self.calibration.openings(*place).at_most,
                self.calibration.counts(*place),
            )

        found = [source(Variant("", stated))]
        if mode == "answer":
            # A source that is asked in another form is not what the card measured.
            unmeasured = None if stated is None else Belief(stated.p)
            for name, one in FALLBACKS.items():
                if name in self.settings.ladder:
                    made = one.variants(self, step, unmeasured)
                    found += [source(variant, None if variant.lesson else name, one.first) for variant in made]
        return tuple(found)

    def _handovers(self, mode: Mode) -> tuple[tuple[str, str], ...]:
        ways = ((name, one.hands_to) for name, one in FALLBACKS.items() if one.hands_to)
        planners = () if mode == "plan" else self.planners
        return tuple((name, to) for name, to in ways if to == PERSON or to in planners)

    def _watched(self, step: Step, checks: Iterable[Verifier]) -> tuple[Verifier, ...]:
        found = [one for one in checks if not one.exact and one.name not in FORMAL]
        kind = step_class(step)

        def known(one: Verifier, other: str | None = None) -> bool:
            good, bad = self.calibration.seen(kind, one.name, one.version, other)
            return min(2 * good, bad) >= CANARIES

        # Tried together where there are several, for one may be as good as a copy of another.
        new = {one.name for one in found if not known(one)}
        for one, other in combinations(found, 2):
            new |= set() if known(one, other.name) else {one.name, other.name}
        return tuple(one for one in found if one.name in new)

    def _check_nats(self, step: Step, checks: Iterable[Verifier], soft_checks: Mapping[str, float]) -> float:
        """Nats for a candidate that passes all of these, each after those before it."""
        nats = 0.0
        said: dict[str, bool] = {}
        for check in checks:
            if not check.exact and check.name not in soft_checks:
                found = self.calibration.weight(step_class(step), check.name, check.version, True, said, nats)
                if found is not None:
                    nats += found[0]
                    said[check.name] = True
        return nats

    def _soft_checks(self, step: Step, checks: Iterable[Verifier]) -> dict[str, float]:
        """Nats for the tokens of one sample of the checks that are evidence only: judges whose rates were measured."""
        found: dict[str, float] = {}
        for check in checks:
            rates = None if check.exact else self.calibration.rates(step_class(step), check.name, check.version)
            if rates is not None and check.kind in SOFT:
                found[check.name] = rates[0].drift()
        return found

    def _votes(self, step: Step, mode: Mode) -> int | None:
        if step.votes is not None:
            return step.votes
        return self.settings.votes or (1 if self._harmful(step, mode) else None)

    def _harmful(self, step: Step, mode: Mode) -> bool:
        """Whether one more sample may do to the world what must be done once: then there is only one."""
        if mode == "plan":
            return False
        names = self.tools if step.tool is None else (step.tool,)
        return any(self.tools[name].effect is Effect.ONCE for name in names)


def _one_of(known: Mapping[str, T], name: str, what: str) -> T:
    """A plan is checked before it is accepted, so only an engine that takes up another one's run can lack a name."""
    if name not in known:
        raise SetupError(f"the run needs the {what} {name!r}, which this engine does not have: give it to the Engine")
    return known[name]


SCHEMA = SchemaCheck()
