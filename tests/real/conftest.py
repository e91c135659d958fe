"""Real models behind real servers. These tests run where they are asked for (`-m real`), and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from real.llama import HOME, Llama
from real.proxy import Proxy

from surefoot.storage.store import Store


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "real" in config.option.markexpr:
        return
    left_out = [item for item in items if item.get_closest_marker("real")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


Serve = Callable[..., Llama]


def _started(model: str, folder: Path, window: int = 2048) -> Llama:
    if not (HOME / "bin" / "python").exists():
        pytest.fail("there is no server: `make real` installs what these tests need")
    return Llama(model, folder / f"{model}.log", window)


@pytest.fixture(scope="session")
def smol(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Llama]:
    """A small chat model that can call tools."""
    with _started("smol", tmp_path_factory.mktemp("smol")) as server:
        yield server


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Llama]:
    """The same model behind a server that leaves tools out."""
    with _started("plain", tmp_path_factory.mktemp("plain")) as server:
        yield server


@pytest.fixture(scope="session")
def gemma(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Llama]:
    """A base model: it was never taught to answer, to stop, or to call tools."""
    with _started("gemma", tmp_path_factory.mktemp("gemma")) as server:
        yield server


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Serve]:
    """Starts servers that a test may kill."""
    with ExitStack() as stack:
        yield lambda model, window=2048: stack.enter_context(_started(model, tmp_path, window))


@pytest.fixture
def counting() -> Iterator[Callable[[Llama], Proxy]]:
    """Puts a proxy that counts before a server."""
    with ExitStack() as stack:
        yield lambda server: stack.enter_context(Proxy(server.host, server.port))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "runs.db") as store:
        yield store
