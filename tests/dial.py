"""What the tests of reliability share: a model of known accuracy that adds, its plans, and a form to ask in."""

from __future__ import annotations

import hashlib
from random import Random
from typing import Any

from surefoot.engine.calibrate import Labelled
from surefoot.models.question import Question
from surefoot.models.representation import representation
from surefoot.models.scripted import ScriptedModel
from surefoot.reflection import verifier
from surefoot.storage.records import Contract, Event, Json, Plan, Step, ref
from surefoot.storage.store import Store

NUMBER = Contract(gives={"type": "integer"})


def draw(*parts: Any) -> float:
    """A number in 0..1 that these parts decide."""
    return int(hashlib.sha256(repr(parts).encode()).hexdigest()[:12], 16) / 16**12


def adder(p: float, hard: float = 0.0, name: str = "adder") -> ScriptedModel:
    """Adds `a` and `b`: right with probability p, and on a share `hard` of the pairs always wrong in the same way."""

    def script(question: Question, index: int) -> Json:
        a, b = question.inputs["a"], question.inputs["b"]
        if draw("hard", name, a, b) < hard:
            return str(a + b + 1)
        chance = draw(name, a, b, question.seed, index)
        return str(a + b) if chance < p else str(a + b + 1 + int(chance * 1e6) % 4)

    return ScriptedModel(script, name=name)


def sums(count: int, seed: int = 0, checks: tuple[str, ...] = ()) -> Plan:
    rng = Random(seed)
    steps = tuple(
        Step(
            f"s{i}",
            "Add.",
            None,
            {"a": rng.randrange(999), "b": rng.randrange(999)},
            None,
            (),
            NUMBER,
            checks,
            kind="sum",
        )
        for i in range(count)
    )
    return Plan(steps, [ref(step.id) for step in steps])


def answers(plan: Plan) -> list[int]:
    return [(step.args or {})["a"] + (step.args or {})["b"] for step in plan.steps]


def labelled(count: int, seed: int = 99) -> list[Labelled]:
    rng = Random(seed)
    pairs = [(rng.randrange(999), rng.randrange(999)) for _ in range(count)]
    return [Labelled(a + b, {"a": a, "b": b}, "Add.", "sum", {"type": "integer"}) for a, b in pairs]


@representation(kind="sum")
def shifted(inputs: Any, rng: Random) -> Any:
    """The same sum of two other numbers."""
    by = rng.randrange(1, 500)
    return {"a": inputs["a"] + by, "b": inputs["b"] - by}, lambda answer: answer


@verifier(exact=True)
def adds_up(candidate: int, inputs: dict[str, Any]) -> bool:
    return candidate == inputs["a"] + inputs["b"]


def events(store: Store, run_id: str, kind: str) -> list[Event]:
    return [one for one in store.records(run_id, kinds=(Event,)) if one.kind == kind]  # type: ignore[union-attr,misc]
