"""Options of a model: one object, put together from layers.

A new option is one field here: the engine's arguments, the command line, the environment and YAML files know it from
there. `SHIFTS` marks one that changes what is sampled.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from functools import reduce
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from surefoot.storage.errors import SetupError, meant
from surefoot.storage.records import Json

PREFIX = "SUREFOOT_"
FILE = "SUREFOOT_OPTIONS"
"""The variable with the path of a file of options."""
OTHERS = ("SUREFOOT_PRIOR", "SUREFOOT_STORE")
"""Variables that are no options of a model."""
RoleName = Literal["plan", "act", "judge"]
"""Roles that a model is set for."""
ROLES: tuple[RoleName, ...] = get_args(RoleName)

SECRET = frozenset({"api_key", "headers", "extra"})
"""Options that may hold a key: they are not kept with a run."""

SHIFTS: dict[str, Any] = {"shifts": True}
"""Marks an option that makes samples other ones: what was measured without it says nothing of them."""

Count = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0)]
Kind = TypeVar("Kind", bound="Sampled")


class Sampled(BaseModel):
    """Options of every model. None leaves an option to the model itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_tokens: Count | None = Field(None, description="most tokens of a reply, thinking included")
    temperature: Annotated[float, Field(ge=0)] | None = Field(None, description="0 takes the likeliest token each time")

    @property
    def given(self) -> dict[str, Any]:
        """The options that are set, by name."""
        return {name: value for name in OPTIONS if (value := getattr(self, name, None)) is not None}


class Served(Sampled):
    """Options of a model behind an API."""

    base_url: str | None = Field(None, description="base URL of an OpenAI-compatible server")
    api_key: str | None = Field(None, description="key for the server", repr=False)
    top_p: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None, description="share of likely tokens to sample from", json_schema_extra=SHIFTS
    )
    reasoning_effort: str | None = Field(
        None, description="how much to think, as low or high", json_schema_extra=SHIFTS
    )
    timeout: Seconds | None = Field(None, description="seconds that one request may take; default 120")
    deadline: Seconds | None = Field(None, description="seconds that one reply may take with all retries; default 600")
    retries: Annotated[int, Field(ge=0)] | None = Field(None, description="tries after a passing trouble; default 5")
    concurrency: Count | None = Field(None, description="requests at once; default 64")
    headers: dict[str, str] | None = Field(None, description="HTTP headers of every request", repr=False)
    extra_body: dict[str, Any] | None = Field(
        None, description="further fields of the request's JSON body", json_schema_extra=SHIFTS
    )
    extra: dict[str, Any] | None = Field(None, description="further arguments of litellm, as api_version", repr=False)
    structured: bool | None = Field(None, description="false asks for JSON in words only, not by JSON Schema")
    capture: bool | None = Field(
        None, description="keep token ids and log-probabilities; default: of servers named by base_url, if they can"
    )
    price: tuple[float, float] | None = Field(None, description="US dollars a million tokens, as [prompt, completion]")

    @property
    def regime(self) -> str:
        """What of it makes the samples other ones, beside the temperature."""
        fields = type(self).model_fields.items()
        shifts = {name: getattr(self, name) for name, one in fields if one.json_schema_extra == SHIFTS}
        return " ".join(f"{name}={value}" for name, value in shifts.items() if value is not None)


class Loaded(Sampled):
    """Options of a model whose weights are loaded here."""

    device: str | None = Field(None, description="where weights compute: cpu, cuda, ...")
    dtype: str | None = Field(None, description="numbers that weights compute in: float32, bfloat16, ...")
    threads: Count | None = Field(None, description="threads that weights compute with")
    max_batch: Count | None = Field(None, description="samples that weights compute at once; default 256")
    worker: bool | None = Field(None, description="weights in a process of their own, which engines share")


class ModelOptions(Served, Loaded):
    """Options of a model of any kind."""


class RoleOptions(ModelOptions):
    """The model of a role, and its options."""

    model: str | None = Field(None, description="name of the model")


class Layer(RoleOptions):
    """What one place says: for all models, for single ones by their names, for roles."""

    models: dict[str, ModelOptions] = Field(default_factory=dict)
    roles: dict[RoleName, RoleOptions] = Field(default_factory=dict)

    def name(self, role: RoleName) -> str | None:
        """The model of a role."""
        own = self.roles[role].model if role in self.roles else None
        return own or self.model

    def options(self, name: str, role: RoleName) -> ModelOptions:
        """The options of a model in a role: what is said of the role goes before what is said of the model, and that
        before what is said of all."""
        said = [one.given for one in (self, self.models.get(name), self.roles.get(role)) if one is not None]
        return ModelOptions(**reduce(_over, said))

    @property
    def document(self) -> dict[str, Json]:
        """As JSON, to be kept with a run so that it can be resumed; without what may hold a key."""
        hidden: Any = dict.fromkeys(SECRET, True)
        hidden |= {part: {"__all__": SECRET} for part in ("models", "roles")}
        return self.model_dump(exclude_none=True, exclude_defaults=True, exclude=hidden, mode="json")


OPTIONS = tuple(ModelOptions.model_fields)
"""Names of all options."""


def merge(*layers: Layer) -> Layer:
    """One layer of one or more, the lowest first. Mappings are put together by key."""
    said = (one.model_dump(exclude_none=True, exclude_defaults=True) for one in layers)
    return Layer.model_validate(reduce(_over, said))


def _over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    both = {
        name: _over(below[name], value)
        for name, value in above.items()
        if isinstance(value, dict) and isinstance(below.get(name), dict)
    }
    return below | above | both


# --- where layers come from ---------------------------------------------------------------------------------


def layer(given: Mapping[str, Any] | str | Path | Layer | None, where: str = "options") -> Layer:
    """A layer from a mapping, or from a YAML or JSON file: options for all models, `models` and `roles` with options
    for some.

    Raises SetupError where the file cannot be read, a name is unknown (it says the nearest one), or a value does not
    fit.
    """
    if isinstance(given, Layer):
        return given
    if isinstance(given, (str, Path)):
        return checked(Layer, _file(Path(given)), str(given))
    if given is not None and not isinstance(given, Mapping):
        raise SetupError(f"{where}: give options by name, as in {{'max_tokens': 500}}, or the path of a YAML file")
    return checked(Layer, given or {}, where)


def checked(kind: type[Kind], given: Mapping[str, Any], where: str) -> Kind:
    """Options of a kind of model. Raises SetupError, in words, where something does not fit."""
    try:
        return kind.model_validate(dict(given))
    except ValidationError as error:
        raise SetupError(f"{where}: " + "; ".join(_said(kind, one) for one in error.errors()[:3])) from None


def pairs(given: Iterable[str]) -> Layer:
    """A layer from `NAME=VALUE` and `ROLE.NAME=VALUE`, values in YAML. Raises SetupError."""
    found: dict[str, Any] = {}
    for pair in given:
        name, equals, text = pair.partition("=")
        role, dot, option = name.strip().rpartition(".")
        if not equals or not option or (dot and role not in ROLES):
            raise SetupError(
                f"--option {pair!r}: write NAME=VALUE or ROLE.NAME=VALUE, as in max_tokens=500 or plan.temperature=0; "
                f"roles are {', '.join(ROLES)}"
            )
        place = found.setdefault("roles", {}).setdefault(role, {}) if dot else found
        place[option] = _read(option, text)
    return layer(found, "--option")


def environment() -> Layer:
    """What `SUREFOOT_<OPTION>` and `SUREFOOT_<ROLE>_<OPTION>` say, above the file that `SUREFOOT_OPTIONS` names.

    Raises SetupError for values that do not fit, and for a variable that is nearly the name of one.
    """
    places: tuple[tuple[RoleName | None, str], ...] = ((None, ""), *((role, f"{role.upper()}_") for role in ROLES))
    known = {
        f"{PREFIX}{prefix}{name.upper()}": (role, name) for role, prefix in places for name in RoleOptions.model_fields
    }
    found: dict[str, Any] = {}
    for variable, text in os.environ.items():
        if variable.startswith(PREFIX) and text and variable not in (*OTHERS, FILE):
            if variable in known:
                role, option = known[variable]
                place = found if role is None else found.setdefault("roles", {}).setdefault(role, {})
                place[option] = _read(option, text)
            elif near := get_close_matches(variable, [*known, *OTHERS, FILE], 1, 0.9):
                raise SetupError(f"there is no variable {variable}; did you mean {near[0]}?")
    file = os.environ.get(FILE)
    return merge(layer(file or None), layer(found, "the environment"))


def _read(option: str, text: str) -> Any:
    """A value from text: the text itself for options that are text."""
    import yaml

    field = RoleOptions.model_fields.get(option)
    if field is None or field.annotation == str | None:
        return text
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def _file(path: Path) -> Mapping[str, Any]:
    import yaml

    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SetupError(f"the file of options {path} cannot be read: {error.strerror or error}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SetupError(f"the file of options {path} is no YAML: {' '.join(str(error).split())}") from None
    if value is not None and not isinstance(value, dict):
        raise SetupError(f"the file of options {path} holds no options by name, as in max_tokens: 500")
    return value or {}


def _said(kind: type[BaseModel], error: Any) -> str:
    """One defect in words."""
    *above, last = error["loc"]
    names = kind.model_fields if not above else RoleOptions.model_fields
    if error["type"] == "extra_forbidden":
        return f"there is no option {str(last)!r}; {meant(last, names)}"
    place = ".".join(str(part) for part in error["loc"] if part != "[key]")
    value = "" if SECRET & set(error["loc"]) else f"={error['input']!r}"
    return f"{place}{value}: {error['msg'][:1].lower()}{error['msg'][1:]}"
