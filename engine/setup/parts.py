"""What an engine is made of: the same for all its runs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from surefoot.engine.setup.context import RunContext
from surefoot.engine.setup.settings import Settings
from surefoot.engine.setup.setup import Cast, Output, by_name, stated
from surefoot.models.representation import Representation
from surefoot.planners.planner import Planner
from surefoot.reflection.calibration import Calibration
from surefoot.reflection.verifier import Verifier
from surefoot.storage.errors import SetupError
from surefoot.storage.records import Budget, Json, Policy
from surefoot.tools.registry import registered


@dataclass(frozen=True)
class Parts:
    """As `Engine` takes them, checked."""

    cast: Cast
    planner: Planner
    settings: Settings
    tools: tuple[object, ...] = ()
    planners: tuple[Planner, ...] = ()
    final: tuple[Verifier, ...] = ()
    """Checks of the task's output."""
    checks: tuple[Verifier, ...] = ()
    """Those, and the ones that steps may name."""
    representations: tuple[Representation, ...] = ()
    budget: Budget | None = None
    workspace: Path | None = None
    notes: Json = None

    def context(
        self, settings: Settings | None = None, calibration: Calibration | None = None, kind: Output | None = None
    ) -> RunContext:
        """What a run works with. Raises SetupError where the parts do not go together."""
        models = self.cast.models
        named = {self.planner.name: self.planner}
        for planner in self.planners:
            if named.setdefault(planner.name, planner) is not planner:
                raise SetupError(f"two planners are called {planner.name!r}; rename one")
        known = by_name(self.checks)
        for planner in named.values():
            if (guide := getattr(planner, "guide", None)) in known:
                raise SetupError(
                    f"the planner {planner.name!r} is guided by {guide!r}, which would accept its result too: what is "
                    "searched for is found, right or not; give another verifier"
                )
        for form in self.representations:
            if not isinstance(form, Representation):
                raise SetupError(f"{form!r} is no representation: decorate the function with @representation(kind=...)")
        return RunContext(
            models,
            registered(self.tools),
            named,
            known,
            settings or self.settings,
            {role: said for role in ("plan", "act") if (said := stated(models[role])) is not None},
            calibration or Calibration(),
            self.representations,
            self.cast.alternates,
            final=kind.checks if kind is not None else (),
        )

    def saved(self, context: RunContext) -> Json:
        """What a run was made with, for its record and for taking it up again."""
        made: dict[str, Json] = {
            "models": {role: model.name for role, model in context.models.items()},
            "options": self.cast.options.document,
            "planner": self.planner.name,
            "settings": asdict(context.settings),
            # Providers take tools beside the messages, so the messages alone are not all that a model saw.
            "tools": [asdict(spec) for spec in context.specs.values()],
        }
        policies = {context.policy("", "plan"), *map(context.policy, ("", *context.alternates))}
        if known := context.calibration.to_json(policies):
            made["calibration"] = known
        return made if self.notes is None else made | {"notes": self.notes}

    def policies(self) -> list[Policy]:
        """Those that every run may use."""
        return [model.policy for model in (*self.cast.models.values(), *self.cast.alternates.values())]
