"""Every error that surefoot raises on purpose.

    SurefootError
      SetupError            wrong before anything ran: mend the call, the plan or the configuration
        PlanError           a fixed plan that is cyclic, dangling, or names what does not exist
        MissingExtra        an optional dependency is not installed
        StoreError          the store does not hold what was asked for, or cannot be opened, read or written
          SchemaTooNew      the store was written by a newer surefoot
      RunError              wrong while running: recorded in the run; the caller gets a Result, not an exception
        ModelError          the model could not be asked
          ModelUnavailable  ... after all retries: time-outs, rate limits, broken connections
          ModelRefused      ... and asking again would not help: bad key, unknown model, bad request
          RequestsForbidden ... real requests are switched off in this process
        InvalidOutput       the model's text does not parse as what was asked for
        ToolError           a tool failed; the attempt failed with it
        OutOfBudget         the next action would overspend the budget
      Retry                 raised by a tool: tell the model what to mend and let it try again

A bad run is data: `Engine.run` returns a `Result` whatever a `RunError` did to the task, and lets a
`SetupError` through.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from difflib import get_close_matches
from typing import ClassVar

from surefoot.storage.outcome import Outcome


class SurefootError(Exception):
    """Root of the tree."""


def meant(name: object, known: Iterable[str]) -> str:
    """What somebody may have meant by a name that there is not."""
    names = list(known)
    near = get_close_matches(str(name), names, 1)
    return f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(names)}"


class SetupError(SurefootError):
    """The call, the plan or the configuration is wrong; nothing has run."""


class PlanError(SetupError):
    """A plan that cannot be carried out. `problems` lists every defect, one sentence each."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("the plan cannot be carried out: " + "; ".join(problems))


class MissingExtra(SetupError):
    """An optional dependency is missing; the text names the command that installs it."""

    def __init__(self, extra: str, needed_for: str) -> None:
        self.extra = extra
        super().__init__(f"{needed_for} needs an optional part. Install it: pip install 'surefoot[{extra}]'")


class StoreError(SetupError):
    """The store does not hold what was asked for, or cannot be opened, read or written."""

    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        # `raise ... from` says it too; but an error of the writer is made in its thread and raised in another.
        self.__cause__ = sys.exception()

    @property
    def failed(self) -> bool:
        """Whether it explains a failure of the database or the disk, rather than asks for another call."""
        return self.__cause__ is not None


class SchemaTooNew(StoreError):
    """The store was written by a newer surefoot; reading it with this one could misread it."""

    @property
    def failed(self) -> bool:
        return True


class RunError(SurefootError):
    """Something went wrong while a task ran."""

    ends: ClassVar[Outcome | None] = None
    """The outcome that the whole run ends with, where it is more than one step's failure."""


class ModelError(RunError):
    """The model could not be asked."""


class ModelUnavailable(ModelError):
    """Time-outs, rate limits or broken connections outlasted the retries."""


class ModelRefused(ModelError):
    """The provider refused the request, and asking again would not help."""


class RequestsForbidden(ModelError):
    """Real requests are switched off in this process (`surefoot.models.forbid_requests`)."""


class InvalidOutput(RunError):
    """The model's text does not parse as what was asked for."""


class ToolError(RunError):
    """A tool failed. The message is kept with the attempt."""


class OutOfBudget(RunError):
    """The next action would overspend the budget. `limit` names which: steps, tokens, usd or seconds."""

    ends = Outcome.OUT_OF_BUDGET

    def __init__(self, limit: str, message: str) -> None:
        self.limit = limit
        super().__init__(message)


class Retry(SurefootError):
    """Raised inside a tool: the message goes back to the model, which may call again."""
