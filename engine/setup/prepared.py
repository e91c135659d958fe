"""What a run begins with, shared by those that know the same and are set alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from surefoot.engine.setup.context import RunContext
from surefoot.engine.setup.settings import Settings
from surefoot.planners.planner import Planner
from surefoot.reflection.calibration import Calibration
from surefoot.storage.learned import Learned
from surefoot.storage.records import Json


@dataclass(frozen=True, slots=True)
class Prepared:
    known: Sequence[Learned]
    """What earlier runs taught, as the store read it once for all that began at the time."""
    planner: Planner
    output: Any
    """The type that the context checks the output by; None where it checks none."""
    context: RunContext
    config: Json
    """For the run's record."""


def prepare(
    last: Prepared | None,
    known: Sequence[Learned],
    planner: Planner,
    output: Any,
    settings: Settings,
    make: Callable[[Settings, Calibration], RunContext],
    config: Callable[[RunContext], Json],
) -> Prepared:
    """What a run begins with: what the last one had, as far as it is the same."""
    same = last is not None and last.known is known
    if last is not None and same and (last.planner, last.output, last.context.settings) == (planner, output, settings):
        return last
    context = make(settings, last.context.calibration if last is not None and same else Calibration(known))
    return Prepared(known, planner, output, context, config(context))
