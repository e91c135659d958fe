"""The Towers of Hanoi as a task: a plan with contracts, moves that a small network makes, rules that check them.

Turns are counted from 0; turn t leads from the state after t moves to the state after t + 1.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from surefoot.engine import Engine
from surefoot.models.packaged import PocketModel
from surefoot.models.pegs import Turn, legal, path
from surefoot.planners.planner import Proposal, Request
from surefoot.reflection.function import verifier
from surefoot.storage.records import Attempt, Contract, Event, Json, Plan, PlannedStep, Step, ref
from surefoot.storage.store import Store

KIND = "move"
GOAL = "Make the next move."
SEGMENT = 128
"""Moves of a segment: the state after each of them is in its contract, the states between are the model's."""


def state(turn: Turn) -> dict[str, Json]:
    """A turn as steps hand it on."""
    return {"move": list(turn.move) if turn.move else None, "places": list(turn.places)}


@verifier(exact=True)
async def allowed(candidate: dict[str, Any], inputs: dict[str, Any]) -> tuple[bool, str]:
    """The move keeps the rules, and the pegs are those before it with that move made. Which move is right it does not
    know."""
    places = list(inputs["places"])
    disk, origin, goal = candidate["move"]
    if not (1 <= disk <= len(places) and legal(places, (disk, origin, goal))):
        return False, "the rules do not allow that move"
    places[disk - 1] = goal
    return candidate["places"] == places, "the pegs are not those before with that move made"


@verifier(exact=True)
async def arrived(candidate: dict[str, Any], inputs: dict[str, Any]) -> tuple[bool, str]:
    """The segment ends where its contract says."""
    return candidate["places"] == inputs["end"], "the segment did not end where the plan says"


class Towers:
    """The whole tower, as segments whose first and last states are known from the plan, so that none waits for another.

    A sub-tower's states follow from its contract alone: all of its disks on one peg, then all on another. `path` has
    them in closed form.
    """

    name = "towers"
    sampled = False
    checks = ()

    async def propose(self, request: Request, n: int = 1) -> list[Proposal]:
        disks, last = request.inputs["disks"], 2 ** request.inputs["disks"] - 1
        steps = []
        for first in range(0, last, SEGMENT):
            size = min(SEGMENT, last - first)
            start, end = path(disks, first), path(disks, first + size)
            args = {"first": first, "size": size, "start": state(start), "end": list(end.places)}
            steps.append(Step(str(first), planner=Moves.name, args=args, checks=("arrived",)))
        return [Proposal(Plan(tuple(steps), ref(steps[-1].id)), "towers")]


class Moves:
    """A segment: one model step after another."""

    name = "moves"
    sampled = False
    checks = ()

    def __init__(self, checks: tuple[str, ...]) -> None:
        self.verifiers = checks

    async def propose(self, request: Request, n: int = 1) -> list[Proposal]:
        first, size = request.inputs["first"], request.inputs["size"]
        return [Proposal(chain(request.inputs["start"], first, size, self.verifiers), "moves")]


class Sequence:
    """All moves in a row, each from the state that the one before wrote down. Nothing is known of any state."""

    name = "sequence"
    sampled = False
    checks = ()

    async def propose(self, request: Request, n: int = 1) -> list[Proposal]:
        disks = request.inputs["disks"]
        return [Proposal(chain(state(path(disks, 0)), 0, 2**disks - 1, ()), "sequence")]


def chain(start: dict[str, Json], first: int, size: int, checks: tuple[str, ...]) -> Plan:
    """Steps that are named by their turn."""
    steps = []
    before: Json = start
    for turn in range(first, first + size):
        steps.append(Step(str(turn), GOAL, None, before, checks=checks, kind=KIND, contract=Contract()))
        before = {"move": ref(str(turn), "move"), "places": ref(str(turn), "places")}
    return Plan(tuple(steps), ref(steps[-1].id))


def engine(model: str, store: Path, mode: str, lead: int | None, rows: int) -> Engine:
    """contract: segments side by side, moves checked by the rules, or by votes where `lead` is set. votes: in a row."""
    asked = PocketModel(f"hanoi-moves/{model}", max_batch=rows, prompt_logprobs=False)
    options: dict[str, Any] = {"store": store, "concurrency": rows, "votes": lead, "canaries": 0.0}
    if mode == "votes":
        return Engine(asked, planner=Sequence(), **options)
    moves = Moves(() if lead else ("allowed",))
    return Engine(asked, planner=Towers(), planners=[moves], checks=[allowed, arrived], **options)


# --- scoring, from outside ----------------------------------------------------------------------------------------


def score(store: Store, run_id: str, disks: int) -> dict[str, int]:
    """Every committed move against the shortest way, and what it took. Steers nothing: the run has ended."""
    turns: dict[int, int] = {}
    said: dict[int, dict[int, Json]] = {}
    done = bytearray(2**disks - 1)
    found = {"moves": 0, "wrong": 0, "attempts": 0, "malformed": 0, "rolled_back": 0}
    for record in store.records(run_id, kinds=(PlannedStep, Attempt, Event)):
        if isinstance(record, PlannedStep) and record.step.kind == KIND:
            turns[record.seq] = int(record.step.id)
        elif isinstance(record, Attempt) and record.step in turns:
            found["attempts"] += 1
            found["malformed"] += record.status == "invalid"
            said.setdefault(record.step, {})[record.seq] = record.output
        elif isinstance(record, Event) and record.kind == "rolled_back":
            found["rolled_back"] += 1
        elif isinstance(record, Event) and record.kind == "committed" and record.step in turns:
            turn = turns[record.step]
            done[turn] = 1 if said.pop(record.step)[record.attempt or 0] == state(path(disks, turn + 1)) else 2
    found["moves"], found["wrong"] = len(done) - done.count(0), done.count(2)
    return found
