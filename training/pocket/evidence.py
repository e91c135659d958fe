"""Collect evidence on the pocket model: what it replies to problems and to texts that are none.

    python -m surefoot.training.pocket.evidence --model DIR --set evaluation --out records.jsonl

Each record holds a text, its true answer (null for a text that is no taught problem), the negative
log-likelihood of each prompt token, the greedy reply and sampled replies, each as the key of what it
computes, and the key of the greedy reply to the text with its trailing sentences added or removed.
The true answer is only recorded; nothing here reads it. `surefoot.training.pocket.rules` scores rules on records.
"""

from __future__ import annotations

import argparse
import copy
import importlib
import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from random import Random
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from surefoot.models.pocket import compact
from surefoot.training.pocket import foreign, held_out, lookalikes, traces

PROBES = 3
MAX_REPLY = 140
SAMPLES = 12
SEEDS = {"calibration": 600_000, "evaluation": 20_000}


@dataclass(frozen=True)
class Case:
    """A text to read, its family, and its true answer as an exact string (None: abstain)."""

    text: str
    family: str
    answer: str | None


@dataclass(frozen=True)
class Reading:
    """What the model makes of one text.

    `prompt_nll` has one entry in nats per prompt token after the first of `prompt_ids`. `none` is the probability that
    the reply starts with `none`. `replies` holds the greedy reply and then the sampled ones; `reply_nll`
    is the summed negative log-likelihood of each at temperature 1.
    """

    prompt_ids: tuple[int, ...]
    prompt_nll: tuple[float, ...]
    none: float
    replies: tuple[str, ...]
    reply_nll: tuple[float, ...]


class Reader:
    """A model folder, loaded for reading texts on the CPU."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        self.model: Any = AutoModelForCausalLM.from_pretrained(folder).eval()
        self._none = self.tokenizer(" none")["input_ids"][0]
        self._end = self.model.config.eos_token_id

    @torch.inference_mode()
    def read(self, text: str, samples: int, temperature: float, seed: int) -> Reading | None:
        """The greedy and `samples` sampled replies to a text; None when the prompt is too long."""
        ids = torch.tensor([self.tokenizer(compact.render(text, traces.names()))["input_ids"]])
        if ids.shape[1] + MAX_REPLY > self.model.config.max_position_embeddings:
            return None
        out = self.model(ids, use_cache=True)
        logp = out.logits[0].log_softmax(-1)
        nll = -logp[:-1].gather(1, ids[0, 1:, None])[:, 0]
        generator = torch.Generator().manual_seed(seed)
        cache = copy.deepcopy(out.past_key_values)
        cache.batch_repeat_interleave(samples + 1)
        first = logp[-1].expand(samples + 1, -1)
        replies, scores = self._decode(first, cache, temperature, generator)
        none = float(logp[-1, self._none].exp())
        return Reading(tuple(ids[0].tolist()), tuple(round(float(x), 3) for x in nll), round(none, 5), replies, scores)

    def _decode(
        self, logp: torch.Tensor, cache: Any, temperature: float, generator: torch.Generator
    ) -> tuple[tuple[str, ...], tuple[float, ...]]:
        """Continue all rows, the first greedily; `logp` is (rows, vocabulary)."""
        rows = logp.shape[0]
        done, score = torch.zeros(rows, dtype=torch.bool), torch.zeros(rows)
        columns: list[torch.Tensor] = []
        for _ in range(MAX_REPLY):
            token = torch.multinomial((logp / temperature).softmax(-1), 1, generator=generator)[:, 0]
            token[0] = logp[0].argmax()
            token[done] = self._end
            score += torch.where(done, 0.0, -logp.gather(1, token[:, None])[:, 0])
            columns.append(token)
            done |= token == self._end
            if bool(done.all()):
                break
            logits = self.model(token[:, None], past_key_values=cache, use_cache=True).logits[:, -1]
            logp = logits.log_softmax(-1)
        texts = self.tokenizer.batch_decode(torch.stack(columns, 1), skip_special_tokens=True)
        return tuple(t.strip() for t in texts), tuple(round(float(s), 4) for s in score)


def probes(text: str, count: int) -> list[list[Fraction]]:
    """PROBES sets of `count` random numbers, the same for the same text."""
    rng = Random(zlib.crc32(text.encode()))
    return [[Fraction(rng.randint(2, 97)) for _ in range(count)] for _ in range(PROBES)]


def key(reply: str, text: str) -> dict[str, Any]:
    """What a reply computes: its value on the text, and a key that also covers the probe numbers."""
    numbers = [Fraction(n) for n in compact.mask(text).numbers]
    try:
        read = compact.program(reply)
        if read is None:
            return {"key": "none"}
        values = [read.run(numbers)]
    except ValueError:
        return {"key": "invalid"}
    for probe in probes(text, len(numbers)):
        try:
            values.append(read.run(probe))
        except ValueError:
            values.append(Fraction(-1, 7))
    used = read.used()
    steps = {step.id for step in read.steps}
    return {
        "shape": compact.shape(reply, len(numbers)),
        "key": "|".join(str(v) for v in values),
        "value": str(values[0]),
        "unused_steps": len(steps - used),
        "unused_numbers": sum(f"n{i}" not in used for i in range(len(numbers))),
    }


def toggled(text: str) -> str:
    """The text without the data set's trailing sentences, or with them if it has none."""
    return text.removesuffix(traces.TRAILER) if text.endswith(traces.TRAILER) else text + traces.TRAILER


def problems(seed: int, size: int) -> Iterator[Case]:
    """Problems as the data set hands them out, trailing sentences included."""
    module = importlib.import_module("reasoning_gym.arithmetic.gsm_symbolic.gsm_symbolic")
    data = module.GSMSymbolicDataset(module.GSMSymbolicDatasetConfig(seed=seed, size=size))
    for index in range(size):
        entry = data[index]
        yield Case(entry["question"], "problem", str(Fraction(entry["answer"])))


def abstentions(seed: int, per_family: int) -> Iterator[Case]:
    """Texts to abstain from, all of families that training never draws from."""
    for family in foreign.HELD_OUT_FAMILIES:
        yield from (Case(text, f"rg:{family}", None) for text in foreign.pool(family, seed, per_family))
    for family, texts in held_out.FAMILIES.items():
        yield from (Case(text, family, None) for text in texts)


def near_misses(seed: int, size: int) -> Iterator[Case]:
    """Changed problems, all kinds of change mixed; taught kinds on fresh instances."""
    rng = Random(seed)
    for _ in range(size):
        trace = traces.near_miss(rng)
        yield Case(trace.text, trace.family, None)


def variants(seed: int, size: int, names: Callable[[Random], str]) -> Iterator[Case]:
    """Problems without the trailing sentences and with other names of persons."""
    rng = Random(seed + 1)
    for _ in range(size):
        problem = traces.checked(rng)
        text = traces.rename(problem.question, problem, lambda: names(rng))
        yield Case(text, "variant", str(problem.answer))


def unseen_lookalikes(seed: int, size: int) -> Iterator[Case]:
    """Other questions about the facts of templates whose other questions were never trained."""
    rng = Random(seed + 2)
    for _ in range(size):
        problem = traces.generate(rng.choice(lookalikes.HELD_OUT), rng)
        question = lookalikes.question(problem.template, problem.variables, rng)
        if question is not None:
            text = traces.with_question(problem.question, question) + rng.choice(("", traces.TRAILER))
            yield Case(text, "lookalike", None)


def unseen_name(rng: Random) -> str:
    """A first name that training never used."""
    return rng.choice(held_out.NAMES)


def cases(which: str, size: int) -> list[Case]:
    """The cases of one set; the two sets share no seed with each other or with training."""
    seed = SEEDS[which]
    made = list(problems(seed, size))
    if which == "calibration":
        return made + list(variants(seed, size, lambda rng: rng.choice(held_out.CALIBRATION_NAMES)))
    made += [*variants(seed, size // 5, unseen_name), *unseen_lookalikes(seed, size // 5)]
    return [*made, *abstentions(seed, 10), *near_misses(seed, size // 2)]


def record(reader: Reader, case: Case, samples: int, temperature: float) -> dict[str, Any] | None:
    """All evidence on one case; None when the text is too long to read."""
    seed = zlib.crc32(case.text.encode())
    reading = reader.read(case.text, samples, temperature, seed)
    if reading is None:
        return None
    view = reader.read(toggled(case.text), 0, 1.0, seed)
    read = asdict(reading)
    greedy, *sampled = read.pop("replies")
    return {
        **asdict(case),
        **read,
        "greedy": {"reply": greedy, **key(greedy, case.text)},
        "samples": [key(reply, case.text) for reply in sampled],
        "toggled": key(view.replies[0], case.text)["key"] if view else "none",
    }


def main() -> None:
    """Read the command line, read every case, write one JSON record per line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--set", choices=sorted(SEEDS), default="evaluation")
    parser.add_argument("--size", type=int, default=500, help="number of problems")
    parser.add_argument("--samples", type=int, default=SAMPLES, help="sampled replies per text")
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    torch.set_num_threads(1)
    reader = Reader(given.model)
    with given.out.open("w", encoding="utf-8") as out:
        for number, case in enumerate(cases(given.set, given.size), start=1):
            found = record(reader, case, given.samples, given.temperature)
            made = found or {**asdict(case), "too_long": True}
            out.write(json.dumps(made) + "\n")
            if number % 100 == 0:
                print(f"{number} cases read", flush=True)


if __name__ == "__main__":
    main()
