"""The work that `overhead` measures, done by surefoot: a chain or a fan of N durable verified steps.

Each step is one reply of a zero-latency model that asks for one call of a pure tool, `add(a, b)`; the result is
put before a schema and a predicate, committed, and recorded.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks.harness import expect
from surefoot.engine import Engine, Outcome
from surefoot.models.chat import messages
from surefoot.models.question import Question, Reply, ToolRequest
from surefoot.planners import planner
from surefoot.planners.fixed import FunctionPlanner
from surefoot.reflection import verifier
from surefoot.storage.records import Contract, Event, Json, Plan, PlannedStep, Policy, Step, Usage, given, ref
from surefoot.storage.store import Store
from surefoot.tools import tool

SEGMENT = 250
"""Steps of a sub-plan: a plan of N steps unfolds a segment at a time, so that only a part of it is in memory."""

NUMBER = Contract(gives={"type": "integer"})


@tool(effect="pure", timeout=None)
async def add(a: int, b: int) -> int:
    """Adds two whole numbers."""
    return a + b


@verifier(inline=True, exact=True)
def one_more(candidate: int, inputs: Mapping[str, Json]) -> bool:
    """The output is one more than the number that the step was given."""
    return candidate == _number(inputs) + 1


def _number(inputs: Mapping[str, Json]) -> int:
    """What the step before delivered; at a segment's beginning, where the segment starts."""
    return int(next((value for name, value in inputs.items() if name.startswith("s_")), inputs["start"]))


class ZeroLatency:
    """A model that answers at once and keeps nothing: it asks for one more than the number in the question."""

    name = "zero-latency"
    policy = Policy("zero-latency", "1")
    cost = Usage(samples=1, prompt_tokens=20, completion_tokens=8)

    def estimate(self, question: Question, n: int = 1) -> Usage:
        return self.cost

    async def ask(self, question: Question, n: int = 1) -> Sequence[Reply]:
        arguments = {"a": _number(question.inputs), "b": 1}
        request = ToolRequest("c", "add", json.dumps(arguments), arguments)
        return [
            Reply(
                "",
                messages(question),
                (request,),
                finish_reason="tool_calls",
                usage=self.cost,
                usage_source="counted",
                model=self.name,
            )
        ]


def one(name: str, needs: tuple[str, ...] = ()) -> Step:
    return Step(name, "Add one.", "add", None, needs=needs, contract=NUMBER, checks=("one_more",))


@planner
def chain(start: int, n: int) -> Plan:
    """Every step adds one to the output of the step before it."""
    if n <= SEGMENT:
        steps = [one(f"s_{i}", (f"s_{i - 1}",) if i else ()) for i in range(n)]
        return Plan(tuple(steps), ref(steps[-1].id))
    parts = segments("chain", n, lambda i: ref(f"part_{i - 1}") if i else given("start"))
    return Plan(parts, ref(parts[-1].id))


@planner
def fan(start: int, n: int) -> Plan:
    """Every step adds one to the same number; none needs another."""
    if n <= SEGMENT:
        return Plan(tuple(one(f"s_{i}") for i in range(n)), given("start"))
    return Plan(segments("fan", n, lambda i: given("start")), given("start"))


def segments(planner: str, n: int, start: Callable[[int], Json]) -> tuple[Step, ...]:
    """Sub-plans of about the same size. start: what the i-th begins with."""
    parts = -(-n // SEGMENT)
    sizes = [n // parts + (i < n % parts) for i in range(parts)]
    args = [{"start": start(i), "n": size} for i, size in enumerate(sizes)]
    return tuple(Step(f"part_{i}", planner=planner, args=one) for i, one in enumerate(args))


class Surefoot:
    """The engine and its store, in the form that `overhead` measures."""

    shapes: Mapping[str, FunctionPlanner] = {"chain": chain, "fan": fan}

    def create(self, folder: Path) -> None:
        """An empty store."""
        Store.open(folder / "surefoot.db").close()

    def open(self, folder: Path, shape: str, seed: int) -> Callable[[int], None]:
        """The engine with its store open; what is returned does the work up to the durable close."""
        plan = self.shapes[shape]
        engine = Engine(ZeroLatency(), tools=[add], checks=[one_more], planner=plan, store=folder / "surefoot.db")
        expect(engine.store.runs(), [], "runs of an empty store")

        def work(steps: int) -> None:
            with engine:
                result = engine.run("count", inputs={"start": 0, "n": steps}, seed=seed)
            expect(result.outcome, Outcome.VERIFIED, f"the run's outcome ({result.reason})")
            expect(result.output, steps if shape == "chain" else 0, "the run's output")

        return work

    def count(self, folder: Path) -> int:
        """Verified steps that a reopened store knows: committed, and planned to call the tool."""
        with Store.open(folder / "surefoot.db", create=False) as store:
            (run,) = store.runs()
            calls, committed = set(), 0
            for record in store.records(run.run_id, kinds=[PlannedStep, Event]):
                if isinstance(record, PlannedStep) and record.step.tool == add.name:
                    calls.add(record.seq)
                elif isinstance(record, Event) and record.kind == "committed":
                    committed += record.step in calls
            return committed
