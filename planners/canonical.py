"""When two plans are the same plan: by what they compute, not by how they are worded."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from fractions import Fraction
from graphlib import TopologicalSorter

from surefoot.planners.refs import is_marker, resolve
from surefoot.planners.structure import needs
from surefoot.storage.records import Json, Plan
from surefoot.tools.calculator import evaluate

PROBES = 3
"""Sets of other numbers that an arithmetic plan is run on: agreement on one set may be chance."""


def plan_key(plan: Plan) -> str:
    """Equal keys: the plans compute the same.

    A plan of calculator steps is run on its own numbers and on `PROBES` other sets; any other plan is written
    out as the expression that its output stands for, whatever its steps are called and in whichever order.
    """
    if plan.steps and all(step.tool == "calculator" and step.args for step in plan.steps):
        try:
            return json.dumps([str(_value(plan, probe)) for probe in range(PROBES + 1)])
        except (ArithmeticError, ValueError, LookupError, TypeError):
            pass
    return _Written(plan).digest(plan.output)


def _value(plan: Plan, probe: int) -> Fraction:
    """The plan's output, with every literal number moved by an amount that only its own value decides."""
    steps = {step.id: step for step in plan.steps}
    known: dict[str, Fraction] = {}

    def output(name: str) -> Json:
        if name not in known:
            args = resolve(_shift(steps[name].args or {}, probe), output, {})
            known[name] = evaluate(args["expression"], args.get("values", {}))
        return str(known[name])

    return Fraction(str(resolve(plan.output, output, {})))


def _shift(args: Mapping[str, Json], probe: int) -> Json:
    values = args.get("values") or {}
    moved = {name: value if is_marker(value) else _moved(value, probe) for name, value in values.items()}
    return {"expression": args["expression"], "values": moved}


def _moved(value: Json, probe: int) -> str:
    number = evaluate(str(value), {})
    if probe:
        # Whole numbers stay whole and positive ones positive, so that division and rounding behave alike.
        number += probe * (7 + (number.numerator * 31 + number.denominator * 17) % 23)
    return str(number)


def step_digests(plan: Plan) -> dict[str, str]:
    """What each step computes, by id, in an order in which needs come first.

    Equal digests: the same tool, arguments and goal on top of the same steps, so that a committed output of one
    plan stands in another.
    """
    written = _Written(plan)
    ids = {step.id for step in plan.steps}
    order = TopologicalSorter({step.id: needs(step) & ids for step in plan.steps}).static_order()
    return {name: written.step(name) for name in order}


class _Written:
    """A plan written out from its output backwards; a shared step is digested once, so this is linear in the plan."""

    def __init__(self, plan: Plan) -> None:
        self.steps = {step.id: step for step in plan.steps}
        self.digests: dict[str, str] = {}

    def digest(self, value: Json) -> str:
        text = json.dumps(self._written(value), sort_keys=True, default=str)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

    def _written(self, value: Json) -> Json:
        if is_marker(value) and "$ref" in value:
            name, _, rest = str(value["$ref"]).partition(".")
            return [self.step(name), rest] if name in self.steps else value
        if isinstance(value, dict):
            return {key: self._written(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._written(item) for item in value]
        return value

    def step(self, name: str) -> str:
        if name not in self.digests:
            self.digests[name] = name  # a circle ends here; the structural check names it
            step = self.steps[name]
            after = sorted(self.step(need) for need in step.needs if need in self.steps)
            self.digests[name] = self.digest([step.tool, step.planner, step.goal, step.args, after])
        return self.digests[name]
