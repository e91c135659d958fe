"""The compact text dialect between a small language model and a plan.

A small model reads a text whose numerals are replaced by names (n0, n1, ...), and whose unknown names of
persons by known ones, and writes a program in a terse grammar; this module makes the prompt, reads the reply,
and computes what a reply stands for.

Grammar of a reply (white space is free between symbols, ids and numbers)::

    reply   := "none" | step (";" step)* ";" "answer" stepid
    step    := stepid "=" sum
    sum     := product (("+" | "-") product)*
    product := power (("*" | "/" | "//" | "%") power)*
    power   := atom ("**" atom)?
    atom    := "n" digits | "s" digits | constant | "(" sum ")"

Steps are numbered s1, s2, ... in order; a step may use the numbers of the text and earlier steps.
No model library is imported here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

MAX_STEPS = 16
MAX_CONSTANT = 1000
MAX_EXPONENT = 64
PROMPT_OPEN = "<text>"
PROMPT_CLOSE = "<plan>"

_WORD = re.compile(r"[^\W\d_]+")
_NUMERAL = re.compile(
    r"(?<![0-9/.])[0-9]+ [0-9]+/[1-9][0-9]*(?![0-9/])"  # mixed number: 2 1/2
    r"|[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])(?:\.[0-9]+)?"  # thousands separators
    r"|[0-9]+/[1-9][0-9]*"  # simple fraction
    r"|[0-9]*\.[0-9]+"  # decimal
    r"|[0-9]+"
)
_SYMBOL = re.compile(r"\s*(answer|none|[ns][0-9]+|[0-9]+|\*\*|//|[-+*/%()=;])")
_MARKER = re.compile(r"<(?=(?:text|plan|end|pad)>)")
_FLOAT_PRINT_DIGITS = 12


@dataclass(frozen=True)
class Masked:
    """A text with its numerals replaced by n0, n1, ... and those numerals as exact strings, in order."""

    text: str
    numbers: tuple[str, ...]


@dataclass(frozen=True)
class Names:
    """How names of persons are read: a small model cannot carry a name along that it never saw.

    `known` are all capitalized words that it was taught, `stand_ins` the names that it saw most.
    """

    known: frozenset[str] = frozenset()
    stand_ins: tuple[str, ...] = ()

    def replaced(self, text: str) -> str:
        """The text with each capitalized word that is not known replaced by a stand-in that it does not hold yet.

        The same word gets the same stand-in. Where they run out, the other words stay. What is no name is replaced
        too; such a text then looks unusual to the model, as it should.
        """
        words = dict.fromkeys(_WORD.findall(text))
        free = (name for name in self.stand_ins if name not in words)
        unknown = [word for word in words if word[0].isupper() and word not in self.known]
        chosen = dict(zip(unknown, free, strict=False))
        return _WORD.sub(lambda match: chosen.get(match.group(), match.group()), text) if chosen else text


AS_THEY_ARE = Names()


@dataclass(frozen=True)
class Step:
    """One step: its id ("s1") and the symbols of its expression in infix order."""

    id: str
    symbols: tuple[str, ...]


@dataclass(frozen=True)
class Program:
    """A reply that was read: steps in order and the id of the step whose value is the answer."""

    steps: tuple[Step, ...]
    output: str

    def run(self, numbers: Sequence[Fraction]) -> Fraction:
        """The exact value of the output for the given values of n0, n1, ...

        Raises ValueError for a number that is not given, a division by zero or an unusable exponent.
        """
        values: dict[str, Fraction] = {f"n{i}": value for i, value in enumerate(numbers)}
        for step in self.steps:
            values[step.id] = _Expression(step.symbols, values).value()
        return values[self.output]

    def used(self) -> frozenset[str]:
        """All ids (numbers and steps) that some step or the output refers to."""
        names = {s for step in self.steps for s in step.symbols if s[0] in "ns"}
        return frozenset(names | {self.output})


def exact(value: Fraction) -> str:
    """`value` as an integer, else as its shortest exact decimal, else as "p/q"."""
    if value.denominator == 1:
        return str(value.numerator)
    rest, twos, fives = value.denominator, 0, 0
    while rest % 2 == 0:
        rest, twos = rest // 2, twos + 1
    while rest % 5 == 0:
        rest, fives = rest // 5, fives + 1
    if rest != 1:
        return f"{value.numerator}/{value.denominator}"
    places = max(twos, fives)
    digits = str(abs(value.numerator) * 10**places // value.denominator).rjust(places + 1, "0")
    return f"{'-' if value < 0 else ''}{digits[:-places]}.{digits[-places:]}"


def mask(text: str) -> Masked:
    """Replace each ASCII numeral of `text` by a name of its own and collapse white space.

    Signs next to a numeral (%, $, -) stay in the text. The same numeral twice gets two names. Markers
    of the prompt format that occur in `text` are broken up, so a text cannot end its own prompt.
    """
    numbers: list[str] = []

    def name(match: re.Match[str]) -> str:
        numbers.append(exact(_numeral(match.group())))
        return f" n{len(numbers) - 1} "

    named = _NUMERAL.sub(name, _MARKER.sub("< ", text))
    return Masked(" ".join(named.split()), tuple(numbers))


def render(text: str, names: Names = AS_THEY_ARE) -> str:
    """The exact prompt for `text`, to be tokenized without further special tokens."""
    return f"{PROMPT_OPEN} {mask(names.replaced(text)).text} {PROMPT_CLOSE}"


def program(reply: str) -> Program | None:
    """Read a reply; None for `none`. Raises ValueError for anything outside the grammar."""
    symbols = _symbols(reply)
    if symbols == ["none"]:
        return None
    *body, ending = _split(symbols, ";")
    if len(ending) != 2 or ending[0] != "answer":
        raise ValueError("a reply must end in '; answer s<k>'")
    if not 1 <= len(body) <= MAX_STEPS:
        raise ValueError(f"a reply must have 1 to {MAX_STEPS} steps, got {len(body)}")
    steps = tuple(_step(part, position) for position, part in enumerate(body, start=1))
    if ending[1] not in {step.id for step in steps}:
        raise ValueError(f"the answer refers to {ending[1]}, which is not a step")
    return Program(steps, ending[1])


def parse(reply: str, numbers: Sequence[str]) -> dict[str, Any] | None:
    """Turn a reply into a plan of calculator steps; None for `none`.

    `numbers` are the exact strings of `Masked.numbers`. Raises ValueError when the reply is outside the
    grammar or names a number that the text does not have.
    """
    read = program(reply)
    if read is None:
        return None
    return {"steps": [_plan_step(step, numbers) for step in read.steps], "output": {"$ref": read.output}}


def shape(reply: str, count: int) -> str:
    """A reply's symbols in one spelling, after the number of numerals in its text: "2: s1 = n0 + n1 ; ..."

    Two plans of the same shape differ only in the numbers. Raises ValueError outside the grammar.
    """
    program(reply)
    return f"{count}: {' '.join(_symbols(reply))}"


def _numeral(text: str) -> Fraction:
    """The value of one numeral; a long decimal is read as the simple fraction that it prints."""
    if " " in text:
        whole, part = text.split(" ")
        return int(whole) + Fraction(part)
    value = Fraction(text.replace(",", ""))
    places = len(text.partition(".")[2])
    if places < _FLOAT_PRINT_DIGITS:
        return value
    simple = value.limit_denominator(1000)
    return simple if abs(simple - value) < Fraction(1, 10**9) else value


def _symbols(reply: str) -> list[str]:
    """Split a reply into symbols; raises ValueError at the first character that starts none."""
    symbols: list[str] = []
    position, end = 0, len(reply.rstrip())
    while position < end:
        match = _SYMBOL.match(reply, position)
        if match is None:
            raise ValueError(f"unexpected text in a reply: {reply[position : position + 20]!r}")
        symbols.append(match.group(1))
        position = match.end()
    return symbols


def _split(symbols: list[str], at: str) -> list[list[str]]:
    """Cut a list of symbols at each occurrence of one symbol."""
    parts: list[list[str]] = [[]]
    for symbol in symbols:
        if symbol == at:
            parts.append([])
        else:
            parts[-1].append(symbol)
    return parts


def _step(part: list[str], position: int) -> Step:
    """Read `s<position> = expression` and check every symbol of it."""
    if len(part) < 3 or part[0] != f"s{position}" or part[1] != "=":
        raise ValueError(f"step {position} must start with 's{position} ='")
    symbols = tuple(part[2:])
    for symbol in symbols:
        if symbol[0] == "s" and not 1 <= int(symbol[1:]) < position:
            raise ValueError(f"step s{position} refers to {symbol}, which is not an earlier step")
        if symbol.isdigit() and int(symbol) > MAX_CONSTANT:
            raise ValueError(f"constant {symbol} exceeds {MAX_CONSTANT}")
    if not any(symbol[0] in "ns" for symbol in symbols):
        raise ValueError(f"step s{position} uses no number and no earlier step")
    _Expression(symbols, None).value()
    return Step(part[0], symbols)


def _plan_step(step: Step, numbers: Sequence[str]) -> dict[str, Any]:
    """One calculator step: operands become letters, constants stay in the expression."""
    letters: dict[str, str] = {}
    values: dict[str, Any] = {}
    expression: list[str] = []
    goal: list[str] = []
    for symbol in step.symbols:
        if symbol[0] not in "ns":
            expression.append(symbol)
            goal.append(symbol)
            continue
        letter = letters.setdefault(symbol, chr(ord("a") + len(letters)))
        values[letter] = {"$ref": symbol} if symbol[0] == "s" else _number(symbol, numbers)
        expression.append(letter)
        goal.append(symbol if symbol[0] == "s" else values[letter])
    args = {"expression": _spaced(expression), "values": values}
    return {"id": step.id, "goal": f"compute {_spaced(goal)}", "tool": "calculator", "args": args}


def _number(symbol: str, numbers: Sequence[str]) -> str:
    """The string that a number name stands for; raises ValueError when there is none."""
    index = int(symbol[1:])
    if index >= len(numbers):
        raise ValueError(f"the text has {len(numbers)} numbers, so there is no {symbol}")
    return numbers[index]


def _spaced(symbols: Sequence[str]) -> str:
    """Symbols as text: a space around operators, none inside parentheses."""
    return " ".join(symbols).replace("( ", "(").replace(" )", ")")


class _Expression:
    """Recursive descent over the symbols of one expression.

    With `values` None only the grammar is checked, and the value returned has no meaning.
    """

    def __init__(self, symbols: Sequence[str], values: dict[str, Fraction] | None) -> None:
        self._symbols = symbols
        self._values = values
        self._position = 0

    def value(self) -> Fraction:
        """The value of the whole expression; raises ValueError when symbols are left over."""
        result = self._chain(("+", "-"), lambda: self._chain(("*", "/", "//", "%"), self._power))
        if self._position != len(self._symbols):
            raise ValueError(f"unexpected {self._symbols[self._position]!r} in an expression")
        return result

    def _peek(self) -> str:
        return self._symbols[self._position] if self._position < len(self._symbols) else ""

    def _take(self) -> str:
        symbol = self._peek()
        self._position += 1
        return symbol

    def _chain(self, operators: tuple[str, ...], operand: Callable[[], Fraction]) -> Fraction:
        result = operand()
        while self._peek() in operators:
            operator = self._take()
            right = operand()
            result = result if self._values is None else _apply(operator, result, right)
        return result

    def _power(self) -> Fraction:
        base = self._atom()
        if self._peek() != "**":
            return base
        self._take()
        exponent = self._atom()
        return base if self._values is None else _apply("**", base, exponent)

    def _atom(self) -> Fraction:
        symbol = self._take()
        if symbol == "(":
            result = self._chain(("+", "-"), lambda: self._chain(("*", "/", "//", "%"), self._power))
            if self._take() != ")":
                raise ValueError("a parenthesis is not closed")
            return result
        if symbol.isdigit():
            return Fraction(int(symbol))
        if re.fullmatch(r"[ns][0-9]+", symbol) is None:
            raise ValueError(f"a number or step was expected, got {symbol or 'the end'!r}")
        if self._values is None:
            return Fraction(1)
        if symbol not in self._values:
            raise ValueError(f"{symbol} has no value")
        return self._values[symbol]


def _apply(operator: str, left: Fraction, right: Fraction) -> Fraction:
    """One exact operation; raises ValueError where the result is undefined or out of bounds."""
    if operator == "+":
        return left + right
    if operator == "-":
        return left - right
    if operator == "*":
        return left * right
    if operator == "**":
        return _raise(left, right)
    if right == 0:
        raise ValueError("division by zero")
    if operator == "/":
        return left / right
    return Fraction(left // right) if operator == "//" else left % right


def _raise(base: Fraction, exponent: Fraction) -> Fraction:
    """`base ** exponent` for a whole exponent of 0 to MAX_EXPONENT; raises ValueError otherwise."""
    if exponent.denominator != 1 or not 0 <= exponent <= MAX_EXPONENT:
        raise ValueError(f"an exponent must be a whole number from 0 to {MAX_EXPONENT}")
    return base**exponent.numerator
