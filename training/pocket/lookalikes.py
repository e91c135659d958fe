"""Other questions about the situations of some templates; the right reply to each is `none`.

Each text keeps a template's facts and asks for something else, so only its last sentence tells that the
template's program does not answer it. `{key}` is a variable of the template's generator. The questions of
HELD_OUT templates are never trained.
"""

from __future__ import annotations

from random import Random
from typing import Any

ALTERNATIVES: dict[int, tuple[str, ...]] = {
    0: ("How long will it take her to peel {total_amount} {food}s?", "How many {food}s can she peel in an hour?"),
    3: ("How many pages does he write in a week?", "How many minutes does he spend writing a week?"),
    5: (
        "How many signatures have the sisters collected so far?",
        "How many more signatures does {name2} have than {name1}?",
    ),
    6: ("If there are {multiplier} times the number of boys in the {place}, how many boys are in the {place}?",),
    7: (
        "How many potted plants will {name} give away?",
        "How many potted plants did {name} have the day before yesterday?",
    ),
    9: ("How much money did he spend?", "How many {item1}s could he buy with all his money?"),
    10: ("How old will {name1} be then?", "How old will {name2} be in {years} years?"),
    11: (
        "How many {food2} did {name} buy at the store?",
        "What is the total of {food1} that {name} now has in the house?",
    ),
    12: ("How much more time did she spend on {game1}s than on {game2}s?",),
    13: ("How long does it take to ride both slides?",),
    15: ("How much did she spend on {item3}?", "How much cheaper were the {item3} than the {item2}?"),
    16: ("how many {platform} friends does {name2} have?",),
    18: ("How many points did {name2} score?", "How many more points did {name1} score than {name2}?"),
    20: ("How many {obj}s will he be able to place on the {surface}?",),
    22: ("What is the total price of the {property_type}?",),
    25: ("How many calories does the whole bag have?",),
    28: ("How much did the {item} cost?", "How much more did he pay than usual?"),
    29: ("What percentage of all the puppies have no spots?", "How many puppies of {name1}'s dog have no spots?"),
    30: ("How many like to {hobby4}?",),
    31: ("How many slices of {fruit} are left?", "How many slices did her {sibling2} eat?"),
    33: ("How many customers does {name1} process daily?",),
    34: ("How many {item} were found in all?",),
    39: ("How many fourth grade girls were at {school_name} School on {day}?", "How many boys are there?"),
    40: ("How many {c2} cards are there?", "How many more {c3} cards than {c1} cards are there?"),
    41: ("How much will the {organization} pay?",),
    42: ("How much did {title} {name} pay in fees?",),
    43: ("How many {item}s does his {relation} have?",),
    44: ("How many balls are there in the {store}?",),
    45: ("How many forks did {name} use?",),
    48: ("How much do {n1} loaves of {item1} and {n2} {item2}s cost together?",),
    51: ("How much does the party cost per person?", "How many people can attend in all?"),
    54: ("How long does it take them to get to the {location3}?",),
    57: ("How many students are playing {sports[1]}?",),
    58: ("How many {unit}s of {liquid} did he drink?",),
    62: ("How many {unit} do they eat per day together?",),
    64: ("How many {name} eggs will {name} need?", "How many eggs will {name} eat?"),
    67: ("How many {fruit}s did {name} pick on {day3}?",),
    69: ("How many pages has she written already?",),
    70: ("How many {objects} did he lose for good?",),
    72: ("how many {color2} {obj}s are there?",),
    73: ("How much did {name} earn on {day2}?",),
    78: ("what's the sum of their ages?", "how old is {name2}?"),
    80: ("What percent of her spools are {color2}?", "How many {color1} spools does she have?"),
    81: ("how much does he earn in a month?",),
    82: ("How many emails does {name} not respond to in a day?",),
    83: ("how much is left over for {name2}?",),
    85: ("what is the width of the room?",),
    88: ("how many seats are left for friends and family?",),
    89: ("How many eggs did the children find?", "How many eggs did {name5} find?"),
    93: ("How many {creature} has {name3} slain?", "How many {creature} did they slay together?"),
    94: ("What is the value of one share after the first year?",),
    96: ("How many pounds of {food} does each {animal2} need?",),
    99: ("How much does {name} pay for the {item}s?",),
}
HELD_OUT = tuple(sorted(ALTERNATIVES)[::3])


def question(template: int, variables: dict[str, Any], rng: Random) -> str | None:
    """Another question about an instance of a template; None when the template has none."""
    patterns = ALTERNATIVES.get(template)
    return rng.choice(patterns).format(**variables) if patterns else None
