"""Nothing that a model, a tool or a file says can steer the terminal."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surefoot.service.display.clean import clean, one_line, safe_json

ANY = st.characters(exclude_categories=())
"""Every code point, lone surrogates included."""

HOSTILE = {
    "a colour": ("\x1b[31mred", "␛[31mred"),
    "the clipboard, OSC 52": ("\x1b]52;c;cm0gLXJm\x07", "␛]52;c;cm0gLXJm␇"),
    "a title, with its terminator": ("\x1b]0;root\x1b\\", "␛]0;root␛\\"),
    "an eight-bit CSI": ("\x9b2J", "<U+009B>2J"),
    "an eight-bit OSC": ("\x9d0;x\x9c", "<U+009D>0;x<U+009C>"),
    "a line overwritten": ("safe\rrm -rf", "safe␍rm -rf"),
    "backspaces": ("a\x08\x08b", "a␈␈b"),
    "a right-to-left override": ("user\u202etxt.exe", "user<U+202E>txt.exe"),
    "isolates": ("\u2066a\u2069", "<U+2066>a<U+2069>"),
    "a byte order mark": ("\ufeffa", "<U+FEFF>a"),
    "invisible tags": ("a\U000e0041", "a<U+E0041>"),
    "half a character": ("a\ud800b", "a<U+D800>b"),
    "NUL and DEL": ("\x00\x7f", "␀␡"),
}


@pytest.mark.parametrize(("text", "shown"), HOSTILE.values(), ids=HOSTILE)
def test_what_a_terminal_would_obey_is_made_visible(text: str, shown: str) -> None:
    assert clean(text) == shown


def test_line_ends_tabs_and_every_writing_stay() -> None:
    text = "first\tline\r\nsecond\nJosé, 小明, Маша, עברית, हिन्दी, 👩\u200d🚀"
    assert clean(text) == text.replace("\r\n", "\n")


def test_unusual_line_ends_are_line_ends() -> None:
    assert clean("a\u2028b\u2029c\x85d") == "a\nb\nc\nd"


def test_one_line_is_one_line_of_that_length() -> None:
    assert one_line("a\n  b\tc") == "a b c"
    assert one_line("word " * 50, 12) == "word word w…"
    assert one_line("exact", 5) == "exact"


@given(st.text(ANY))
def test_no_text_at_all_gets_a_control_character_through(text: str) -> None:
    shown = clean(text)
    assert all(unicodedata.category(one) not in ("Cc", "Cs") or one in "\n\t" for one in shown)
    assert not set(shown) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
    assert shown.encode().decode() == shown


@given(st.text(ANY))
def test_json_is_safe_to_print_and_means_the_same(text: str) -> None:
    written = safe_json(json.dumps(text, ensure_ascii=False))
    assert json.loads(written) == text
    assert clean(written) == written
