"""The work that `overhead` measures, done by surefoot: a chain or a fan of N durable verified steps.

Each step is one reply of a zero-latency model that asks for one call of a pure tool, `add(a, b)`; the result is
put before a schema and a predicate, committed, and recorded. A *sampled* chain has no tool: the reply is the number,
with token ids and log-probabilities as local weights have them, and is put before the predicate.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks.harness import expect
from surefoot.engine import Engine, Outcome
from surefoot.models.chat import messages
from surefoot.models.question import ChatMessage, Question, Reply, ToolRequest
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


@verifier(inline=True, exact=True)
def one_more_than_it(candidate: int, inputs: Mapping[str, Json]) -> bool:
    """The output is one more than the input `number`."""
    return bool(candidate == inputs["number"] + 1)


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
        if "number" in question.inputs:
            return [self.sampled(question.inputs["number"] + 1)]
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

    def sampled(self, number: int) -> Reply:
        """As of local weights: 25 tokens after 25."""
        return Reply(
            str(number),
            (ChatMessage("user", f"{number - 1} + 1 ="),),
            parsed=number,
            finish_reason="stop",
            usage=Usage(0, 1, 25, 25),
            usage_source="counted",
            model=self.name,
            sampling={"temperature": 1.0, "max_tokens": 26, "seed": number, "index": 0},
            prompt_ids=array("i", range(25)),
            token_ids=array("i", range(25)),
            logprobs=array("f", [-0.01] * 25),
        )


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
def sampled(start: int, n: int) -> Plan:
    """Every step says one more than the output of the step before it."""
    if n <= SEGMENT:
        before = [given("start"), *(ref(f"s_{i}") for i in range(n - 1))]
        steps = [
            Step(f"s_{i}", "Add one.", args={"number": it}, checks=("one_more_than_it",)) for i, it in enumerate(before)
        ]
        return Plan(tuple(steps), ref(steps[-1].id))
    parts = segments("sampled", n, lambda i: ref(f"part_{i - 1}") if i else given("start"))
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

    shapes: Mapping[str, FunctionPlanner] = {"chain": chain, "fan": fan, "sampled": sampled}

    def create(self, folder: Path) -> None:
        """An empty store."""
        Store.open(folder / "surefoot.db").close()

    def open(self, folder: Path, shape: str, seed: int) -> Callable[[int], None]:
        """The engine with its store open; what is returned does the work up to the durable close."""
        plan = self.shapes[shape]
        tools = [] if shape == "sampled" else [add]
        checks = [one_more, one_more_than_it]
        engine = Engine(ZeroLatency(), tools=tools, checks=checks, planner=plan, store=folder / "surefoot.db")
        expect(engine.store.runs(), [], "runs of an empty store")

        def work(steps: int) -> None:
            with engine:
                result = engine.run("count", inputs={"start": 0, "n": steps}, seed=seed)
            expect(result.outcome, Outcome.VERIFIED, f"the run's outcome ({result.reason})")
            expect(result.output, 0 if shape == "fan" else steps, "the run's output")

        return work

    def count(self, folder: Path) -> int:
        """Verified steps that a reopened store knows: committed, and no sub-plans."""
        with Store.open(folder / "surefoot.db", create=False) as store:
            (run,) = store.runs()
            calls, committed = set(), 0
            for record in store.records(run.run_id, kinds=[PlannedStep, Event]):
                if isinstance(record, PlannedStep) and record.step.planner is None:
                    calls.add(record.seq)
                elif isinstance(record, Event) and record.kind == "committed":
                    committed += record.step in calls
            return committed
