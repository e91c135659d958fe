"""What an engine is made of: the same for all its runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from surefoot.engine.setup.context import RunContext
from surefoot.engine.setup.settings import Settings
from surefoot.engine.setup.setup import Cast, Output, config_of, context_for
from surefoot.models.representation import Representation
from surefoot.planners.planner import Planner
from surefoot.reflection.calibration import Calibration
from surefoot.reflection.verifier import Verifier
from surefoot.storage.records import Budget, Json, Policy


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
        return context_for(
            self.cast.models,
            self.planner,
            self.tools,
            self.planners,
            self.checks,
            settings or self.settings,
            kind.checks if kind is not None else (),
            calibration,
            self.representations,
            self.cast.alternates,
        )

    def saved(self, context: RunContext) -> Json:
        """The configuration that a run's record keeps."""
        return config_of(context, self.cast.options, self.planner, context.calibration, self.notes)

    def policies(self) -> list[Policy]:
        """Those that every run may use."""
        return [model.policy for model in (*self.cast.models.values(), *self.cast.alternates.values())]
