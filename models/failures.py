"""What went wrong with a request: the one place that tells a passing trouble from a lasting one.

Looks at status codes and at the names of exception classes along the chain of causes, since clients of
different providers raise classes of different libraries.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from surefoot.storage.errors import ModelError, ModelRefused, ModelUnavailable
from surefoot.storage.records import Usage

TRANSIENT = frozenset({408, 409, 425, 429})
"""Statuses below 500 that pass by themselves."""
_UNREACHABLE = frozenset({"ConnectError", "ClientConnectorError", "ConnectionRefusedError", "gaierror"})
_SPENT = ("exceeded your current quota", "credit balance is too low")


class PassingTrouble(ModelUnavailable):
    """A failure that asking again may mend."""

    def __init__(self, message: str, *, wait: float | None = None, usage: Usage | None = None) -> None:
        self.wait = wait
        """Seconds that the server asked to wait."""
        self.usage = usage or Usage()
        """What the failed request cost nevertheless."""
        super().__init__(message)


def classify(error: Exception, model: str, base_url: str | None) -> ModelError | None:
    """The error to raise in place of a client's: PassingTrouble or ModelRefused; None for one that is unknown."""
    chain = list(_chain(error))
    names = {kind.__name__ for link in chain for kind in type(link).__mro__}
    status = getattr(error, "status_code", None)
    text = _text(error)
    codes = {str(getattr(link, "code", "")) for link in chain}
    if "insufficient_quota" in codes or any(mark in text for mark in _SPENT):
        return ModelRefused(f"{model}: the account has no credit left; top it up or use another model ({text})")
    if names & _UNREACHABLE:
        where = base_url or "the provider"
        return PassingTrouble(f"{model}: {where} could not be reached; check the address and that the server runs")
    if isinstance(error, TimeoutError) or "APITimeoutError" in names or "Timeout" in names:
        return PassingTrouble(f"{model}: no answer in time; raise `timeout` if the model is slow")
    if not isinstance(status, int):
        return None
    if status in TRANSIENT or status >= 500:
        return PassingTrouble(f"{model}: status {status}: {text}", wait=retry_after(_headers(error)))
    return ModelRefused(f"{model}: {_advice(status, names | codes)} (status {status}: {text})")


def _advice(status: int, marks: set[str]) -> str:
    if status == 401:
        return "the key was not accepted; check the provider's API key"
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
    return text.rpartition("Exception - ")[2].strip()[:500] or type(error).__name__


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
        return float(text) if text is not None else None
    except ValueError:
        return None
