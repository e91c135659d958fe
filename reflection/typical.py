"""Does the text look like what the model was trained on?

A small model answers a question that it has never seen the like of as readily as any other. What it finds
surprising in the question itself tells: the log-probabilities of the prompt's own tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, astuple, dataclass
from math import ceil, isnan

from surefoot.reflection.base import VerifierBase, digest
from surefoot.reflection.verifier import Case
from surefoot.storage.records import Verdict


@dataclass(frozen=True)
class Surprise:
    """Negative log-probabilities of a prompt's tokens, in nats."""

    mean: float
    """Of all tokens."""
    worst: float
    """Of the token that surprises most: one strange word is lost in the mean of a long text."""
    again: float
    """Of the token that surprises most among those that the text holds already; 0 where no token comes twice.

    What a text speaks of is open where it is first named, and nearly settled after that. A question that names the
    wrong one of two things is told by this alone.
    """

    def within(self, most: Surprise) -> bool:
        return self.mean <= most.mean and self.worst <= most.worst and self.again <= most.again


class Typical(VerifierBase):
    """Fails a candidate whose prompt is unusual to the model that answered it.

    mean, worst, again: the largest usual `Surprise`; `limits` finds them from texts that are known to be usual.
    Passing says nothing of the answer, so it is not exact. Abstains where the model did not report
    `prompt_logprobs` and `prompt_ids`.
    """

    def __init__(
        self, mean: float, worst: float, again: float, *, name: str = "typical", version: str | None = None
    ) -> None:
        super().__init__(name, version or digest(mean, worst, again), "model", exact=False)
        self.usual = Surprise(mean, worst, again)

    async def examine(self, case: Case) -> Verdict:
        reply = case.reply
        if reply is None or not reply.prompt_logprobs or reply.prompt_ids is None:
            return self.rule("abstain", "the model did not report how usual the text looks to it")
        seen = surprise(reply.prompt_logprobs, reply.prompt_ids)
        if isnan(seen.mean):
            return self.rule("abstain", "the model reported a log-probability that is not a number")
        evidence = {**asdict(seen), "tokens": len(reply.prompt_logprobs)}
        if seen.within(self.usual):
            return self.rule("pass", score=seen.mean, evidence=evidence)
        said = "the text is unlike what the model was trained on: put it more simply, or ask another model"
        return self.rule("fail", said, score=seen.mean, evidence=evidence)


def surprise(logprobs: Sequence[float], ids: Sequence[int]) -> Surprise:
    """What a prompt's tokens say of it.

    logprobs: one or more, at temperature 1, of the tokens from the second on; ids: all tokens, so one more.
    """
    held = {ids[0]}
    again = 0.0
    for token, logprob in zip(ids[1:], logprobs, strict=True):
        if token in held:
            again = max(again, -logprob)
        held.add(token)
    return Surprise(-sum(logprobs) / len(logprobs), -min(logprobs), again)


def limits(texts: Iterable[tuple[Sequence[float], Sequence[int]]], quantile: float = 0.99) -> Surprise:
    """The surprise that this share of usual texts stays within, figure by figure; each as log-probabilities and ids.

    Raises ValueError where there are none.
    """
    measured = [surprise(logprobs, ids) for logprobs, ids in texts]
    if not measured:
        raise ValueError("limits need texts that are known to be usual, and there are none")
    last = max(0, ceil(quantile * len(measured)) - 1)
    return Surprise(*(sorted(column)[last] for column in zip(*map(astuple, measured), strict=True)))
