"""Names of runs: UUIDv7 text, so that sorting by name sorts by time of creation."""

from __future__ import annotations

import sys

if sys.version_info >= (3, 14):
    from uuid import uuid7
else:
    from uuid_utils import uuid7


def run_id() -> str:
    """A new name, 36 characters in lower case; later ones of one process sort after earlier ones."""
    return str(uuid7())
