"""The structural check: whether a plan can be carried out at all. Exact, and free."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from graphlib import CycleError, TopologicalSorter
from typing import Any

from surefoot.planners.document import plan_from
from surefoot.planners.refs import PLAIN, is_marker, markers, siblings
from surefoot.reflection.verifier import Case
from surefoot.storage.errors import PlanError
from surefoot.storage.records import Json, Plan, Step, Verdict


def problems(
    plan: Plan,
    *,
    tools: Mapping[str, tuple[Json, Json]],
    planners: Collection[str] = (),
    verifiers: Collection[str] = (),
    inputs: Collection[str] | None = None,
    done: Collection[str] = (),
) -> list[str]:
    """Every defect of a plan, one sentence each; empty when it can be carried out.

    `tools` maps names to (parameters, returns) schemas; `inputs` are the names that `$input` may use (None:
    any); `done` are ids of committed steps that the plan may refer to beside its own.
    """
    found = list(_ids(plan, done))
    known = {step.id for step in plan.steps} | set(done)
    for step in plan.steps:
        found += _names(step, tools, planners, verifiers)
        found += _references(step.args, known - {step.id}, inputs, f"step {step.id}")
        found += [f"step {step.id} needs {name}, which is not in the plan" for name in step.needs if name not in known]
    found += _references(plan.output, known, inputs, "the output")
    if not found:
        found += _cycle(plan)
    if not found:
        found += _types(plan, tools)
    return found


def _ids(plan: Plan, done: Collection[str]) -> Iterator[str]:
    if not plan.steps and plan.output is None:
        yield "the plan is empty"
    elif not plan.steps and plan.more:
        yield "the plan wants to be asked again, but has no step to wait for"
    seen = set(done)
    for step in plan.steps:
        if step.id in seen:
            yield f"the id {step.id} is used twice"
        seen.add(step.id)


def _names(
    step: Step, tools: Mapping[str, object], planners: Collection[str], verifiers: Collection[str]
) -> Iterator[str]:
    if step.tool is not None and step.tool not in tools:
        yield f"step {step.id} uses the tool {step.tool}, which does not exist; there are: {_listed(tools)}"
    if step.planner is not None and step.planner not in planners:
        yield f"step {step.id} wants the planner {step.planner}, which does not exist; there are: {_listed(planners)}"
    if step.tool is not None and step.planner is not None:
        yield f"step {step.id} names both a tool and a planner; it can have one"
    if step.tool is None and step.planner is None and not step.goal:
        yield f"step {step.id} has neither a goal, a tool nor a planner"
    if step.votes is not None and step.votes < 1:
        yield f"step {step.id} wants a lead of {step.votes} votes; the least is 1"
    for check in step.checks:
        if check not in verifiers:
            yield f"step {step.id} wants the check {check}, which does not exist; there are: {_listed(verifiers)}"


def _listed(names: Collection[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def _unmarked(value: Json, known: Collection[str], inputs: Collection[str]) -> Iterator[str]:
    """Objects that look like references and are none: they would be taken for data. {"$gt": 5} is data."""
    if isinstance(value, dict):
        if len(value) == 1 and not is_marker(value):
            ((key, name),) = value.items()
            if isinstance(key, str) and key.startswith("$") and isinstance(name, str):
                meant = name.split(".", 1)[0]
                if meant in known or meant in inputs or get_close_matches(key, ALIKE, cutoff=0.75):
                    yield key
        for part in value.values():
            yield from _unmarked(part, known, inputs)
    elif isinstance(value, (list, tuple)):
        for part in value:
            if type(part) not in PLAIN:
                yield from _unmarked(part, known, inputs)


ALIKE = ("$ref", "$input", "$given", "$reference", "$output", "$step")


def _references(value: Json, known: Collection[str], inputs: Collection[str] | None, where: str) -> Iterator[str]:
    for kind, name in markers(value):
        head = str(name).split(".", 1)[0]
        if kind == "$ref" and head not in known:
            yield f"{where} refers to {head}, which is not in the plan"
        if kind == "$input" and inputs is not None and head not in inputs:
            yield f"{where} refers to the input {head}, which does not exist"
    for key in _unmarked(value, known, inputs or ()):
        yield (
            f'{where} holds {{"{key}": ...}}, which is no reference; write {{"$input": "<name>"}} for an input and '
            f'{{"$ref": "<step>"}} for what a step gives'
        )


def needs(step: Step) -> set[str]:
    """ids of the siblings that a step must wait for."""
    return siblings(step.args) | set(step.needs)


def _cycle(plan: Plan) -> Iterator[str]:
    ids = {step.id for step in plan.steps}
    listed: set[str] = set()
    for step in plan.steps:
        if not needs(step) & ids <= listed:
            break
        listed.add(step.id)
    else:
        return  # every step comes after those that it needs, as in most plans: no circle, and nothing to sort
    try:
        TopologicalSorter({step.id: needs(step) & ids for step in plan.steps}).prepare()
    except CycleError as error:
        yield "the steps wait for one another in a circle: " + " -> ".join(reversed(error.args[1]))


def _types(plan: Plan, tools: Mapping[str, tuple[Json, Json]]) -> Iterator[str]:
    outputs = {step.id: step.contract.gives or (tools[step.tool][1] if step.tool else None) for step in plan.steps}
    for step in plan.steps:
        if step.tool is not None and step.args is not None:
            yield from _arguments(step, tools[step.tool][0] or {}, outputs)


def _arguments(step: Step, parameters: Json, outputs: Mapping[str, Json]) -> Iterator[str]:
    properties = parameters.get("properties", {})
    args = step.args or {}
    for name in parameters.get("required", ()):
        if name not in args:
            yield f"step {step.id} lacks the argument {name} of {step.tool}"
    for name, value in args.items():
        if name not in properties:
            if parameters.get("additionalProperties") in (None, False):
                known = _listed(properties)
                yield f"step {step.id} gives {step.tool} an argument {name} that it does not take; it takes: {known}"
            continue
        wanted = _kinds(properties[name])
        offered = _offered(value, outputs)
        if wanted and offered and not wanted & offered:
            yield (
                f"step {step.id} gives {' or '.join(sorted(offered))} as {name} of {step.tool}, "
                f"which takes {' or '.join(sorted(wanted))}"
            )


def _offered(value: Json, outputs: Mapping[str, Json]) -> set[str]:
    if is_marker(value):
        name = value.get("$ref")
        return _kinds(outputs.get(name)) if isinstance(name, str) and "." not in name else set()
    return _kinds_of(value)


def _kinds_of(value: Json) -> set[str]:
    """JSON types that a value has; empty where it is no plain JSON value. A whole number is an integer: 2.0 is 2."""
    if isinstance(value, bool):
        return {"boolean"}
    if isinstance(value, (int, float)):
        return {"number", "integer"} if value == value // 1 else {"number"}
    for types, name in ((str, "string"), ((list, tuple), "array"), (Mapping, "object")):
        if isinstance(value, types):
            return {name}
    return {"null"} if value is None else set()


def _kinds(schema: Json) -> set[str]:
    """JSON types that a schema admits; empty is any. An integer is a number too."""
    if not isinstance(schema, dict) or "$ref" in schema:
        return set()
    for word in ("anyOf", "oneOf"):
        if word in schema:
            options = [_kinds(option) for option in schema[word]]
            return set().union(*options) if all(options) else set()
    if "const" in schema:
        return _kinds_of(schema["const"])
    kinds = schema.get("type")
    found = {kinds} if isinstance(kinds, str) else set(kinds or ())
    return found | ({"integer"} if "number" in found else set())


class StructureCheck:
    """The structural check as a verifier of candidate plans: free, and it names every defect at once.

    A pass does not make a plan right, only possible, so it stands beside votes and not in their place.
    """

    name = "structure"
    version = "1"
    kind = "rule"
    exact = False

    def __init__(
        self, tools: Mapping[str, tuple[Json, Json]], planners: Collection[str], verifiers: Collection[str]
    ) -> None:
        """tools: their parameters and returns schemas, by name."""
        self.known: dict[str, Any] = {"tools": tools, "planners": planners, "verifiers": verifiers}

    def problems(self, plan: Plan, inputs: Collection[str] | None, done: Collection[str] = ()) -> list[str]:
        """Every defect of a plan where these tools, planners and verifiers exist, as `problems` has them."""
        return problems(plan, **self.known, inputs=inputs, done=done)

    async def verify(self, case: Case) -> Verdict:
        try:
            found = self.problems(plan_from(case.candidate), case.inputs, case.done)
        except PlanError as error:
            found = error.problems
        return Verdict(self.name, "fail" if found else "pass", self.version, self.kind, critique="; ".join(found))
