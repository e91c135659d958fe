"""The sampler whose weights are in a worker process (`worker.py`): it is found or started, and started again."""

from __future__ import annotations

import fcntl
import json
import logging
import subprocess
import sys
import time
from array import array
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from surefoot.models.local import wire
from surefoot.models.local.sampler import Drawn, Request
from surefoot.storage import errors
from surefoot.storage.fork import Forked, abandon, watch

LOG = logging.getLogger("surefoot.models")
POLL = 0.002
"""Seconds for which a step waits for samples before whoever asked may add others."""
BEGIN = 120.0
"""Seconds that a worker may take to load its weights."""
DEATHS = 12
"""Deaths of the worker, one after another without a sample between them, after which it is not started again."""


class _Started(subprocess.Popen[bytes]):
    """A worker that this process started. It outlives this one where others ask it too."""

    def __del__(self) -> None:
        """There is nothing to warn of."""


_started: list[_Started] = []


class WorkerSampler(Forked):
    """A TokenSampler in another process of this machine, shared with all who want the same weights in the same way."""

    def __init__(self, wanted: wire.Wanted) -> None:
        """Raises SetupError where there are no such weights."""
        self._wanted = wanted
        self.deaths = 0
        """How often the worker died while it was asked."""
        self._begin()
        watch(self)
        try:
            self.holds: wire.Holds = self._connect()
        except (OSError, EOFError) as error:
            said = wanted.place().with_suffix(".log").read_text(errors="replace").strip().splitlines()
            raise errors.SetupError(
                f"no process for the weights in {wanted.folder} could be started: {said[-1] if said else error}"
            ) from error

    def _begin(self) -> None:
        self._connection: Connection | None = None
        self._open: dict[int, Request] = {}
        self._left: dict[int, set[int]] = {}
        """Indexes of samples that are missing, by request."""
        self._retries: dict[int, int] = {}
        self._prompts: dict[int, array[float]] = {}
        self._asked: list[int] = []
        """Requests that were not sent yet."""
        self._died = 0
        """Deaths since the last sample."""

    def renew(self) -> None:
        abandon(self._connection)
        self._begin()

    def add(self, number: int, request: Request) -> None:
        self._open[number] = request
        self._left[number] = set(range(request.count))
        self._asked.append(number)

    def drop(self, numbers: Collection[int]) -> None:
        known = [number for number in numbers if number in self._open]
        for number in known:
            self._forget(number)
        if known and self._connection is not None:
            with suppress(OSError):  # it died, and so it dropped them
                self._connection.send(("drop", known))

    def _forget(self, number: int) -> None:
        for table in (self._open, self._left, self._retries, self._prompts):
            table.pop(number, None)
        if number in self._asked:
            self._asked.remove(number)

    def step(self) -> list[Drawn]:
        """Raises ModelUnavailable where the worker dies again and again, RuntimeError where its network failed."""
        try:
            return self._step() if self._open else []
        except (OSError, EOFError):
            self._died_again()
            return []
        except BaseException:
            self._forget_all()
            raise

    def _step(self) -> list[Drawn]:
        if self._connection is None:
            self.holds = self._connect()
        assert self._connection is not None
        if self._asked:
            asked, self._asked = self._asked, []
            self._connection.send(("add", wire.requests((number, self._open[number]) for number in asked)))
        found: list[Drawn] = []
        wait = POLL
        while self._connection.poll(wait):
            found += self._heard(self._connection.recv())
            wait = 0
        return found

    def _heard(self, said: tuple[Any, ...]) -> list[Drawn]:
        if said[0] == "failed":
            raise RuntimeError(f"{said[1]}: {said[2]}")
        found = []
        for one in wire.drawn(said[1], self._prompts):
            left = self._left.get(one.request)
            if left is None:  # it was dropped meanwhile
                self._prompts.pop(one.request, None)
            elif one.index in left:  # else it was told before the worker died
                left.discard(one.index)
                found.append(replace(one, retries=self._retries.get(one.request, 0)))
                if not left:
                    self._forget(one.request)
        if found:
            self._died = 0
        return found

    def _forget_all(self) -> None:
        connection = self._connection
        self._begin()
        self._connection = connection

    def _died_again(self) -> None:
        """The next step has another worker do all that is open."""
        self._died += 1
        self.deaths += 1
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._died > DEATHS:
            self._forget_all()
            raise errors.ModelUnavailable(
                f"the process with the weights in {self._wanted.folder} died {DEATHS + 1} times in a row: is there "
                "enough memory? Fewer rows at once (max_batch) need less"
            )
        LOG.warning("the process with the weights in %s died; it is started again", self._wanted.folder)
        for number in self._open:
            self._retries[number] = self._retries.get(number, 0) + 1
        self._asked = list(self._open)

    def close(self) -> None:
        """Leaves the worker, which ends with the last who asks it."""
        connection = self._connection
        self._begin()
        if connection is not None:
            connection.close()

    # --- finding it, or starting it ---

    def _connect(self) -> wire.Holds:
        """Raises SetupError where the weights cannot be used, OSError or EOFError where the worker died meanwhile."""
        place = self._wanted.place()
        try:
            self._connection, holds = self._greeted(place)
        except (OSError, EOFError):
            with _locked(place):
                try:  # somebody else may have started it
                    self._connection, holds = self._greeted(place)
                except (OSError, EOFError):
                    self._connection, holds = self._greeted(place, self._start(place))
        return holds

    def _greeted(self, place: Path, started: _Started | None = None) -> tuple[Connection, wire.Holds]:
        until = time.monotonic() + BEGIN
        while True:
            try:
                connection = wire.dialed(place)
                break
            except OSError:
                if started is None or started.poll() is not None or time.monotonic() > until:
                    raise
                time.sleep(0.01)
        if not connection.poll(BEGIN):
            connection.close()
            raise TimeoutError(f"the process with the weights in {self._wanted.folder} does not answer")
        said = connection.recv()
        if said[0] == "refused":
            connection.close()
            raise getattr(errors, said[1], errors.SetupError)(said[2])
        return connection, said[1]

    def _start(self, place: Path) -> _Started:
        told = json.dumps({"wanted": asdict(self._wanted), "place": str(place)})
        with place.with_suffix(".log").open("wb") as log:
            _started[:] = [one for one in _started if one.poll() is None]
            made = _Started(
                [sys.executable, "-m", "surefoot.models.local.worker", told],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )
        _started.append(made)
        return made


@contextmanager
def _locked(place: Path) -> Iterator[None]:
    """Only one process at a time starts a worker for a place."""
    with place.with_suffix(".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
