"""Arithmetic worked out a second time, to check a calculator by a route of its own.

The calculator walks Python's syntax tree over fractions. Here Dijkstra's shunting-yard algorithm orders the
symbols, and the values are pairs of plain integers that are never reduced. Neither the parser nor the number
type is shared, so a defect in one does not show in the other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from math import isqrt

from surefoot.reflection.recompute import Recompute, number
from surefoot.storage.records import Json

Pair = tuple[int, int]
"""Numerator and denominator, which is above 0."""

_SYMBOL = re.compile(r"\s*((?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[A-Za-z_]\w*|\*\*|//|[-+*/%(),])", re.ASCII)
_SIGNS = str.maketrans({"×": "*", "·": "*", "÷": "/", "−": "-"})
_GROUPED = re.compile(r"[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?")
_MONEY = "$€£¥ "
_RANK = {"+": 1, "-": 1, "*": 2, "/": 2, "//": 2, "%": 2, "minus:1": 3, "plus:1": 3, "**": 4}
_PREFIX = {"-": "minus:1", "+": "plus:1"}
_BITS = 200_000
"""Size of the largest intermediate value."""


def arithmetic(name: str = "arithmetic") -> Recompute:
    """An exact verifier of calculator steps: the inputs are `expression` and, where it has names, `values`.

    It abstains on an expression that it cannot read, and on one without a value.
    """
    return Recompute(recalculate, name=name, version="1", inline=True)


def recalculate(inputs: Mapping[str, Json]) -> Fraction:
    """The exact value of `inputs["expression"]` over `inputs["values"]`.

    Raises KeyError where there is no expression, ValueError for one that is not read here or grows too large,
    ZeroDivisionError where it has no value.
    """
    values = {name: _pair(value) for name, value in (inputs.get("values") or {}).items()}
    top, below = _evaluate(_postfix(inputs["expression"]), values)
    return Fraction(top, below)


# --- reading ------------------------------------------------------------------------------------------------------


def _pair(value: Json) -> Pair:
    if type(value) is int:
        return value, 1
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value), 1
    known = _amount(value) if isinstance(value, str) else number(value)
    if known is None:
        raise ValueError(f"{value!r} is not a number")
    return known.numerator, known.denominator


def _amount(text: str) -> Fraction | None:
    """Numeric text as people write it: 1,234.50, 2 1/2, $3.20, 25%."""
    text = text.strip().translate(_SIGNS)
    sign = -1 if text.startswith("-") else 1
    body = text[1:] if text[:1] in ("-", "+") else text
    part = Fraction(1, 100) if body.endswith("%") else 1
    body = body.removesuffix("%").strip(_MONEY)
    if _GROUPED.fullmatch(body):
        body = body.replace(",", "")
    if body[:1] in ("-", "+"):
        return None
    whole, gap, rest = body.partition(" ")
    found = [number(word) for word in ((whole, rest) if gap and "/" in rest else (body,))]
    return None if None in found else sign * part * sum((one for one in found if one is not None), Fraction())


@lru_cache(maxsize=4096)
def _postfix(expression: str) -> tuple[str, ...]:
    return tuple(_Postfix(_symbols(expression)).output)


def _symbols(expression: str) -> list[str]:
    symbols: list[str] = []
    text = expression.translate(_SIGNS).rstrip()
    position = 0
    while position < len(text):
        match = _SYMBOL.match(text, position)
        if match is None:
            raise ValueError(f"unexpected text in the expression: {text[position : position + 20]!r}")
        symbols.append(match.group(1))
        position = match.end()
    return symbols


class _Postfix:
    """The symbols in postfix order; an operation on n values other than two is written name:n.

    A prefix sign binds looser than a power on its right and tighter than a product: -2 ** 2 is -4.
    """

    def __init__(self, symbols: list[str]) -> None:
        self.output: list[str] = []
        self._waiting: list[str] = []
        self._counts: list[int] = []  # arguments so far, one number for each open parenthesis
        self._operand_next = True
        for symbol, following in zip(symbols, [*symbols[1:], ""], strict=True):
            self._take(symbol, following)
        self._pop_to_parenthesis()
        if self._operand_next or self._waiting:
            raise ValueError("the expression ends too early")

    def _take(self, symbol: str, following: str) -> None:
        begins = (
            symbol == "(" or (symbol not in _RANK and symbol not in "),") or (self._operand_next and symbol in _PREFIX)
        )
        if begins is not self._operand_next:
            raise ValueError(f"unexpected {symbol!r} in the expression")
        if symbol == "(":
            self._waiting.append(symbol)
            self._counts.append(1)
        elif symbol == ")":
            self._close()
        elif symbol == ",":
            self._separate()
        elif symbol in _RANK:
            self._operator(symbol)
        elif following == "(":
            self._waiting.append(symbol)
        else:
            self.output.append(symbol)
            self._operand_next = False

    def _operator(self, symbol: str) -> None:
        if self._operand_next:
            self._waiting.append(_PREFIX[symbol])
            return
        while self._waiting and self._waiting[-1] in _RANK and _goes_first(self._waiting[-1], symbol):
            self.output.append(self._waiting.pop())
        self._waiting.append(symbol)
        self._operand_next = True

    def _pop_to_parenthesis(self) -> None:
        while self._waiting and self._waiting[-1] in _RANK:
            self.output.append(self._waiting.pop())

    def _close(self) -> None:
        self._pop_to_parenthesis()
        if not self._waiting:
            raise ValueError("a parenthesis is closed that was not opened")
        self._waiting.pop()
        count = self._counts.pop()
        if self._in_call():
            self.output.append(f"{self._waiting.pop()}:{count}")

    def _separate(self) -> None:
        self._pop_to_parenthesis()
        if len(self._waiting) < 2 or self._waiting[-2] in _RANK or self._waiting[-2] == "(":
            raise ValueError("a comma stands outside a function")
        self._counts[-1] += 1
        self._operand_next = True

    def _in_call(self) -> bool:
        return bool(self._waiting) and self._waiting[-1] != "(" and self._waiting[-1] not in _RANK


def _goes_first(left: str, right: str) -> bool:
    """The operator on the left is applied before the one on its right; powers group from the right."""
    return _RANK[left] > _RANK[right] or (_RANK[left] == _RANK[right] and right != "**")


# --- working out --------------------------------------------------------------------------------------------------


def _evaluate(postfix: Sequence[str], values: Mapping[str, Pair]) -> Pair:
    stack: list[Pair] = []
    for symbol in postfix:
        name, _, count = symbol.partition(":")
        if count or symbol in _RANK:
            first = len(stack) - int(count or 2)
            arguments = stack[first:]
            del stack[first:]
            if name not in _OPERATIONS:
                raise ValueError(f"{name} is no function that is known here")
            stack.append(_sized(_OPERATIONS[name](*arguments)))
        elif symbol[0].isdigit() or symbol[0] == ".":
            stack.append(_pair(symbol))
        elif symbol in values:
            stack.append(values[symbol])
        else:
            raise ValueError(f"{symbol} has no value")
    return stack.pop()


def _sized(pair: Pair) -> Pair:
    if max(pair[0].bit_length(), pair[1].bit_length()) > _BITS:
        raise ValueError("the expression grows too large to be worked out again")
    return pair


def _sum(left: Pair, right: Pair) -> Pair:
    return left[0] * right[1] + right[0] * left[1], left[1] * right[1]


def _difference(left: Pair, right: Pair) -> Pair:
    return _sum(left, (-right[0], right[1]))


def _product(left: Pair, right: Pair) -> Pair:
    return left[0] * right[0], left[1] * right[1]


def _quotient(left: Pair, right: Pair) -> Pair:
    if right[0] == 0:
        raise ZeroDivisionError("the expression divides by zero")
    sign = 1 if right[0] > 0 else -1
    return sign * left[0] * right[1], sign * left[1] * right[0]


def _floor(left: Pair, right: Pair) -> Pair:
    top, below = _quotient(left, right)
    return top // below, 1


def _rest(left: Pair, right: Pair) -> Pair:
    return _difference(left, _product(right, _floor(left, right)))


def _power(base: Pair, exponent: Pair) -> Pair:
    times, rest = divmod(exponent[0], exponent[1])
    if rest:
        raise ValueError("an exponent is not whole")
    if abs(times) * max(base[0].bit_length(), base[1].bit_length()) > _BITS:
        raise ValueError("the expression grows too large to be worked out again")
    if times >= 0:
        return base[0] ** times, base[1] ** times
    return _quotient((1, 1), (base[0] ** -times, base[1] ** -times))


def _least(first: Pair, *others: Pair) -> Pair:
    for other in others:
        first = other if other[0] * first[1] < first[0] * other[1] else first
    return first


def _most(*pairs: Pair) -> Pair:
    return _minus(_least(*map(_minus, pairs)))


def _minus(value: Pair) -> Pair:
    return -value[0], value[1]


def _round(value: Pair, places: Pair = (0, 1)) -> Pair:
    """To the nearest, halves to the even neighbour."""
    unit = _power((10, 1), places)
    top, below = _product(value, unit)
    whole, rest = divmod(top, below)
    if 2 * rest > below or (2 * rest == below and whole % 2):
        whole += 1
    return _quotient((whole, 1), unit)


def _root(value: Pair) -> Pair:
    # The root of n/d is the root of n*d over d, whether or not the pair is reduced.
    root = isqrt(value[0] * value[1])
    if root * root != value[0] * value[1]:
        raise ValueError("a square root is not a fraction")
    return root, value[1]


_OPERATIONS: Mapping[str, Callable[..., Pair]] = {
    "+": _sum,
    "-": _difference,
    "*": _product,
    "/": _quotient,
    "//": _floor,
    "%": _rest,
    "**": _power,
    "minus": _minus,
    "plus": lambda value: value,
    "floor": lambda value: (value[0] // value[1], 1),
    "ceil": lambda value: (-(-value[0] // value[1]), 1),
    "abs": lambda value: (abs(value[0]), value[1]),
    "min": _least,
    "max": _most,
    "round": _round,
    "sqrt": _root,
}
