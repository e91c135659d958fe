"""The promises of every planner, kept by each one."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
from words import Letters, Words

from surefoot.models.question import Question
from surefoot.models.scripted import ScriptedModel
from surefoot.planners import ModelPlanner, NextStepPlanner, planner
from surefoot.planners.document import plan_from, plan_to
from surefoot.planners.fixed import FixedPlanner
from surefoot.planners.planner import Planner, Proposal, Request
from surefoot.planners.search import SearchPlanner
from surefoot.planners.structure import problems
from surefoot.storage.errors import ModelError, ModelUnavailable
from surefoot.storage.records import Json, Plan, Step, ref

pytestmark = pytest.mark.anyio

STEP = {"id": "s", "tool": "calculator", "args": {"expression": "1 + 2"}}
WHOLE: Json = {"steps": [STEP], "output": {"$ref": "s"}}
PLAN = Plan((Step("s", tool="calculator", args={"expression": "1 + 2"}),), ref("s"))
WORDS = Words("312")


class Scripted:
    """The smallest planner: what is asked for is known."""

    name, sampled, checks = "scripted", False, ()

    async def propose(self, request: Request, n: int = 1) -> Sequence[Proposal]:
        return [Proposal(PLAN, key="scripted")]


@planner
def computed(n: int = 2) -> Plan:
    """A plan from the step's arguments."""
    return Plan((Step("s", tool="calculator", args={"expression": f"1 + {n}"}),), ref("s"))


def broken(n: int = 2) -> Plan:
    raise ValueError("no idea")


@dataclass(frozen=True)
class Subject:
    """How to make a planner that has a plan, and one that has none."""

    make: Callable[[], Planner]
    reply: Any = None
    """What its model says, where it asks one."""
    hopeless: Callable[[], Planner] | None = None
    nonsense: Any = None

    def request(self, reply: Any) -> Request:
        model = None if reply is None else ScriptedModel(lambda question, index: reply)
        return Request(Step("task", "Add 1 and 2.", args={"n": 2}), {"n": 2}, model=model, seed=7)


SUBJECTS = {
    "scripted": Subject(Scripted),
    "fixed": Subject(lambda: FixedPlanner(PLAN)),
    "function": Subject(lambda: computed, hopeless=lambda: planner(broken)),
    "model": Subject(ModelPlanner, WHOLE, ModelPlanner, "no plan at all"),
    "next step": Subject(
        NextStepPlanner, {"step": STEP, "output": None}, NextStepPlanner, {"step": None, "output": None}
    ),
    "search": Subject(
        lambda: SearchPlanner(lambda request: WORDS, Letters(WORDS)),
        hopeless=lambda: SearchPlanner(lambda request: None, Letters(WORDS)),
    ),
}

every = pytest.mark.parametrize("subject", SUBJECTS.values(), ids=SUBJECTS)


@every
async def test_it_says_what_it_is(subject: Subject) -> None:
    made = subject.make()
    assert isinstance(made, Planner)
    assert made.name and isinstance(made.name, str)
    assert isinstance(made.sampled, bool) and isinstance(made.checks, tuple)


@every
async def test_a_proposal_is_a_plan_that_can_be_kept_with_what_it_computes(subject: Subject) -> None:
    (proposal, *_) = await subject.make().propose(subject.request(subject.reply))
    assert proposal.plan is not None and proposal.key and not proposal.error and not proposal.unknown
    assert plan_from(json.loads(json.dumps(plan_to(proposal.plan)))) == proposal.plan
    tools = {"calculator": ({"type": "object", "properties": {"expression": {}}}, None)}
    assert problems(proposal.plan, tools=tools, planners={}, verifiers={}, inputs={"n": 2}) == []


@every
async def test_sampled_planners_propose_as_often_as_asked_and_others_at_least_once(subject: Subject) -> None:
    made = subject.make()
    proposals = await made.propose(subject.request(subject.reply), 3)
    assert len(proposals) == 3 or (not made.sampled and len(proposals) == 1)
    keys = [{one.key for one in proposals if one.plan == other.plan} for other in proposals]
    assert all(len(one) == 1 for one in keys), "equal plans are votes for one candidate"


@every
async def test_the_same_request_gives_the_same_plan_again(subject: Subject) -> None:
    made = subject.make()
    first, again = [(await made.propose(subject.request(subject.reply)))[0] for _ in range(2)]
    assert (first.plan, first.key) == (again.plan, again.key)


@every
async def test_the_request_stays_as_it_is(subject: Subject) -> None:
    request = subject.request(subject.reply)
    before = copy.deepcopy((request.step, dict(request.inputs), request.done))
    await subject.make().propose(request)
    assert (request.step, dict(request.inputs), request.done) == before


@pytest.mark.parametrize("name", [name for name, one in SUBJECTS.items() if one.hopeless is not None])
async def test_where_there_is_no_plan_it_says_so_and_does_not_raise(name: str) -> None:
    subject = SUBJECTS[name]
    assert subject.hopeless is not None
    (proposal, *_) = await subject.hopeless().propose(subject.request(subject.nonsense))
    assert proposal.plan is None and (proposal.error or proposal.unknown)


@pytest.mark.parametrize("name", [name for name, one in SUBJECTS.items() if one.reply is not None])
async def test_a_model_that_cannot_be_asked_is_raised_and_its_replies_are_kept(name: str) -> None:
    class Away(ScriptedModel):
        async def ask(self, question: Question, n: int = 1) -> Any:
            raise ModelUnavailable("nobody there")

    subject = SUBJECTS[name]
    with pytest.raises(ModelError):
        await subject.make().propose(replace(subject.request(subject.reply), model=Away([])))
    (proposal, *_) = await subject.make().propose(subject.request(subject.reply))
    assert proposal.replies, "the record needs every reply that went into it"
