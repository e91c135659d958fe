"""Replies whose tokens run out, with the usual limit and with twice as much, are not asked for again and again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from servers import Response, ScriptedServer, say

from surefoot.engine import Engine, Outcome
from surefoot.models.api.model import ApiModel
from surefoot.models.scripted import ScriptedModel
from surefoot.storage.records import Plan, Step, ref
from surefoot.storage.store import Store

ONE = Plan((Step("x", "name a word"),), ref("x"))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "runs.db") as store:
        yield store


def api(url: str) -> ApiModel:
    return ApiModel("openai/test", base_url=url, api_key="k", max_tokens=64)


def cut_off(said: str, body: dict[str, Any]) -> Response:
    """A reply that has all the tokens that it was allowed."""
    usage = {"prompt_tokens": 9, "completion_tokens": body["max_tokens"], "total_tokens": 9 + body["max_tokens"]}
    return say(said, finish_reason="length", usage=usage)


@pytest.mark.parametrize("said", ["", "half a rep"])
def test_replies_that_are_cut_off_twice_over_are_not_asked_for_again_and_again(store: Store, said: str) -> None:
    with ScriptedServer(lambda body: cut_off(said, body)) as server:
        result = Engine(api(server.url), planner=ONE, store=store).run("go", verify=False)
        asked = [body["max_tokens"] for body in server.requests]
    assert result.outcome is not Outcome.VERIFIED
    assert asked == [64, 128, 64, 128]
    assert "its tokens ran out (at most 128)" in result.reason and "max_tokens" in result.reason


def test_an_attempt_that_was_cut_off_is_no_reason_to_give_up(store: Store) -> None:
    cut = say("", finish_reason="length")
    with ScriptedServer([cut, cut, say("word")]) as server:
        result = Engine(api(server.url), planner=ONE, store=store).run("go", verify=False)
    assert result.output == "word"


def test_what_is_cut_off_goes_to_the_next_rung(store: Store) -> None:
    with ScriptedServer(lambda body: cut_off("", body)) as server:
        other = ScriptedModel(lambda *_: "word")
        engine = Engine(api(server.url), planner=ONE, store=store, alternates=[other], votes=1)
        result = engine.run("go")
        assert result.output == "word"
        assert len(server.requests) == 4
