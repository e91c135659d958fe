"""Models with local weights: concurrent questions are batched, ids and log-probabilities kept exactly."""

from __future__ import annotations

import secrets
import sys
import threading
import time
from array import array
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from surefoot.models.encodable import sound, sound_messages
from surefoot.models.local.dialects import Beyond, Dialect, Name, dialect
from surefoot.models.local.feeder import Feeder, Job
from surefoot.models.local.sampler import Request, TokenSampler
from surefoot.models.local.weights import Weights, load_weights
from surefoot.models.question import ChatMessage, Question, Reply
from surefoot.storage.errors import ModelRefused, SetupError
from surefoot.storage.fork import Forked, watch
from surefoot.storage.records import Policy, Usage

if TYPE_CHECKING:
    from surefoot.models.local.remote import WorkerSampler

MAX_TOKENS = 512
KEPT = 256
"""The most questions whose encoding is kept between their estimate and their being asked."""


@dataclass(frozen=True, slots=True)
class Encoded:
    question: Question
    prompt: tuple[ChatMessage, ...]
    ids: array[int]
    """int32"""


@dataclass(slots=True)
class _Asked:
    question: Question
    n: int
    encoded: Encoded | None
    """None: it is left to the feeder's thread."""
    request: Request | None = None


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
        worker: bool = False,
        sampler: TokenSampler | None = None,
    ) -> None:
        """`max_batch` is in samples. `threads` is torch's number of threads while it works; None: one or
        as many as torch has, what is faster.
        worker: a process of its own has the weights, which all engines of this machine share that want them in the same
        way; it is started where it is missing. `sampler` draws the tokens in place of the network of `source`.

        `temperature` and `max_tokens` stand in where a question has none. Raises MissingExtra without torch and
        transformers, SetupError where `source` holds no weights.
        """
        self._weights = (
            source
            if isinstance(source, Weights)
            else load_weights(source, device=device, dtype=dtype, network=not worker)
        )
        self.name = name or f"local/{self._weights.folder.name if self._weights.folder else 'memory'}"
        self._dialect = _dialect(dialect) if isinstance(dialect, str) else dialect
        self.temperature = temperature
        self._max_tokens = max_tokens
        self._max_batch = max_batch
        self._tokenizing = threading.Lock()  # fast tokenizers may not be used by two threads at once
        self._ids, self._texts = _coder(self._weights.tokenizer)
        self._kept: OrderedDict[int, Encoded] = OrderedDict()
        """By the identity of the question, which cannot be hashed; the longest unused first."""
        if worker and sampler is not None:
            raise SetupError("give a sampler, or worker=True for the one of a process of its own")
        if worker:
            wanted = {"rows": max_batch, "prompt_logprobs": prompt_logprobs, "threads": threads}
            sampler = remote = _remote(self._weights.folder, device=device, dtype=dtype, **wanted)
            self._window = remote.holds["window"]
        else:
            self._window = self._weights.window
        if sampler is None:
            from surefoot.models.local.decode import Decoder

            sampler = Decoder(self._weights, rows=max_batch, prompt_logprobs=prompt_logprobs, threads=threads)
        self._sampler = sampler
        self.prompt_tokens = 0
        """Prompt tokens that were read so far; what several samples share counts once."""
        self._feeder: Feeder[_Asked, list[Reply]] = Feeder(sampler, self._begin, self._tell, most=max_batch)
        self._elsewhere = False
        """Its weights are where only the parent of this process gets at them."""
        watch(self)

    def renew(self) -> None:
        self._tokenizing = threading.Lock()
        self._elsewhere = self._weights.network is not None and self._weights.network.device.type != "cpu"

    @property
    def policy(self) -> Policy:
        return replace(self._weights.policy, model=self.name)

    def estimate(self, question: Question, n: int = 1) -> Usage:
        try:
            prompt = len(self._encode(question).ids)
        except Beyond:
            return Usage(samples=n)
        return Usage(0, n, prompt * n, self._limit(question, prompt) * n)

    async def ask(self, question: Question, n: int = 1) -> list[Reply]:
        encoded = self._kept.pop(id(question), None)
        if self._elsewhere:
            raise ModelRefused(
                f"{self.name}: its weights were put on the GPU before the process forked, and a forked child cannot "
                "use that GPU: make the model, or the engine, in the child, or start it by the method 'spawn'"
            )
        try:
            return await self._feeder.ask(_Asked(question, n, encoded), n)
        except Beyond as beyond:
            text = f"{self.name}: {beyond}; set SUREFOOT_MODEL, or model=, to one that can, such as openai/gpt-5.1"
            return [Reply("", (), error=text, unknown=True, model=self.name, usage=Usage()) for _ in range(n)]

    # --- in the feeder's thread ---

    def _begin(self, asked: Sequence[_Asked]) -> list[Request | BaseException]:
        return [self._request(one) for one in asked]

    def _request(self, asked: _Asked) -> Request | BaseException:
        question = asked.question
        try:
            asked.encoded = encoded = asked.encoded or self._encode(question, keep=False)
        except (Beyond, ModelRefused) as error:
            return error
        limit = self._limit(question, len(encoded.ids))
        if not encoded.ids or limit < 1:
            return ModelRefused(
                f"{self.name}: a prompt of {len(encoded.ids)} tokens leaves no room for a reply "
                f"(window {self._window}); shorten the inputs"
            )
        seed = secrets.randbits(31) if question.seed is None else question.seed
        heat = self.temperature if question.temperature is None else question.temperature
        asked.request = request = Request(encoded.ids, seed, asked.n, limit, heat)
        return request

    def _tell(self, jobs: Sequence[Job[_Asked, list[Reply]]]) -> list[list[Reply]]:
        """The replies of questions that were answered at the same time, their samples in order."""
        now, revision = time.perf_counter(), self.policy.revision
        drawn = [one for job in jobs for one in sorted(job.drawn, key=lambda one: one.index)]
        with self._tokenizing:
            kept = [one.ids[:-1] if one.finish_reason == "stop" else one.ids for one in drawn]
            texts = iter(self._texts([ids.tolist() for ids in kept]))
        told, samples = [], iter(drawn)
        for job in jobs:
            encoded, request = job.asked.encoded, job.asked.request
            assert encoded is not None and request is not None
            replies = []
            for _ in range(job.count):
                one = next(samples)
                prompt = len(encoded.ids)
                self.prompt_tokens += prompt - one.cached
                reply = Reply(
                    text=next(texts),
                    prompt=encoded.prompt,
                    finish_reason=one.finish_reason,
                    usage=Usage(0, 1, prompt, len(one.ids), one.cached),
                    usage_source="counted",
                    model=self.name,
                    revision=revision,
                    latency_ms=(now - job.begun) * 1000,
                    retries=one.retries,
                    sampling={
                        "temperature": request.temperature,
                        "max_tokens": request.max_tokens,
                        "seed": request.seed,
                        "index": one.index,
                    },
                    prompt_ids=encoded.ids,
                    token_ids=one.ids,
                    logprobs=one.logprobs,
                    prompt_logprobs=one.prompt_logprobs,
                )
                replies.append(self._dialect.read(job.asked.question, reply))
            told.append(replies)
        return told

    # --- prompts ---

    def _encode(self, question: Question, keep: bool = True) -> Encoded:
        """The question as the weights see it. Raises Beyond where it cannot be asked at all.

        keep: what comes next, an estimate or `ask`, takes it from there.
        """
        with self._tokenizing:
            encoded = self._kept.pop(id(question), None)
            if encoded is None:
                prompt, text = self._dialect.prompt(question, self._weights.tokenizer)
                # Templates and dialects write the special tokens out; the tokenizer must not add them again.
                encoded = Encoded(question, sound_messages(prompt), array("i", self._ids(sound(text))))
            if keep:
                self._kept[id(question)] = encoded
                if len(self._kept) > KEPT:
                    self._kept.popitem(last=False)
        return encoded

    def _limit(self, question: Question, prompt: int) -> int:
        return min(question.max_tokens or self._max_tokens, self._window - prompt)


_dialect = dialect


def _remote(folder: Path | None, **wanted: Any) -> WorkerSampler:
    """Raises SetupError for weights that exist only in this process, and where there are no Unix sockets."""
    if folder is None:
        raise SetupError("a worker loads weights from a folder: save these to one, or leave worker=True out")
    if sys.platform == "win32":
        raise SetupError("weights in a process of their own need Unix sockets: leave worker=True out")
    from surefoot.models.local.remote import WorkerSampler
    from surefoot.models.local.wire import Wanted

    return WorkerSampler(Wanted(folder=str(folder.resolve()), **wanted))


def _coder(tokenizer: Any) -> tuple[Callable[[str], Sequence[int]], Callable[[list[list[int]]], list[str]]]:
    """From a text to its token ids, nothing added or cut off; and from ids to their texts, without special tokens.

    Past what transformers wraps around a fast tokenizer, where that would change nothing.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)

    def texts(ids: list[list[int]]) -> list[str]:
        if backend is None or getattr(tokenizer, "clean_up_tokenization_spaces", False):
            return [str(tokenizer.decode(one, skip_special_tokens=True)) for one in ids]
        return list(backend.decode_batch(ids, skip_special_tokens=True))

    if backend is None:
        return lambda text: list(tokenizer.encode(text, add_special_tokens=False)), texts
    backend.no_truncation()
    backend.no_padding()
    return lambda text: list(backend.encode(text, add_special_tokens=False).ids), texts
