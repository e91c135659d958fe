"""What every test stands on: one event loop, no keys, no settings from outside, no way out of this machine."""

from __future__ import annotations

import os
import sys
from typing import Any

import pytest
from hypothesis import settings

LOOPBACK = ("127.", "::1", "localhost", "0.0.0.0", "::ffff:127.")

for name in [name for name in os.environ if name.startswith("SUREFOOT_") or name.endswith("_API_KEY")]:
    del os.environ[name]
os.environ["HF_HUB_OFFLINE"] = "1"
# Most tests ask a scripted server one question; tests of models that nobody measured take this away again.
os.environ["SUREFOOT_PRIOR"] = "0.95"
if "PYTEST_XDIST_WORKER" in os.environ:
    # Workers share the cores; with a thread pool each they would only wait for each other.
    os.environ["OMP_NUM_THREADS"] = "1"

# The same examples on every machine: a run that fails can be run again.
settings.register_profile("same", derandomize=True, deadline=None)
settings.load_profile("same")


def _stay(event: str, args: tuple[Any, ...]) -> None:
    """Audit hook: a connection that leaves this machine fails as it would without a network."""
    host = None
    if event == "socket.connect" and isinstance(args[1], tuple):
        host = args[1][0]
    elif event == "socket.getaddrinfo":
        host = args[0]
    if isinstance(host, bytes):
        host = host.decode("idna")
    if host and not str(host).startswith(LOOPBACK):
        raise PermissionError(f"tests do not leave this machine, and this one asked for {host}")


sys.addaudithook(_stay)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
