"""What a run has spent."""

from __future__ import annotations

from surefoot.storage.records import Usage


class Tally:
    """A sum of usages that grows in place: it is added to several times a step."""

    __slots__ = ("attempts", "cached", "completion", "prompt", "samples", "usd")

    def __init__(self) -> None:
        self.attempts = self.samples = self.prompt = self.completion = self.cached = 0
        self.usd = 0.0

    def add(self, usage: Usage, times: int = 1) -> None:
        self.attempts += times * usage.attempts
        self.samples += times * usage.samples
        self.prompt += times * usage.prompt_tokens
        self.completion += times * usage.completion_tokens
        self.cached += times * usage.cached_tokens
        self.usd += times * usage.usd

    @property
    def tokens(self) -> int:
        return self.prompt + self.completion

    @property
    def usage(self) -> Usage:
        return Usage(self.attempts, self.samples, self.prompt, self.completion, self.cached, self.usd)
