"""A process of its own for local weights: engines of this machine, in any number of processes, share its batches.

    python -m surefoot.models.local.worker <options as JSON>

It is started by the first who wants it (`surefoot.models.local.remote`), and ends when the last one has gone.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import queue
import signal
import socket
import sys
import threading
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from surefoot.models.local import wire
from surefoot.models.local.sampler import TokenSampler
from surefoot.storage.errors import SurefootError

PATIENCE = 30.0
"""Seconds for which a worker that nobody asked yet waits."""


@dataclass(eq=False)
class _Client:
    """One who asks, with a thread that listens to them and one that tells them: one who stops reading stops nobody."""

    connection: Connection
    heard: queue.SimpleQueue[tuple[_Client | None, Any]]
    """What all of them said; None: this one has gone."""
    said: queue.SimpleQueue[Any] = field(default_factory=queue.SimpleQueue)
    numbers: dict[int, int] = field(default_factory=dict)
    """The worker's number of each request by theirs."""
    told: set[int] = field(default_factory=set)
    """Requests whose prompts' log-probabilities were sent."""

    def start(self) -> None:
        for work in (self._listen, self._tell):
            threading.Thread(target=work, daemon=True).start()

    def _listen(self) -> None:
        with contextlib.suppress(OSError, EOFError):
            while True:
                self.heard.put((self, self.connection.recv()))
        self.heard.put((self, None))

    def _tell(self) -> None:
        with contextlib.suppress(OSError):
            while (message := self.said.get()) is not None:
                self.connection.send(message)


class Worker:
    """Serves one sampler to all who connect to a socket."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._heard: queue.SimpleQueue[tuple[_Client | None, Any]] = queue.SimpleQueue()
        self._clients: set[_Client] = set()
        self._owners: dict[int, tuple[_Client, int]] = {}
        """By the worker's number of a request: who asked, and their number."""
        self._left: dict[int, int] = {}
        """Samples that are missing."""
        self._last = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                made, _ = self._listener.accept()
                self._heard.put((None, Connection(made.detach())))

    def refuse(self, error: Exception) -> None:
        """Tells the first who comes why there is nothing to ask."""
        _, connection = self._heard.get(timeout=PATIENCE)
        connection.send(("refused", type(error).__name__, str(error)))

    def serve(self, sampler: TokenSampler, holds: wire.Holds) -> None:
        """Until the last one has gone, or nobody came."""
        came = False
        while self._clients or not came:
            try:
                who, said = self._heard.get(block=not self._owners, timeout=None if came else PATIENCE)
            except queue.Empty:
                if not self._owners:
                    return
                self._step(sampler)
                continue
            if isinstance(said, Connection):
                came = True
                client = _Client(said, self._heard)
                client.said.put(("holds", holds))
                client.start()
                self._clients.add(client)
            elif who is not None:
                self._hear(sampler, who, said)

    def _hear(self, sampler: TokenSampler, client: _Client, said: Any) -> None:
        if said is None:
            client.said.put(None)
            self._clients.discard(client)
            self._forget(sampler, client, list(client.numbers))
        elif said[0] == "drop":
            self._forget(sampler, client, said[1])
        else:
            for number, request in map(wire.request, said[1]):
                self._last += 1
                client.numbers[number] = self._last
                self._owners[self._last] = client, number
                self._left[self._last] = request.count
                sampler.add(self._last, request)

    def _forget(self, sampler: TokenSampler, client: _Client, numbers: list[int]) -> None:
        own = [client.numbers.pop(number) for number in numbers if number in client.numbers]
        for number in own:
            del self._owners[number], self._left[number]
        sampler.drop(own)

    def _step(self, sampler: TokenSampler) -> None:
        try:
            drawn = sampler.step()
        except Exception as error:
            for client in {client for client, _ in self._owners.values()}:
                client.numbers.clear()
                client.said.put(("failed", type(error).__name__, str(error)))
            self._owners.clear()
            self._left.clear()
            return
        ended: dict[_Client, list[tuple[int, Any]]] = {}
        for one in drawn:
            client, number = self._owners[one.request]
            ended.setdefault(client, []).append((number, one))
            self._left[one.request] -= 1
            if not self._left[one.request]:
                del self._owners[one.request], self._left[one.request], client.numbers[number]
        for client, ones in ended.items():
            client.said.put(("drawn", wire.columns(ones, client.told)))
            client.told.intersection_update(client.numbers)


def main() -> None:
    options = json.loads(sys.argv[1])
    wanted = wire.Wanted(**options["wanted"])
    place = Path(options["place"])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever asked decides when it ends
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        place.unlink(missing_ok=True)
        listener.bind(str(place))
        listener.listen(64)
        worker = Worker(listener)
        try:
            _serve(worker, wanted)
            place.with_suffix(".log").unlink(missing_ok=True)  # there is something in it where this was not reached
        finally:
            place.unlink(missing_ok=True)


def _serve(worker: Worker, wanted: wire.Wanted) -> None:
    from surefoot.models.local.decode import Decoder
    from surefoot.models.local.weights import load_weights

    try:
        weights = load_weights(wanted.folder, device=wanted.device, dtype=wanted.dtype)
    except SurefootError as error:
        worker.refuse(error)
        return
    gc.collect()
    gc.freeze()  # what was loaded stays: to look through it again and again holds up all who ask
    network = weights.network
    sampler = Decoder(weights, rows=wanted.rows, prompt_logprobs=wanted.prompt_logprobs, threads=wanted.threads)
    holds = wire.Holds(
        pid=os.getpid(),
        folder=wanted.folder,
        window=weights.window,
        parameters=network.num_parameters(),
        device=str(network.device),
        dtype=str(network.dtype).removeprefix("torch."),
        rows=wanted.rows,
    )
    worker.serve(sampler, holds)


if __name__ == "__main__":
    main()
