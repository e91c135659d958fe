"""Runs that kill themselves: forks a fresh process for every command, so that each starts without a loop or a thread.

Reads commands from stdin, one JSON object a line: {"store", "log", "out", "answers", "kill", "durable", "die"}. The
forked process begins the run, or goes on with it where the store holds one. It kills itself with SIGKILL at its
k-th record (`kill`), once that is durable (`durable`) or while it may not be; or inside the tool that sends the
letter, `before` or `after` it is sent (`die`). What it ends with is written to `out`. Answers each command with the
process's exit status.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import alembic.command  # noqa: F401  # so that no fork has to load it again
import langgraph.graph.state  # noqa: F401

from surefoot.engine import Engine
from surefoot.models.question import Question
from surefoot.models.scripted import ScriptedModel
from surefoot.planners import planner
from surefoot.reflection import verifier
from surefoot.storage.records import JournalRecord, Json, Plan, Step, Verdict, given, ref
from surefoot.storage.store import Store
from surefoot.tools import tool
from surefoot.tools.tool import ToolContext

LOG = -1
DIE: str | None = None


def note(line: str) -> None:
    os.write(LOG, f"{line}\n".encode())


@tool(effect="once", timeout=None)
async def send(text: str, context: ToolContext) -> str:
    """Sends a letter."""
    if DIE == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    note(f"send {context.idempotency_key}")
    if DIE == "after":
        os.kill(os.getpid(), signal.SIGKILL)
    return f"sent {text}"


@tool(effect="idempotent", timeout=None)
async def put(x: int, context: ToolContext) -> int:
    """Puts a value in its place."""
    note(f"put {context.idempotency_key}")
    return x


@tool(effect="pure", timeout=None)
async def fetch(name: str, context: ToolContext) -> str:
    """Fetches a page."""
    note(f"fetch {context.step} {name}")
    if name == "broken":
        raise OSError("no route")
    return f"page {name}"


@planner
def both(page: str) -> Plan:
    """Two pages, one after the other."""
    steps = (
        Step("left", tool="fetch", args={"name": given("page")}),
        Step("right", tool="fetch", args={"name": ref("left")}),
    )
    return Plan(steps, [ref("left"), ref("right")])


@verifier
def large(candidate: dict[str, Json]) -> Verdict:
    """The guess is large."""
    return Verdict("", "pass" if candidate["guess"] > 100 else "fail", blame="guess", critique="guess above 100")


def script(question: Question, index: int) -> Json:
    said = json.dumps(question.inputs)
    if question.role == "act":
        return "500" if "above 100" in said else "5"
    name = "mirror" if "no route" in said else "broken"
    steps = [
        {"id": "note", "tool": "put", "args": {"x": 1}},
        {"id": "letter", "tool": "send", "args": {"text": "hello"}, "needs": ["note"]},
        {"id": "guess", "goal": "Guess.", "args": {}, "gives": {"type": "integer"}},
        {"id": "deep", "planner": "both", "args": {"page": {"$ref": "letter"}}},
        {"id": "risky", "tool": "fetch", "args": {"name": name}, "needs": ["letter", "deep"]},
    ]
    return {"steps": steps, "output": {step["id"]: {"$ref": step["id"]} for step in steps}}  # type: ignore[index]


def killing(at: int | None, durable: Callable[[], object] | None) -> Callable[[JournalRecord], None]:
    seen = [0]

    def listen(record: JournalRecord) -> None:
        seen[0] += 1
        if seen[0] == at:
            if durable is not None:
                durable()
            os.kill(os.getpid(), signal.SIGKILL)

    return listen


def go(command: dict[str, Any]) -> None:
    global LOG, DIE
    DIE = command.get("die")
    LOG = os.open(command["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    model = ScriptedModel(script)
    with Store.open(command["store"]) as store:
        one = Engine(model, tools=[put, send, fetch], planners=[both], verifiers=[large], store=store, concurrency=3)
        settled = (lambda: store._writer.mark().result(10)) if command.get("durable") else None
        options = {"on_record": killing(command.get("kill"), settled)}
        # What was durable at the kill is what counts: a run without its first record begins again.
        if store.runs(1):
            result = one.resume("last", command.get("answers"), **options)
        else:
            result = one.run("a task with everything", **options)
        said = {
            "outcome": result.outcome.value,
            "output": result.output,
            "reason": result.reason,
            "questions": [question["tool"] for question in result.questions],
            "records": sum(1 for _ in store.records(result.run_id)),
            "kinds": [getattr(one, "kind", type(one).__name__) for one in store.records(result.run_id)],
        }
    with open(command["out"], "w") as file:  # noqa: PTH123
        json.dump(said, file)


def main() -> None:
    for line in sys.stdin:
        command = json.loads(line)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                go(command)
                status = 0
            finally:
                sys.stderr.flush()
                os._exit(status)
        _, waited = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(waited), flush=True)


if __name__ == "__main__":
    main()
