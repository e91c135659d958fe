"""A switch that makes every real request fail at once, for tests and dry runs."""

from __future__ import annotations

from surefoot.storage.errors import RequestsForbidden

_forbidden = 0
"""How many switches are on. One number for the whole process: requests leave from a thread of their own."""


class forbid_requests:  # noqa: N801 - reads as a statement: `forbid_requests()`
    """Forbids real requests in this process from the call on; as a context manager, until the block ends.

    Models then raise RequestsForbidden before a byte is sent. Scripted and local models go on.
    """

    def __init__(self) -> None:
        global _forbidden
        _forbidden += 1

    def allow(self) -> None:
        """Takes this one prohibition back."""
        global _forbidden
        _forbidden = max(0, _forbidden - 1)

    def __enter__(self) -> forbid_requests:
        return self

    def __exit__(self, *_: object) -> None:
        self.allow()


def check_allowed(model: str) -> None:
    """Raises RequestsForbidden where a switch is on."""
    if _forbidden:
        raise RequestsForbidden(
            f"{model} was asked while real requests are switched off (surefoot.models.forbid_requests); "
            "use a ScriptedModel or a ReplayModel here"
        )
