"""When two plans are the same plan: by what they compute, not by how they are worded."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from fractions import Fraction

from surefoot.planners.refs import is_marker, resolve, siblings
from surefoot.planners.structure import needs
from surefoot.storage.errors import Retry
from surefoot.storage.records import Json, Plan, Step
from surefoot.tools.calculator import evaluate, number

PROBES = 3
"""Sets of other numbers that an arithmetic plan is run on: agreement on one set may be chance."""

FARTHEST = 97
"""A number moves by 1 to this much: small enough that powers of moved numbers can be computed."""

_LITERAL = re.compile(r"(?<![\w.])(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w.])", re.ASCII)


def plan_key(plan: Plan) -> str:
    """Equal keys: the plans compute the same.

    A plan of calculator steps is run on its own numbers and on `PROBES` other sets; any other plan is written
    out as the expression that its output stands for, whatever its steps are called and in whichever order. A step
    that the output does not stand on counts as well: it may change the world.
    """
    order = _order(plan)
    if (
        order
        and plan.output is not None
        and not plan.more
        and all(step.tool == "calculator" and step.args for step in plan.steps)
    ):
        try:
            values = [_values(plan, order, probe) for probe in range(PROBES + 1)]
            return json.dumps(values, sort_keys=True, default=str)
        except (Retry, ArithmeticError, ValueError, LookupError, TypeError, AttributeError):
            pass  # it is no arithmetic that can be done, so it is compared as it is written
    written = _Written(plan, order)
    reached = _reached(plan, siblings(plan.output))
    aside = sorted(written.digests[name] for name in order if name not in reached)
    return written.digest([plan.output, aside, plan.more])


def step_digests(plan: Plan) -> dict[str, str]:
    """What each step computes, by id, in an order in which needs come first.

    Equal digests: the same tool, arguments, goal, contract and checks on top of the same steps, so that a
    committed output of one plan stands in another.
    """
    return _Written(plan, _order(plan), terms=True).digests


def _order(plan: Plan) -> list[str]:
    """ids of the steps, needs first. A circle is cut where it closes: the structural check names it."""
    steps = {step.id: step for step in plan.steps}
    order: dict[str, None] = {}
    opened: set[str] = set()
    stack = list(reversed(steps))
    while stack:  # no recursion: a plan may be a chain of thousands
        name = stack[-1]
        after = [] if name in opened else [one for one in needs(steps[name]) if one in steps and one not in opened]
        opened.add(name)
        if after:
            stack += sorted(after)
        else:
            order.setdefault(stack.pop())
    return list(order)


def _reached(plan: Plan, names: Iterable[str]) -> set[str]:
    """ids of the steps that these stand on, themselves included."""
    steps = {step.id: step for step in plan.steps}
    reached: set[str] = set()
    todo = list(names)
    while todo:
        name = todo.pop()
        if name in steps and name not in reached:
            reached.add(name)
            todo += needs(steps[name])
    return reached


# --- arithmetic ---------------------------------------------------------------------------------------------


def _values(plan: Plan, order: Iterable[str], probe: int) -> Json:
    """The plan's output, with every number that it starts from moved by an amount that its own value decides."""
    steps = {step.id: step for step in plan.steps}
    reached = _reached(plan, siblings(plan.output))
    known: dict[str, Fraction] = {}
    for name in order:
        if name in reached:
            args = resolve(_shift(steps[name].args or {}, probe), known, {})
            known[name] = evaluate(args["expression"], args["values"])
    return resolve(plan.output, known, {})


def _shift(args: Mapping[str, Json], probe: int) -> Json:
    """Numbers beside an expression that names its values are constants of the method, such as 100 in x / 100."""
    values = args.get("values") or {}
    moved = {name: value if is_marker(value) else _moved(value, probe) for name, value in values.items()}
    expression = args["expression"]
    if not moved:
        expression = _LITERAL.sub(lambda found: f"({_moved(found[0], probe)})", expression)
    return {"expression": expression, "values": moved}


def _moved(value: Json, probe: int) -> Fraction:
    moved = Fraction(number(value))
    if probe:
        # Whole numbers stay whole and positive ones positive, so that division and rounding behave alike.
        drawn = hashlib.sha256(f"{moved} {probe}".encode()).digest()
        moved += 1 + int.from_bytes(drawn[:8], "big") % FARTHEST
    return moved


# --- everything else ----------------------------------------------------------------------------------------


class _Written:
    """A plan written out from its first steps on; a shared step is digested once, so this is linear in the plan."""

    def __init__(self, plan: Plan, order: Iterable[str], *, terms: bool = False) -> None:
        """`terms`: what a step must deliver, and who checks it, are part of it."""
        self.terms = terms
        self.digests: dict[str, str] = {}
        steps = {step.id: step for step in plan.steps}
        for name in order:
            self.digests[name] = self._step(steps[name])

    def digest(self, value: Json) -> str:
        text = json.dumps(self._written(value), sort_keys=True, default=str)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

    def _written(self, value: Json) -> Json:
        if is_marker(value) and "$ref" in value:
            name, _, rest = str(value["$ref"]).partition(".")
            return [self.digests[name], rest] if name in self.digests else value
        if isinstance(value, dict):
            return {key: self._written(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._written(item) for item in value]
        return value

    def _step(self, step: Step) -> str:
        after = sorted(self.digests.get(need, need) for need in step.needs)
        terms = [step.contract.takes, step.contract.gives, step.checks, step.votes] if self.terms else None
        return self.digest([step.tool, step.planner, step.goal, step.args, after, terms])
