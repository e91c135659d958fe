"""Recomputation by another route: work the value out again, differently, and compare."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from decimal import Decimal
from fractions import Fraction
from math import isfinite
from typing import Any

from surefoot.models.schema import clip
from surefoot.reflection.base import digest
from surefoot.reflection.canonical import canonical
from surefoot.reflection.function import TIMEOUT, FunctionBase, fingerprint
from surefoot.reflection.verifier import Case
from surefoot.storage.errors import SetupError
from surefoot.storage.records import Json, Verdict

_NUMERAL = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?(?:/[0-9]*[1-9][0-9]*)?")
_LONGEST = 10_000
"""Characters of a numeral that are read; Python reads decimal text in quadratic time."""


class Recompute(FunctionBase):
    """Compares the candidate with what a function works out from the step's inputs.

    The function's first parameter receives the inputs, converted to its annotation; parameters named step, goal,
    reply and case receive just that. It may be async, and runs as a function under `@verifier` does. Where it
    raises or returns None the verdict is abstain. The check is worth as much as the route is independent: a
    function that repeats the step's own way of computing repeats its mistakes.

    Numbers (int, float, Decimal, Fraction; for the candidate numeric text too: "12.5", "1/3") are equal by
    value. A float is what it prints, or where no decimal is exact (a third) the number that it is nearest to.
    `tolerance` is relative, and absolute below 1; 0 allows none. Everything else is compared in canonical form,
    item by item.

    exact: True unless said otherwise, for a pass leaves nothing open if the function is right.
    reveal: put the recomputed value into the critique. Off, so that the next attempt has to work it out.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        name: str | None = None,
        version: str | None = None,
        tolerance: float = 0.0,
        exact: bool = True,
        reveal: bool = False,
        inline: bool = False,
        timeout: float | None = TIMEOUT,
    ) -> None:
        if not 0 <= tolerance < 1:
            raise SetupError(f"a tolerance is at least 0 and below 1, not {tolerance}: 0.01 allows one percent")
        super().__init__(
            function,
            "inputs",
            dict(sys._getframe(1).f_locals),
            name=name,
            version=version or digest(fingerprint(function), tolerance),
            kind="recompute",
            exact=exact,
            inline=inline,
            timeout=timeout,
        )
        self.tolerance = tolerance
        self.reveal = reveal

    def read(self, result: Any, case: Case) -> Verdict:
        if result is None:
            return self.rule("abstain", f"{self.name} could not recompute the value")
        if agree(case.candidate, result, self.tolerance):
            return self.rule("pass")
        shown = f": {_shown(result)}, not {_shown(case.candidate)}" if self.reveal else "; work it out again"
        said = f"computing it another way gives a different result{shown}"
        return self.rule("fail", said, evidence={"recomputed": _shown(result)})


def agree(candidate: Json, wanted: Any, tolerance: float = 0.0) -> bool:
    """The candidate is the wanted value: numbers by value and within the tolerance, the rest in canonical form."""
    if isinstance(wanted, (int, float, Decimal, Fraction)) and not isinstance(wanted, bool):
        return _equal(candidate, wanted, tolerance)
    if isinstance(wanted, Mapping):
        return (
            isinstance(candidate, Mapping)
            and candidate.keys() == wanted.keys()
            and all(agree(candidate[key], item, tolerance) for key, item in wanted.items())
        )
    if isinstance(wanted, (list, tuple)):
        return (
            isinstance(candidate, (list, tuple))
            and len(candidate) == len(wanted)
            and all(agree(one, other, tolerance) for one, other in zip(candidate, wanted, strict=True))
        )
    return canonical(candidate) == canonical(wanted)


def number(value: Json) -> Fraction | None:
    """The exact value of a number or of numeric text; None for anything else. A float is what it prints."""
    if isinstance(value, bool):
        return None
    if isinstance(value, float):
        return Fraction(repr(value)) if isfinite(value) else None
    if isinstance(value, (int, Fraction)):
        return Fraction(value)
    if isinstance(value, Decimal):
        return Fraction(value) if value.is_finite() else None
    if not isinstance(value, str) or len(value) > _LONGEST:
        return None
    text = value.strip()
    if _NUMERAL.fullmatch(text) is None:
        return None
    top, _, below = text.partition("/")
    return Fraction(top) / int(below or 1)


def _equal(candidate: Json, wanted: Any, tolerance: float) -> bool:
    one, other = number(candidate), number(wanted)
    if one is None or other is None:
        return False
    if one == other or _nearest(candidate, other) or _nearest(wanted, one):
        return True
    return tolerance > 0 and abs(one - other) <= Fraction(tolerance) * max(Fraction(1), abs(one), abs(other))


def _nearest(value: Any, exact: Fraction) -> bool:
    """The float stands for a number that it cannot print: a third, or its own binary value."""
    if not isinstance(value, float) or not isfinite(value):
        return False
    if Fraction(value) == exact:
        return True
    rest = exact.denominator
    for factor in (2, 5):
        while rest % factor == 0:
            rest //= factor
    return rest > 1 and exact.numerator / exact.denominator == value


def _shown(value: Any) -> str:
    return clip(str(value) if isinstance(value, (Decimal, Fraction)) else repr(value))
