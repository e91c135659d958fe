"""Sampling from local weights: prompts are read once, samples join and leave a batch between tokens, exact ids and
log-probabilities."""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Collection, Sequence

import numpy as np
import torch

from surefoot.models.local.foreign import Foreign
from surefoot.models.local.fused import Fused, fits
from surefoot.models.local.graph import Captured
from surefoot.models.local.prompts import Read
from surefoot.models.local.rows import Rows, Sample
from surefoot.models.local.sampler import Drawn, Request
from surefoot.models.local.threads import Threads
from surefoot.models.local.weights import Weights

BLOCK = 64
"""Tokens by which the room for ids grows."""
KEPT = 1 << 28
"""Bytes of keys and values for which there stays room while nothing is under way."""
LOOK = 8
"""Tokens after which whoever waits is asked what is still wanted."""
SHARE = 8
"""A batch is joined at once by an eighth of its rows: reading few prompts costs nearly as much as reading many."""


class Decoder:
    """A TokenSampler of a network in this process. Not for two threads at once."""

    def __init__(
        self, weights: Weights, *, rows: int = 256, prompt_logprobs: bool = True, threads: int | None = None
    ) -> None:
        """`rows` is the most samples that are drawn at once. `threads` is torch's number of threads while it works;
        None: one or as many as torch has, what is faster."""
        self._weights = weights.network
        self._network: Fused | Foreign = (Fused if fits(weights.network) else Foreign)(weights.network)
        self._device = weights.network.device
        goes_on = torch.ones(weights.network.config.get_text_config().vocab_size, dtype=torch.bool)
        goes_on[[id for id in weights.ends if id < len(goes_on)]] = False
        self._goes_on = goes_on.to(self._device)
        self._last = weights.ends
        self._most = rows
        self._told = prompt_logprobs
        self._threads = Threads(threads), Threads(threads)
        """For prompts, and for one more token of each row."""
        self._captured = Captured(self._device)
        self._waiting: deque[Sample] = deque()
        self._waited = 0
        """Tokens that were drawn since a sample came that waits."""
        self._spare = 0
        """Tokens for which a quarter of the rows were over."""
        self._ended: list[Drawn] = []
        self._usual = 0
        """Tokens of the longest samples of late."""
        self._clear()

    def _clear(self) -> None:
        self._rows: Rows | None = None
        self._samples: list[Sample | None] = []
        """By row; None where nothing is under way."""
        self._places = np.zeros(0, dtype=np.int64)
        """Of the last token of each row, or further on; 0 where nothing is under way."""
        self._counts = np.zeros(0, dtype=np.int64)
        """Tokens of each row, or more."""
        self._network.clear()

    def add(self, number: int, request: Request) -> None:
        self._waiting.extend(Sample(number, request, index) for index in range(request.count))

    @torch.inference_mode()
    def drop(self, numbers: Collection[int]) -> None:
        wanted = set(numbers)
        if not wanted:
            return
        self._waiting = deque(one for one in self._waiting if one.number not in wanted)
        for row, sample in enumerate(self._samples):
            if sample is not None and sample.number in wanted:
                self._leave(row)

    def _leave(self, row: int) -> None:
        self._samples[row], self._places[row], self._counts[row] = None, 0, 0
        if self._rows is not None:
            self._rows.live[row] = False

    @torch.inference_mode()
    def step(self) -> list[Drawn]:
        if training := self._weights.training:
            self._weights.eval()
        try:
            self._network.renew()
            self._admit()
            for _ in range(LOOK):
                if not self._captured.captures:
                    self._collect()
                if self._ended or not self._places.any():
                    break
                self._fit()
                self._token()
            self._collect()
            if not self._waiting and not self._places.any() and self._network.memory > KEPT:
                self._clear()
            ended, self._ended = self._ended, []
            return ended
        except BaseException:
            self._waiting.clear()
            self._ended = []
            self._clear()
            raise
        finally:
            if training:
                self._weights.train()

    # --- joining ---

    def _admit(self) -> None:
        """Reads the prompts of samples that wait, and gives them rows."""
        under_way = int(np.count_nonzero(self._places))
        free = self._most - under_way
        if not self._waiting or free < 1 or (under_way and not self._network.joins):
            return
        if min(len(self._waiting), free) * SHARE < under_way and self._waited < LOOK:
            return
        self._waited = self._spare = 0
        samples = [self._waiting.popleft() for _ in range(min(free, len(self._waiting)))]
        if not under_way:
            self._begin_anew(max(len(one.request.prompt) for one in samples))
        places: dict[bytes, list[Sample]] = {}
        for sample in samples:
            places.setdefault(sample.request.prompt.tobytes(), []).append(sample)
        alike = list(places.values())
        prompts = [ones[0].request.prompt for ones in alike]
        with self._threads[0].turn(sum(map(len, prompts))):
            for read in self._network.prompts(prompts, self._told):
                self._begin(read, [alike[at] for at in read.which])

    def _begin(self, read: Read, alike: list[list[Sample]]) -> None:
        """The first token of samples of prompts that were read, and a row for each that goes on."""
        samples, prompts = [], []
        for at, ones in enumerate(alike):
            for place, one in enumerate(ones):
                length = len(one.request.prompt)
                cached = length if place else read.shared if at or read.again else 0
                samples.append(Sample(one.number, one.request, one.index, read.told[at], cached))
                prompts.append(at)
        made = Rows.beginning(samples, self._device)
        which = torch.tensor(prompts, device=self._device)
        made.take(read.logits[which], self._goes_on, False)
        self._ended += self._drawn(samples, made, [row for row, on in enumerate(made.live.tolist()) if not on])
        on = made.live.nonzero().flatten()
        if not len(on):
            return
        made = made.kept(on)
        staying = [samples[row] for row in on.tolist()]
        if self._rows is None:
            made.room(BLOCK)
        rows = self._free(len(staying), made)
        # What was read is as wide as the longest prompt, also where no sample of that one goes on.
        self._network.fit(max(len(ones[0].request.prompt) for ones in alike), self._usual)
        self._network.join(rows, which[on], read)
        assert self._rows is not None
        self._rows.put(torch.tensor(rows, device=self._device), made)
        for row, sample in zip(rows, staying, strict=True):
            self._samples[row], self._places[row], self._counts[row] = sample, len(sample.request.prompt), 1

    def _begin_anew(self, prompt: int) -> None:
        """Nothing is under way. What there is of room stays, unless it is far too much: memory takes time to get."""
        if self._rows is None or not self._network.joins or self._network.room > 2 * (prompt + self._usual):
            self._clear()
        else:
            self._rows.plain = True

    def _size(self, rows: int) -> int:
        """Rows that there are for so many: a power of two where each number is another graph."""
        return max(8, 1 << (rows - 1).bit_length()) if self._captured.captures else rows

    def _free(self, count: int, like: Rows) -> list[int]:
        """So many rows with nothing under way; there may have to be more for that, the first of them `like` others."""
        free = [row for row, sample in enumerate(self._samples) if sample is None]
        size = len(self._samples)
        if count > len(free):
            more = self._size(size - len(free) + count) - size
            rows = torch.arange(size + more, device=self._device)
            self._network.keep(rows.remainder(max(size, 1)))
            if self._rows is None:
                self._rows = like.kept(rows.remainder(len(like.live)))
            else:
                self._rows = self._rows.kept(rows.remainder(size))
            self._rows.live[size:] = False
            free += range(size, size + more)
            self._samples += [None] * more
            self._places, self._counts = (np.append(one, [0] * more) for one in (self._places, self._counts))
        return free[:count]

    # --- going on ---

    def _fit(self) -> None:
        """Room for one more token of each row; rows that are over go, once a quarter of all are that for a while."""
        assert self._rows is not None
        staying = np.flatnonzero(self._places)
        size = self._size(len(staying))
        spare = size * 4 <= len(self._samples) * 3 and not (self._waiting and self._network.joins)
        self._spare = self._spare + 1 if spare else 0
        if self._spare > LOOK:
            self._spare = 0
            others = np.flatnonzero(self._places == 0)[: size - len(staying)]
            staying = np.concatenate([staying, others])
            rows = torch.from_numpy(staying).to(self._device)
            self._network.keep(rows)
            self._rows = self._rows.kept(rows)
            self._samples = [self._samples[row] for row in staying]
            self._places, self._counts = self._places[staying], self._counts[staying]
        self._network.fit(int(self._places.max()), 0)
        longest = int(self._counts.max()) + 1
        if longest >= self._rows.ids.shape[1]:
            self._rows.room(longest + BLOCK)

    def _token(self) -> None:
        """One more token of each row."""
        assert self._rows is not None
        rows = self._rows
        key = (id(rows), rows.plain, rows.ids.shape[1], self._network.layout)
        ahead = not self._captured.captures

        def work() -> None:
            rows.take(self._network.forward(rows.token, rows.place), self._goes_on, ahead)

        with self._threads[1].turn(len(rows.live)):
            self._captured(key, work)
        self._network.moved()
        under_way = self._places > 0
        self._places += under_way
        self._counts += under_way
        self._waited += bool(self._waiting)

    def _collect(self) -> None:
        """Takes the samples out of the batch that are over."""
        if self._rows is None:
            return
        over = np.flatnonzero(~self._rows.live.cpu().numpy() & (self._places > 0)).tolist()
        self._ended += self._drawn(self._samples, self._rows, over)
        for row in over:
            self._samples[row], self._places[row], self._counts[row] = None, 0, 0

    def _drawn(self, samples: Sequence[Sample | None], rows: Rows, over: Sequence[int]) -> list[Drawn]:
        """The samples of rows that are over, copied to the host at once."""
        if not over:
            return []
        which = torch.tensor(over, device=self._device)
        counts = rows.count[which].tolist()
        most = max(counts)
        self._usual = max(most, self._usual - self._usual // SHARE)
        ids, logprobs = rows.ids[which, :most].cpu().numpy(), rows.logprobs[which, :most].cpu().numpy()
        found = []
        for at, (row, count) in enumerate(zip(over, counts, strict=True)):
            sample = samples[row]
            assert sample is not None
            last = int(ids[at, count - 1])
            found.append(
                Drawn(
                    sample.number,
                    sample.index,
                    array("i", ids[at, :count].tobytes()),
                    array("f", logprobs[at, :count].tobytes()),
                    "stop" if last in self._last else "length",
                    sample.prompt_logprobs,
                    sample.cached,
                )
            )
        return found
