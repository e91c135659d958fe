"""Weights in a process of their own: shared, restarted, and gone with the last who asks."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import tiny

from surefoot.engine import Engine
from surefoot.models.local.model import LocalModel
from surefoot.models.local.remote import DEATHS, WorkerSampler
from surefoot.models.local.sampler import Request
from surefoot.models.local.wire import Wanted
from surefoot.models.packaged import PocketModel
from surefoot.models.question import Question, Reply
from surefoot.storage.errors import ModelUnavailable, SetupError
from surefoot.storage.records import ModelCall, Plan, Step, ref

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(sys.platform == "win32", reason="no Unix sockets")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def model(folder: Path) -> Iterator[LocalModel]:
    made = LocalModel(folder, max_tokens=24, worker=True, device="cpu")
    yield made
    sampler(made).close()


def sampler(model: LocalModel) -> WorkerSampler:
    assert isinstance(model._sampler, WorkerSampler)
    return model._sampler


def ask(goal: str, **options: Any) -> Question:
    return Question("act", goal, **options)


def sampler_place(folder: Path) -> Path:
    return Wanted(str(folder), "cpu", None, 256, True, None).place()


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def until(true: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.01)


def ids(replies: list[list[Reply]]) -> list[list[tuple[int, ...]]]:
    return [[tuple(reply.token_ids or ()) for reply in each] for each in replies]


async def every(model: LocalModel, questions: list[Question], count: int = 1) -> list[list[Reply]]:
    return await asyncio.gather(*(model.ask(question, count) for question in questions))


async def test_it_samples_what_weights_in_this_process_sample(model: LocalModel, folder: Path) -> None:
    here = LocalModel(folder, max_tokens=24, device="cpu")
    questions = [ask("word " * (1 + place % 9), seed=place, temperature=0.3 * (place % 4)) for place in range(60)]
    there, own = await every(model, questions, 2), await every(here, questions, 2)
    assert ids(there) == ids(own)
    for (one, _), (other, _) in zip(there, own, strict=True):
        assert one.logprobs is not None and list(one.logprobs) == pytest.approx(list(other.logprobs or ()), abs=1e-4)
        assert list(one.prompt_logprobs or ()) == pytest.approx(list(other.prompt_logprobs or ()), abs=1e-3)
        assert (one.text, one.finish_reason, one.revision) == (other.text, other.finish_reason, other.revision)
        assert one.revision and one.retries == 0
    assert model.policy == here.policy
    assert model.estimate(questions[0]) == here.estimate(questions[0])


async def test_it_says_what_it_holds(model: LocalModel, folder: Path) -> None:
    holds = sampler(model).holds
    assert alive(holds["pid"]) and holds["pid"] != os.getpid()
    size = tiny.network().num_parameters()
    assert (holds["folder"], holds["window"], holds["parameters"]) == (str(folder), 4096, size)
    assert (holds["device"], holds["dtype"], holds["rows"]) == ("cpu", "float32", 256)


def test_doctor_says_what_workers_hold(model: LocalModel, folder: Path) -> None:
    words = [str(Path(sys.executable).with_name("surefoot")), "doctor", "-m", "openai/x", "--json"]
    said = subprocess.run(words, capture_output=True, text=True, cwd=folder)
    (found,) = (row for row in map(json.loads, said.stdout.splitlines()) if row["check"] == "workers")
    size = tiny.network().num_parameters()
    assert f"process {sampler(model).holds['pid']}: {folder}, {size:,} parameters, float32 on cpu" in found["detail"]


CHILD = """
import asyncio, json, sys
from surefoot.models.local.model import LocalModel
from surefoot.models.question import Question
model = LocalModel(sys.argv[1], max_tokens=24, worker=True, device="cpu")
print(json.dumps(model._sampler.holds["pid"]), flush=True)
async def every():
    asked = [Question("act", f"word {seed}", seed=seed, max_tokens=int(sys.argv[2])) for seed in range(20)]
    return await asyncio.gather(*(model.ask(one) for one in asked))
print(json.dumps([list(one.token_ids) for (one,) in asyncio.run(every())]), flush=True)
sys.stdin.read()
"""


def child(folder: Path, tokens: int = 24) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", CHILD, str(folder), str(tokens)]
    return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def line(one: subprocess.Popen[str]) -> Any:
    assert one.stdout is not None
    return json.loads(one.stdout.readline())


async def test_processes_share_one_that_ends_with_the_last_of_them(tmp_path: Path) -> None:
    folder = tiny.save(tmp_path)
    children = [child(folder) for _ in range(3)]
    try:
        pids = {line(one) for one in children}
        said = [line(one) for one in children]
        assert len(pids) == 1 and said[0] == said[1] == said[2]
        (pid,) = pids
        children[0].communicate("")
        children[1].kill()
        children[1].communicate()
        await asyncio.sleep(0.3)
        assert alive(pid), "one is left"
        place = sampler_place(folder)
        assert place.exists()
        children[2].kill()
        until(lambda: not alive(pid))
        assert not place.exists() and not place.with_suffix(".log").exists()
    finally:
        for one in children:
            one.kill()
            one.communicate()


async def test_one_who_neither_reads_nor_goes_stops_nobody(model: LocalModel, folder: Path) -> None:
    stuck = child(folder, 4000)
    try:
        assert line(stuck) == sampler(model).holds["pid"]
        stuck.send_signal(signal.SIGSTOP)
        async with asyncio.timeout(60):
            assert len(await every(model, [ask("go", seed=seed) for seed in range(40)])) == 40
    finally:
        stuck.kill()
        stuck.communicate()


async def test_killed_under_load_nothing_is_lost_and_the_replies_are_the_same(folder: Path) -> None:
    here, model = (PocketModel("hanoi-moves/p80", prompt_logprobs=False, worker=worker) for worker in (False, True))
    chance = random.Random(7)
    questions = [
        ask("m", seed=place, inputs={"move": [1, 0, 1], "places": [1, *chance.choices((0, 1, 2), k=19)]})
        for place in range(1500)
    ]
    wanted = ids(await every(here, questions))
    done = threading.Event()
    killed = []

    def kills() -> None:
        while not done.wait(chance.uniform(0.2, 0.8)):
            pid = sampler(model).holds["pid"]
            if len(killed) < 3 and pid not in killed and alive(pid):
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)

    killer = threading.Thread(target=kills)
    killer.start()
    try:
        found = await every(model, questions)
        while len(killed) < 2:
            found = await every(model, questions)
    finally:
        done.set()
        killer.join()
    assert ids(found) == wanted and sampler(model).deaths == len(killed) >= 2
    again = {reply.retries for (reply,) in found}
    assert max(again) >= 1, "a reply says that its question was begun anew"
    sampler(model).close()


async def test_a_restart_stands_in_the_record(folder: Path, tmp_path: Path) -> None:
    model = LocalModel(folder, max_tokens=400, worker=True, device="cpu")
    plan = Plan(tuple(Step(f"s{place}", f"Say {place}.") for place in range(4)), ref("s0"))
    with Engine(model, planner=plan, store=tmp_path / "runs.db", verify=False) as engine:
        pid = sampler(model).holds["pid"]
        threading.Timer(0.1, lambda: os.kill(pid, signal.SIGKILL)).start()
        result = engine.run("go")
        calls = list(engine.store.records(result.run_id, kinds=(ModelCall,)))
    assert result.outcome.value == "unverified"
    assert max(call.retries for call in calls if isinstance(call, ModelCall)) == 1
    sampler(model).close()


async def test_one_that_dies_again_and_again_is_not_started_for_ever(
    model: LocalModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await model.ask(ask("go", seed=1))
    begun = []

    def stillborn(self: WorkerSampler, place: Path) -> subprocess.Popen[bytes]:
        begun.append(place)
        made = subprocess.Popen([sys.executable, "-c", ""])
        made.wait()
        return made

    with monkeypatch.context() as patched:
        patched.setattr(WorkerSampler, "_start", stillborn)
        os.kill(sampler(model).holds["pid"], signal.SIGKILL)
        with pytest.raises(ModelUnavailable, match=f"died {DEATHS + 1} times in a row"):
            await model.ask(ask("go", seed=1))
        assert len(begun) == DEATHS
    assert await model.ask(ask("go", seed=1)), "it is tried again when it is asked again"


def test_weights_that_are_not_there_are_an_error_of_the_setup(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="there is no folder"):
        LocalModel(tmp_path / "none", worker=True)
    tiny.tokenizer().save_pretrained(tmp_path)
    with pytest.raises(SetupError, match="no usable weights"):
        WorkerSampler(Wanted(str(tmp_path), "cpu", None, 8, True, 1))
    with pytest.raises(SetupError, match="save these to one"):
        LocalModel(tiny.weights(), worker=True)


async def test_what_was_asked_of_a_worker_that_cannot_start_again_is_not_asked_later(tmp_path: Path) -> None:
    model = LocalModel(tiny.save(tmp_path), max_tokens=400, worker=True, device="cpu")
    weights = tmp_path / "model.safetensors"
    hidden = weights.rename(tmp_path.parent / "hidden")
    os.kill(sampler(model).holds["pid"], signal.SIGKILL)
    with pytest.raises(SetupError, match="no usable weights"):
        await model.ask(ask("go", seed=1), 3)
    assert not sampler(model)._open and not sampler(model)._asked
    hidden.rename(weights)
    assert len(await model.ask(ask("go", seed=1))) == 1
    sampler(model).close()


def test_an_error_of_the_network_reaches_whoever_asked_and_the_worker_goes_on(folder: Path) -> None:
    with closing(WorkerSampler(Wanted(str(folder), "cpu", None, 8, True, 1))) as asked:
        asked.add(1, Request(array("i", [5000, 2]), 1, 1, 4))  # no such token
        with pytest.raises(RuntimeError, match="IndexError"):
            while not asked.step():
                pass
        asked.add(2, Request(array("i", [50, 2]), 1, 1, 4))
        while not (drawn := asked.step()):
            pass
        assert drawn[0].request == 2


async def test_a_forked_child_asks_for_itself(model: LocalModel) -> None:
    question = ask("go", seed=3)
    first = (await model.ask(question))[0].token_ids
    read, write = os.pipe()
    if (pid := os.fork()) == 0:
        try:
            said = asyncio.run(model.ask(question))[0].token_ids
            os.write(write, b"same" if said == first else b"other")
        finally:
            os._exit(0)
    os.close(write)
    assert os.read(read, 10) == b"same"
    os.waitpid(pid, 0)  # noqa: ASYNC222 (it has ended)
    os.close(read)
    assert (await model.ask(question))[0].token_ids == first
