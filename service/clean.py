"""Foreign text on a terminal: what a model, a tool or a file says must not be able to steer it."""

from __future__ import annotations

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


def _shown(found: re.Match[str]) -> str:
    character = found.group()
    code = ord(character)
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "␡"
    if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") and character not in _KEPT:
        return f"<U+{code:04X}>"
    return character


_UNSAFE_JSON = re.compile(
    "[\x7f-\x9f\u00ad\u0600-\u0605\u061c\u06dd\u070f\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\ud800-\udfff\ufeff\ufff9-\ufffb\U000e0000-\U000e0fff]"
)


def safe_json(text: str) -> str:
    """JSON text that means the same, with every character that a terminal would obey as a `\\u` escape."""
    return _UNSAFE_JSON.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    code = ord(found.group())
    if code < 0x10000:
        return f"\\u{code:04x}"
    code -= 0x10000
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"
