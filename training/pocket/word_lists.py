"""The vocabulary of the generated texts: names, things, requests, phrases and sentence patterns, from `words.toml`."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

_READ: dict[str, Any] = tomllib.loads(Path(__file__).with_name("words.toml").read_text(encoding="utf-8"))
_WORDS: dict[str, list[str]] = {name: text.split() for name, text in _READ["words"].items()}
_LINES: dict[str, list[str]] = {name: text.splitlines() for name, text in _READ["lines"].items()}

NAMES = _WORDS["names"]
SYLLABLES = _WORDS["syllables"]
THINGS = _WORDS["things"]
PLACES = _WORDS["places"]
ADJECTIVES = _WORDS["adjectives"]
VERBS = _WORDS["verbs"]
ABSTRACT = _WORDS["abstract"]
STYLES = _WORDS["styles"]
LANGUAGES = _WORDS["languages"]
EVENTS = _LINES["events"]
QUESTIONS = _LINES["questions"]
PROSE = _LINES["prose"]
ASKING = _LINES["asking"]
COMMANDS = _LINES["commands"]
REQUESTS_ABOUT_A_TEXT = _LINES["requests_about_a_text"]
CODE: list[str] = _READ["code"]["snippets"]
FRAGMENTS: dict[str, str] = _READ["fragments"]
SWAPS: dict[str, list[str]] = _READ["swaps"]
