"""Foreign text on a terminal: what a model, a tool or a file says must not be able to steer it."""

from __future__ import annotations

import json
import re
import unicodedata

_LINE_END = re.compile(r"\r\n|\u2028|\u2029|\x85")
_SUSPECT = re.compile(r"[^\x20-\x7e\n\t]")
_KEPT = frozenset("\u200c\u200d\u00ad")
"""Invisible, but part of how words and emoji are written, and harmless."""


def clean(text: object) -> str:
    """`text` with everything that a terminal would obey made visible; line ends and tabs stay.

    C0 control characters become their pictures (ESC is ␛, a lone CR is ␍); C1 ones, bidirectional overrides,
    tag characters and other invisible ones become `<U+202E>`; lone surrogates, which no stream can encode, too.
    """
    return _SUSPECT.sub(_shown, _LINE_END.sub("\n", str(text)))


def one_line(text: object, width: int = 0) -> str:
    """`text`, cleaned, on one line; with a `width` at most that many characters long."""
    short = " ".join(clean(text).split())
    return short if not width or len(short) <= width else short[: max(0, width - 1)].rstrip() + "…"


def safe_json(text: str) -> str:
    """JSON text that means the same, with every character that a terminal would obey as a `\\u` escape."""
    return _SUSPECT.sub(_escaped, text)


def _obeyed(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") and character not in _KEPT


def _shown(found: re.Match[str]) -> str:
    character = found.group()
    code = ord(character)
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "␡"
    return f"<U+{code:04X}>" if _obeyed(character) else character


def _escaped(found: re.Match[str]) -> str:
    # ASCII control characters stand escaped in JSON already, all but DEL.
    return json.dumps(found.group())[1:-1].replace("\x7f", "\\u007f") if _obeyed(found.group()) else found.group()
