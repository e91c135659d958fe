"""The packaged models: a few megabytes of weights that do a task, or a step, without a key or a network."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from surefoot.models.local.dialects import Beyond, CompactDialect, Dialect, dialect
from surefoot.models.local.model import Encoded, LocalModel
from surefoot.models.pocket.compact import Names
from surefoot.models.question import Question
from surefoot.storage.errors import SetupError
from surefoot.storage.records import Json

FOLDER = Path(__file__).parent / "pocket"
WORD_PROBLEMS = "word-problems"
MAX_TOKENS = 128


class PocketModel(LocalModel):
    """Packaged weights, each for one narrow job in a dialect of its own. They err often: let them be checked.

    `word-problems` turns a word problem into a plan of calculator steps: it answers questions of the role `plan` by
    their goal alone. `running-sums/p95` adds two numbers digit by digit, `hanoi-moves/p95` makes the next move of a
    tower: single steps, from policies that are right about that often. All say `unknown` to anything else.
    """

    def __init__(self, name: str = WORD_PROBLEMS, *, folder: str | Path | None = None, **options: Any) -> None:
        """`name` is one of `names()`; `folder` holds other weights in its place; `options` are LocalModel's."""
        if folder is None and name not in names():
            known = ", ".join(f"pocket/{one}" for one in names())
            raise SetupError(f"there is no packaged model 'pocket/{name}'; there are: {known}")
        place = Path(folder) if folder is not None else FOLDER / name.replace("-", "_")
        self.card: Mapping[str, Json] = _card(place)
        """Metadata and thresholds that were measured when the weights were made."""
        own: dict[str, Any] = {
            "name": f"pocket/{name}",
            "dialect": _dialect(self.card),
            "max_tokens": MAX_TOKENS,
            "device": "cpu",
        }
        super().__init__(place, **own | options)

    def _encode(self, question: Question, keep: bool = True) -> Encoded:
        """Beyond it are also texts that are longer than any that it was taught: those are none of its tasks."""
        encoded, most = super()._encode(question, keep), self.card.get("max_prompt_tokens")
        if most is not None and (tokens := len(encoded.ids)) > most:
            raise Beyond(
                f"the text is longer than any that the pocket model was taught: {tokens} tokens, at most {most}"
            )
        return encoded


def names() -> list[str]:
    """Names of the packaged models, without `pocket/`."""
    return sorted(str(card.parent.relative_to(FOLDER)).replace("_", "-") for card in FOLDER.rglob("card.json"))


def _dialect(card: Mapping[str, Json]) -> Dialect:
    name = card.get("dialect", "compact")
    if name != "compact":
        return dialect(name)
    told = card.get("names", {})
    return CompactDialect(Names(frozenset(told.get("known", ())), tuple(told.get("stand_ins", ()))))


def _card(folder: Path) -> Mapping[str, Json]:
    path = folder / "card.json"
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SetupError(f"the pocket model's card cannot be read ({error}); install surefoot again") from error
    return card if isinstance(card, dict) else {}
