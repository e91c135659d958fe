"""Tokens a second of sampling from local weights, beside transformers' `generate` and vLLM.

    python -m benchmarks.sampler [--device cpu|cuda] [--networks ...] [--rows 64,256] [--prompts 32,128] [--quick]

`docs/benchmarks.md` says what is measured, and what is fair in it.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import gc
import importlib.util
import random
import sys
import tempfile
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from benchmarks.harness import Row, command, finish, machine, medians, note, numbers, words
from surefoot.models.local.decode import Decoder
from surefoot.models.local.fused import Fused
from surefoot.models.local.sampler import Request
from surefoot.models.local.weights import Weights, load_weights
from surefoot.models.packaged import FOLDER, PocketModel
from surefoot.models.pocket import pegs
from surefoot.models.question import Question

POCKET = {"hanoi-moves": "hanoi-moves/full", "word-problems": "word-problems"}
RANDOM: dict[str, dict[str, int]] = {
    "random-1m": {"hidden_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4, "vocab_size": 2048},
    "random-25m": {"hidden_size": 512, "num_hidden_layers": 8, "num_attention_heads": 8, "vocab_size": 4096},
    "random-400m": {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "vocab_size": 32_000},
}
"""Shapes of networks with random weights; keys and values have a fourth of the heads, layers three times the width."""
SYSTEMS = ("surefoot", "surefoot-worker", "generate", "generate-static", "vllm")
LEAST = {"hanoi-moves": 2048}
"""Samples of a measurement, where they are quick; elsewhere 256. In any case there are two batches, so that rows that
end are followed by others."""
LARGE = 10_000_000
"""Parameters."""
FIELDS = ("system", "network", "params", "device", "rows", "prompt")


@dataclass
class Case:
    """A network, and what is asked of it."""

    name: str
    weights: Weights
    rows: int
    new: int
    """The most tokens of a sample."""
    prompts: list[array[int]]
    questions: list[Question]
    """The same as questions, for pocket networks; empty for others, whose sampler is asked itself."""
    folder: Path
    """Of the weights."""


# --- what is asked ----------------------------------------------------------------------------------------------


def cases(options: argparse.Namespace, folder: Path) -> Iterator[Case]:
    chance = random.Random(options.seed)
    for name in options.networks:
        pocket = PocketModel(POCKET[name]) if name in POCKET else None
        place = made(name, folder / name, options) if pocket is None else FOLDER / POCKET[name].replace("-", "_")
        weights = load_weights(place, device=options.device)
        # On a CPU more rows of a large network take long, and say no more.
        few = options.device == "cpu" and weights.network.num_parameters() > LARGE
        for rows in options.rows[:1] if few else options.rows:
            size = max(2 * rows, LEAST.get(name, 256))
            if pocket is not None:
                questions = [ask(name, chance, number) for number in range(size)]
                prompts = [pocket._encode(question, keep=False).ids for question in questions]
                yield Case(name, weights, rows, 128 if name == "word-problems" else 26, prompts, questions, place)
                continue
            for length in options.prompts[:1] if few else options.prompts:
                vocabulary = RANDOM[name]["vocab_size"]
                ids = [array("i", chance.choices(range(2, vocabulary), k=length)) for _ in range(size)]
                yield Case(name, weights, rows, options.new, ids, [], place)


def ask(name: str, chance: random.Random, seed: int) -> Question:
    if name == "word-problems":
        return Question("plan", problems(4096)[chance.randrange(4096)], seed=seed)
    turn = pegs.path(20, chance.randrange(1, 2**20 - 1))
    move, places = list(turn.move or ()), list(turn.places)
    return Question("act", "Make the next move.", inputs={"move": move, "places": places}, seed=seed)


@functools.cache
def problems(size: int) -> list[str]:
    import reasoning_gym

    return [one["question"] for one in reasoning_gym.create_dataset("gsm_symbolic", seed=1, size=size)]


def made(name: str, folder: Path, options: argparse.Namespace) -> Path:
    """A network with random weights, and a tokenizer of numbers, in a folder."""
    torch.manual_seed(options.seed)
    shape = RANDOM[name]
    config = LlamaConfig(
        **shape,
        intermediate_size=3 * shape["hidden_size"],
        num_key_value_heads=max(1, shape["num_attention_heads"] // 4),
        max_position_embeddings=4096,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=0,
    )
    dtype = torch.float32 if options.device == "cpu" else torch.bfloat16
    LlamaForCausalLM(config).to(dtype).save_pretrained(folder)
    plain = Tokenizer(models.WordLevel({str(id): id for id in range(shape["vocab_size"])}, unk_token="0"))
    plain.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=plain, pad_token="0").save_pretrained(folder)
    return folder


# --- the systems ------------------------------------------------------------------------------------------------


def through_model(case: Case, worker: bool) -> tuple[Callable[[], int], Callable[[], None]]:
    """Asks the model, as the engine does: text to ids, sampling, ids to text, the answer read out of it."""
    options: dict[str, Any] = {"device": str(case.weights.network.device), "max_batch": case.rows}
    model = PocketModel(POCKET[case.name], prompt_logprobs=False, worker=worker, **options)

    async def all_of_them() -> int:
        told = await asyncio.gather(*(model.ask(question, 1) for question in case.questions))
        return sum(len(reply.token_ids or ()) for (reply,) in told)

    return lambda: asyncio.run(all_of_them()), lambda: None


def through_sampler(case: Case) -> tuple[Callable[[], int], Callable[[], None]]:
    sampler = Decoder(case.weights, rows=case.rows, prompt_logprobs=False)

    def sample() -> int:
        for number, prompt in enumerate(case.prompts):
            sampler.add(number, Request(prompt, number, 1, case.new))
        found = 0
        left = len(case.prompts)
        while left:
            ended = sampler.step()
            left -= len(ended)
            found += sum(len(one.ids) for one in ended)
        return found

    return sample, lambda: None


def through_generate(case: Case, cache: str | None) -> tuple[Callable[[], int], Callable[[], None]]:
    """transformers' own, padded on the left, batch after batch; with the number of threads that is faster."""
    network, ends = case.weights.network, case.weights.ends
    usual = torch.get_num_threads()
    tried: dict[int, float] = {}

    def batch(prompts: Sequence[array[int]]) -> int:
        width = max(map(len, prompts))
        ids = torch.tensor([[0] * (width - len(one)) + list(one) for one in prompts], device=network.device)
        mask = torch.tensor([[0] * (width - len(one)) + [1] * len(one) for one in prompts], device=network.device)
        options: dict[str, Any] = {"cache_implementation": cache} if cache else {}
        with torch.inference_mode():
            told = network.generate(
                ids,
                attention_mask=mask,
                do_sample=True,
                top_k=0,
                max_new_tokens=case.new,
                pad_token_id=0,
                **options,
            )
        found = 0
        for row in told[:, width:].tolist():
            stop = next((at for at, id in enumerate(row) if id in ends), len(row) - 1)
            found += stop + 1
        return found

    def sample() -> int:
        torch.set_num_threads(min(tried, key=tried.__getitem__))
        try:
            return sum(batch(case.prompts[at : at + case.rows]) for at in range(0, len(case.prompts), case.rows))
        finally:
            torch.set_num_threads(usual)

    def warm() -> None:
        for threads in sorted({1, usual}):
            torch.set_num_threads(threads)
            began = time.perf_counter()
            batch(case.prompts[: case.rows])
            tried[threads] = time.perf_counter() - began
        torch.set_num_threads(usual)

    return sample, warm


def through_vllm(case: Case) -> tuple[Callable[[], int], Callable[[], None]]:
    from vllm import LLM, SamplingParams, TokensPrompt  # type: ignore[import-not-found]

    server = LLM(str(case.folder), max_num_seqs=case.rows, gpu_memory_utilization=0.6, disable_log_stats=True)
    asked = [TokensPrompt(prompt_token_ids=list(prompt)) for prompt in case.prompts]
    limits = SamplingParams(temperature=1.0, max_tokens=case.new, logprobs=0, detokenize=False)

    def sample() -> int:
        told = server.generate(asked, limits, use_tqdm=False)
        return sum(len(one.outputs[0].token_ids) for one in told)

    return sample, lambda: None


def system(name: str, case: Case) -> tuple[Callable[[], int], Callable[[], None]] | None:
    """What samples all of a case and says how many tokens that were, and what warms it up; None: not here."""
    if name == "vllm":
        usable = importlib.util.find_spec("vllm") is not None and torch.cuda.is_available()
        return through_vllm(case) if usable else None
    if name.startswith("generate"):
        return through_generate(case, "static" if name.endswith("static") else None)
    if case.questions:
        return through_model(case, worker=name == "surefoot-worker")
    return through_sampler(case) if name == "surefoot" else None


@contextmanager
def watched() -> Iterator[list[float]]:
    """Seconds that surefoot's networks compute, of this process."""
    spent = [0.0]

    def timed(work: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **more: Any) -> Any:
            began = time.perf_counter()
            try:
                return work(*arguments, **more)
            finally:
                spent[0] += time.perf_counter() - began

        return run

    own = {"read": Fused.read, "forward": Fused.forward}
    for method, work in own.items():
        setattr(Fused, method, timed(work))
    try:
        yield spent
    finally:
        for method, work in own.items():
            setattr(Fused, method, work)


# --- measuring --------------------------------------------------------------------------------------------------


def measure(case: Case, options: argparse.Namespace) -> list[Row]:
    """A row of each system, the median of several turns; systems take turns."""
    places = {name: found for name in options.systems if (found := system(name, case)) is not None}
    turns: dict[str, list[Row]] = {name: [] for name in places}
    for name, (sample, warm) in places.items():
        warm()
        if not name.startswith("generate"):
            sample()
    for turn in range(options.repeat):
        for name in random.Random(options.seed + turn).sample(list(places), len(places)):
            sample, _ = places[name]
            gc.collect()  # what one system left behind is not to be collected while another one works
            gc.freeze()
            with watched() as spent:
                synchronize(options.device)
                began = time.perf_counter()
                tokens = sample()
                synchronize(options.device)
                seconds = time.perf_counter() - began
            own = name == "surefoot" and options.device == "cpu"
            turns[name].append({
                "tokens_per_s": tokens / seconds,
                "ms_per_token_step": seconds * 1e3 * case.rows / tokens,
                "us_beside_network": (seconds - spent[0]) / len(case.prompts) * 1e6 if own else None,
            })  # fmt: skip
    network = case.weights.network
    rows = []
    for name, found in turns.items():
        which = (name, case.name, network.num_parameters(), options.device, case.rows, prompt_size(case))
        rows.append(dict(zip(FIELDS, which, strict=True)) | medians(found))
        speed = f"{rows[-1]['tokens_per_s']:,.0f} tokens a second"
        note(f"{case.name}, {case.rows} rows, prompts of {prompt_size(case)}: {name} {speed}")
    return rows


def prompt_size(case: Case) -> int:
    """Tokens of a prompt, rounded."""
    return round(sum(map(len, case.prompts)) / len(case.prompts))


def synchronize(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


def settle(options: argparse.Namespace) -> argparse.Namespace:
    gpu = options.device != "cpu"
    if options.networks is None:
        options.networks = [*POCKET, *list(RANDOM)[: 3 if gpu else 2]]
        if options.quick:
            options.networks = options.networks[:3]
    if options.rows is None:
        options.rows = [64, 1024, 4096] if gpu else [64] if options.quick else [64, 256, 512]
    if options.prompts is None:
        options.prompts = [32] if options.quick else [32, 512] if gpu else [32, 128]
    return options


def named(what: str, known: Sequence[str]) -> Callable[[str], list[str]]:
    def read(text: str) -> list[str]:
        found = words(text)
        if unknown := [one for one in found if one not in known]:
            raise argparse.ArgumentTypeError(f"there is no {what} {unknown[0]}; there are: {', '.join(known)}")
        return found

    return read


def parser() -> argparse.ArgumentParser:
    said = command("sampler", __doc__, "of prompts, weights and samples", "few networks and rows, about two minutes")
    said.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    networks = [*POCKET, *RANDOM]
    said.add_argument("--networks", type=named("network", networks), help=f"of {', '.join(networks)}")
    known = ", ".join(SYSTEMS)
    said.add_argument("--systems", type=named("system", SYSTEMS), default=list(SYSTEMS), help=f"of {known}")
    said.add_argument("--rows", type=numbers(1), help="samples at once")
    said.add_argument("--prompts", type=numbers(1), help="tokens of a prompt, for random networks")
    said.add_argument("--new", type=int, default=64, help="tokens of a sample, of random networks")
    said.add_argument("--repeat", type=int, default=3, help="measurements of each kind; rows hold the median")
    return said


def main() -> int:
    options = settle(parser().parse_args())
    note(machine())
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for case in cases(options, Path(folder)):
            rows += measure(case, options)
    finish(rows, options.json, (rows, "Tokens a second"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
