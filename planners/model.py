"""Plans that a model makes: the whole plan at once, or the next step each time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from surefoot.models.answer import answer
from surefoot.models.question import Question, Reply
from surefoot.planners.canonical import plan_key
from surefoot.planners.document import PlanDocument, plan_from, step_to
from surefoot.planners.planner import Proposal, Request
from surefoot.reflection.verifier import Verifier
from surefoot.storage.errors import SetupError
from surefoot.storage.records import Json, Plan

PLAN_SCHEMA: Json = PlanDocument.model_json_schema()

NEXT_SCHEMA: Json = {
    "type": "object",
    "properties": {
        "step": {"anyOf": [PLAN_SCHEMA["$defs"]["StepDocument"], {"type": "null"}]},
        "output": {"description": "the finished answer, built from steps; null while a step is still needed"},
    },
    "required": ["step", "output"],
    "additionalProperties": False,
}


FINISH_SCHEMA: Json = NEXT_SCHEMA | {"properties": NEXT_SCHEMA["properties"] | {"step": {"type": "null"}}}

LIMIT = 100
"""Steps of a plan that is made one step at a time. Each question names all steps before it, so that what is asked
grows with their square."""


class ModelPlanner:
    """Asks the model of the plan role for a whole plan; a defect in it goes back as critique."""

    sampled = True

    def __init__(self, name: str = "model", *, checks: Sequence[Verifier] = (), instructions: str = "") -> None:
        self.name = name
        self.checks = tuple(checks)
        self.instructions = instructions

    async def propose(self, request: Request, n: int = 1) -> Sequence[Proposal]:
        if request.model is None:
            raise SetupError("planning needs a model: pass Engine(model=...) or a planner that needs none")
        samples = await answer(request.model, self.question(request), n)
        return [self.proposal(replies) for replies in samples]

    def question(self, request: Request) -> Question:
        return Question(
            role="plan",
            goal=request.step.goal,
            instructions=self.instructions,
            inputs=context(request),
            output_schema=PLAN_SCHEMA,
            temperature=request.temperature,
            seed=request.seed,
        )

    def proposal(self, replies: Sequence[Reply]) -> Proposal:
        last = replies[-1]
        if last.error is not None or last.unknown:
            return Proposal(None, error=last.error or "", unknown=last.unknown, replies=tuple(replies))
        try:
            plan = self.plan(last.parsed)
        except SetupError as error:
            return Proposal(None, error=str(error), replies=tuple(replies))
        return Proposal(plan, key=plan_key(plan), replies=tuple(replies))

    def plan(self, said: Json) -> Plan:
        """The plan in a reply. Raises SetupError."""
        return plan_from(said)


class NextStepPlanner(ModelPlanner):
    """Asks for one step at a time, for tasks that cannot be planned ahead: each step sees what came before it.

    After `limit` committed steps the model may only finish: one that always wants another step would never end.
    """

    def __init__(
        self, name: str = "next", *, checks: Sequence[Verifier] = (), instructions: str = "", limit: int = LIMIT
    ) -> None:
        super().__init__(name, checks=checks, instructions=instructions or NEXT_ORDERS)
        self.limit = limit

    def question(self, request: Request) -> Question:
        over = sum(done.committed for done in request.done) >= self.limit
        orders = f"{self.instructions} {FINISH_ORDERS}" if over else self.instructions
        schema = FINISH_SCHEMA if over else NEXT_SCHEMA
        return replace(super().question(request), instructions=orders, output_schema=schema)

    def plan(self, said: Json) -> Plan:
        step, output = said.get("step"), said.get("output")
        if not step and output is None:
            raise SetupError("give either a next step or the finished output")
        return plan_from({"steps": [step], "more": True}) if step else Plan((), output)


NEXT_ORDERS = (
    "Name the single next step, or give the finished output once the committed steps contain it. "
    "Refer to committed steps by their ids."
)

FINISH_ORDERS = "No further step is possible now: give the finished output."


def context(request: Request) -> dict[str, Json]:
    """What a planning model sees beside the goal."""
    seen: dict[str, Json] = {}
    if request.inputs:
        seen["inputs"] = dict(request.inputs)
    if request.step.contract.gives is not None:
        seen["JSON Schema of the output"] = request.step.contract.gives
    if request.tools:
        seen["tools"] = [
            {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
            for tool in request.tools
        ]
    if request.done:
        seen["steps so far"] = [
            step_to(done.step)
            | ({"status": "committed", "output": done.output} if done.committed else {"status": done.reason})
            for done in request.done
        ]
    if request.critique:
        seen["what was wrong with the last plan"] = request.critique
    return seen
