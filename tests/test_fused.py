"""The forward pass for sampling computes what transformers' own does, for every kind of network that it takes."""

from __future__ import annotations

from array import array
from typing import Any

import pytest
import tiny
import torch
import transformers

from surefoot.models.local import fused as module
from surefoot.models.local import threads
from surefoot.models.local.decode import Decoder
from surefoot.models.local.foreign import Foreign
from surefoot.models.local.fused import Fused, fits
from surefoot.models.local.sampler import Drawn, Request
from surefoot.models.local.weights import Weights

SHAPE = {
    "vocab_size": 258,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "initializer_range": 0.3,
    "bos_token_id": None,
    "eos_token_id": 1,
    "pad_token_id": 0,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10_000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", {}),
    "llama, one head for each key": ("Llama", {"num_key_value_heads": 4}),
    "llama, one head for all": ("Llama", {"num_key_value_heads": 1, "head_dim": 16}),
    "llama, biases": ("Llama", {"attention_bias": True, "mlp_bias": True}),
    "llama, its third rotation": ("Llama", {"rope_parameters": LLAMA3}),
    "llama, tied": ("Llama", {"tie_word_embeddings": True}),
    "mistral": ("Mistral", {"sliding_window": None}),
    "qwen2": ("Qwen2", {}),
    "qwen3": ("Qwen3", {"head_dim": 16}),
}


def network(kind: str, **changes: Any) -> Any:
    name, more = KINDS[kind]
    torch.manual_seed(3)
    made = getattr(transformers, f"{name}ForCausalLM")(
        getattr(transformers, f"{name}Config")(**SHAPE | more | changes)
    ).eval()
    with torch.no_grad():  # what is made with zeros or ones tells nothing
        for parameter_name, parameter in made.named_parameters():
            if "norm" in parameter_name or parameter_name.endswith("bias"):
                parameter.add_(0.3 * torch.randn_like(parameter))
    return made


@pytest.mark.parametrize("kind", KINDS)
@torch.inference_mode()
def test_prompts_and_tokens_have_the_logits_that_transformers_gives(kind: str) -> None:
    plain = network(kind)
    assert fits(plain)
    fused = Fused(plain)
    fused.renew()
    chance = torch.Generator().manual_seed(1)
    prompts = [array("i", torch.randint(2, 258, (size,), generator=chance).tolist()) for size in (3, 17, 9, 30)]
    (read,) = fused.prompts(prompts, told=True)
    texts = [list(prompts[at]) for at in read.which]
    fused.keep(torch.arange(4))
    fused.fit(30, 0)
    fused.join([0, 1, 2, 3], torch.arange(4), read)

    def wanted() -> torch.Tensor:
        return torch.stack([plain(torch.tensor([text])).logits[0, -1] for text in texts])

    torch.testing.assert_close(read.logits, wanted(), atol=2e-4, rtol=2e-4)
    for text, told in zip(texts, read.told, strict=True):
        logp = plain(torch.tensor([text])).logits[0].log_softmax(-1)
        assert told is not None
        assert list(told) == pytest.approx([float(logp[at, id]) for at, id in enumerate(text[1:])], abs=2e-4)
    for step in range(40):  # so far that the ring turns and grows
        tokens = torch.randint(2, 258, (4,), generator=chance)
        places = torch.tensor([len(text) for text in texts])
        fused.fit(int(places.max()), 0)
        logits = fused.forward(tokens, places)
        fused.moved()
        for text, token in zip(texts, tokens.tolist(), strict=True):
            text.append(token)
        if step % 6 == 3:
            torch.testing.assert_close(logits, wanted(), atol=5e-4, rtol=5e-4, msg=f"{kind}, token {step}")


@pytest.mark.parametrize(
    "network",
    [
        network("mistral", sliding_window=16),
        network("llama", rope_parameters={"rope_type": "dynamic", "rope_theta": 10_000.0, "factor": 2.0}),
        network("llama", hidden_act="gelu"),
        transformers.GPT2LMHeadModel(transformers.GPT2Config(vocab_size=258, n_embd=32, n_layer=2, n_head=4)),
    ],
    ids=["a window", "a rotation that depends on the length", "another activation", "another architecture"],
)
def test_other_networks_go_through_their_own_forward_pass(network: Any) -> None:
    assert not fits(network)
    assert isinstance(Decoder(Weights(network, tiny.tokenizer()))._network, Foreign)


def test_a_layer_that_is_no_plain_matrix_is_not_joined() -> None:
    adapted = network("llama")

    class Adapter(torch.nn.Linear):
        """Such as those of LoRA."""

    layer = adapted.model.layers[1].self_attn
    layer.q_proj = Adapter(32, 32, bias=False)
    assert not fits(adapted)


def test_what_is_counted_as_read_is_what_was_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "READ", 200)  # so that a group is read in several parts
    seen = []
    read = Fused.read

    def counted(self: Fused, ids: torch.Tensor, pads: torch.Tensor | None, *more: Any, **named: Any) -> Any:
        seen.append(ids.numel() - (0 if pads is None else int(pads.sum())))
        return read(self, ids, pads, *more, **named)

    monkeypatch.setattr(Fused, "read", counted)
    decoder = Decoder(tiny.weights())
    start = array("i", [66 + place % 20 for place in range(120)])
    prompts = [start + array("i", [70] * (1 + place % 7) + [80 + place]) for place in range(30)]
    for number, prompt in enumerate([*prompts, array("i", [70, 71, 72])]):
        decoder.add(number, Request(prompt, 1, 3, 1))
    told: list[Drawn] = []
    while len(told) < 3 * 31:
        told += decoder.step()
    lengths = [*map(len, prompts), 3]
    assert len(seen) > 3 and sum(seen) == sum(lengths[one.request] - one.cached for one in told)


def test_the_faster_number_of_threads_is_found_and_the_usual_one_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    now, usual, used = 0.0, torch.get_num_threads(), []
    monkeypatch.setattr(threads.time, "perf_counter", lambda: now)
    torch.set_num_threads(2)
    try:
        fastest = threads.Threads()
        for turn in range(3 * threads.KEPT):
            with fastest.turn(10):
                used.append(torch.get_num_threads())
                slow = 2 if turn < threads.KEPT else 1
                now += 3.0 if used[-1] == slow else 1.0
            assert torch.get_num_threads() == 2
        with threads.Threads(1).turn(1):
            assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(usual)
    tried = 2 * threads.TRIED
    assert set(used[:tried]) == {1, 2} and set(used[tried : threads.KEPT]) == {1}
    assert set(used[threads.KEPT + tried : 2 * threads.KEPT]) == {2}, "what else the machine does has changed"


def drawn(decoder: Decoder, seed: int) -> list[list[int]]:
    decoder.add(seed, Request(array("i", [70, 71, 72]), seed, 8, 12))
    found: dict[int, list[int]] = {}
    while len(found) < 8:
        found |= {one.index: one.ids.tolist() for one in decoder.step()}
    return [found[index] for index in range(8)]


@pytest.mark.parametrize("way", ["a step of an optimizer", "a copy", "a new parameter"])
def test_weights_that_were_changed_in_place_are_those_that_are_sampled_from(way: str) -> None:
    changed, other = tiny.weights(seed=1), tiny.weights(seed=2)
    decoder = Decoder(changed)
    before = drawn(decoder, 1)
    if way == "a step of an optimizer":
        optimizer = torch.optim.SGD(changed.network.parameters(), lr=1.0)
        for mine, theirs in zip(changed.network.parameters(), other.network.parameters(), strict=True):
            mine.grad = (mine - theirs).detach()
        optimizer.step()
    elif way == "a copy":
        changed.network.load_state_dict(other.network.state_dict())
    else:
        for module, source in zip(changed.network.modules(), other.network.modules(), strict=True):
            for name, _ in list(module.named_parameters(recurse=False)):
                setattr(module, name, torch.nn.Parameter(getattr(source, name).detach().clone()))
    after = drawn(decoder, 1)
    assert after != before and after == drawn(Decoder(other), 1)
