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

from surefoot.models.reading import completion
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
    module.aclient_session = _session()
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
        abandon(module.aclient_session)
        _again(default_evicted_client_closer)
        _again(GLOBAL_LOGGING_WORKER)
        _again(module.main.base_llm_aiohttp_handler)
        _again(executor, executor._max_workers, executor._max_pending_tasks)
        module.in_memory_llm_clients_cache = LLMClientCache()
        module.aclient_session = None
        litellm.cache_clear()


def _again(thing: Any, *args: Any) -> None:
    """Makes anew, in its place, what other modules hold too."""
    abandon(dict(vars(thing)))
    thing.__init__(*args)


_clients = _Clients()
watch(_clients)

BODY: ContextVar[list[dict[str, Any]] | None] = ContextVar("body", default=None)
"""Where the body of a completion goes, as `reading.completion` made it; None: nowhere."""


def _session() -> Any:
    """An HTTP client for servers of chat completions whose replies are read by `reading.completion` first."""
    import httpx
    from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler, get_ssl_configuration

    class Reader(httpx.AsyncBaseTransport):
        def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
            self.inner = inner

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            response = await self.inner.handle_async_request(request)
            if response.status_code != 200 or not request.url.path.endswith("/chat/completions"):
                return response
            body = await response.aread()
            await response.aclose()
            found = completion(body, response.headers.get("content-type", ""))
            status, content = (200, body) if found is None else (found[0], json.dumps(found[1]).encode())
            if found is not None and (into := BODY.get()) is not None:
                into.append(found[1])
            headers = {name: value for name, value in response.headers.items() if name not in ENCODED}
            kind = {"content-type": "application/json"} if found is not None else {}
            return httpx.Response(status, headers={**headers, **kind}, content=content, request=request)

        async def aclose(self) -> None:
            await self.inner.aclose()

    secure = get_ssl_configuration()
    context = {"ssl_verify": secure} if isinstance(secure, bool) else {"ssl_context": secure}
    inner = AsyncHTTPHandler.create_async_transport(**context)
    mounts = AsyncHTTPHandler.create_httpx_proxy_mounts(inner, verify=secure, cert=None) or {}
    wrapped = {place: Reader(one) if one is not None else None for place, one in mounts.items()}
    return httpx.AsyncClient(verify=secure, transport=Reader(inner), mounts=wrapped, follow_redirects=True)


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


def missing_key(name: str) -> str | None:
    """The environment variable whose key this model needs and lacks.

    Only for providers that take one key: cloud providers also find their credentials in profiles and roles.
    """
    missing = litellm().validate_environment(name).get("missing_keys") or []
    return missing[0] if len(missing) == 1 and missing[0].endswith("_API_KEY") else None
