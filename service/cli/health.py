"""The checks of `doctor`. Each says what it found in one line, and what to do about it."""

from __future__ import annotations

import os
import platform
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from surefoot.models.failures import redacted
from surefoot.models.local.wire import workers
from surefoot.models.options import OPTIONS, ROLES, SECRET, Layer, Loaded, environment, merge
from surefoot.models.registry import POCKET, options_of, taken
from surefoot.service.display.clean import one_line
from surefoot.storage.errors import SurefootError
from surefoot.storage.run_store import STORES, open_store, scheme
from surefoot.storage.sql.database import address
from surefoot.storage.store import Store

LIBRARIES = ("langgraph", "litellm", "pydantic", "sqlalchemy", "sqlmodel", "typer", "rich")
EXTRAS = {
    "local": (
        ("torch", "transformers", "safetensors", "tokenizers"),
        "models with local weights, the pocket model too",
    ),
    "train": (("reasoning_gym",), "training the pocket models"),
    "postgres": (("psycopg",), "a store on PostgreSQL"),
    "report": (("matplotlib",), "the pictures of `surefoot report`"),
}


@dataclass(frozen=True, slots=True)
class Finding:
    check: str
    status: Literal["ok", "missing", "broken"]
    """missing: not there, and not needed for what is configured."""
    detail: str


def examine(told: Layer, store: str | None) -> Iterator[Finding]:
    """What is found, one by one; the slow ones last. told: what the command line says of models."""
    yield Finding("surefoot", "ok", f"{metadata.version('surefoot')} on Python {platform.python_version()}")
    yield _libraries()
    yield _store(store)
    yield _folder("temp folder", Path(tempfile.gettempdir()))
    yield _workers()
    try:
        said = merge(environment(), told)
    except SurefootError as error:
        yield Finding("options", "broken", one_line(error))
        return
    yield Finding("options", "ok", _options(said))
    named = {role: said.name(role) or POCKET for role in ROLES}
    for extra in EXTRAS:
        yield _extra(extra, needed=extra == "local" and any(options_of(one) is Loaded for one in named.values()))
    made = [(name, taken(name, said.options(name, role))) for role, name in named.items()]
    for one in [one for at, one in enumerate(made) if one not in made[:at]]:
        roles = [role for role, other in zip(ROLES, made, strict=True) if other == one]
        find = _local if options_of(one[0]) is Loaded else _remote
        yield from find("model" if len(roles) == len(ROLES) else f"model {'/'.join(roles)}", *one)


def _options(said: Layer) -> str:
    """What is set; of what may hold a key, only that it is set."""
    places = {"": said} | {f"{name}: ": one for name, one in said.models.items()}
    places |= {f"{role}.": one for role, one in said.roles.items()}
    parts = [
        f"{place}{name}={'(set)' if name in SECRET else value}"
        for place, one in places.items()
        for name, value in one.given.items()
    ]
    return redacted(", ".join(parts) or "none set") + f"; there are: {', '.join(OPTIONS)}"


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
        if scheme(url) in STORES:
            with closing(open_store(url, create=False)) as other:
                return Finding("store", "ok", f"{url} ({'has runs' if other.runs(1) else 'no run yet'})")
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


def _workers() -> Finding:
    """Processes that hold weights for engines."""
    try:
        told = [
            f"process {one['pid']}: {one['folder']}, "
            f"{one['parameters']:,} parameters, {one['dtype']} on {one['device']}"
            for one in workers()
        ]
    except (OSError, SurefootError) as error:
        return Finding("workers", "broken", one_line(error))
    return Finding("workers", "ok", "; ".join(told) or "no weights are in a process of their own now")


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


def _local(check: str, model: str, options: Mapping[str, Any]) -> Iterator[Finding]:
    """Loads the weights: whether they are there is not enough to know."""
    from surefoot.models import load

    try:
        policy = load(model, **options).policy
        yield Finding(check, "ok", f"{policy.model}, weights {policy.weights_sha256[:12]}; no key, no network")
    except SurefootError as error:
        yield Finding(check, "broken", f"{one_line(model)}: {one_line(error)}")


def _remote(check: str, model: str, options: Mapping[str, Any]) -> Iterator[Finding]:
    """Whether the model could be asked: its provider is known and has its key. Nothing is sent."""
    from surefoot.models.api.gateway import missing_key
    from surefoot.models.api.model import ApiModel

    own, url = options.get("api_key"), options.get("base_url")
    try:
        asked = ApiModel(model, **options)
        asked.check()
    except SurefootError as error:
        yield Finding(check, "broken", one_line(error))
        return
    yield Finding(check, "ok", one_line(asked.name) + (f" at {one_line(url)}" if url else ""))
    lacking = None if own else missing_key(asked.name)
    ours = "SUREFOOT_API_KEY" if own == os.environ.get("SUREFOOT_API_KEY") else "the option api_key"
    key = f"{ours} is set" if own else "its provider's variable is set, or it needs none"
    if lacking is not None:  # the check passed, so there is a base URL
        key = f"neither {lacking} nor SUREFOOT_API_KEY is set; a server of your own may need none"
    yield Finding(check.replace("model", "key", 1), "ok" if lacking is None else "missing", key)
