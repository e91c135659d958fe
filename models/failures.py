"""What went wrong with a request: the one place that tells a passing trouble from a lasting one.

Looks at status codes and at the names of exception classes along the chain of causes, since clients of
different providers raise classes of different libraries.
"""

from __future__ import annotations

import math
import os
import re
import time
import traceback
from collections.abc import Iterable, Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

from surefoot.storage.errors import ModelError, ModelRefused, ModelUnavailable
from surefoot.storage.records import Usage

TRANSIENT = frozenset({408, 409, 425, 429})
"""Statuses below 500 that pass by themselves."""
_BROKEN = frozenset(
    {"ConnectionResetError", "ConnectionAbortedError", "BrokenPipeError", "ServerDisconnectedError"}
    | {"ReadError", "WriteError", "RemoteProtocolError", "ClientPayloadError"}
)
_UNREACHABLE = frozenset({"ConnectError", "ClientConnectorError", "ConnectionRefusedError", "gaierror"})
_SPENT = ("exceeded your current quota", "credit balance is too low")
_NO_COMPLETION = "Empty or invalid response from LLM endpoint"
"""litellm's words for JSON that is no completion."""

REDACTED = "[redacted]"
_BEARER = re.compile(r"(\bbearer(?:\s|%20|\+)+)[^\s\"',;\\]+", re.IGNORECASE)
_USERINFO = re.compile(r"(?<=//)[^\s/@\"']{1,500}@|[^\s/:@\"']{1,100}:[^\s/@\"']{1,500}@")
_SECRET_NAMES = ("KEY", "TOKEN", "SECRET", "PASSWORD")
_UNMISTAKABLE = 8
"""Characters from which on a secret is looked for inside words too; a shorter one could be a part of any word."""


Failure = TypeVar("Failure", bound=BaseException)


class PassingTrouble(ModelUnavailable):
    """A failure that asking again may mend."""

    def __init__(self, message: str, *, wait: float | None = None, usage: Usage | None = None) -> None:
        self.wait = wait
        """Seconds that the server asked to wait."""
        self.usage = usage or Usage()
        """What the failed request cost nevertheless."""
        super().__init__(message)


class Unreachable(PassingTrouble):
    """No connection came about. A server that answered before may be starting again; one that never did may not be
    there."""


def charge(error: Failure, usage: Usage) -> Failure:
    """The error, with what was spent before it was raised; `charged` reads it. Errors of storage/ know no usage."""
    vars(error)["usage"] = usage
    return error


def charged(error: BaseException) -> Usage:
    """What the requests cost that ended in this error, as far as the server reported it."""
    usage = getattr(error, "usage", None)
    return usage if isinstance(usage, Usage) else Usage()


def classify(error: Exception, model: str, base_url: str | None, secrets: Iterable[str | None] = ()) -> Exception:
    """The error to raise in place of a client's: PassingTrouble or ModelRefused, or the mistake of our own behind it.

    Its text goes to the screen and into the store, so `secrets`, and whatever else looks like a key, are taken out.
    """
    chain = list(_chain(error))
    names = {kind.__name__ for link in chain for kind in type(link).__mro__}
    status = getattr(error, "status_code", None)
    text = redacted(_text(error), secrets)[:500]
    where = redacted(base_url or "the provider", secrets)
    read = next((link for link in chain if isinstance(link, ModelError)), None)
    if read is not None:  # the reader of replies has said what is wrong
        told = redacted(f"{model}: {read}", secrets)
        return PassingTrouble(told) if isinstance(read, PassingTrouble) else ModelRefused(told)
    codes = {str(vars(link).get("code", "")) for link in chain}  # aiohttp's `code` is a property that only warns
    if "insufficient_quota" in codes or any(mark in text for mark in _SPENT):
        return ModelRefused(f"{model}: the account has no credit left; top it up or use another model ({text})")
    if names & _BROKEN:
        return PassingTrouble(f"{model}: the connection to {where} broke before the reply was whole")
    if names & _UNREACHABLE:
        return Unreachable(f"{model}: {where} could not be reached; check the address and that the server runs")
    if isinstance(error, TimeoutError) or "APITimeoutError" in names or "Timeout" in names:
        return PassingTrouble(f"{model}: no answer in time; raise `timeout` if the model is slow")
    bug = next((link for link in chain if isinstance(link, MemoryError) or not _foreign(link)), None)
    if isinstance(bug, Exception):
        return bug
    stumbled = isinstance(chain[-1], (LookupError, TypeError, AttributeError)) and "OSError" not in names
    if not isinstance(status, int) or stumbled:  # a library that stumbles over a reply will stumble over it again
        return ModelRefused(f"{model}: the request could not be made, or its reply not be read ({text})")
    if "HTTPStatusError" not in names and (unread := _unread(chain, names, text)) is not None:
        return PassingTrouble(f"{model}: {redacted(unread, secrets)[:500]}")
    if status in TRANSIENT or status >= 500:
        wait = retry_after(_headers(error))
        asks = f"; the server asks to wait {math.ceil(wait)} s" if wait else ""
        return PassingTrouble(f"{model}: status {status}: {text}{asks}", wait=wait)
    return ModelRefused(f"{model}: {_advice(status, names | codes)} (status {status}: {text})")


_CLIENTS = frozenset({"litellm", "openai", "httpx", "httpcore", "aiohttp", "pydantic"})


def _foreign(error: BaseException) -> bool:
    """Whether it was raised in a client's library, or in what that called, and not by code of our own."""
    owner = type(error).__module__.partition(".")[0]
    for frame, _ in traceback.walk_tb(error.__traceback__):
        root = str(frame.f_globals.get("__name__")).partition(".")[0]
        owner = root if root in _CLIENTS or root == "surefoot" else owner
    return owner != "surefoot"


def _unread(chain: list[BaseException], names: set[str], text: str) -> str | None:
    """What happened where no server sent the status: litellm gives 500 to whatever it cannot read or send."""
    if "JSONDecodeError" in names:
        return f"the reply was no JSON ({text}); check that the address is that of an OpenAI-compatible API"
    if _NO_COMPLETION in text:
        return f"the reply was JSON, but no completion ({text})"
    if "APIConnectionError" in names:
        return f"the request failed on its way: {str(chain[-1]) or text}"
    return None


def _advice(status: int, marks: set[str]) -> str:
    if status == 401:
        return "the key was not accepted; check the provider's API key, or SUREFOOT_API_KEY"
    if status == 403:
        return "the key may not use this model; ask for access or use another model"
    if status == 404:
        return "there is no such model at this address; check the name and base_url"
    if marks & {"ContextWindowExceededError", "context_length_exceeded"}:
        return "the prompt is too long for the model; shorten the inputs or use a model with a larger window"
    if marks & {"ContentPolicyViolationError", "content_policy_violation"}:
        return "the provider's content policy refused the prompt"
    return "the provider refused the request"


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or link.__context__


def _text(error: Exception) -> str:
    """The last of litellm's nested prefixes is the provider's own word."""
    text = str(getattr(error, "message", "") or error)
    return text.rpartition("Exception - ")[2].strip() or type(error).__name__


def redacted(text: str, secrets: Iterable[str | None] = ()) -> str:
    """The text without `secrets`, the environment's keys, `Bearer` values and the `user:password@` of URLs.

    Servers and proxies send back what they were sent. Cut a text after this, never before: half a key matches nothing.
    """
    text = _USERINFO.sub(f"{REDACTED}@", _BEARER.sub(rf"\1{REDACTED}", text))
    known = {secret.strip() for secret in secrets if secret} | set(_from_environment())
    for secret in sorted(known - {"", "none"}, key=len, reverse=True):  # "none" stands for no key
        exact = re.escape(secret)
        text = re.sub(exact if len(secret) >= _UNMISTAKABLE else rf"(?<!\w){exact}(?!\w)", REDACTED, text)
    return text


def _from_environment() -> Iterator[str]:
    """litellm takes a provider's key from there, without telling which."""
    for name, value in os.environ.items():
        if name.upper().endswith(_SECRET_NAMES) and len(value.strip()) >= _UNMISTAKABLE:
            yield value.strip()


def _headers(error: Exception) -> Mapping[str, str]:
    found: Any = getattr(error, "litellm_response_headers", None)
    if not found:
        found = getattr(getattr(error, "response", None), "headers", None)
    return {str(key).lower(): str(value) for key, value in dict(found or {}).items()}


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, from `retry-after-ms` or `retry-after` (seconds or an HTTP date, RFC 9110 10.2.3)."""
    precise = _float(headers.get("retry-after-ms"))
    if precise is not None:
        return max(0.0, precise / 1000)
    value = headers.get("retry-after")
    seconds = _float(value)
    if seconds is not None:
        return max(0.0, seconds)
    try:
        return max(0.0, parsedate_to_datetime(value or "").timestamp() - time.time())
    except (TypeError, ValueError):
        return None


def _float(text: str | None) -> float | None:
    try:
        value = float(text) if text is not None else None
    except ValueError:
        return None
    return value if value is not None and math.isfinite(value) else None
