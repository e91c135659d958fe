"""Programs that use an engine, fork, and use it again on both sides. `python fork_child.py NAME ARGUMENT...` runs one.

A program prints what the test reads, as JSON. What a child sees comes back through a pipe; its exit code is checked.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from surefoot.engine import Engine
from surefoot.models.api.model import ApiModel
from surefoot.models.question import Question
from surefoot.models.scripted import ScriptedModel
from surefoot.storage import fork
from surefoot.storage.errors import StoreError
from surefoot.storage.records import Json, Plan, Reward, Step, Task, ref
from surefoot.storage.store import Store
from surefoot.tools import tool

CHECKED = Plan((Step("x", "say it", tool="twice", args={"n": 21}), Step("y", "name a word")), ref("x"))


@tool(effect="pure")
def twice(n: int) -> int:
    """Twice the number."""
    return 2 * n


def engine(store: Any, model: Any = None, **options: Any) -> Engine:
    return Engine(model or ScriptedModel(lambda *_: "word"), store=store, planner=CHECKED, tools=[twice], **options)


def forked(work: Callable[[], Json], end: Callable[[int], Any] = os._exit) -> Callable[[], Json]:
    """Begins `work` in a child; what comes back waits for its result and its end."""
    reading, writing = os.pipe()
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        os.close(reading)
        os.write(writing, json.dumps(work()).encode())
        os.close(writing)
        end(0)
    os.close(writing)

    def wait() -> Json:
        with os.fdopen(reading, "rb") as told:
            said = told.read()
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert code == 0, f"the child ended with {code}"
        return json.loads(said)

    return wait


def done(one: Engine) -> Json:
    result = one.run("go")
    return [result.run_id, result.output]


def once(store: str, how: str) -> Json:
    """An engine that was used, in a child and then again in the parent."""
    with engine(store) as one:
        before = done(one)
        child = forked(lambda: done(one), sys.exit if how == "exit" else os._exit)()
        return [before, child, done(one)]


def _several(one: Engine, times: int, told: Any) -> None:
    told.put([done(one) for _ in range(times)])


def many(store: str, children: str, times: str) -> Json:
    """Children of multiprocessing, all at once on the one store, and the parent beside them."""
    fresh = multiprocessing.get_context("fork")
    told = fresh.SimpleQueue()
    with engine(store) as one:
        found = [done(one)]
        started = [fresh.Process(target=_several, args=(one, int(times), told)) for _ in range(int(children))]
        for child in started:
            child.start()
        found += [done(one) for _ in range(int(times))]
        for _ in started:
            found += told.get()
        for child in started:
            child.join()
            assert child.exitcode == 0
    return found


def under_way(store: str, how: str) -> Json:
    """A child that is forked while a run is in flight, and leaves that alone."""
    asked, go = threading.Event(), threading.Event()

    def say(question: Question, index: int) -> str:
        asked.set()
        assert go.wait(30)
        return "word"

    class Slow(ScriptedModel):
        async def ask(self, question: Question, n: int = 1) -> Any:
            return await asyncio.to_thread(lambda: asyncio.run(ScriptedModel.ask(self, question, n)))

    with engine(store, Slow(say)) as one:
        results: list[Json] = []
        running = threading.Thread(target=lambda: results.append(done(one)))
        running.start()
        assert asked.wait(30)
        (run,) = one.running
        flow = one.runs.under_way[run]

        def inside() -> Json:
            go.set()
            seen = [list(one.running)]
            try:
                flow.record(Reward(flow.seq(), "run", None, "child", 1.0, "engine"))
            except StoreError as error:
                seen.append(str(error))
            return [*seen, done(one)]

        child = forked(inside, sys.exit if how == "exit" else os._exit)()
        go.set()
        running.join(30)
        return {"run": run, "parent": results, "child": child}


def queued(store: str, how: str, rows: str) -> Json:
    """A child that ends while rows of the parent's wait to be written."""
    with Store.open(store) as one:
        journal = one.begin(Task("go"))
        for _ in range(int(rows)):
            journal.append(Reward(journal.seq(), "run", None, "row", 1.0, "engine"))
        forked(lambda: None, sys.exit if how == "exit" else os._exit)()
        journal.append(Reward(journal.seq(), "run", None, "row", 1.0, "engine"))
        journal.close()
        return journal.run_id


def busy(store: str) -> Json:
    """A fork that cannot wait for whoever reads the store."""
    fork.PATIENCE = 0.1
    from surefoot.storage.sql import database

    database.PATIENCE = 0.1
    with engine(store) as one:
        done(one)
        with one.store._engine.connect() as connection:
            connection.exec_driver_sql("SELECT 1")

            def inside() -> Json:
                try:
                    return done(one)
                except StoreError as error:
                    return str(error)

            child = forked(inside)()
        return [child, done(one)]


def api(store: str, url: str) -> Json:
    """Requests of a parent and of its children, one of them under way while the process forks."""
    model = ApiModel("openai/test", base_url=url, api_key="k", concurrency=1, retries=0)
    with engine(store, model) as one:
        found = [done(one)]
        running = threading.Thread(target=lambda: found.append(done(one)))
        running.start()
        time.sleep(0.1)  # for the server's own delay: the request is on its way or answered, either will do
        waits = [forked(lambda: [done(one), done(one)], end) for end in (sys.exit, os._exit)]
        running.join(30)
        found.append(done(one))
        for wait in waits:
            found += wait()
        return found


def local(store: str, which: str) -> Json:
    """Weights that were used by the parent's thread."""
    model: Any = which
    if which == "tiny":
        from tiny import weights

        from surefoot.models.local.model import LocalModel

        model = LocalModel(weights(end_bias=8.0), max_tokens=4, threads=2)

    def answers(seed: int) -> Json:
        if which == "tiny":
            asked = [Question("act", f"word {place} " * 20, seed=seed) for place in range(2)]
            return [[one.text for one in asyncio.run(model.ask(question, 4))] for question in asked]
        return Engine(model, store=store).run("Tom has 3 apples and buys 4 more. How many has he?", seed=seed).output

    first = answers(1)
    waits = [forked(lambda: answers(1)) for _ in range(2)]
    return [first, answers(1), *(wait() for wait in waits)]


def commands(store: str, file: str) -> Json:
    """A command that a tool runs: it ends with the process that began it, though a child of that lives on."""
    from surefoot.tools.process import run

    async def long() -> None:
        await run(["sh", "-c", f"echo $$ > {file}; sleep 600"])

    threading.Thread(target=lambda: asyncio.run(long()), daemon=True).start()
    while not (Path(file).exists() and Path(file).read_text().strip()):
        time.sleep(0.01)
    if (child := os.fork()) == 0:
        finished = asyncio.run(run(["echo", "again"]))
        Path(file + ".child").write_text(finished.stdout)
        time.sleep(600)
    while not Path(file + ".child").exists():
        time.sleep(0.01)
    print(json.dumps([int(Path(file).read_text()), child, Path(file + ".child").read_text()]), flush=True)
    os.kill(os.getpid(), 9)
    return None


def nested(store: str) -> Json:
    """A child that forks a child of its own."""
    with engine(store) as one:
        first = done(one)

        def inside() -> Json:
            mine = done(one)
            return [mine, forked(lambda: done(one), sys.exit)(), done(one)]

        return [first, *forked(inside, sys.exit)(), done(one)]


if __name__ == "__main__":
    name, *given = sys.argv[1:]
    found = globals()[name](*given)
    print(json.dumps(found), flush=True)
