"""Step programs for the usable templates of reasoning_gym's `gsm_symbolic`.

Each program is written over the numerals of the question in their order (n0, n1, ...), following the
worked solution that the generator prints. Every training trace made from it is run exactly and compared
with the generator's answer before it is used. A template whose numerals or constants depend on a word
lists one program per condition; the first condition found in the question decides.
"""

from __future__ import annotations

import re

PROGRAMS: dict[int, str] = {
    0: "s1 = n3 / n0 ; s2 = n3 / n1 ; s3 = s2 * n2 ; s4 = s3 + s1",
    1: "s1 = n0 + n1 + n2 ; s2 = n3 - s1",
    2: "s1 = n0 * n1 / 100 ; s2 = n0 - s1 ; s3 = s2 * n2 // 100 ; s4 = s1 + s3",
    3: "s1 = n0 - n1 ; s2 = s1 * n2 ; s3 = s2 * n3 ; s4 = s3 * n4 ; s5 = s4 // 60",
    4: "s1 = n0 * n1 ; s2 = s1 // n2",
    5: "s1 = n1 + n2 ; s2 = n4 - s1",
    6: "s1 = n0 * n1 ; s2 = n0 + s1",
    7: "s1 = n2 * n1 ; s2 = s1 + n0 ; s3 = n2 * n3 ; s4 = s2 - s3",
    8: "s1 = n0 + n1 ; s2 = n0 * n2 / s1",
    9: "s1 = n0 * n1 ; s2 = n2 * n3 ; s3 = n4 * n5 ; s4 = s2 + s3 ; s5 = s1 - s4",
    10: "s1 = n0 * n2 ; s2 = s1 - n1",
    11: "s1 = n1 * n0 ; s2 = s1 + n1 ; s3 = n2 - n3 ; s4 = s3 + n2 ; s5 = s2 + s4",
    12: "s1 = n0 * n2 ; s2 = n1 * n3 ; s3 = s1 + s2",
    13: "s1 = n0 / n1 ; s2 = n2 / n3 ; s3 = s1 - s2",
    14: "s1 = n1 + n2 ; s2 = s1 * n0",
    15: "s1 = n0 + n1 ; s2 = n2 / 2 ; s3 = n4 - n3 ; s4 = n0 + s1 + s2 + s3",
    16: "s1 = n2 / n0 ; s2 = n1 * s1",
    17: "s1 = n0 * n1 ; s2 = n0 - s1 ; s3 = n2 * 7 ; s4 = s3 * n3 ; s5 = s2 - s4",
    18: "s1 = n0 * n2 / 100 ; s2 = s1 + n1 ; s3 = n0 + s2",
    19: "s1 = n2 * n0 ; s2 = n4 * n0 ; s3 = s2 / 2 ; s4 = s3 / 4 ; s5 = n0 + s1 + s2 + s3 + s4",
    20: "s1 = n0 * n2 ; s2 = n1 - s1",
    21: "s1 = n0 / n1 ; s2 = s1 - n2 ; s3 = s2 * n3",
    22: "s1 = n1 * n2 / 100 ; s2 = n1 * n3 / 100 ; s3 = n1 + s1 + s2 ; s4 = s3 - n0",
    23: "s1 = n0 * n1 ; s2 = s1 - n2",
    24: "s1 = n1 * n2 ; s2 = s1 - n0",
    25: "s1 = n3 - n4 ; s2 = s1 / n0 ; s3 = n1 / n2 ; s4 = s3 * s2",
    26: "s1 = n0 * n1 / 100 ; s2 = s1 * n2 / 100",
    27: "s1 = n1 * n2 ; s2 = s1 * n3 / 100 ; s3 = s1 + s2 ; s4 = s1 + s3 ; s5 = s4 * n5 ; s6 = s5 * n6",
    28: "s1 = n0 * n1 / 100 ; s2 = n0 + s1 ; s3 = n2 * 7 ; s4 = s2 * s3 ; s5 = s4 + n3",
    29: "s1 = n0 + n2 ; s2 = n1 + n3 ; s3 = s2 * 100 / s1",
    30: "s1 = n2 * 2 ; s2 = n0 - n1 - n2 - s1",
    31: "s1 = n1 + n2 ; s2 = s1 + n3 ; s3 = n1 + s1 + s2",
    33: "s1 = n1 * n0 ; s2 = s1 + n1 ; s3 = s2 * 7",
    34: "s1 = n1 * 2 ; s2 = n0 - s1 ; s3 = s2 - n2",
    36: "s1 = n0 * n1 / 100 ; s2 = n0 - s1 ; s3 = s1 * n2 / 100 ; s4 = s2 / 2 ; s5 = s3 + s4",
    38: "s1 = n1 + n2 + n3 + n4 + n5 ; s2 = n0 * s1",
    39: "s1 = n0 - n1 ; s2 = s1 - n3",
    40: "s1 = n0 * n1 / 100 ; s2 = n0 + s1 ; s3 = n0 + s2 ; s4 = n0 + s2 + s3",
    41: "s1 = n2 * n0 ; s2 = s1 + n1 ; s3 = n2 - s2",
    42: "s1 = n0 * n1 / 100 ; s2 = n0 * n2 / 100 ; s3 = s1 + s2 + n3 ; s4 = n0 - s3",
    43: "s1 = n0 - n1 ; s2 = n0 + s1",
    44: "s1 = n0 * n3 ; s2 = n1 * n4 ; s3 = n2 * n5 ; s4 = s1 + s2 + s3",
    45: "s1 = n2 + n1 ; s2 = s1 - n0",
    46: "s1 = n2 * n3 ; s2 = n0 - n4 ; s3 = s2 * n1 ; s4 = s1 + s3",
    47: "s1 = n0 * n1 ; s2 = n2 * n3 ; s3 = s1 + s2 + n4",
    48: "s1 = n2 * n0 ; s2 = n3 * n1 ; s3 = s1 - s2",
    49: "s1 = n2 * n4 / 100 ; s2 = n2 - s1 ; s3 = n3 * n0 / 100 ; s4 = s2 - s3 ; s5 = s4 * 100 // n1",
    50: "s1 = n0 / 2 ; s2 = s1 + n1",
    51: "s1 = n4 * n2 ; s2 = n1 + n3 + s1 ; s3 = n0 // s2 ; s4 = s3 - 1",
    52: "s1 = n0 * n1 ; s2 = n0 * n2 ; s3 = s1 + s2 ; s4 = s3 * 2",
    53: "s1 = n0 - n1 ; s2 = s1 * 100 / n0 ; s3 = s2 - 25",
    54: "s1 = n0 - n1 ; s2 = s1 - n2",
    55: "s1 = n0 / 2 ; s2 = s1 + n0",
    56: "s1 = n1 + n2 ; s2 = n0 - s1",
    57: "s1 = n0 * 2 ; s2 = n1 + n2 ; s3 = n0 + s1 + s2",
    58: "s1 = n0 * n1 ; s2 = s1 * n2",
    59: "s1 = n2 / n1 ; s2 = s1 * n0",
    60: "s1 = n1 / n3 ; s2 = s1 * 2 ; s3 = n2 // s2 ; s4 = n3 + s3",
    62: "s1 = n1 * n2 ; s2 = n1 + s1 ; s3 = n0 / s2",
    64: "s1 = n0 * n1 ; s2 = n2 * n3 ; s3 = s1 + s2 ; s4 = s3 / 12",
    66: "s1 = n0 * 2 ; s2 = n3 / 60 ; s3 = n4 * 2 ; s4 = n5 - s1 - n2 - s2 - s3 ; s5 = n1 / 60 ; s6 = s4 / s5",
    67: "s1 = n0 + n1 ; s2 = n2 * n0 ; s3 = s1 + s2",
    68: "s1 = n1 + 1 ; s2 = s1 ** n2 ; s3 = n0 * s2",
    69: "s1 = n0 * n1 ; s2 = n0 - s1",
    70: "s1 = n0 - n1 ; s2 = s1 + n2 ; s3 = s2 - n3",
    71: "s1 = n0 * n1 ; s2 = n2 * n3 ; s3 = n4 * n5 ; s4 = s1 + s2 + s3",
    72: "s1 = n0 * n1 ; s2 = n2 - n0 - s1",
    73: "s1 = n0 + n2 ; s2 = n0 + s1 ; s3 = s2 * n4 ; s4 = n3 - n1 ; s5 = n3 + s4 ; s6 = s5 * n5 ; s7 = s3 + s6",
    75: "s1 = n0 // 2 ; s2 = n1 * 3 ; s3 = s1 + s2",
    78: "s1 = n1 + n0 ; s2 = n1 + s1 ; s3 = s2 / 2",
    80: "s1 = n0 + n1 ; s2 = n2 + n3 ; s3 = s1 + s2 ; s4 = s1 * 100 / s3",
    81: "s1 = n1 * n0 ; s2 = n2 * s1 ; s3 = s2 * 12",
    82: "s1 = n0 * n1 / 100 ; s2 = n0 - s1 ; s3 = s2 * n2",
    83: "s1 = n0 - n1 ; s2 = s1 / 2",
    84: "s1 = n2 * n0 ; s2 = s1 + n1 ; s3 = n3 * s2 ; s4 = n3 * n0 ; s5 = s3 - s4",
    85: "s1 = n0 / n1 ; s2 = n1 + s1 ; s3 = s2 * 2",
    88: "s1 = n1 + n2 ; s2 = n0 - s1 ; s3 = s2 / n1",
    89: "s1 = n0 * 12 ; s2 = n1 * n2 ; s3 = s2 - n3 ; s4 = s3 * n4 ; s5 = n1 + s2 + s3 + s4 ; s6 = s1 - s5",
    91: "s1 = n1 * n0 ; s2 = 12 / n2 ; s3 = s1 * s2",
    92: "s1 = ( n0 * 2 + 1 ) // 2 ; s2 = ( n1 * 2 + 1 ) // 2 ; s3 = ( n2 * 2 + 1 ) // 2 ; "
    "s4 = n3 * s1 ; s5 = n4 * s2 ; s6 = n5 * s3 ; s7 = s4 + s5 + s6",
    93: "s1 = n0 * n1 ; s2 = s1 * n2 ; s3 = s2 * n3",
    94: "s1 = n0 * n1 ; s2 = s1 * n2 / 100 ; s3 = s1 + s2 ; s4 = s3 * n3 / 100 ; s5 = s3 - s4",
    95: "s1 = n0 + n1 + n2 ; s2 = s1 * 7",
    96: "s1 = n0 * 2 - n1 ; s2 = s1 * n3 ; s3 = n0 * n2 ; s4 = s3 + s2",
    99: "s1 = n1 * n2 ; s2 = n0 - s1",
}

CONDITIONAL: dict[int, tuple[tuple[str, str], ...]] = {
    52: ((r"re-writing the alphabet", "s1 = 26 * n0 ; s2 = 26 * n1 ; s3 = s1 + s2 ; s4 = s3 * 2"),),
    85: ((r"square feet.* yards", "s1 = n1 * 3 ; s2 = n0 / s1 ; s3 = s1 + s2 ; s4 = s3 * 2"),),
    95: ((r"in one month", "s1 = n0 + n1 + n2 ; s2 = s1 * 30"),),
}


def program_for(template: int, question: str) -> str:
    """The reply that a question of `template` should get. Raises KeyError for an unknown template."""
    for pattern, body in CONDITIONAL.get(template, ()):
        if re.search(pattern, question):
            return _with_answer(body)
    return _with_answer(PROGRAMS[template])


def _with_answer(body: str) -> str:
    """A program whose answer is its last step."""
    return f"{body} ; answer s{body.count(' = ')}"
