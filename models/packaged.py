"""The packaged models: a few megabytes of weights that plan word problems without a key or a network."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from surefoot.models.compact import Names
from surefoot.models.dialects import CompactDialect
from surefoot.models.local import LocalModel
from surefoot.storage.errors import SetupError
from surefoot.storage.records import Json

FOLDER = Path(__file__).parent / "pocket"
NAME = "pocket/word-problems"
MAX_TOKENS = 128


class PocketModel(LocalModel):
    """Small weights that turn a word problem into a plan of calculator steps.

    It answers questions of the role `plan` by their goal alone, and says `unknown` to anything else. It errs
    often: ask it for several samples and let them be checked.
    """

    def __init__(self, folder: str | Path | None = None, **options: Any) -> None:
        """`folder` holds other weights of the same dialect; `options` are LocalModel's."""
        place = Path(folder) if folder is not None else FOLDER / "word_problems"
        self.card: Mapping[str, Json] = _card(place)
        """Metadata and thresholds that were measured when the weights were made."""
        dialect = CompactDialect(_names(self.card.get("names", {})))
        own: dict[str, Any] = {"name": NAME, "dialect": dialect, "max_tokens": MAX_TOKENS, "device": "cpu"}
        own["threads"] = 1  # its matrices are so small that threads wait for each other longer than they work
        super().__init__(place, **own | options)


def pocket(**options: Any) -> PocketModel:
    """The packaged model for word problems."""
    return PocketModel(**options)


def _names(card: Json) -> Names:
    return Names(frozenset(card.get("known", ())), tuple(card.get("stand_ins", ())))


def _card(folder: Path) -> Mapping[str, Json]:
    path = folder / "card.json"
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SetupError(f"the pocket model's card cannot be read ({error}); install surefoot again") from error
    return card if isinstance(card, dict) else {}
