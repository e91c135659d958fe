"""Does the text look like what the model was trained on?

A small model answers a question that it has never seen the like of as readily as any other. What it finds
surprising in the question itself tells: the log-probabilities of the prompt's own tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import ceil, isnan

from surefoot.reflection.base import VerifierBase, digest
from surefoot.reflection.verifier import Case
from surefoot.storage.records import Verdict


class Typical(VerifierBase):
    """Fails a candidate whose prompt is unusual to the model that answered it.

    mean: the largest usual mean of the surprise (negative log-probability), in nats a token.
    worst: the largest usual surprise of a single token: one strange word is lost in the mean of a long text, and
        may well turn its question into another.

    `limits` finds both from texts that are known to be usual. Passing says nothing of the answer, so it is not
    exact. Abstains where the model did not report `prompt_logprobs`.
    """

    def __init__(
        self,
        mean: float,
        worst: float,
        *,
        name: str = "typical",
        version: str | None = None,
    ) -> None:
        super().__init__(name, version or digest(mean, worst), "model", exact=False)
        self.mean = mean
        self.worst = worst

    async def examine(self, case: Case) -> Verdict:
        logprobs = case.reply.prompt_logprobs if case.reply else None
        if not logprobs:
            return self.rule("abstain", "the model did not report how usual the text looks to it")
        mean, worst = surprise(logprobs)
        if isnan(mean):
            return self.rule("abstain", "the model reported a log-probability that is not a number")
        usual = mean <= self.mean and worst <= self.worst
        said = (
            ""
            if usual
            else "the text is unlike what the model was trained on: put it more simply, or ask another model"
        )
        evidence = {"mean": mean, "worst": worst, "tokens": len(logprobs)}
        return self.rule("pass" if usual else "fail", said, score=mean, evidence=evidence)


def surprise(logprobs: Sequence[float]) -> tuple[float, float]:
    """Surprise of the mean token and of the one that surprises most, in nats.

    logprobs: one or more, at temperature 1.
    """
    return -sum(logprobs) / len(logprobs), -min(logprobs)


def limits(texts: Iterable[Sequence[float]], quantile: float = 0.99) -> tuple[float, float]:
    """`mean` and `worst` that this share of usual texts stays within, each; the texts as log-probabilities.

    Raises ValueError where there are none.
    """
    measured = [surprise(logprobs) for logprobs in texts]
    if not measured:
        raise ValueError("limits need texts that are known to be usual, and there are none")
    last = max(0, ceil(quantile * len(measured)) - 1)
    means, worsts = zip(*measured, strict=True)
    return sorted(means)[last], sorted(worsts)[last]
