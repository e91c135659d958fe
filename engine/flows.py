"""The runs that an engine has under way."""

from __future__ import annotations

import threading

from surefoot.engine.flow import Flow
from surefoot.storage.fork import Forked, watch


class Flows(dict[str, Flow], Forked):
    """Runs under way, by id. A forked child has none: its parent goes on with them."""

    def __init__(self) -> None:
        self.renew()
        watch(self)

    def renew(self) -> None:
        self.clear()
        self.claimed: set[str] = set()
        """ids of runs that are about to be taken up."""
        self.opening = threading.Lock()
        """Held while the store of these runs is opened."""
