"""From a model's name to the model."""

from __future__ import annotations

from typing import Any

from surefoot.models.options import Loaded, ModelOptions, Sampled, Served
from surefoot.models.question import Model
from surefoot.storage.errors import SetupError

POCKET = "pocket/word-problems"


def packaged(name: str) -> bool:
    """Whether a name is that of a packaged model."""
    return name.partition("/")[0] == "pocket"


def options_of(name: str) -> type[Sampled]:
    """The options that the model of a name takes: those of one behind an API, or of one whose weights are here."""
    return Loaded if packaged(name) or name.startswith("local/") else Served


def taken(name: str, options: ModelOptions) -> dict[str, Any]:
    """The options that are set and that the model of a name takes."""
    return {option: value for option, value in options.given.items() if option in options_of(name).model_fields}


def load(name: str | Model, **options: Any) -> Model:
    """The model of a name, with `options` for its class; a model is handed back as it is.

    `pocket/word-problems` (`pocket` for short) and others: packaged weights (PocketModel). `local/<path>`: weights in
    a folder (LocalModel). `provider/model` or `provider:model`: a litellm name (ApiModel). Raises SetupError for
    anything else and for an option that the class does not take, MissingExtra where the name needs an optional part
    that is not installed.
    """
    if not isinstance(name, str):
        return _as_is(name, options)
    if name == "pocket":
        name = POCKET
    if name.startswith("pocket/"):
        from surefoot.models.packaged import PocketModel

        return PocketModel(name.removeprefix("pocket/"), **options)
    if name.startswith("local/"):
        from surefoot.models.local.model import LocalModel

        return LocalModel(name.removeprefix("local/"), **options)
    from surefoot.models.api.model import ApiModel

    return ApiModel(name, **options)


def _as_is(model: Model, options: dict[str, Any]) -> Model:
    if not isinstance(model, Model):
        raise SetupError(f"a model is a name such as 'openai/gpt-5.1' or an object with `ask`, not {model!r}")
    if options:
        raise SetupError(f"options {sorted(options)} belong to a model's name; give them to the model itself")
    return model
