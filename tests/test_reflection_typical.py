"""Does the text look like what the model was trained on?"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence

import pytest

from surefoot.models.question import Reply
from surefoot.reflection.typical import Surprise, Typical, limits, surprise
from surefoot.reflection.verifier import Case
from surefoot.storage.records import Step, Verdict

pytestmark = pytest.mark.anyio


USUAL = Typical(2.0, 4.0, 3.0)


async def seen(
    logprobs: Sequence[float] | None, check: Typical = USUAL, ids: Sequence[int] | None = range(100)
) -> Verdict:
    """The verdict on a prompt; its tokens are all different unless said."""
    told = None if logprobs is None else array("f", logprobs)
    tokens = None if ids is None or told is None else array("i", ids[: len(told) + 1])
    reply = Reply("3", prompt=(), prompt_logprobs=told, prompt_ids=tokens)
    return await check.verify(Case(Step("s1"), 3, reply=reply))


async def test_usual_text_passes_and_proves_nothing() -> None:
    verdict = await seen([-1.0] * 20)
    assert (verdict.ruling, verdict.kind, verdict.exact, verdict.score) == ("pass", "model", False, 1.0)
    assert verdict.evidence == {"mean": 1.0, "worst": 1.0, "again": 0.0, "tokens": 20}


async def test_text_that_is_unusual_all_over_fails() -> None:
    verdict = await seen([-3.0] * 20)
    assert verdict.ruling == "fail"
    assert "unlike what the model was trained on" in verdict.critique


async def test_one_strange_word_in_a_long_text_fails() -> None:
    strange = [-0.5] * 40 + [-4.5]
    assert surprise(strange, range(42)).mean < 2.0
    assert (await seen(strange)).ruling == "fail"


async def test_a_word_that_the_text_holds_already_must_be_one_that_is_expected() -> None:
    logprobs = [-0.5, -3.5, -0.5]
    assert (await seen(logprobs, ids=[1, 2, 3, 4])).ruling == "pass"
    assert (await seen(logprobs, ids=[1, 2, 1, 4])).ruling == "fail"
    assert (await seen(logprobs, ids=[1, 2, 3, 1])).ruling == "pass"


async def test_an_impossible_token_fails() -> None:
    assert (await seen([-0.5, -math.inf])).ruling == "fail"


@pytest.mark.parametrize("logprobs", [None, [], [-1.0, math.nan]])
async def test_without_log_probabilities_it_abstains(logprobs: list[float] | None) -> None:
    assert (await seen(logprobs)).ruling == "abstain"


async def test_without_token_ids_it_abstains() -> None:
    assert (await seen([-1.0], ids=None)).ruling == "abstain"


async def test_without_a_reply_it_abstains() -> None:
    assert (await USUAL.verify(Case(Step("s1"), 3))).ruling == "abstain"


def test_surprise_is_that_of_the_mean_token_of_the_worst_and_of_the_worst_that_comes_again() -> None:
    assert surprise([-1.0, -2.0, -6.0], [7, 8, 7, 9]) == Surprise(3.0, 6.0, 2.0)
    assert surprise([-1.0, -2.0, -6.0], [7, 8, 9, 10]) == Surprise(3.0, 6.0, 0.0)


async def test_limits_let_the_wanted_share_of_usual_texts_through() -> None:
    texts = [[-n / 100] * 10 for n in range(1, 101)]
    found = limits(((text, [0] * 11) for text in texts), quantile=0.9)
    assert found.mean == pytest.approx(0.9) == found.worst == found.again
    check = Typical(found.mean + 1e-6, found.worst + 1e-6, found.again + 1e-6)
    assert [(await seen(text, check)).ruling for text in texts].count("pass") == 90
    assert limits([([-1.0], [1, 2])]) == Surprise(1.0, 1.0, 0.0)


def test_limits_of_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="known to be usual"):
        limits([])


def test_the_version_changes_with_the_limits() -> None:
    assert len({Typical(*most).version for most in ((1, 2, 3), (1, 3, 3), (2, 2, 3), (1, 2, 2))}) == 4
