"""A tiny, randomly initialised Llama and its tokenizer: real weights that need no download."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from surefoot.models.local.weights import Weights

TEMPLATE = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content or '' }}"
    "{% for c in m.tool_calls or [] %}<call>{{ c.function.name }}{{ c.function.arguments | tojson }}{% endfor %}"
    "{% endfor %}{% if tools %}<tools>{{ tools | tojson }}{% endif %}<|assistant|>"
)


def tokenizer(template: str | None = TEMPLATE) -> PreTrainedTokenizerFast:
    """One token a byte, and `<end>`."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {"<pad>": 0, "<end>": 1} | {letter: id for id, letter in enumerate(alphabet, start=2)}
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", eos_token="<end>", chat_template=template, model_max_length=4096
    )


def network(seed: int = 0, *, end_bias: float = 0.0, end_scale: float = 1.0, **changes: Any) -> LlamaForCausalLM:
    """About 40,000 parameters; a positive `end_bias`, or an `end_scale` above 1, makes it end its replies sooner. The
    second survives being saved."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        **{
            "vocab_size": 258,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 4096,
            "initializer_range": 0.3,
            "bos_token_id": None,
            "eos_token_id": 1,
            "pad_token_id": 0,
        }
        | changes
    )
    made = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        made.lm_head.weight[1] *= end_scale
    if end_bias:
        head = torch.nn.Linear(config.hidden_size, config.vocab_size, bias=True)
        head.weight, head.bias.data[:] = made.lm_head.weight, 0.0
        head.bias.data[1] = end_bias
        made.lm_head = head
    return made


def weights(seed: int = 0, *, template: str | None = TEMPLATE, **changes: Any) -> Weights:
    return Weights(network(seed, **changes), tokenizer(template))


def save(folder: Path, seed: int = 0) -> Path:
    """The weights as a folder on disk."""
    network(seed).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder
