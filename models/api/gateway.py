"""litellm, imported late (it takes seconds) and kept quiet."""

from __future__ import annotations

import json
import logging
import os
import warnings
from collections.abc import Mapping
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

from surefoot.models.api.reading import completion, refused
from surefoot.storage.fork import Forked, abandon, watch

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
    _listen()
    return module


class _Clients(Forked):
    """litellm's clients and threads, which a forked child may not use."""

    def renew(self) -> None:
        if not litellm.cache_info().currsize:
            return
        module = litellm()
        from litellm.caching.evicted_client_closer import default_evicted_client_closer
        from litellm.caching.llm_caching_handler import LLMClientCache
        from litellm.litellm_core_utils.logging_worker import GLOBAL_LOGGING_WORKER
        from litellm.litellm_core_utils.thread_pool_executor import executor

        for name in ("module_level_aclient", "module_level_client"):
            abandon(vars(module).pop(name, None))  # made again when it is asked for
        abandon(module.in_memory_llm_clients_cache)
        _again(default_evicted_client_closer)
        _again(GLOBAL_LOGGING_WORKER)
        _again(module.main.base_llm_aiohttp_handler)
        _again(executor, executor._max_workers, executor._max_pending_tasks)
        module.in_memory_llm_clients_cache = LLMClientCache()


def _again(thing: Any, *args: Any) -> None:
    """Makes anew, in its place, what other modules hold too."""
    abandon(dict(vars(thing)))
    thing.__init__(*args)


_clients = _Clients()
watch(_clients)

BODY: ContextVar[list[dict[str, Any]] | None] = ContextVar("body", default=None)
"""Where the body of a completion goes, as `reading.completion` made it; None: the request is not one of ours."""


@lru_cache(maxsize=1)
def _listen() -> None:
    """Has the replies of every client that litellm makes read by `reading`, where this process asks through here.

    Some of its providers make clients of openai's, some of litellm's own: what they share is how bytes are sent.
    """
    import httpx
    from litellm.llms.custom_httpx.aiohttp_transport import LiteLLMAiohttpTransport

    def reading(send: Any) -> Any:
        async def handle_async_request(self: Any, request: httpx.Request) -> httpx.Response:
            response: httpx.Response = await send(self, request)
            bodies = BODY.get()
            if bodies is None or response.status_code != 200:
                return response
            content = await response.aread()
            await response.aclose()
            kind = response.headers.get("content-type", "")
            chat = request.url.path.endswith("/chat/completions")
            found = completion(content, kind) if chat else refused(content)
            headers = {name: value for name, value in response.headers.items() if name not in ENCODED}
            if found is None:
                return httpx.Response(200, headers=headers, content=content, request=request)
            if chat:
                bodies.append(found[1])
            headers["content-type"] = "application/json"
            return httpx.Response(found[0], headers=headers, content=json.dumps(found[1]).encode(), request=request)

        return handle_async_request

    for kind in (LiteLLMAiohttpTransport, httpx.AsyncHTTPTransport):
        kind.handle_async_request = reading(kind.handle_async_request)  # type: ignore[method-assign]


ENCODED = ("content-encoding", "content-length", "transfer-encoding")
"""Headers that hold for a body as it came, not as it was read."""


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


@lru_cache(maxsize=64)
def thinks(name: str) -> bool:
    """Whether litellm knows the model as one that thinks before it answers."""
    try:
        return bool(litellm().supports_reasoning(model=name))
    except Exception:  # it knows nothing of the model
        return False


def missing_key(name: str) -> str | None:
    """The environment variable whose key this model needs and lacks.

    Only for providers that take one key: cloud providers also find their credentials in profiles and roles.
    """
    missing = litellm().validate_environment(name).get("missing_keys") or []
    return missing[0] if len(missing) == 1 and missing[0].endswith("_API_KEY") else None
