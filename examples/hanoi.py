"""The Towers of Hanoi with 12 disks: 4,095 moves from a plan that unfolds itself, every move and sub-tower verified."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from surefoot.engine import Engine
from surefoot.models import ScriptedModel
from surefoot.planners import planner
from surefoot.reflection import verifier
from surefoot.storage import Contract, Plan, Step, ref
from surefoot.storage.errors import ToolError
from surefoot.tools import tool

Towers = dict[str, list[int]]
"""Disks on each peg, from the bottom up; a disk's number is its size."""


@tool(effect="pure")
async def move(towers: Towers, source: str, target: str) -> Towers:
    """Move the top disk of one peg to another."""
    if not towers[source] or (towers[target] and towers[target][-1] < towers[source][-1]):
        raise ToolError(f"no disk can be moved from {source} to {target}")
    return after(towers, 1, source, target)


@verifier(inline=True)
def legal(candidate: Towers, inputs: Mapping[str, Any]) -> bool | str:
    """Judges a move by the two states alone: one disk, a top one, came onto nothing smaller, and no other moved."""
    before: Towers = inputs["towers"]
    gone = [peg for peg in before if candidate[peg] == before[peg][:-1] and before[peg]]
    come = [peg for peg in before if candidate[peg][:-1] == before[peg] and candidate[peg]]
    if len(gone) != 1 or len(come) != 1 or before[gone[0]][-1] != candidate[come[0]][-1]:
        return "not exactly one disk was moved"
    disks = candidate[come[0]]
    return len(disks) == 1 or disks[-2] > disks[-1] or "a disk lies on a smaller one"


@planner
def hanoi(towers: Towers, disks: int, source: str, target: str, spare: str) -> Plan:
    """Move the disks above the lowest one out of the way, then the lowest one, then the others onto it.

    The states between the parts are known beforehand. They stand in the plan: as what each part starts from, so that
    no part waits for another, and as contracts, so that each part is proved to lead where the next one starts.
    """
    # A tower of one disk is a step that calls the tool, so no plan is ever asked to move fewer than two.
    above, lowest, back = (disks - 1, source, spare), (1, source, target), (disks - 1, spare, target)
    steps = []
    for name, (height, start, end) in (("above", above), ("lowest", lowest), ("back", back)):
        steps.append(part(name, towers, height, start, end, next(peg for peg in towers if peg not in (start, end))))
        towers = after(towers, height, start, end)
    return Plan(tuple(steps), output=ref("back"))


def part(name: str, towers: Towers, disks: int, source: str, target: str, spare: str) -> Step:
    """A step that moves a tower, with the state that it must deliver."""
    contract = Contract(gives={"const": after(towers, disks, source, target)})
    args = {"towers": towers, "source": source, "target": target}
    if disks == 1:
        return Step(name, tool="move", args=args, contract=contract, checks=("legal",))
    return Step(name, planner="hanoi", args=args | {"disks": disks, "spare": spare}, contract=contract)


def after(towers: Towers, disks: int, source: str, target: str) -> Towers:
    """The state in which that many disks lie on another peg."""
    moved = towers[source][-disks:]
    return towers | {source: towers[source][:-disks], target: towers[target] + moved}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--disks", type=int, default=12, choices=range(2, 21), help="n disks take 2**n - 1 moves")
    disks: int = parser.parse_args().disks
    pegs = {"source": "A", "target": "C", "spare": "B"}
    inputs = {"towers": {"A": list(range(disks, 0, -1)), "B": [], "C": []}, "disks": disks} | pegs
    # No step asks a model; one without a line to say makes sure of that.
    model = ScriptedModel([])
    with (
        tempfile.TemporaryDirectory() as folder,
        Engine(model, planner=hanoi, tools=[move], checks=[legal], store=Path(folder) / "runs.db") as engine,
    ):
        result = engine.run(f"Move a tower of {disks} disks from A to C.", inputs=inputs)
        moves = sum(step.does == "move" and step.status == "committed" for step in result.steps)

    print(f"{result.outcome}: {moves:,} moves, each one checked; it rests on: {result.reliability.basis}")
    print(f"the end: {result.output}")
    each = result.seconds / result.committed * 1e6
    print(f"{result.seconds:.2f} s for {result.committed:,} durable steps, {each:.0f} us a step")


if __name__ == "__main__":
    main()
