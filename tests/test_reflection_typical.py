"""Does the text look like what the model was trained on?"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence

import pytest

from surefoot.models.question import Reply
from surefoot.reflection.typical import Typical, limits, surprise
from surefoot.reflection.verifier import Case
from surefoot.storage.records import Step, Verdict

pytestmark = pytest.mark.anyio


USUAL = Typical(2.0, 4.0)


async def seen(logprobs: Sequence[float] | None, check: Typical = USUAL) -> Verdict:
    reply = Reply("3", prompt=(), prompt_logprobs=None if logprobs is None else array("f", logprobs))
    return await check.verify(Case(Step("s1"), 3, reply=reply))


async def test_usual_text_passes_and_proves_nothing() -> None:
    verdict = await seen([-1.0] * 20)
    assert (verdict.ruling, verdict.kind, verdict.exact, verdict.score) == ("pass", "model", False, 1.0)
    assert verdict.evidence == {"mean": 1.0, "worst": 1.0, "tokens": 20}


async def test_text_that_is_unusual_all_over_fails() -> None:
    verdict = await seen([-3.0] * 20)
    assert verdict.ruling == "fail"
    assert "unlike what the model was trained on" in verdict.critique


async def test_one_strange_word_in_a_long_text_fails() -> None:
    strange = [-0.5] * 40 + [-4.5]
    assert surprise(strange)[0] < 2.0
    assert (await seen(strange)).ruling == "fail"


async def test_an_impossible_token_fails() -> None:
    assert (await seen([-0.5, -math.inf])).ruling == "fail"


@pytest.mark.parametrize("logprobs", [None, [], [-1.0, math.nan]])
async def test_without_log_probabilities_it_abstains(logprobs: list[float] | None) -> None:
    assert (await seen(logprobs)).ruling == "abstain"


async def test_without_a_reply_it_abstains() -> None:
    assert (await Typical(2, 4).verify(Case(Step("s1"), 3))).ruling == "abstain"


def test_surprise_is_that_of_the_mean_token_and_of_the_worst() -> None:
    assert surprise([-1.0, -2.0, -6.0]) == (3.0, 6.0)


async def test_limits_let_the_wanted_share_of_usual_texts_through() -> None:
    texts = [[-n / 100] * 10 for n in range(1, 101)]
    mean, worst = limits(texts, quantile=0.9)
    assert mean == pytest.approx(0.9) == worst
    check = Typical(mean + 1e-6, worst + 1e-6)
    assert [(await seen(text, check)).ruling for text in texts].count("pass") == 90
    assert limits([[-1.0]]) == (1.0, 1.0)


def test_limits_of_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="known to be usual"):
        limits([])


def test_the_version_changes_with_the_limits() -> None:
    assert len({Typical(1, 2).version, Typical(1, 3).version, Typical(2, 2).version}) == 3
