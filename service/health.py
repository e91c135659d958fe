"""The checks of `doctor`. Each says what it found in one line, and what to do about it."""

from __future__ import annotations

import os
import platform
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from surefoot.service.clean import one_line
from surefoot.storage.database import address
from surefoot.storage.errors import SurefootError
from surefoot.storage.store import Store

LIBRARIES = ("langgraph", "litellm", "pydantic", "sqlalchemy", "sqlmodel", "typer", "rich")
EXTRAS = {
    "local": (
        ("torch", "transformers", "safetensors", "tokenizers"),
        "models with local weights, the pocket model too",
    ),
    "train": (("reasoning_gym",), "training the pocket models"),
    "postgres": (("psycopg",), "a store on PostgreSQL"),
}


@dataclass(frozen=True, slots=True)
class Finding:
    check: str
    status: Literal["ok", "missing", "broken"]
    """missing: not there, and not needed for what is configured."""
    detail: str


def examine(model: str, base_url: str | None, store: str | None) -> Iterator[Finding]:
    """What is found, one by one; the slow ones last."""
    yield Finding("surefoot", "ok", f"{metadata.version('surefoot')} on Python {platform.python_version()}")
    yield _libraries()
    yield _store(store)
    yield _folder("temp folder", Path(tempfile.gettempdir()))
    local = model.startswith(("pocket", "local/"))
    for extra in EXTRAS:
        yield _extra(extra, needed=extra == "local" and local)
    yield from _local(model) if local else _remote(model, base_url)


def _libraries() -> Finding:
    found, lacking = [], []
    for name in LIBRARIES:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            lacking.append(name)
    if lacking:
        return Finding("libraries", "broken", f"not installed: {', '.join(lacking)}; pip install surefoot")
    return Finding("libraries", "ok", ", ".join(found))


def _store(url: str | None) -> Finding:
    """Opens the store where there is one; makes none."""
    try:
        place = address(url)
        shown = place.render_as_string(hide_password=True)
        path = Path(place.database or "") if place.drivername == "sqlite" else None
        if path is not None and not path.exists():
            folder = next(one for one in (path.resolve(), *path.resolve().parents) if one.exists())
            if not folder.is_dir() or not os.access(folder, os.W_OK):
                return Finding("store", "broken", f"{path} cannot be made: {folder} is not writable; give --store PATH")
            return Finding("store", "ok", f"{path}, made at the first run")
        with Store.open(url, create=False) as store:
            newest = store.runs(1)
            if path is not None and not os.access(path, os.W_OK):
                return Finding("store", "broken", f"{path} cannot be written: check its permissions")
            return Finding("store", "ok", f"{path or shown} ({store.mode}), {'has runs' if newest else 'no run yet'}")
    except SurefootError as error:
        return Finding("store", "broken", one_line(error))


def _folder(check: str, path: Path) -> Finding:
    try:
        with tempfile.NamedTemporaryFile(dir=path):
            return Finding(check, "ok", f"{path} is writable")
    except OSError as error:
        return Finding(check, "broken", f"{path} is not writable ({error.strerror}); set TMPDIR")


def _extra(extra: str, *, needed: bool) -> Finding:
    modules, purpose = EXTRAS[extra]
    lacking = [name for name in modules if find_spec(name) is None]
    if not lacking:
        return Finding(f"extra {extra}", "ok", f"installed: {purpose}")
    status: Literal["missing", "broken"] = "broken" if needed else "missing"
    return Finding(f"extra {extra}", status, f"not installed: {purpose}. pip install 'surefoot[{extra}]'")


def _local(model: str) -> Iterator[Finding]:
    """Loads the weights: whether they are there is not enough to know."""
    from surefoot.models import load

    try:
        policy = load(model).policy
        yield Finding("model", "ok", f"{policy.model}, weights {policy.weights_sha256[:12]}; no key, no network")
    except SurefootError as error:
        yield Finding("model", "broken", f"{one_line(model)}: {one_line(error)}")


def _remote(model: str, base_url: str | None) -> Iterator[Finding]:
    """Whether the model could be asked: its provider is known and has its key. Nothing is sent."""
    from surefoot.models.api import ApiModel
    from surefoot.models.gateway import missing_key

    own = os.environ.get("SUREFOOT_API_KEY")
    try:
        asked = ApiModel(model, base_url=base_url, api_key=own)
        asked.check()
    except SurefootError as error:
        yield Finding("model", "broken", one_line(error))
        return
    yield Finding("model", "ok", one_line(asked.name) + (f" at {one_line(base_url)}" if base_url else ""))
    lacking = None if own else missing_key(asked.name)
    key = "SUREFOOT_API_KEY is set" if own else "its provider's variable is set, or it needs none"
    if lacking is not None:  # the check passed, so there is a base URL
        key = f"neither {lacking} nor SUREFOOT_API_KEY is set; a server of your own may need none"
    yield Finding("key", "ok" if lacking is None else "missing", key)
