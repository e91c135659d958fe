"""The Towers of Hanoi as a task: a plan with contracts, moves that a small network makes, rules that check them.

A tower of k disks is moved by moving k - 1 of them aside, then the largest, then the k - 1 onto it. All states at the
seams follow from that alone: every disk of a smaller tower on one peg, then on another. So towers need not wait for
each other, and a plan unfolds only as far as it is worked on. Disks are counted from 1, the smallest; pegs and turns
from 0: turn t leads from the state after t moves to the state after t + 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from surefoot.engine import Engine
from surefoot.models.packaged import PocketModel
from surefoot.models.pocket.pegs import PEGS, Turn, legal, path, shortened
from surefoot.models.representation import Representation
from surefoot.planners import planner
from surefoot.planners.planner import Proposal, Request
from surefoot.reflection.function import verifier
from surefoot.storage.records import Attempt, Event, Json, Plan, PlannedStep, Step, Verdict, ref
from surefoot.storage.store import Store

KIND = "move"
GOAL = "Make the next move."
TOWER = "towers"
ROWS = 256
"""Samples in a batch."""
OPEN = 512
"""Moves under way at once: while some are in a batch, the engine is busy with others."""
SEGMENT = 5
"""Disks of a tower that is moved step by step: of its 31 moves, the states between are the model's."""


# --- the rules, and contracts -----------------------------------------------------------------------------------


@verifier(exact=True, inline=True)
def allowed(candidate: Any, inputs: dict[str, Any]) -> bool | str:
    """The rules allow the move, and the pegs are those before with that move made. It does not know the right move.

    Of a tower of k disks, 2^k - 1 moves by the rules from the first state to the last are the right ones, for there
    is only one way as short: together with `arrived` this proves every move.
    """
    places = list(inputs["places"])
    disk, origin, goal = candidate["move"]
    if not (1 <= disk <= len(places) and legal(places, (disk, origin, goal))):
        return "the rules do not allow that move"
    places[disk - 1] = goal
    return True if candidate["places"] == places else "the pegs are not those before with that move made"


@verifier(exact=True, inline=True)
def arrived(candidate: Any, inputs: dict[str, Any]) -> bool | str:
    """The disks are where the contract says."""
    return True if candidate["places"] == inputs["end"] else "the disks are not where the plan says"


# --- plans ------------------------------------------------------------------------------------------------------


def task(disks: int) -> dict[str, Json]:
    """The inputs of the whole task: a tower from the first peg to the last."""
    start: Json = {"move": None, "places": [0] * disks}
    return {"disks": disks, "pegs": [0, 2], "turn": 0, "start": start, "end": [2] * disks}


class Towers:
    """Parts a tower into two smaller ones and a move, with the states before and after each of them.

    Towers of `segment` disks are moves in a row, each from what the model wrote in the one before.
    """

    name = TOWER
    sampled = False
    checks = ()

    def __init__(self, segment: int = SEGMENT, verifiers: Sequence[str] = (allowed.name,)) -> None:
        self.segment = segment
        self.verifiers = tuple(verifiers)

    async def propose(self, request: Request, n: int = 1) -> list[Proposal]:
        tower = request.inputs
        if tower["disks"] <= self.segment:
            plan = chain(tower["start"], tower["turn"], 2 ** tower["disks"] - 1, self.verifiers)
        else:
            plan = self._parted(**tower)
        return [Proposal(plan, self.name)]

    def _parted(self, disks: int, pegs: list[int], turn: int, start: Json, end: list[int]) -> Plan:
        origin, goal = pegs
        aside = 3 - origin - goal
        middle = turn + 2 ** (disks - 1) - 1
        cleared = [aside] * (disks - 1) + start["places"][disks - 1 :]
        moved = cleared[: disks - 1] + end[disks - 1 :]
        # Of the smaller tower the smallest disk moved last; where from depends on how many disks there are.
        step: Json = {"move": [1, goal if disks % 2 else origin, aside], "places": cleared, "end": moved}
        after: Json = {"move": [disks, origin, goal], "places": moved}
        steps = (
            _tower(disks - 1, [origin, aside], turn, start, cleared),
            Step(str(middle), GOAL, args=step, checks=(*self.verifiers, arrived.name), kind=KIND),
            _tower(disks - 1, [aside, goal], middle + 1, after, end),
        )
        return Plan(steps, ref(steps[-1].id))


def _tower(disks: int, pegs: list[int], turn: int, start: Json, end: list[int]) -> Step:
    goal = f"Move {disks} disks from peg {PEGS[pegs[0]]} to peg {PEGS[pegs[1]]}."
    args: Json = {"disks": disks, "pegs": pegs, "turn": turn, "start": start, "end": end}
    return Step(f"tower-{turn}", goal, planner=TOWER, args=args, checks=(arrived.name,), kind="tower")


@planner
def row(disks: int, start: Json, **_: Json) -> Plan:
    """All moves in a row, each from the state that the one before wrote down. Nothing is known of any state."""
    return chain(start, 0, 2**disks - 1, ())


def chain(start: Json, turn: int, size: int, checks: tuple[str, ...]) -> Plan:
    """Steps that are named by their turn."""
    steps = []
    before = start
    for name in map(str, range(turn, turn + size)):
        steps.append(Step(name, GOAL, args=before, checks=checks, kind=KIND))
        before = {"move": ref(name, "move"), "places": ref(name, "places")}
    return Plan(tuple(steps), ref(steps[-1].id))


# --- running ----------------------------------------------------------------------------------------------------


def engine(model: str, store: Path, mode: str, lead: int | None = None, rows: int = ROWS, open_: int = OPEN) -> Engine:
    """contract: towers side by side, moves checked by the rules, or by votes where `lead` is set. votes: in a row."""
    # A process of its own has the network, and a core: the engine has the other one.
    asked = PocketModel(f"hanoi-moves/{model}", max_batch=rows, prompt_logprobs=False, worker=True, threads=1)
    # Engines lend the calculator to what is called pocket, and ask it one sample at a time for the sake of its calls.
    asked.name = f"hanoi/{model}"
    # Where the network is wrong again and again, the ladder asks it about the same turn with fewer disks.
    forms = [Representation("shortened", KIND, shortened)]
    options: dict[str, Any] = {"store": store, "concurrency": open_, "votes": lead, "canaries": 0.0}
    options["representations"] = forms
    if mode == "votes":
        return Engine(asked, planner=row, **options)
    towers = Towers(verifiers=() if lead else (allowed.name,))
    return Engine(asked, planner=towers, checks=[allowed], verifiers=[arrived], **options)


# --- scoring, from outside --------------------------------------------------------------------------------------


def score(store: Store, run_id: str, disks: int) -> dict[str, int]:
    """Every committed move against the shortest way, and what it took. It steers nothing: the run has ended.

    malformed: replies of another form. illegal: what the rules refuted. astray: towers whose end was not the
    contract's. rolled_back: moves that were undone for it.
    """
    turns: dict[int, int] = {}
    said: dict[int, dict[int, Json]] = {}
    done = bytearray(2**disks - 1)
    found = dict.fromkeys(FIGURES, 0)
    for record in store.records(run_id, kinds=(PlannedStep, Attempt, Verdict, Event)):
        if isinstance(record, PlannedStep):
            if record.step.kind == KIND:
                turns[record.seq] = int(record.step.id)
        elif isinstance(record, Attempt):
            if record.step in turns:
                found["samples"] += 1
                found["malformed"] += record.status == "invalid"
                said.setdefault(record.step, {})[record.seq] = record.output
        elif isinstance(record, Verdict):
            found["illegal"] += record.verifier == allowed.name and record.ruling == "fail"
            found["astray"] += record.verifier == arrived.name and record.ruling == "fail"
            found["abstained"] += record.ruling == "abstain"
        elif record.kind == "rolled_back":
            found["rolled_back"] += len(record.data["steps"])
        elif record.kind == "committed" and record.step in turns:
            turn = turns[record.step]
            right = said.pop(record.step)[record.attempt or 0] == state(path(disks, turn + 1))
            done[turn] = 1 if right else 2
    found["moves"], found["wrong"] = len(done) - done.count(0), done.count(2)
    found["retries"] = found["samples"] - found["moves"]
    return found


FIGURES = ("moves", "wrong", "samples", "retries", "malformed", "illegal", "astray", "rolled_back", "abstained")


def state(turn: Turn) -> dict[str, Json]:
    """A turn as steps hand it on."""
    return {"move": list(turn.move) if turn.move else None, "places": list(turn.places)}
