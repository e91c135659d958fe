"""A run without models, tools, clocks or an event loop: plans, samples and verdicts are drawn from one seed.

What a step's n-th attempt proposes depends only on the seed, on where the step stands in the plan, and on n. So a
run that is cut anywhere and taken up again meets the same world.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from surefoot.engine.core.actions import Action, Check, Commit, Deliver, Expand, Propose, Replan, RollBack
from surefoot.engine.core.decide import decide
from surefoot.engine.core.fold import fold
from surefoot.engine.core.rules import StepRules
from surefoot.engine.core.spending import Tally
from surefoot.engine.core.state import Candidate, RunState, StepState
from surefoot.engine.running.account import Account
from surefoot.engine.running.candidates import check, missed, proposed
from surefoot.engine.running.expand import adopt, carried, expand, noted
from surefoot.engine.setup.context import RunContext
from surefoot.engine.setup.settings import Settings
from surefoot.planners.canonical import plan_key
from surefoot.planners.document import plan_from, plan_to
from surefoot.planners.planner import Proposal, Request
from surefoot.planners.refs import resolve
from surefoot.reflection.canonical import canonical
from surefoot.reflection.trust import Support
from surefoot.reflection.verifier import Case, Verifier
from surefoot.storage.records import Budget, Event, JournalRecord, Json, Plan, PlannedStep, Step, Verdict, ref
from surefoot.tools import tool

MOST = 5_000
"""Actions of one run: more is a run that does not end."""


@tool(effect="pure", timeout=None)
async def look(x: int = 0) -> int:
    """Looks something up; here nobody calls it."""
    return x


@dataclass(frozen=True)
class Named:
    """A planner by name; the bench itself makes the plans."""

    name: str
    sampled: bool
    checks: tuple[Verifier, ...] = ()

    async def propose(self, request: Request, n: int = 1) -> Sequence[Proposal]:
        raise AssertionError("the bench plans itself")


@dataclass(frozen=True)
class Oracle:
    """A verifier whose word depends on the seed, itself, the step and the candidate."""

    name: str
    exact: bool
    seed: int
    version: str = "1"
    kind: str = "rule"

    async def verify(self, case: Case) -> Verdict:
        draw = random.Random(f"{self.seed} {self.name} {case.step.id} {canonical(case.candidate)}")
        ruling = draw.choices(("pass", "fail", "abstain"), (75, 22, 3))[0]
        blame = draw.choice([None, "s0", "s1", "nobody"]) if ruling == "fail" else None
        return Verdict(self.name, ruling, critique=f"{self.name} says {ruling}", blame=blame)  # type: ignore[arg-type]


@dataclass(frozen=True)
class World:
    """Everything that a run meets."""

    seed: int
    plans: Mapping[str, Plan]
    """By the path of the step that is expanded; the root's is empty."""
    settings: Settings = Settings()
    errors: float = 0.1
    """How often an attempt gives nothing."""

    def context(self) -> RunContext:
        verifiers = {name: Oracle(name, name == "exact", self.seed) for name in ("exact", "soft", "final")}
        planners = {"known": Named("known", False), "model": Named("model", True)}
        return RunContext({}, {"look": look}, planners, verifiers, self.settings)

    def draw(self, path: str, tried: int) -> random.Random:
        return random.Random(f"{self.seed} {path} {tried}")


def kinds(draw: Callable[..., Any], plans: dict[str, Plan], path: str, depth: int) -> dict[str, Any]:
    kind = draw(st.sampled_from(["tool", "answer", "answer", "known", "model"] if depth < 2 else ["tool", "answer"]))
    if kind in ("known", "model"):
        plans[path] = plan_of(draw, plans, path, depth + 1)
        return {"planner": kind, "args": {}}
    return {"tool": "look"} if kind == "tool" else {}


def plan_of(draw: Callable[..., Any], plans: dict[str, Plan], path: str, depth: int) -> Plan:
    """Up to four steps in any order, each on top of any that come before it in a hidden order."""
    size = draw(st.integers(1, 4))
    steps = []
    for i in range(size):
        before = draw(st.sets(st.integers(0, i - 1), max_size=2)) if i else set()
        options = {"args": {f"v{j}": ref(f"s{j}") for j in sorted(before)}}
        options |= kinds(draw, plans, f"{path}/s{i}", depth)
        if "planner" in options:
            options["needs"] = tuple(f"s{j}" for j in sorted(before))
        checks = draw(st.sampled_from([(), ("soft",), ("exact",), ("soft", "exact")]))
        steps.append(
            Step(f"s{i}", f"do {i}", checks=checks, votes=draw(st.sampled_from([None, None, None, 3])), **options)
        )
    more = depth > 0 and size > 1 and draw(st.booleans())
    listed = steps if more else draw(st.permutations(steps))
    return Plan(tuple(listed), [ref(one.id) for one in steps], more)


@st.composite
def worlds(draw: Any, target: bool = False) -> World:
    plans: dict[str, Plan] = {}
    plans[""] = plan_of(draw, plans, "", 0)
    settings = Settings(
        votes=draw(st.sampled_from([None, 1, 2, 3])),
        target=draw(st.sampled_from([0.9, 0.99, 0.9999])) if target else None,
        samples=draw(st.sampled_from([4, 12])),
    )
    return World(draw(st.integers(0, 10**6)), plans, settings, draw(st.sampled_from([0.0, 0.1, 0.3])))


def now(coroutine: Any) -> Any:
    """The result of a coroutine that never waits."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waited")


@dataclass
class Bench:
    """Decides and does, one action at a time, in an order that its own seed draws."""

    world: World
    state: RunState = field(default_factory=RunState)
    listener: Callable[[JournalRecord], None] = lambda record: None
    last: int = 0
    order: int = 0

    def __post_init__(self) -> None:
        self.context = self.world.context()
        self.account = Account(Budget(), Tally())
        self.rng = random.Random(self.order)
        self.replies: dict[int, Any] = {}

    def begin(self, planner: str, checks: tuple[str, ...] = ("final",)) -> None:
        root = Step("task", "the task", args={}, planner=planner, checks=checks)
        self.record(PlannedStep(self.seq(), None, 0, 1, root))
        self.record(Event(self.seq(), "started", self.state.root, data={"weight": self.context.budget_share(root)}))

    def run(self) -> tuple[str, Json]:
        root = self.state.steps[self.state.root]
        for _ in range(MOST):
            if not root.open:
                return root.status, root.output
            action = decide(self.state, root, self.rules(root))
            if action is not None:
                self.act(root, action)
                continue
            self.state.ready[:] = [seq for seq in dict.fromkeys(self.state.ready) if seq in self.state.steps]
            assert self.state.ready, "the run stands still"
            self.turn(self.state.steps[self.state.ready.pop(self.rng.randrange(len(self.state.ready)))])
        raise AssertionError("the run does not end")

    def turn(self, step: StepState) -> None:
        """One action of one step, so that others come in between."""
        action = decide(self.state, step, self.rules(step))
        if action is None:
            return
        self.act(step, action)
        if self.state.steps.get(step.seq) is step and decide(self.state, step, self.rules(step)) is not None:
            self.state.ready.append(step.seq)

    def rules(self, step: StepState) -> StepRules:
        return self.context.rules(step.step)

    def path(self, step: StepState) -> str:
        return "" if step.parent is None else f"{self.path(self.state.steps[step.parent])}/{step.step.id}"

    # --- doing ------------------------------------------------------------------------------------------------

    def act(self, step: StepState, action: Action) -> None:
        if isinstance(action, Propose) and adopt(self, step):  # type: ignore[arg-type]
            return
        if isinstance(action, Propose):
            for _ in range(action.n):
                self.propose(step, self.rules(step))
        elif isinstance(action, Check):
            case = Case(step.step, action.candidate.output, {}, done=self.known(step))
            now(check(self, action.candidate, action.verifiers, case))  # type: ignore[arg-type]
        elif isinstance(action, Commit):
            self.commit(step, action.candidate, action.support)
        elif isinstance(action, Expand):
            plan = plan_from(action.candidate.output)
            expand(self, step, plan, action.support, action.candidate.attempt)  # type: ignore[arg-type]
        elif isinstance(action, Deliver):
            output = resolve(step.delivers, self.state.outputs(step.delivers, step.children), {})
            proposed(self, step, output, canonical(output), role="result")  # type: ignore[arg-type]
        elif isinstance(action, RollBack):
            data = {"steps": list(action.children), "critique": step.critique}
            self.record(Event(self.seq(), "rolled_back", step.seq, data=data))
        elif isinstance(action, Replan):
            data = {"steps": [], "critique": action.reason}
            self.record(Event(self.seq(), "rolled_back", step.seq, data=data))
        else:
            self.fail(
                step, action.reason, out_of_scope=action.out_of_scope, infrastructure_error=action.infrastructure_error
            )

    def propose(self, step: StepState, rules: StepRules) -> None:
        draw = self.world.draw(self.path(step), step.tried)
        if rules.mode == "plan":
            self.plan(step, rules, draw)
        elif draw.random() < self.world.errors:
            missed(self, step, "it did not work")  # type: ignore[arg-type]
        elif rules.sampled and draw.random() < self.world.errors / 2:
            missed(self, step, "beyond me", status="unknown")  # type: ignore[arg-type]
        else:
            value = draw.choices((1, 2, 3), (70, 20, 10))[0] if rules.sampled else 1
            proposed(self, step, {"v": value}, str(value))  # type: ignore[arg-type]

    def plan(self, step: StepState, rules: StepRules, draw: random.Random) -> None:
        plan = self.part(step, self.world.plans[self.path(step)])
        if not rules.sampled:
            expand(self, step, plan, None, None)  # type: ignore[arg-type]
        elif draw.random() < self.world.errors:
            missed(self, step, "no plan", role="plan", status="invalid")  # type: ignore[arg-type]
        else:
            if draw.random() < 0.2:
                extra = "s0" if draw.random() < 0.3 else "x"  # the name s0 is taken: a defect
                plan = Plan((*plan.steps, Step(extra, "something more")), plan.output, plan.more)
            document = plan_to(carried(self, step, plan))  # type: ignore[arg-type]
            proposed(self, step, document, plan_key(plan), role="plan")  # type: ignore[arg-type]

    def part(self, step: StepState, plan: Plan) -> Plan:
        """A plan that comes in two parts, the second when the steps of the first are committed."""
        if not plan.more:
            return plan
        done = set(step.children) if step.status == "expanded" else set()
        if not done:
            return Plan(plan.steps[:1], None, True)
        return Plan(tuple(one for one in plan.steps if one.id not in done), plan.output)

    # --- as a desk --------------------------------------------------------------------------------------------

    def seq(self) -> int:
        self.last += 1
        return self.last

    def record(self, record: JournalRecord) -> None:
        fold(self.state, record)
        self.listener(record)

    def inputs(self, step: StepState) -> dict[str, Json]:
        return {}

    def known(self, step: StepState) -> tuple[str, ...]:
        return tuple(step.children) if step.status == "expanded" else ()

    def commit(self, step: StepState, candidate: Candidate, backing: Support) -> None:
        data = None if backing.basis == "exact" else noted(backing)
        self.record(Event(self.seq(), "committed", step.seq, candidate.attempt, data))

    def fail(
        self, step: StepState, reason: str, *, out_of_scope: bool = False, infrastructure_error: bool = False
    ) -> None:
        data: dict[str, Json] = {"reason": reason, "beyond": out_of_scope, "fault": infrastructure_error}
        self.record(Event(self.seq(), "failed", step.seq, data=data))

    def let_go(self, step: StepState) -> None:
        """It keeps no replies."""
