"""Local weights: batching changes nothing, prompts are read once, ids and log-probabilities are exact."""

from __future__ import annotations

import asyncio
import math
import subprocess
import sys
import threading
from array import array
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch

from surefoot.models.local.decode import Decoder
from surefoot.models.local.dialects import ChatDialect
from surefoot.models.local.model import LocalModel
from surefoot.models.local.pick import noise
from surefoot.models.local.sampler import Drawn, Request
from surefoot.models.local.weights import Weights, load_weights
from surefoot.models.question import ChatMessage, Model, Question, Reply, ToolRequest, ToolSpec
from surefoot.storage.errors import ModelRefused, SetupError

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def weights() -> Weights:
    return tiny.weights(end_bias=2.0)


@pytest.fixture
def model(weights: Weights) -> LocalModel:
    return LocalModel(weights, max_tokens=24)


def ask(goal: str, **options: object) -> Question:
    return Question("act", goal, **options)  # type: ignore[arg-type]


async def test_ids_of_prompt_and_reply_are_what_the_network_saw(model: LocalModel, weights: Weights) -> None:
    (reply,) = await model.ask(ask("count", seed=1))
    assert reply.prompt_ids is not None and reply.token_ids is not None and reply.logprobs is not None
    written = weights.tokenizer.apply_chat_template(
        [{"role": m.role, "content": m.content} for m in reply.prompt], add_generation_prompt=True, tokenize=False
    )
    assert list(reply.prompt_ids) == weights.tokenizer.encode(written, add_special_tokens=False)
    whole = torch.tensor([list(reply.prompt_ids) + list(reply.token_ids)])
    with torch.inference_mode():
        logp = torch.log_softmax(weights.network(whole).logits[0].float(), dim=-1)
    start = len(reply.prompt_ids)
    sampled = [float(logp[start + i - 1, id]) for i, id in enumerate(reply.token_ids)]
    assert list(reply.logprobs) == pytest.approx(sampled, abs=1e-4)
    assert reply.prompt_logprobs is not None
    told = [float(logp[i - 1, reply.prompt_ids[i]]) for i in range(1, start)]
    assert list(reply.prompt_logprobs) == pytest.approx(told, abs=1e-4)
    assert reply.usage.prompt_tokens == start and reply.usage.completion_tokens == len(reply.token_ids)
    assert reply.usage_source == "counted"
    assert weights.tokenizer.decode([id for id in reply.token_ids if id != 1]) == reply.text


async def test_logprobs_are_at_the_temperature_that_sampled(model: LocalModel, weights: Weights) -> None:
    (reply,) = await model.ask(ask("count", seed=4, temperature=0.5))
    assert reply.prompt_ids is not None and reply.token_ids is not None and reply.logprobs is not None
    whole = torch.tensor([list(reply.prompt_ids) + list(reply.token_ids)])
    with torch.inference_mode():
        logp = torch.log_softmax(weights.network(whole).logits[0].float() / 0.5, dim=-1)
    start = len(reply.prompt_ids)
    assert list(reply.logprobs) == pytest.approx(
        [float(logp[start + i - 1, id]) for i, id in enumerate(reply.token_ids)], abs=1e-4
    )
    assert reply.sampling["temperature"] == 0.5


async def test_a_seed_gives_the_same_tokens_whatever_else_is_in_the_batch(weights: Weights) -> None:
    alone = LocalModel(weights, max_tokens=40)
    questions = [ask("word " * (1 + i % 7), seed=i, temperature=0.5 + 0.1 * (i % 8)) for i in range(12)]
    single = [[list(r.token_ids or ()) for r in await alone.ask(question, 2)] for question in questions]
    crowd = LocalModel(weights, max_tokens=40)
    noise = [crowd.ask(ask(f"other {i} " * (i % 5), seed=100 + i), 3) for i in range(6)]
    together = await asyncio.gather(*noise, *(crowd.ask(question, 2) for question in questions))
    assert [[list(r.token_ids or ()) for r in replies] for replies in together[6:]] == single
    assert len({tuple(ids) for pair in single for ids in pair}) > 20


async def test_samples_of_one_question_differ_and_repeat(model: LocalModel) -> None:
    first = [list(r.token_ids or ()) for r in await model.ask(ask("go", seed=7), 8)]
    again = [list(r.token_ids or ()) for r in await model.ask(ask("go", seed=7), 8)]
    assert first == again
    assert len({tuple(ids) for ids in first}) == 8
    assert [list(r.token_ids or ()) for r in await model.ask(ask("go", seed=7), 3)] == first[:3]


async def test_without_a_seed_the_reply_names_the_one_that_repeats_it(model: LocalModel) -> None:
    (reply,) = await model.ask(ask("go"))
    (again,) = await model.ask(ask("go", seed=reply.sampling["seed"]))
    assert reply.token_ids == again.token_ids


async def test_temperature_zero_is_greedy(model: LocalModel, weights: Weights) -> None:
    (reply,) = await model.ask(ask("go", temperature=0, max_tokens=5))
    assert reply.prompt_ids is not None and reply.token_ids is not None
    ids = list(reply.prompt_ids)
    for id in reply.token_ids:
        with torch.inference_mode():
            assert int(weights.network(torch.tensor([ids])).logits[0, -1].argmax()) == id
        ids.append(id)


async def test_a_greedy_and_a_sampled_question_share_a_batch(model: LocalModel) -> None:
    alone = (await model.ask(ask("go", temperature=0)))[0].token_ids
    greedy, _ = await asyncio.gather(model.ask(ask("go", temperature=0)), model.ask(ask("stay", seed=1), 3))
    assert greedy[0].token_ids == alone


async def test_equal_prompts_are_read_once_and_counted_as_cached(model: LocalModel) -> None:
    replies = await model.ask(ask("the same question", seed=3), 16)
    length = len(replies[0].prompt_ids or ())
    assert model.prompt_tokens == length
    assert [r.usage.cached_tokens for r in replies] == [0] + [length] * 15


async def test_questions_asked_together_share_a_batch(weights: Weights) -> None:
    model = LocalModel(weights, max_tokens=4)
    forwards = Counter[int]()
    head = weights.network.lm_head
    hook = head.register_forward_pre_hook(lambda module, args: forwards.update([args[0].shape[0]]))
    try:
        await asyncio.gather(*(model.ask(ask(f"question {i}", seed=i)) for i in range(32)))
    finally:
        hook.remove()
    assert max(forwards) >= 16


async def test_samples_end_at_the_end_token_or_at_their_limit(model: LocalModel) -> None:
    replies = await model.ask(ask("go", seed=5, max_tokens=6), 192)
    for reply in replies:
        assert reply.token_ids is not None and reply.logprobs is not None
        assert len(reply.logprobs) == len(reply.token_ids) <= 6
        assert (reply.finish_reason == "stop") == (reply.token_ids[-1] == 1)
        if reply.finish_reason == "length":
            assert len(reply.token_ids) == 6
    assert {reply.finish_reason for reply in replies} == {"stop", "length"}


async def test_more_samples_than_a_batch_holds_are_drawn_in_several(weights: Weights) -> None:
    small = LocalModel(weights, max_tokens=8, max_batch=4)
    large = LocalModel(weights, max_tokens=8)
    a, b = await small.ask(ask("go", seed=2), 11), await large.ask(ask("go", seed=2), 11)
    assert [r.token_ids for r in a] == [r.token_ids for r in b]


async def test_long_replies_outgrow_the_first_room_for_keys_and_values(weights: Weights) -> None:
    endless = LocalModel(tiny.weights(end_bias=-50.0))
    one, other = await asyncio.gather(
        endless.ask(ask("go", seed=1, max_tokens=200)), endless.ask(ask("stay here", seed=2, max_tokens=30))
    )
    assert len(one[0].token_ids or ()) == 200 and len(other[0].token_ids or ()) == 30
    assert (await endless.ask(ask("go", seed=1, max_tokens=200)))[0].token_ids == one[0].token_ids


async def test_a_prompt_longer_than_the_window_is_refused_alone(weights: Weights) -> None:
    model = LocalModel(tiny.weights(max_position_embeddings=2048), max_tokens=4)
    long, short = await asyncio.gather(
        model.ask(ask("x" * 3000, seed=1)), model.ask(ask("x", seed=1)), return_exceptions=True
    )
    assert isinstance(long, ModelRefused) and "shorten the inputs" in str(long)
    assert not isinstance(short, BaseException) and short[0].token_ids


async def test_layers_with_a_sliding_window_are_sampled_alike_in_a_crowd() -> None:
    from transformers import MistralConfig, MistralForCausalLM

    torch.manual_seed(0)
    config = MistralConfig(
        vocab_size=258, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, sliding_window=48, initializer_range=0.3, eos_token_id=1, pad_token_id=0,
        bos_token_id=None,
    )  # fmt: skip
    model = LocalModel(Weights(MistralForCausalLM(config).eval(), tiny.tokenizer()), max_tokens=16)
    questions = [ask("w" * (10 * i), seed=i) for i in range(4)]
    single = [(await model.ask(question))[0].token_ids for question in questions]
    together = await asyncio.gather(*(model.ask(question) for question in questions))
    assert [replies[0].token_ids for replies in together] == single


async def test_canceling_takes_the_question_out_of_the_batch(weights: Weights) -> None:
    begun = threading.Event()
    held = tiny.weights(end_bias=-50.0)
    held.network.lm_head.register_forward_pre_hook(lambda *_: begun.set())
    endless = LocalModel(held)
    long = asyncio.create_task(endless.ask(ask("go", seed=1, max_tokens=3000)))
    await asyncio.to_thread(begun.wait)
    long.cancel()
    with pytest.raises(asyncio.CancelledError):
        await long
    async with asyncio.timeout(20):
        assert await endless.ask(ask("go", seed=1, max_tokens=2))


async def test_an_error_in_the_network_reaches_whoever_asked(weights: Weights) -> None:
    broken = tiny.weights()
    broken.network.lm_head.register_forward_pre_hook(lambda *_: (_ for _ in ()).throw(RuntimeError("no memory")))
    model = LocalModel(broken)
    with pytest.raises(RuntimeError, match="no memory"):
        await model.ask(ask("go"))


def test_sampled_tokens_have_the_distribution_that_the_network_gives(weights: Weights) -> None:
    decoder = Decoder(weights)
    size = 4000
    for seed in range(50):
        decoder.add(seed, Request(array("i", [5, 6, 7]), seed, 80, 1))
    drawn: list[Drawn] = []
    while len(drawn) < size:
        drawn += decoder.step()
    with torch.inference_mode():
        p = torch.softmax(weights.network(torch.tensor([[5, 6, 7]])).logits[0, -1].double(), dim=-1)
    counts = Counter(one.ids[0] for one in drawn)
    usual = [id for id in range(len(p)) if p[id] * size >= 5]
    statistic = sum((counts[id] - float(p[id]) * size) ** 2 / (float(p[id]) * size) for id in usual)
    # Wilson-Hilferty: a chi-square beyond 4 standard deviations has probability 3e-5.
    freedom = len(usual) - 1
    z = ((statistic / freedom) ** (1 / 3) - (1 - 2 / (9 * freedom))) / math.sqrt(2 / (9 * freedom))
    assert len(usual) > 20 and abs(z) < 4


def test_noise_is_exponential_and_independent_of_the_row_beside_it() -> None:
    key = torch.tensor([[1, 2], [3, 4], [-5, 6]], dtype=torch.int32)
    both = noise(key, torch.tensor([[9, 10]] * 3), 100_000)
    made = both[:, 0]
    assert torch.equal(noise(key[1:2], torch.tensor([[9]]), 100_000)[0, 0], made[1])
    assert torch.isfinite(made).all() and (made > 0).all()
    assert made.mean(dim=1).tolist() == pytest.approx([1, 1, 1], abs=0.02)
    assert made.var(dim=1).tolist() == pytest.approx([1, 1, 1], abs=0.04)
    assert abs(float(torch.corrcoef(made)[0, 1])) < 0.02
    assert abs(float(torch.corrcoef(both[0])[0, 1])) < 0.02


# --- dialects of local weights ------------------------------------------------------------------------------

ADD = ToolSpec("add", "Adds.", {"type": "object", "properties": {"a": {"type": "number"}}})


async def test_follow_ups_and_tools_go_through_the_chat_template(model: LocalModel, weights: Weights) -> None:
    call = ToolRequest("1", "add", '{"a": 1}', {"a": 1})
    question = ask(
        "go",
        tools=(ADD,),
        follow_up=(ChatMessage("assistant", "", (call,)), ChatMessage("tool", "1", tool_call_id="1")),
        seed=1,
    )
    (reply,) = await model.ask(question)
    seen = weights.tokenizer.decode(list(reply.prompt_ids or ()))
    assert '<call>add{"a": 1}' in seen and "<tools>" in seen and seen.endswith("<|assistant|>")
    assert reply.prompt[-1].content == "1"


async def test_without_a_chat_template_messages_stand_under_headings() -> None:
    plain = LocalModel(tiny.weights(template=None), max_tokens=2)
    (reply,) = await plain.ask(ask("go", seed=1))
    assert plain._weights.tokenizer.decode(list(reply.prompt_ids or ())).endswith("[user]\ngo\n\n[assistant]\n")
    with pytest.raises(ModelRefused, match="no chat template"):
        await plain.ask(ask("go", tools=(ADD,)))


@pytest.mark.parametrize(
    ("text", "calls", "rest"),
    [
        ('<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>', [("add", {"a": 1})], ""),
        ('So: <tool_call>{"name": "x"}</tool_call><tool_call>{"name": "y"}</tool_call>', [("x", {}), ("y", {})], "So:"),
        ('<tool_call>{"name": "add", "arguments": [1]}</tool_call>', [("add", None)], ""),
        ("<tool_call>{add}</tool_call>", [("", None)], ""),
        ("no call", [], "no call"),
    ],
)
def test_tool_calls_are_read_out_of_the_text(text: str, calls: list[Any], rest: str) -> None:
    reply = ChatDialect().read(ask("go", tools=(ADD,)), Reply(text, ()))
    assert [(call.name, call.arguments) for call in reply.tool_calls] == calls and reply.text == rest
    assert len({call.id for call in reply.tool_calls}) == len(calls)
    assert ChatDialect().read(ask("go"), Reply(text, ())).text == text


# --- loading ------------------------------------------------------------------------------------------------


async def test_weights_on_disk_have_an_exact_policy(tmp_path: Path) -> None:
    model = LocalModel(tiny.save(tmp_path / "tiny"), max_tokens=3, device="cpu")
    assert isinstance(model, Model) and model.name == "local/tiny"
    policy = model.policy
    assert len(policy.weights_sha256) == len(policy.tokenizer_sha256) == len(policy.template_sha256) == 64
    assert policy.revision == policy.weights_sha256[:12]
    other = LocalModel(tiny.save(tmp_path / "other", seed=1), device="cpu").policy
    assert other.weights_sha256 != policy.weights_sha256 and other.tokenizer_sha256 == policy.tokenizer_sha256
    (reply,) = await model.ask(ask("go", seed=1))
    assert reply.revision == policy.revision


def test_loading_is_silent(tmp_path: Path) -> None:
    code = "import sys; from surefoot.models import load; print(load('local/' + sys.argv[1], device='cpu').name)"
    told = subprocess.run(
        [sys.executable, "-c", code, str(tiny.save(tmp_path / "tiny"))], capture_output=True, text=True, check=True
    )
    assert (told.stdout, told.stderr) == ("local/tiny\n", "")


def test_a_folder_without_safetensors_is_refused(tmp_path: Path) -> None:
    tiny.save(tmp_path)
    network = tiny.network()
    (tmp_path / "model.safetensors").unlink()
    torch.save(network.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(SetupError, match="safetensors"):
        load_weights(tmp_path)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="there is no folder"):
        load_weights(tmp_path / "nothing")
    with pytest.raises(SetupError, match="no usable weights"):
        load_weights("nobody/nothing")


def test_without_torch_the_error_names_the_extra(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('not here')")
    code = "from surefoot.models import load\ntry: load('local/x')\nexcept Exception as e: print(type(e).__name__, e)"
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": str(tmp_path)}, check=True
    )
    assert told.stdout.startswith("MissingExtra") and "surefoot[local]" in told.stdout


def test_the_estimate_is_an_upper_bound(model: LocalModel) -> None:
    usage = model.estimate(ask("go", max_tokens=9), 3)
    assert usage.completion_tokens == 27 and usage.prompt_tokens > 0 and usage.samples == 3


def test_a_dialect_that_is_unknown_is_refused(weights: Weights) -> None:
    with pytest.raises(SetupError, match="dialect"):
        LocalModel(weights, dialect="morse")  # type: ignore[arg-type]
