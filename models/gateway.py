"""litellm, imported late (it takes seconds) and kept quiet."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

# The price map that ships with litellm, not one from the network; no .env file read from the current folder.
SETTINGS = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MODE": "PRODUCTION"}


@lru_cache(maxsize=1)
def litellm() -> Any:
    """The module, set up to print nothing, send nothing of its own accord and repeat nothing."""
    os.environ.update(SETTINGS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its dependencies' deprecations are not the user's to mend
        import litellm as module

        module.ModelResponse()  # its classes are built on first use, with warnings of their own
    module.suppress_debug_info = True
    module.telemetry = False
    module.num_retries = 0
    for name in ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return module


def provider(name: str) -> str | None:
    """The provider in a model's name; None where litellm knows none of that name."""
    module = litellm()
    try:
        return str(module.get_llm_provider(name)[1])
    except module.exceptions.BadRequestError:
        return None


def accepted(name: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """The sampling parameters that the provider takes for this model, with these values."""
    module = litellm()
    model, owner, _, _ = module.get_llm_provider(name)
    known = module.get_supported_openai_params(model=model, custom_llm_provider=owner) or params
    taken = {key: value for key, value in params.items() if key in known}
    mapped = module.get_optional_params(model=model, custom_llm_provider=owner, drop_params=True, **taken)
    # Some models take a parameter by name but not with every value; these two keep their names everywhere.
    return {key: value for key, value in taken.items() if key not in ("temperature", "seed") or key in mapped}


def missing_key(name: str) -> str | None:
    """The environment variable whose key this model needs and lacks.

    Only for providers that take one key: cloud providers also find their credentials in profiles and roles.
    """
    missing = litellm().validate_environment(name).get("missing_keys") or []
    return missing[0] if len(missing) == 1 and missing[0].endswith("_API_KEY") else None
