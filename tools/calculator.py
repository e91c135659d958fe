"""Exact arithmetic: the `calculator` tool, and `evaluate` and `show` for whoever recomputes a result.

Every value is a rational number; nothing is rounded unless the expression says so, and nothing is evaluated by
Python. Bounds on length, digits and exponents keep any expression, however hostile, to milliseconds and kilobytes.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Annotated, Any

from pydantic import Field, Strict

from surefoot.models.pocket.compact import exact
from surefoot.storage.errors import Retry
from surefoot.storage.records import Json
from surefoot.tools.function import tool

MAX_LENGTH = 2_000
"""Characters of an expression."""
MAX_BITS = 3_400
"""Bits of a numerator or denominator, intermediate ones included: about 1,000 decimal digits."""
MAX_EXPONENT = 1_000
_MAX_DIGITS = MAX_BITS * 3 // 10
_MAX_PLACES = 200

Number = int | Fraction
"""Whole numbers are kept as int while they stay whole: several times as fast as Fraction."""

_SIGNS = str.maketrans({"×": "*", "·": "*", "÷": "/", "−": "-", "\n": " ", "\t": " ", "\r": " "})
_LITERAL = r"(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"
_TOKENS = re.compile(rf"(?: |{_LITERAL}(?![\w.])|[A-Za-z_]\w*|\*\*|//|[-+*/%(),])*", re.ASCII)
_LEADING_ZEROS = re.compile(r"(?<![\w.])0+(?=\d)", re.ASCII)
_NUMERAL = re.compile(
    r"(?P<sign>[-+]?)(?P<before>[$€£¥]?) ?"
    r"(?:(?P<whole>\d+) (?=\d+/))?"
    r"(?P<top>\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d*)?|\.\d+)"
    r"(?:[eE](?P<exponent>[-+]?\d{1,4})|/(?P<bottom>\d+))?"
    r" ?(?P<after>[%$€£¥]?)",
    re.ASCII,
)


@tool(effect="pure", timeout=None)
async def calculator(
    expression: Annotated[
        str,
        Field(
            description="Arithmetic with + - * / // % ** and parentheses, floor, ceil, round(x, places), abs, "
            "min, max, sqrt; names stand for the values, for example '(a + b) * 1.19'"
        ),
    ],
    values: Annotated[
        dict[str, Annotated[int, Strict()] | Annotated[float, Strict()] | str],
        Field(description="What each name stands for: a number, or one as text, for example {'a': '2/3', 'b': 1.5}"),
    ] = {},  # noqa: B006 (never changed; pydantic copies it)
) -> int | float | str:
    """Compute exactly, with fractions instead of rounding.

    The result is a whole number, a decimal number, or text where neither is exact: "1/3", or a decimal with more
    digits than a float holds. Any result can be a value of the next call. As text, values may also be written
    "1,234.50", "2 1/2", "1e6", "$3.20" or "25%" (which is 0.25). `round` rounds halves to the even neighbour.
    """
    result: int | float | str = show(evaluate(expression, values))
    return result


def evaluate(expression: str, values: Mapping[str, Json | Fraction | Decimal] | None = None) -> Fraction:
    """The exact value of an expression whose names stand for `values`.

    Operators and their precedence are Python's, `//` and `%` round down, `round` goes to even; exponents are whole
    numbers up to MAX_EXPONENT in size. Raises Retry, saying what to mend, for everything that cannot be computed.
    """
    code, names = _compiled(expression) if len(expression) <= _CACHED_LENGTH else _compile(expression)
    known: dict[str, Number] = {}
    for name in names:
        if values is None or name not in values:
            given = ", ".join(values) if values else "none"
            raise Retry(f"{name!r} in the expression {_quoted(expression)} has no value; the values are: {given}")
        known[name] = number(values[name], name)
    try:
        return Fraction(_run(code, known))
    except ZeroDivisionError:
        raise Retry(f"division by zero in {_quoted(expression)}{_with(known)}") from None


def number(value: Json | Fraction | Decimal, name: str = "") -> Number:
    """The exact number that a value stands for; a float stands for the shortest decimal that it prints.

    Text may be a whole or decimal number, "1e6", "2/3", "2 1/2", have thousands separators ("1,234.50"), one
    currency sign, or end in "%", which divides by 100. Raises Retry for everything else, booleans included.
    """
    if type(value) is int:
        return _bounded(value)
    if type(value) is float and math.isfinite(value):
        return _whole(Fraction(repr(value)))
    if isinstance(value, Fraction):
        return _whole(_bounded(value))
    if isinstance(value, Decimal) and value.is_finite() and -_MAX_DIGITS < value.adjusted() < _MAX_DIGITS:
        return _whole(_bounded(Fraction(value)))
    if isinstance(value, str) and len(value) <= MAX_LENGTH:
        return _numeral(value.strip().translate(_SIGNS), name)
    raise _not_a_number(value, name)


def show(value: Fraction) -> Json:
    """`value` as the JSON value that loses nothing.

    An int where it is whole; a float where the exact decimal is what the float prints; else text: the exact decimal
    where it ends within 200 places, or "p/q".
    """
    if value.denominator == 1:
        return value.numerator
    if abs(value) < 10**16:
        near = float(value)
        if Fraction(repr(near)) == value:
            return near
    text = exact(value)
    return text if len(text.partition(".")[2]) <= _MAX_PLACES else f"{value.numerator}/{value.denominator}"


def _numeral(text: str, name: str) -> Number:
    found = _NUMERAL.fullmatch(text)
    if found is None or (found["before"] and found["after"]):
        raise _not_a_number(text, name)
    _fits(found["top"], found["exponent"])
    result = Fraction(found["top"].replace(",", ""))
    if found["exponent"]:
        result *= Fraction(10) ** int(found["exponent"])
    if found["bottom"]:
        if not int(found["bottom"]):
            raise _not_a_number(text, name)
        result /= int(found["bottom"])
    if found["whole"]:
        result += int(found["whole"])
    if found["after"] == "%":
        result /= 100
    return _whole(_bounded(-result if found["sign"] == "-" else result))


def _not_a_number(value: object, name: str) -> Retry:
    label = f"the value of {name!r}" if name else "the value"
    return Retry(
        f"{label} is {_quoted(repr(value))}, which is not a number; "
        "give one such as 3, 0.25, '2/3', '1,234.50' or '25%'"
    )


# --- reading: an expression becomes code for a stack -------------------------------------------------------

_Code = tuple[tuple[int, Any], ...]
_PUSH, _NAME, _UNARY, _BINARY, _CALL = range(5)


def _compile(expression: str) -> tuple[_Code, tuple[str, ...]]:
    """Postfix code and the names that it reads. Only symbols of the grammar ever reach Python's parser."""
    if len(expression) > MAX_LENGTH:
        raise Retry(f"the expression has {len(expression)} characters, at most {MAX_LENGTH} are read; split it up")
    text = _LEADING_ZEROS.sub("", expression.translate(_SIGNS).strip())
    found = _TOKENS.match(text)
    end = found.end() if found else 0
    if end < len(text):
        raise Retry(f"{_quoted(expression)} cannot be read at {text[end : end + 20]!r}; {_GRAMMAR}")
    try:
        tree = ast.parse(text, mode="eval").body
        code = _emit(tree, text)
    except (SyntaxError, RecursionError, MemoryError):
        # The parser reports too deep a nesting by any of the three.
        raise Retry(
            f"{_quoted(expression)} is not a complete expression, or is nested too deeply; {_GRAMMAR}"
        ) from None
    return code, tuple(dict.fromkeys(str(operand) for kind, operand in code if kind == _NAME))


_compiled = lru_cache(maxsize=4096)(_compile)
_CACHED_LENGTH = 200
"""Longer expressions are read anew each time, so that the cache stays within a few megabytes."""

_GRAMMAR = "use numbers, names of values, + - * / // % ** ( ), floor, ceil, round, abs, min, max, sqrt"


def _emit(tree: ast.expr, text: str) -> _Code:
    """The tree in postfix order, by a stack of its own: a sum of a thousand terms is a tree a thousand deep."""
    code: list[tuple[int, Any]] = []
    todo: list[ast.expr] = [tree]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Constant):
            code.append((_PUSH, _constant(text[node.col_offset : node.end_col_offset])))
        elif isinstance(node, ast.Name):
            code.append((_NAME, node.id))
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.UAdd | ast.USub):
            code.append((_UNARY, isinstance(node.op, ast.USub)))
            todo.append(node.operand)
        elif isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
            code.append((_BINARY, _OPERATORS[type(node.op)]))
            todo += (node.left, node.right)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
            code.append((_CALL, (_function(node.func.id, len(node.args)), len(node.args))))
            todo += node.args
        else:
            raise Retry(f"{ast.unparse(node)[:60]!r} is not arithmetic; {_GRAMMAR}")
    code.reverse()
    return tuple(code)


def _constant(literal: str) -> Number:
    if not literal[0].isdigit() and literal[0] != ".":
        raise Retry(f"{literal!r} is not a number; {_GRAMMAR}")
    _fits(*literal.lower().partition("e")[::2])
    return _whole(_bounded(Fraction(literal)))


def _fits(digits: str, exponent: str | None) -> None:
    """Refuse a numeral by its text, before a number of that size is made."""
    if len(exponent or "") > 5 or len(digits) + abs(int(exponent or 0)) > _MAX_DIGITS:
        raise Retry(f"a number has more than {_MAX_DIGITS} digits; compute with smaller ones")


def _function(name: str, count: int) -> Callable[..., Number]:
    if name not in _FUNCTIONS:
        raise Retry(f"there is no function {name!r}; {_GRAMMAR}")
    function, fewest, most = _FUNCTIONS[name]
    if not fewest <= count <= most:
        wanted = f"{fewest}" if fewest == most else f"{fewest} to {most}" if most < MAX_LENGTH else f"{fewest} or more"
        raise Retry(f"{name} takes {wanted} numbers, it was given {count}")
    return function


# --- running -------------------------------------------------------------------------------------------------


def _run(code: _Code, values: Mapping[str, Number]) -> Number:
    stack: list[Number] = []
    for kind, operand in code:
        if kind == _PUSH:
            stack.append(operand)
        elif kind == _NAME:
            stack.append(values[operand])
        elif kind == _BINARY:
            right = stack.pop()
            stack[-1] = _bounded(operand(stack[-1], right))
        elif kind == _UNARY:
            if operand:
                stack[-1] = -stack[-1]
        else:
            function, count = operand
            arguments = stack[-count:]
            stack[-count:] = [_bounded(function(*arguments))]
    return stack[0]


def _bounded(value: Number) -> Number:
    if type(value) is int:
        if value.bit_length() <= MAX_BITS:
            return value
    elif value.numerator.bit_length() <= MAX_BITS and value.denominator.bit_length() <= MAX_BITS:
        return value
    raise Retry(f"a number grows beyond {_MAX_DIGITS} digits; compute with smaller ones, or round on the way")


def _whole(value: Number) -> Number:
    return value.numerator if value.denominator == 1 else value


def _divide(left: Number, right: Number) -> Number:
    if type(left) is int and type(right) is int:
        return left // right if not left % right else Fraction(left, right)
    return left / right if isinstance(left, Fraction) else Fraction(left) / right


def _power(base: Number, exponent: Number) -> Number:
    if exponent.denominator != 1 or abs(exponent.numerator) > MAX_EXPONENT:
        raise Retry(
            f"an exponent is {_quoted(str(show(Fraction(exponent))))}; exponents are whole numbers from "
            f"-{MAX_EXPONENT} to {MAX_EXPONENT}. For a square root use sqrt"
        )
    times = exponent.numerator
    size = max(abs(base.numerator), base.denominator).bit_length()
    if (size - 1) * abs(times) > MAX_BITS:
        raise Retry(f"a power has more than {_MAX_DIGITS} digits; compute with smaller numbers")
    # An int to a negative power would be a float.
    return base**times if times >= 0 else Fraction(base) ** times


def _sqrt(value: Number) -> Number:
    if value >= 0:
        top, bottom = math.isqrt(value.numerator), math.isqrt(value.denominator)
        if top * top == value.numerator and bottom * bottom == value.denominator:
            return _whole(Fraction(top, bottom))
    raise Retry(f"sqrt of {_quoted(str(show(Fraction(value))))} is not a fraction, and nothing is rounded here")


def _round(value: Number, places: Number = 0) -> Number:
    if places.denominator != 1 or abs(places.numerator) > _MAX_PLACES:
        raise Retry(f"round takes a whole number of places up to {_MAX_PLACES}")
    return _whole(round(Fraction(value), places.numerator))


_OPERATORS: dict[type[ast.operator], Callable[[Number, Number], Number]] = {
    ast.Add: lambda left, right: left + right,
    ast.Sub: lambda left, right: left - right,
    ast.Mult: lambda left, right: left * right,
    ast.Div: _divide,
    ast.FloorDiv: lambda left, right: left // right,
    ast.Mod: lambda left, right: left % right,
    ast.Pow: _power,
}
_FUNCTIONS: dict[str, tuple[Callable[..., Number], int, int]] = {
    "floor": (math.floor, 1, 1),
    "ceil": (math.ceil, 1, 1),
    "round": (_round, 1, 2),
    "abs": (abs, 1, 1),
    "min": (min, 1, MAX_LENGTH),
    "max": (max, 1, MAX_LENGTH),
    "sqrt": (_sqrt, 1, 1),
}


def _quoted(text: str) -> str:
    return text if len(text) <= 120 else f"{text[:100]}... ({len(text)} characters)"


def _with(known: Mapping[str, Number]) -> str:
    shown = ", ".join(f"{name} = {_quoted(str(value))}" for name, value in known.items())
    return f" with {shown}" if shown else ""
