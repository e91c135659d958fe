"""Models behind an API, through litellm."""

from __future__ import annotations

import asyncio
import json
import time
import warnings
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import tenacity

from surefoot.models.api.capture import Capture
from surefoot.models.api.completion import answered, ceiling, size, to_reply
from surefoot.models.api.gateway import BODY, accepted, litellm, missing_key, provider, thinks
from surefoot.models.chat import Chat, render, wire
from surefoot.models.encodable import sound_json, sound_messages
from surefoot.models.failures import PassingTrouble, Unreachable, charge, charged, classify
from surefoot.models.forbid import check_allowed
from surefoot.models.loop import Slots, elsewhere
from surefoot.models.options import Served, checked
from surefoot.models.question import Question, Reply
from surefoot.storage.errors import ModelError, ModelRefused, ModelUnavailable, SetupError
from surefoot.storage.records import Policy, Usage

TOKENS = {"plan": 4096, "act": 2048, "judge": 1024}
"""Most tokens of a reply by the question's role, where no option says how many."""
THINKING = 4
"""A model that thinks before it answers is given so many times as many."""
TEMPLATE_TOKENS = 512
"""Room in an estimate for what a provider's chat template adds."""
TIMEOUT, DEADLINE, RETRIES, CONCURRENCY = 120.0, 600.0, 5, 64
"""Where options say nothing: seconds a request and a reply with all its retries; retries; requests at once."""
FIRST_TRIES = 2
"""Tries to reach a server that was never there yet."""
GRACE = 2.0
"""Seconds that a cancellation waits for a request to begin."""
MAX_WAIT = 60.0
"""The longest wait between two tries, in seconds, where a server asks for none."""


class ApiModel:
    """A model by its litellm name, `openai/gpt-5.1` (`openai:gpt-5.1` is read as the same).

    Each sample is a request of its own, all at once. A passing trouble (time-out, broken connection, 408,
    409, 425, 429, 5xx, a reply without finish reason) is tried again, here and nowhere else, after the
    longer of Retry-After and a random exponential wait, until the options `retries` or `deadline` run out. A parameter
    that the provider does not take is left out, and `Reply.sampling` says what was sent.

    Costs, in `usage.usd`: the server's own figure; else the option `price`; else litellm's price map, from the usage
    reported; else 0. `Reply.sampling["cost_source"]` says which. Requests that failed after the server
    reported usage count too: in the reply, or, where there is none, in the error (`failures.charged`).
    """

    def __init__(self, name: str, **options: Any) -> None:
        """`options` are those of `models.options.Served`, which says what each means.

        Raises SetupError for a name that is no model's, for options that do not fit, and for a `base_url` that is no
        http(s) URL or holds a password.
        """
        self.name = canonical(name)
        self.options = checked(Served, options, self.name)
        self.temperature = self.options.temperature
        self._base_url = address(self.options.base_url) if self.options.base_url else None
        self._api_key = self.options.api_key
        self._timeout = self.options.timeout or TIMEOUT
        self._deadline = self.options.deadline or DEADLINE
        self._retries = RETRIES if self.options.retries is None else self.options.retries
        self._slots = Slots(self.options.concurrency or CONCURRENCY)
        self._capture = Capture(self.options.capture, own=self._base_url is not None)
        self._checked = False
        self._reached = False
        """Whether the server was there, ever."""
        self._rate = 0.0
        """US dollars a token: the most that the server has reported for a reply so far."""

    @property
    def policy(self) -> Policy:
        return Policy(self.name, self.options.regime)

    def estimate(self, question: Question, n: int = 1) -> Usage:
        """Upper bound. Its dollars are 0 as long as there is neither a price nor a cost that the server reported."""
        chat = render(question)
        asked = json.dumps([chat.tools, chat.response_format], default=str)
        prompt = size(chat.messages) + len(asked.encode()) + 16 * len(chat.messages) + TEMPLATE_TOKENS
        one = ceiling(self.name, prompt, self._most(question), self.options.price)
        usd = max(one.usd, self._rate * one.tokens)
        return Usage(0, n, one.prompt_tokens * n, one.completion_tokens * n, 0, usd * n)

    async def ask(self, question: Question, n: int = 1) -> list[Reply]:
        """`n` replies. Where some samples fail and others do not, the failed ones are replies with `error`."""
        check_allowed(self.name)
        paid: list[Usage] = []  # a wait that is cancelled hears no more of its requests
        try:
            return await elsewhere(self._samples(question, n, paid))
        except BaseException as error:
            charge(error, sum(paid, Usage()))
            raise

    def check(self) -> None:
        """Raises ModelRefused where the model cannot be asked as things stand: unknown provider, no key."""
        if self._checked:
            return
        if provider(self.name) is None:
            raise ModelRefused(
                f"{self.name}: litellm knows no provider {self.name.partition('/')[0]!r}; write provider/model, "
                "such as openai/gpt-5.1, or openai/<model> with base_url for a server of your own"
            )
        key = missing_key(self.name) if self._api_key is None else None
        if key is not None and self._base_url is None:
            raise ModelRefused(f"{self.name} needs a key: set {key} or SUREFOOT_API_KEY")
        if key is not None:
            self._api_key = "none"  # servers of one's own take any key, but the client insists on one
        self._checked = True

    # --- on the shared loop ---

    async def _samples(self, question: Question, n: int, paid: list[Usage]) -> list[Reply]:
        """`paid` gets the usage of each request, whatever became of it."""
        self.check()
        chat = _sound(render(question))
        results = await asyncio.gather(
            *(self._sample(question, chat, index, paid) for index in range(n)), return_exceptions=True
        )
        errors = [result for result in results if isinstance(result, BaseException)]
        unknown = [error for error in errors if not isinstance(error, ModelError)]
        if unknown:
            raise unknown[0]
        failed = [error for error in errors if isinstance(error, ModelError)]
        if failed and len(failed) == n:
            raise failed[0]
        return [_failed(self.name, chat, result) if isinstance(result, BaseException) else result for result in results]

    async def _sample(self, question: Question, chat: Chat, index: int, paid: list[Usage]) -> Reply:
        wasted: list[Usage] = []
        try:
            reply = await self._retried(chat, self._params(question, index), wasted, paid)
            paid.append(reply.usage)
        except ModelError as error:
            charge(error, sum(wasted, Usage()))
            raise
        if not wasted:
            return reply
        return replace(reply, retries=len(wasted), usage=sum(wasted, reply.usage))

    async def _retried(self, chat: Chat, params: dict[str, Any], wasted: list[Usage], paid: list[Usage]) -> Reply:
        """The first reply that is whole. `wasted`, and `paid`, get the usage of each request before it."""

        last: PassingTrouble | None = None

        async def attempt() -> Reply:
            nonlocal last
            try:
                reply = await self._attempt(chat, params)
                self._reached = True
                return reply
            except PassingTrouble as trouble:
                last = trouble
                self._reached = self._reached or not isinstance(trouble, Unreachable)
                wasted.append(trouble.usage)
                paid.append(trouble.usage)
                raise

        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(PassingTrouble),
            wait=_wait,
            stop=self._patience,
            reraise=True,
        )
        async with self._slots.free:
            try:
                async with asyncio.timeout(self._deadline):
                    return await retrying(attempt)
            except TimeoutError:
                text = f"{self.name}: no answer within {self._deadline:g} s, retries included; raise `deadline`"
                raise ModelUnavailable(f"{text}; the last try before it: {last}" if last else text) from last
            except PassingTrouble as trouble:
                early = trouble.wait and len(wasted) <= self._retries
                limit = f", more than `deadline` ({self._deadline:g} s) leaves" if early else ""
                raise ModelUnavailable(f"{trouble}{limit} (tries: {len(wasted)})") from trouble

    def _patience(self, state: tenacity.RetryCallState) -> bool:
        """Whether it was tried often enough. Where no server was ever met, the address is likely to be wrong."""
        tries = self._retries + 1 if self._reached else min(self._retries + 1, FIRST_TRIES)
        stop = tenacity.stop_after_attempt(tries) | tenacity.stop_before_delay(self._deadline)
        return bool(stop(state))

    async def _attempt(self, chat: Chat, params: dict[str, Any]) -> Reply:
        """One reply. A request that may have been refused for what it asked for beside the text is made again."""
        asks = self._capture.asks
        try:
            return await self._asked(chat, params, asks)
        except ModelError as error:
            if not (asks and self._capture.refused(error)):
                raise
        return await self._asked(chat, params, False)

    async def _asked(self, chat: Chat, params: dict[str, Any], capture: bool) -> Reply:
        """One request. The time-out is kept here as well: clients do not see every stall."""
        captured: list[Any] = []
        request = self._request(chat, params, capture)
        started = time.perf_counter()
        try:
            async with asyncio.timeout(self._timeout):
                response = await _complete(request, captured)
        except Exception as error:
            known = classify(error, self.name, self._base_url, self._secrets())
            if known is error:
                raise
            raise known from error
        latency = (time.perf_counter() - started) * 1000
        got = answered(response, captured[-1] if captured else None)
        reply = to_reply(got, chat.messages, name=self.name, price=self.options.price, sampling=params)
        self._capture.heard(capture, reply)
        if reply.sampling["cost_source"] == "reported":
            self._rate = max(self._rate, reply.usage.usd / reply.usage.tokens)
        return replace(reply, latency_ms=latency)

    def _secrets(self) -> list[str | None]:
        """What a server may send back and nobody may read."""
        extra = self.options.extra or {}
        headers = [self.options.headers, extra.get("extra_headers"), extra.get("headers")]
        values = [str(value) for one in headers for value in dict(one or {}).values()]
        return [self._api_key, extra.get("api_key"), *values]

    def _most(self, question: Question) -> int:
        """Most tokens of a reply."""
        told = question.max_tokens or self.options.max_tokens
        return told or TOKENS.get(question.role, TOKENS["plan"]) * (THINKING if thinks(self.name) else 1)

    def _params(self, question: Question, index: int) -> dict[str, Any]:
        """Sampling parameters, less what the provider does not take. Each sample has a seed of its own."""
        wanted = {
            "temperature": self.temperature if question.temperature is None else question.temperature,
            "top_p": self.options.top_p,
            "reasoning_effort": self.options.reasoning_effort,
            "max_tokens": self._most(question),
            "seed": None if question.seed is None else question.seed + index,
        }
        return accepted(self.name, {key: value for key, value in wanted.items() if value is not None})

    def _request(self, chat: Chat, params: dict[str, Any], capture: bool) -> dict[str, Any]:
        request: dict[str, Any] = {
            "model": self.name,
            "messages": [wire(message) for message in chat.messages],
            "api_base": self._base_url,
            "api_key": self._api_key,
            "timeout": self._timeout,
            "max_retries": 0,
            "num_retries": 0,
            "drop_params": True,
            **params,
        }
        if chat.tools:
            request["tools"] = list(chat.tools)
            request["tool_choice"] = chat.tool_choice
            request["_skip_mcp_handler"] = True  # litellm would load its proxy, which needs further packages
        if chat.response_format is not None and self.options.structured is not False:
            request["response_format"] = chat.response_format
        if self.options.headers:
            request["extra_headers"] = self.options.headers
        if capture:
            request |= accepted(self.name, {"logprobs": True})
        if body := ({"return_token_ids": True} if capture else {}) | (self.options.extra_body or {}):
            request["extra_body"] = body
        return request | (self.options.extra or {})


async def _complete(request: dict[str, Any], captured: list[Any]) -> Any:
    """The completion; the bodies that litellm logs go to `captured`.

    litellm makes the coroutine of a request in a thread. Cancelled there, it would leave one that nobody
    awaits, so a cancellation waits until the request has begun.
    """
    loop = asyncio.get_running_loop()
    begun = asyncio.Event()
    bodies: list[dict[str, Any]] = []
    BODY.set(bodies)

    def log(details: dict[str, Any]) -> None:
        captured.append(bodies[-1] if bodies else details.get("original_response"))
        loop.call_soon_threadsafe(begun.set)

    # litellm stores a cost that came as text where pydantic wants a number, and writes it out in threads of its own,
    # so only a filter for the process keeps pydantic's complaint off stderr. `completion.reported` reads the text.
    warnings.filterwarnings("ignore", r"(?s)Pydantic serializer warnings:.*field_name='cost'", UserWarning)
    task = asyncio.ensure_future(litellm().acompletion(**request, logger_fn=log))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        beginning = asyncio.ensure_future(begun.wait())
        await asyncio.wait({task, beginning}, timeout=GRACE, return_when=asyncio.FIRST_COMPLETED)
        task.cancel()
        beginning.cancel()
        await asyncio.gather(task, beginning, return_exceptions=True)
        raise


def address(url: str) -> str:
    """A base URL as it is. Raises SetupError, which does not repeat a password, where it is no http(s) URL."""
    try:
        parts = urlsplit(url.strip())
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fits = False
    if fits and "@" not in parts.netloc:
        return url.strip()
    if "@" in url:
        raise SetupError(
            "the base URL holds a user or password, which would end up in logs; leave out what stands before the @ "
            "and give the key by SUREFOOT_API_KEY"
        )
    raise SetupError(f"{url!r} is no base URL: write it as in http://127.0.0.1:8000/v1")


def _sound(chat: Chat) -> Chat:
    """The chat as it can be sent: JSON that goes over the wire has no place for lone surrogates."""
    tools = tuple(sound_json(tool) for tool in chat.tools)
    return replace(
        chat, messages=sound_messages(chat.messages), tools=tools, response_format=sound_json(chat.response_format)
    )


def canonical(name: str) -> str:
    """litellm's spelling. Only a colon before the first slash parts provider and model: `ollama/llama3:8b`."""
    provider, separator, model = name.partition("/")
    if ":" in provider:
        provider, separator, model = name.partition(":")
    if not provider.strip() or not separator or not model.strip():
        raise SetupError(
            f"{name!r} names no model: write provider/model (openai/gpt-5.1), pocket for the packaged weights, "
            "or local/<path> for weights of your own"
        )
    return f"{provider.strip()}/{model.strip()}"


_backoff = tenacity.wait_random_exponential(multiplier=0.5, max=MAX_WAIT)


def _wait(state: tenacity.RetryCallState) -> float:
    """The longer of what the server asked for and a random exponential wait, so that callers spread out.

    What the server asks for has no cap but the deadline: asking earlier would be refused again.
    """
    error = state.outcome.exception() if state.outcome else None
    asked = error.wait if isinstance(error, PassingTrouble) and error.wait is not None else 0.0
    return max(asked, _backoff(state))


def _failed(name: str, chat: Chat, error: BaseException) -> Reply:
    return Reply("", chat.messages, error=f"this sample failed: {error}", usage=charged(error), model=name)
