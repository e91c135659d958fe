"""From what a user passes to what a run works with. All of it raises SetupError where the set-up is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError

from surefoot.engine.setup.arguments import limits, plain, probability, several
from surefoot.engine.setup.context import ROOT, RunContext
from surefoot.models.options import ROLES, Layer, RoleName, environment, layer, merge
from surefoot.models.question import Model, card_of
from surefoot.models.registry import POCKET, load, options_of, packaged, taken
from surefoot.models.schema import check
from surefoot.planners.fixed import FixedPlanner
from surefoot.planners.model import ModelPlanner
from surefoot.planners.planner import Planner
from surefoot.planners.structure import StructureCheck
from surefoot.reflection.calibration import belief_of
from surefoot.reflection.evidence import Belief
from surefoot.reflection.schema import SchemaCheck
from surefoot.reflection.typical import Typical
from surefoot.reflection.verifier import Case, Verifier
from surefoot.storage.errors import PlanError, SetupError
from surefoot.storage.learned import Sampling
from surefoot.storage.records import ANYTHING, Budget, Contract, Json, Plan, Role, Step, Task, Verdict

OWN_CHECKS = (SchemaCheck().name, StructureCheck.name)
"""A verdict is known by its verifier's name: two checks of one name would pass for each other."""


class Fits:
    """Whether the task's output is of the Python type that the caller asked for."""

    name = "type"
    version = "1"
    kind = "rule"
    exact = False

    def __init__(self, adapter: TypeAdapter[Any]) -> None:
        self.adapter = adapter

    async def verify(self, case: Case) -> Verdict:
        try:
            self.adapter.validate_python(case.candidate)
        except ValidationError as error:
            said = "; ".join(item["msg"] for item in error.errors())
            return Verdict(self.name, "fail", self.version, self.kind, critique=f"not of the wanted type: {said}")
        except Exception as error:
            return Verdict(self.name, "abstain", self.version, self.kind, critique=f"{type(error).__name__}: {error}")
        return Verdict(self.name, "pass", self.version, self.kind)


class Output:
    """The type of a task's output: a JSON Schema outwards, a Python value inwards."""

    def __init__(self, type_: Any = None) -> None:
        self.type = type_
        self.adapter: TypeAdapter[Any] | None = None
        self.schema: Json = None
        if isinstance(type_, str):
            raise SetupError(f"output={type_!r} is a text: give a type itself, as in output=int, or a JSON Schema")
        if isinstance(type_, Mapping):
            self.schema = dict(type_)
        elif type_ is not None:
            try:
                self.adapter = TypeAdapter(type_)
                self.schema = self.adapter.json_schema()
            except PydanticSchemaGenerationError as error:
                raise SetupError(f"output={type_!r} is no type that pydantic knows: {error}") from None
        if self.schema is not None:
            check(self.schema)  # a wrong one would be found when all the work is done

    @property
    def checks(self) -> tuple[Verifier, ...]:
        """A schema cannot say all of a type, so the type itself is put before the task's output too."""
        return (Fits(self.adapter),) if self.adapter is not None else ()

    def read(self, value: Json) -> Any:
        return value if self.adapter is None or value is None else self.adapter.validate_python(value)


@dataclass(frozen=True)
class Cast:
    """The models of an engine."""

    models: dict[Role, Model]
    alternates: dict[str, Model]
    """Further models by the name of their source."""
    options: Layer
    """For each role whose model was made by its name: that name, and the options that it was made with."""


def cast_for(
    options: Mapping[str, Any] | str | Path | Layer | None,
    model: str | Model | None,
    roles: Mapping[RoleName, str | Model | None],
    base_url: str | None = None,
    alternates: Iterable[str | Model] = (),
) -> Cast:
    """A model for each role; roles that name the same one with the same options share it.

    A role's model goes before the one for all roles; what the arguments say goes before what the environment says.
    Raises SetupError for options that none of the models takes.
    """
    for name, one in {"model": model, **{f"{role}_model": one for role, one in roles.items()}}.items():
        if isinstance(one, str) and not one.strip():
            raise SetupError(f"{name}={one!r} is empty: name a model, as in {name}='openai/gpt-5.1', or leave it out")
    names = {role: {"model": one} for role, one in roles.items() if isinstance(one, str)}
    direct = layer({"model": model if isinstance(model, str) else None, "base_url": base_url, "roles": names})
    told = merge(layer(options), direct)
    said = merge(environment(), told)
    made: dict[tuple[str, str], Model] = {}

    def load_once(name: str, used: Mapping[str, Any]) -> Model:
        key = (name, repr(sorted(used.items())))
        if key not in made:
            made[key] = load(name, **used)
        return made[key]

    found: dict[Role, Model] = {}
    own: dict[RoleName, dict[str, Any]] = {}
    for role in ROLES:
        given = roles.get(role) or (None if role in said.roles and said.roles[role].model else model)
        if given is not None and not isinstance(given, str):
            found[role] = load(given)
        else:
            name = said.name(role) or POCKET
            own[role] = taken(name, said.options(name, role))
            found[role] = load_once(name, own[role])
            own[role]["model"] = name
    _useful(told, own)
    others = [
        load_once(one, taken(one, said.options(one, "act"))) if isinstance(one, str) else load(one)
        for one in several("alternates", alternates)
    ]
    return Cast(found, {f"model:{one.name}": one for one in others}, layer({"roles": own}))


def _useful(told: Layer, own: Mapping[RoleName, Mapping[str, Any]]) -> None:
    """Raises SetupError for an option that was given and that no model takes: it would be dropped in silence."""
    for role in (None, *told.roles):
        names = sorted({one["model"] for at, one in own.items() if role in (None, at)})
        known = {option for name in names for option in options_of(name).model_fields}
        said = told if role is None else told.roles[role]
        for option in said.given.keys() - known:
            if not names:
                raise SetupError(f"the option {option!r} is for models given by name; give it to the model itself")
            raise SetupError(
                f"{' and '.join(names)}: there is no option {option!r}; there are: {', '.join(sorted(known))}"
            )


def tools_for(given: Iterable[Any], planning: Model) -> tuple[Any, ...]:
    """The tools, and the calculator where the planning model is a packaged one, whose plans need it."""
    tools = several("tools", given)
    names = {one if isinstance(one, str) else getattr(one, "name", "") for one in tools}
    return (*tools, "calculator") if packaged(planning.name) and "calculator" not in names else tools


def planner_for(given: Planner | Plan | str | Path | None, model: Model) -> Planner:
    """The planner of the outermost plan."""
    if given is None:
        return ModelPlanner(checks=own_checks(model))
    if isinstance(given, (Plan, str, Path)):
        return FixedPlanner(given)
    if not isinstance(given, Planner):
        raise SetupError(f"planner={given!r} is no planner: pass a Plan, a path, or an object with `propose`")
    return given


def own_checks(model: Model) -> tuple[Verifier, ...]:
    """Checks that a model's card asks for: whether a text is of a kind that it was taught."""
    limits = card_of(model).get("typical")
    return (Typical(**limits),) if limits else ()


def stated(model: Model) -> Belief | None:
    """What the model's card says of its samples; None where it says nothing.

    A card's rate counts as measured only where it also says how alike errors are: by the rate at which a wrong sample
    is followed by another one, or by that at which answers accepted by votes are right.
    """
    card = card_of(model)
    if "sampling" in card:
        return belief_of(Sampling("", model.name, **card["sampling"]), Belief())
    one, accepted = card.get("sample"), card.get("accepted")
    if not one:
        return None
    if not accepted:
        return Belief(one["p"])
    return Belief(one["p"], "measured", inf, low=one.get("low"), ceiling=accepted["p"], ceiling_low=accepted["low"])


def by_name(verifiers: Iterable[Verifier]) -> dict[str, Verifier]:
    named: dict[str, Verifier] = {}
    for one in verifiers:
        if not isinstance(one, Verifier):
            raise SetupError(f"{one!r} is no verifier: decorate the function with @verifier")
        if one.name in OWN_CHECKS:
            raise SetupError(f"the name {one.name!r} belongs to a check of the engine's own; rename the verifier")
        if named.setdefault(one.name, one) is not one:
            raise SetupError(f"two verifiers are called {one.name!r}; rename one, for example with @verifier(name=...)")
    return named


def task_for(
    goal: str, inputs: Mapping[str, Json] | None, output: Output, target: float | None, budget: Budget | None
) -> Task:
    if not isinstance(goal, str) or not goal.strip():
        raise SetupError("the task is empty: say what is to be done")
    probability("target", target)
    if inputs is not None and not isinstance(inputs, Mapping):
        raise SetupError(f"inputs are values by name, as in inputs={{'rows': [1, 2]}}, not {type(inputs).__name__}")
    return Task(goal.strip(), plain("inputs", inputs or {}), output.schema, target, limits(budget))


def root_step(task: Task, planner: Planner, final: Iterable[Verifier]) -> Step:
    contract = Contract(gives=task.output_schema) if task.output_schema is not None else ANYTHING
    checks = tuple(one.name for one in final)
    return Step(ROOT, task.goal, None, task.inputs, planner.name, (), contract, checks, None, ROOT)


def check_fixed(context: RunContext, planner: Planner, inputs: Mapping[str, Json] | None) -> None:
    """A fixed plan that cannot be carried out is the caller's mistake; without `inputs` it may refer to any. Raises
    PlanError."""
    if isinstance(planner, FixedPlanner):
        for step in planner.plan.steps:
            for schema in filter(None, (step.contract.takes, step.contract.gives)):
                check(schema)
        found = context.structure.problems(planner.plan, inputs)
        if found:
            raise PlanError(found)
