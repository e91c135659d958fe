"""Local weights: loading them safely, and naming them exactly."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from surefoot.storage.errors import MissingExtra, SetupError
from surefoot.storage.records import Policy


@dataclass(frozen=True)
class Weights:
    """A network and its tokenizer, as transformers has them.

    `folder` is where they were loaded from; None for weights that exist only in memory, which have no
    hashes and so no exact policy. The network is None where another process has it.
    """

    network: Any
    tokenizer: Any
    folder: Path | None = None

    @cached_property
    def policy(self) -> Policy:
        """SHA-256 of the weights, the tokenizer and the chat template. Reads every byte once."""
        template = getattr(self.tokenizer, "chat_template", None)
        template_hash = hashlib.sha256(str(template).encode()).hexdigest() if template else ""
        if self.folder is None:
            return Policy("", template_sha256=template_hash)
        weights = _digest(sorted(self.folder.glob("*.safetensors")))
        tokenizer = _digest(sorted(self.folder.glob("tokenizer.json")) or sorted(self.folder.glob("tokenizer*")))
        return Policy("", weights[:12], weights, tokenizer, template_hash)

    @property
    def ends(self) -> frozenset[int]:
        """Ids of the tokens that end a reply."""
        told = getattr(self.network.generation_config, "eos_token_id", None)
        listed = told if isinstance(told, list) else [told]
        found = {id for id in (*listed, self.tokenizer.eos_token_id) if id is not None}
        return frozenset(int(id) for id in found)

    @property
    def window(self) -> int:
        """The most tokens, prompt and reply together."""
        return int(getattr(self.network.config, "max_position_embeddings", None) or 1 << 20)


def load_weights(
    source: str | Path, *, device: str | None = None, dtype: str | None = None, network: bool = True
) -> Weights:
    """Weights from a folder, or from a model id of the Hugging Face Hub (which may download them).

    Only safetensors files are read and no code of the model's is run. `device` is where a GPU is found, else
    "cpu"; `dtype` is float32 on a CPU, else the file's. network=False: the tokenizer alone.
    Raises MissingExtra without torch and transformers, SetupError where there are no such weights.
    """
    torch = _torch()
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = Path(source).expanduser()
    local = folder.is_dir()
    if not local:
        _refuse_missing(str(source))
    place = device or ("cuda" if torch.cuda.is_available() else "cpu")
    options = {"local_files_only": local, "trust_remote_code": False}
    try:
        with _quiet():
            if network:
                loaded = AutoModelForCausalLM.from_pretrained(
                    str(source),
                    use_safetensors=True,
                    dtype=dtype or ("float32" if place == "cpu" else "auto"),
                    **options,
                )
            tokenizer = AutoTokenizer.from_pretrained(str(source), **options)
    except (OSError, ValueError) as error:
        raise SetupError(
            f"no usable weights at {str(source)!r}: {str(error).splitlines()[0]} "
            "(wanted: config.json, tokenizer.json and *.safetensors)"
        ) from error
    return Weights(loaded.to(place).eval() if network else None, tokenizer, folder if local else _snapshot(str(source)))


def _torch() -> Any:
    try:
        import torch
        import transformers  # noqa: F401 - both belong to the extra
    except ImportError as error:
        raise MissingExtra("local", "a model with local weights") from error
    return torch


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars: stderr belongs to the program, not to a library."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _refuse_missing(source: str) -> None:
    if source.startswith(("/", ".", "~")) or source.count("/") != 1:
        raise SetupError(f"there is no folder {source!r}; give the path of a folder with *.safetensors weights")


def _snapshot(id: str) -> Path | None:
    """The folder that a model of the Hub was downloaded to."""
    from transformers.utils import cached_file

    found = cached_file(id, "config.json", local_files_only=True)
    return Path(found).parent if found else None


def _digest(files: Iterable[Path]) -> str:
    """SHA-256 over the files' bytes, one after another."""
    total = hashlib.sha256()
    for path in files:
        with path.open("rb") as stream:
            while block := stream.read(1 << 20):
                total.update(block)
    return total.hexdigest()
