"""Exact tokens from real weights: what was sampled is what is exported."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny
from transformers import AutoTokenizer

from surefoot.engine import Engine, Outcome
from surefoot.models.local.model import LocalModel
from surefoot.models.packaged import FOLDER
from surefoot.storage.records import Message, ModelCall, Plan, Step, ref
from surefoot.storage.store import Store
from surefoot.trajectories.exports.formats import export
from surefoot.trajectories.tokens import path_tokens

PROBLEMS = (
    "Julia gets 68 emails a day. 25% of those emails don't require any response. Julia responds to the rest of them. "
    "How many emails does Julia respond to in a 6 day work week?",
    "Write a poem about the sea.",
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "runs.db") as store:
        yield store


def test_samples_of_local_weights_keep_their_tokens(store: Store) -> None:
    weights = tiny.weights(end_bias=4.0)
    plan = Plan((Step("x", "Say anything."), Step("y", "And now?", args={"x": ref("x")})), output=ref("y"))
    with Engine(LocalModel(weights), planner=plan, store=store, verify=False) as engine:
        result = engine.run("Talk.")
    records = list(store.records(result.run_id))
    messages = {one.seq: one for one in records if isinstance(one, Message)}
    calls = [one for one in records if isinstance(one, ModelCall)]
    assert len(calls) >= 2
    for call in calls:
        assert call.trainable and call.completion is not None and call.prompt is not None
        ids, mask, logprobs = path_tokens(records, call.completion)
        asked = [messages[seq] for seq in path(messages, call.prompt)]
        wanted = weights.tokenizer.apply_chat_template(
            [{"role": one.role, "content": one.content} for one in asked], tokenize=False
        )
        prompt = ids[: call.usage.prompt_tokens].tolist()
        assert weights.tokenizer.decode(prompt) == wanted
        said = weights.tokenizer.decode(ids[call.usage.prompt_tokens :].tolist(), skip_special_tokens=True)
        assert said == messages[call.completion].content
        assert sum(mask) == len(logprobs) == call.usage.completion_tokens
        assert max(logprobs) <= 0


def path(messages: dict[int, Message], tip: int | None) -> list[int]:
    return [] if tip is None else [*path(messages, messages[tip].parent), tip]


@pytest.mark.slow
@pytest.mark.skipif(not (FOLDER / "word_problems" / "card.json").exists(), reason="no weights in this checkout")
def test_samples_of_the_pocket_model_keep_their_tokens_and_become_rows(store: Store) -> None:
    with Engine("pocket", tools=["calculator"], store=store) as engine:
        results = [engine.run(problem) for problem in PROBLEMS]
    assert [one.outcome for one in results] == [Outcome.VERIFIED, Outcome.ABSTAINED]
    tokenizer = AutoTokenizer.from_pretrained(FOLDER / "word_problems")
    for result in results:
        records = list(store.records(result.run_id))
        messages = {one.seq: one for one in records if isinstance(one, Message)}
        calls = [one for one in records if isinstance(one, ModelCall)]
        assert calls
        for call in calls:
            assert call.trainable and call.completion is not None and call.prompt is not None
            ids, mask, logprobs = path_tokens(records, call.completion)
            prompt = tokenizer.encode(messages[call.prompt].content, add_special_tokens=False)
            assert ids[: len(prompt)].tolist() == prompt
            said = tokenizer.decode(ids[len(prompt) :].tolist(), skip_special_tokens=True)
            assert said == messages[call.completion].content
            assert mask.tolist() == [0] * len(prompt) + [1] * (len(ids) - len(prompt))
            assert len(logprobs) == sum(mask) == call.usage.completion_tokens
    out = io.StringIO()
    assert export(store, "trl-sft", out) == 1
    row = json.loads(out.getvalue())
    assert [one["role"] for one in row["messages"]] == ["user", "assistant"]
    assert row["messages"][0]["content"].startswith("<text> James gets n0 emails a day.")
    assert "answer s" in row["messages"][1]["content"]
    assert row["tools"] is None
