"""A process that runs, or goes on with, a chain of steps; each execution of its tool is one line of a log.

Usage: chain_child.py STORE LOG STEPS
"""

from __future__ import annotations

import os
import sys

from surefoot.engine import Engine
from surefoot.models.scripted import ScriptedModel
from surefoot.planners import planner
from surefoot.reflection import verifier
from surefoot.storage.records import Plan, Step, given, ref
from surefoot.tools import tool

SEGMENT = 50


@tool(effect="pure", timeout=None)
async def count(n: int) -> int:
    """The number after n."""
    os.write(LOG, f"{n}\n".encode())
    return n + 1


@verifier(inline=True, exact=True)
def follows(candidate: int, inputs: dict[str, int]) -> bool:
    """The output follows the input."""
    return candidate == inputs["n"] + 1


@planner
def chain(start: int, steps: int) -> Plan:
    """`steps` steps in a row, in segments that unfold one after another."""
    if steps <= SEGMENT:
        links = [
            Step(f"s{i}", tool="count", args={"n": ref(f"s{i - 1}") if i else given("start")}, checks=("follows",))
            for i in range(steps)
        ]
    else:
        parts = -(-steps // SEGMENT)
        links = [
            Step(
                f"p{i}",
                planner="chain",
                args={"start": ref(f"p{i - 1}") if i else given("start"), "steps": min(SEGMENT, steps - i * SEGMENT)},
            )
            for i in range(parts)
        ]
    return Plan(tuple(links), ref(links[-1].id))


if __name__ == "__main__":
    store, log, steps = sys.argv[1], sys.argv[2], int(sys.argv[3])
    LOG = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    with Engine(ScriptedModel([]), tools=[count], checks=[follows], planner=chain, store=store) as engine:
        runs = engine.store.runs(1)
        result = engine.resume("last") if runs else engine.run("count", inputs={"start": 0, "steps": steps})
    print(result.outcome.value, result.output)
