"""The runs that an engine has under way."""

from __future__ import annotations

import threading

from surefoot.engine.running.flow import Flow
from surefoot.storage.errors import SetupError
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

    def claim(self, run_id: str) -> None:
        """Before a run is taken up. Raises SetupError where it is under way."""
        if run_id in self or run_id in self.claimed:
            raise SetupError(f"the run {run_id} is under way in this engine: wait for it, or cancel it first")
        self.claimed.add(run_id)
