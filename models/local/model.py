"""Models with local weights: concurrent questions are batched, ids and log-probabilities kept exactly."""

from __future__ import annotations

import secrets
import threading
import time
from array import array
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from surefoot.models.encodable import sound, sound_messages
from surefoot.models.local.batcher import Batcher, Job
from surefoot.models.local.dialects import Dialect, Name, dialect
from surefoot.models.local.sampler import Draw, Drawn, TokenSampler
from surefoot.models.local.weights import Weights, load_weights
from surefoot.models.question import ChatMessage, Question, Reply
from surefoot.storage.errors import ModelRefused
from surefoot.storage.fork import Forked, watch
from surefoot.storage.records import Policy, Usage

MAX_TOKENS = 512
KEPT = 256
"""The most questions whose encoding is kept between their estimate and their being asked."""


@dataclass(frozen=True, slots=True)
class _Encoded:
    question: Question
    prompt: tuple[ChatMessage, ...]
    ids: array[int]
    """int32"""


@dataclass(frozen=True, slots=True)
class _Asked:
    question: Question
    n: int
    encoded: _Encoded | None
    """None: it is left to the worker thread."""


@dataclass(slots=True)
class _Answering:
    """A question inside a batch."""

    job: Job[_Asked, list[Reply]]
    encoded: _Encoded
    replies: list[Reply | None]
    seed: int
    limit: int
    temperature: float


class LocalModel(Forked):
    """Weights in a folder (or of a Hub id), asked with transformers on this machine.

    Questions asked at the same time are answered in one batch, in a worker thread; equal prompts are read
    once. A sample is decided by (prompt, seed, sample index) alone, never by what is in the batch beside it,
    up to ties within float rounding. A question without a seed gets a random one; `Reply.sampling` has it.
    """

    def __init__(
        self,
        source: str | Path | Weights,
        *,
        name: str | None = None,
        dialect: Name | Dialect = "chat",
        temperature: float = 1.0,
        max_tokens: int = MAX_TOKENS,
        max_batch: int = 256,
        prompt_logprobs: bool = True,
        device: str | None = None,
        dtype: str | None = None,
        threads: int | None = None,
        sampler: TokenSampler | None = None,
    ) -> None:
        """`max_batch` is in samples. `threads` is torch's number of threads while it works; None leaves it alone.
        `sampler` draws the tokens in place of the network of `source`.

        `temperature` and `max_tokens` stand in where a question has none. Raises MissingExtra without torch and
        transformers, SetupError where `source` holds no weights.
        """
        self._weights = source if isinstance(source, Weights) else load_weights(source, device=device, dtype=dtype)
        self.name = name or f"local/{self._weights.folder.name if self._weights.folder else 'memory'}"
        self._dialect = _dialect(dialect) if isinstance(dialect, str) else dialect
        self.temperature = temperature
        self._max_tokens = max_tokens
        self._max_batch = max_batch
        self._tokenizing = threading.Lock()  # fast tokenizers may not be used by two threads at once
        self._ids = _encoder(self._weights.tokenizer)
        self._kept: OrderedDict[int, _Encoded] = OrderedDict()
        """By the identity of the question, which cannot be hashed; the longest unused first."""
        if sampler is None:
            from surefoot.models.local.decode import Decoder

            sampler = Decoder(self._weights, prompt_logprobs=prompt_logprobs, threads=threads)
        self._sampler = sampler
        self.prompt_tokens = 0
        """Prompt tokens that were read so far; equal prompts of a batch count once."""
        self._batcher: Batcher[_Asked, list[Reply]] = Batcher(self._work, most=max_batch)
        self._elsewhere = False
        """Its weights are where only the parent of this process gets at them."""
        watch(self)

    def renew(self) -> None:
        self._tokenizing = threading.Lock()
        self._elsewhere = self._weights.network.device.type != "cpu"

    @property
    def policy(self) -> Policy:
        return replace(self._weights.policy, model=self.name)

    def estimate(self, question: Question, n: int = 1) -> Usage:
        if self.beyond(question):
            return Usage(samples=n)
        prompt = len(self._encode(question).ids)
        return Usage(0, n, prompt * n, self._limit(question, prompt) * n)

    async def ask(self, question: Question, n: int = 1) -> list[Reply]:
        beyond = self.beyond(question)
        encoded = self._kept.pop(id(question), None)
        if beyond is not None:
            text = f"{self.name}: {beyond}; set SUREFOOT_MODEL, or model=, to one that can, such as openai/gpt-5.1"
            return [Reply("", (), error=text, unknown=True, model=self.name, usage=Usage()) for _ in range(n)]
        if self._elsewhere:
            raise ModelRefused(
                f"{self.name}: its weights were put on the GPU before the process forked, and a forked child cannot "
                "use that GPU: make the model, or the engine, in the child, or start it by the method 'spawn'"
            )
        return await self._batcher.ask(_Asked(question, n, encoded), n)

    def beyond(self, question: Question) -> str | None:
        """Why the model cannot be asked this at all, so that its answer is `unknown`; None where it can."""
        return self._dialect.beyond(question)

    # --- in the worker thread ---

    def _work(self, jobs: list[Job[_Asked, list[Reply]]]) -> None:
        started = time.perf_counter()
        answering = [entry for job in jobs if (entry := self._begin(job)) is not None]
        wanted = [(entry, index) for entry in answering for index in range(entry.job.asked.n)]
        for start in range(0, len(wanted), self._max_batch):
            self._draw(wanted[start : start + self._max_batch], started)

    def _begin(self, job: Job[_Asked, list[Reply]]) -> _Answering | None:
        question = job.asked.question
        try:
            encoded = job.asked.encoded or self._encode(question, keep=False)
            prompt = len(encoded.ids)
            limit = self._limit(question, prompt)
            if not prompt or limit < 1:
                raise ModelRefused(
                    f"{self.name}: a prompt of {prompt} tokens leaves no room for a reply "
                    f"(window {self._weights.window}); shorten the inputs"
                )
        except ModelRefused as error:
            job.fail(error)
            return None
        seed = secrets.randbits(31) if question.seed is None else question.seed
        heat = self.temperature if question.temperature is None else question.temperature
        return _Answering(job, encoded, [None] * job.asked.n, seed, limit, heat)

    def _draw(self, wanted: Sequence[tuple[_Answering, int]], started: float) -> None:
        """One batch: distinct prompts once, then every sample. A question is told as its last sample ends."""
        keys = [entry.encoded.ids.tobytes() for entry, _ in wanted]
        places = {key: place for place, key in enumerate(dict.fromkeys(keys))}
        prompts = [array("i", key) for key in places]
        draws = [
            Draw(places[key], entry.seed, index, entry.limit, entry.temperature)
            for key, (entry, index) in zip(keys, wanted, strict=True)
        ]
        first = set({key: at for at, key in reversed([*enumerate(keys)])}.values())
        self.prompt_tokens += sum(map(len, prompts))
        with closing(self._sampler.sample(prompts, draws)) as sampling:
            for ended in sampling:
                for drawn in ended:
                    entry, index = wanted[drawn.draw]
                    latency = (time.perf_counter() - started) * 1000
                    reply = self._reply(entry, draws[drawn.draw], drawn, drawn.draw in first, latency)
                    entry.replies[index] = reply
                    if None not in entry.replies:
                        entry.job.tell([reply for reply in entry.replies if reply is not None])
                self._sampler.drop([at for at, (entry, _) in enumerate(wanted) if entry.job.future.cancelled()])

    def _reply(self, entry: _Answering, draw: Draw, drawn: Drawn, first: bool, latency: float) -> Reply:
        kept = drawn.ids[:-1] if drawn.finish_reason == "stop" else drawn.ids
        with self._tokenizing:
            text = self._weights.tokenizer.decode(list(kept), skip_special_tokens=True)
        prompt = len(entry.encoded.ids)
        reply = Reply(
            text=text,
            prompt=entry.encoded.prompt,
            finish_reason=drawn.finish_reason,
            usage=Usage(0, 1, prompt, len(drawn.ids), 0 if first else prompt),
            usage_source="counted",
            model=self.name,
            revision=self.policy.revision,
            latency_ms=latency,
            sampling={name: getattr(draw, name) for name in ("temperature", "max_tokens", "seed", "index")},
            prompt_ids=entry.encoded.ids,
            token_ids=drawn.ids,
            logprobs=drawn.logprobs,
            prompt_logprobs=drawn.prompt_logprobs,
        )
        return self._dialect.read(entry.job.asked.question, reply)

    # --- prompts ---

    def _encode(self, question: Question, keep: bool = True) -> _Encoded:
        """The question as the weights see it. `keep`: what comes next, an estimate or `ask`, takes it from there."""
        with self._tokenizing:
            encoded = self._kept.pop(id(question), None)
            if encoded is None:
                prompt, text = self._dialect.prompt(question, self._weights.tokenizer)
                # Templates and dialects write the special tokens out; the tokenizer must not add them again.
                encoded = _Encoded(question, sound_messages(prompt), array("i", self._ids(sound(text))))
            if keep:
                self._kept[id(question)] = encoded
                if len(self._kept) > KEPT:
                    self._kept.popitem(last=False)
        return encoded

    def _limit(self, question: Question, prompt: int) -> int:
        return min(question.max_tokens or self._max_tokens, self._weights.window - prompt)


_dialect = dialect


def _encoder(tokenizer: Any) -> Callable[[str], Sequence[int]]:
    """The text's token ids, nothing added or cut off; past what transformers wraps around a fast tokenizer."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return lambda text: list(tokenizer.encode(text, add_special_tokens=False))
    backend.no_truncation()
    backend.no_padding()
    return lambda text: list(backend.encode(text, add_special_tokens=False).ids)
