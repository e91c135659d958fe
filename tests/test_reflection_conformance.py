"""The promises of every verifier, kept by each one."""

from __future__ import annotations

import asyncio
import json
import sys
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from surefoot.models.question import Question, Reply
from surefoot.models.scripted import ScriptedModel
from surefoot.reflection import Case, ExecutionCheck, Judge, Recompute, Verifier, verifier
from surefoot.reflection.arithmetic import arithmetic
from surefoot.reflection.base import VerifierBase
from surefoot.reflection.schema import SchemaCheck
from surefoot.reflection.typical import Typical
from surefoot.storage.records import Contract, Step, Verdict
from surefoot.tools.process import Limits

pytestmark = pytest.mark.anyio

SUM = Step("s1", goal="add", contract=Contract(gives={"type": "integer"}))
KINDS = {"rule", "program", "test", "recompute", "judge", "model", "person"}


def judging(question: Question, index: int) -> dict[str, str]:
    return {"verdict": "pass" if question.inputs["result"] == 3 else "fail", "reason": "added up"}


def case(candidate: Any, **parts: Any) -> Case:
    surprise = array("f", [-1.0 if candidate == 3 else -9.0])
    reply = Reply(str(candidate), prompt=(), prompt_ids=array("i", [1, 2]), prompt_logprobs=surprise)
    inputs = {"expression": "a + b", "values": {"a": 1, "b": 2}}
    return Case(**{"step": SUM, "candidate": candidate, "inputs": inputs, "reply": reply, **parts})


@dataclass(frozen=True)
class Subject:
    """How to make a verifier that passes 3, and what it must stumble over."""

    make: Callable[[], Verifier]
    right: Any = 3
    wrong: Any = 4
    broken: Callable[[], tuple[Verifier, Case]] = lambda: (breaks, case(3))


@verifier(inline=True)
def breaks(candidate: int) -> bool:
    raise OSError("the disk is gone")


def from_function(**settings: Any) -> Callable[[], Verifier]:
    def make() -> Verifier:
        @verifier(**settings)
        def adds_up(candidate: int, inputs: dict[str, Any]) -> bool:
            return candidate == sum(inputs["values"].values())

        return adds_up

    return make


def from_async() -> Verifier:
    @verifier
    async def adds_up(candidate: int, inputs: dict[str, Any]) -> bool:
        await asyncio.sleep(0)
        return candidate == sum(inputs["values"].values())

    return adds_up


def recomputed() -> Verifier:
    return Recompute(lambda inputs: sum(inputs["values"].values()), name="sum")


def executed() -> Verifier:
    command = (sys.executable, "-c", "import sys; sys.exit(open('out.json').read() != '3')")
    return ExecutionCheck(path="out.json", command=command, limits=Limits(seconds=30))


SUBJECTS = {
    "thread": Subject(from_function(), broken=lambda: (from_function()(), case(3, inputs={}))),
    "inline": Subject(from_function(inline=True), broken=lambda: (from_function(inline=True)(), case(3, inputs={}))),
    "async": Subject(from_async, broken=lambda: (from_async(), case(3, inputs={}))),
    "schema": Subject(SchemaCheck, wrong="three", broken=lambda: (SchemaCheck({"type": 7}), case(3))),
    "execution": Subject(executed, broken=lambda: (ExecutionCheck(command=("no-such-program",)), case(3))),
    "recompute": Subject(recomputed, broken=lambda: (recomputed(), case(3, inputs={}))),
    "arithmetic": Subject(arithmetic, broken=lambda: (arithmetic(), case(3, inputs={"expression": 5}))),
    "judge": Subject(
        lambda: Judge("adds up", ScriptedModel(judging)),
        broken=lambda: (Judge("adds up", ScriptedModel([])), case(3)),
    ),
    "typical": Subject(lambda: Typical(2, 4, 3), broken=lambda: (Typical(2, 4, 3), case(3, reply="not a reply"))),
}


@pytest.fixture(params=SUBJECTS)
def subject(request: pytest.FixtureRequest) -> Subject:
    return SUBJECTS[request.param]


async def test_it_tells_right_from_wrong(subject: Subject) -> None:
    made = subject.make()
    assert (await made.verify(case(subject.right))).ruling == "pass"
    assert (await made.verify(case(subject.wrong))).ruling == "fail"


async def test_it_is_a_verifier_with_a_stable_identity(subject: Subject) -> None:
    made, again = subject.make(), subject.make()
    assert isinstance(made, Verifier)
    assert (made.name, made.version, made.kind, made.exact) == (again.name, again.version, again.kind, again.exact)
    assert made.name and made.version and made.kind in KINDS


async def test_a_verdict_carries_the_verifiers_identity_and_is_data(subject: Subject) -> None:
    made = subject.make()
    for candidate in (subject.right, subject.wrong):
        verdict = await made.verify(case(candidate))
        assert isinstance(verdict, Verdict)
        assert (verdict.verifier, verdict.version) == (made.name, made.version)
        assert (verdict.kind, verdict.exact) == (made.kind, made.exact)
        assert (verdict.seq, verdict.attempt) == (0, 0)
        json.dumps([verdict.critique, verdict.evidence, verdict.score])


async def test_an_error_inside_is_an_abstention(subject: Subject) -> None:
    made, given = subject.broken()
    verdict = await made.verify(given)
    assert verdict.ruling == "abstain"
    assert verdict.critique
    assert verdict.verifier == made.name


@pytest.mark.parametrize("candidate", [None, "", [], {}, float("nan"), "\ud800", {"a": [1]}, object()])
async def test_no_candidate_makes_it_raise_or_pass(subject: Subject, candidate: Any) -> None:
    verdict = await subject.make().verify(case(candidate))
    assert verdict.ruling in ("fail", "abstain")


async def test_the_same_case_gets_the_same_verdict(subject: Subject) -> None:
    made = subject.make()
    assert await made.verify(case(subject.wrong)) == await made.verify(case(subject.wrong))


async def test_verdicts_do_not_get_in_each_others_way(subject: Subject) -> None:
    made = subject.make()
    cases = [subject.right, subject.wrong] * 4
    verdicts = await asyncio.gather(*(made.verify(case(candidate)) for candidate in cases))
    assert [verdict.ruling for verdict in verdicts] == ["pass", "fail"] * 4


class Stuck:
    """Never comes to an end by itself, in each of the ways that a verifier may wait."""

    @staticmethod
    def checked() -> Verifier:
        @verifier(timeout=None)
        async def waits(candidate: int) -> bool:
            return await asyncio.get_running_loop().create_future()

        return waits

    @staticmethod
    def recomputed() -> Verifier:
        async def route(inputs: Any) -> int:
            return await asyncio.get_running_loop().create_future()

        return Recompute(route)

    @staticmethod
    def executed() -> Verifier:
        command = (sys.executable, "-c", "import time; time.sleep(60)")
        return ExecutionCheck(command=command, limits=Limits(seconds=90))

    @staticmethod
    def judged() -> Verifier:
        return Judge("adds up", ScriptedModel(judging, latency=60))

    @staticmethod
    def based() -> Verifier:
        class Waits(VerifierBase):
            async def examine(self, case: Case) -> Verdict:
                return await asyncio.get_running_loop().create_future()

        return Waits("waits", "1", "rule", exact=False)

    @staticmethod
    def threaded() -> Verifier:
        import threading

        @verifier(timeout=None)
        def waits(candidate: int) -> bool:
            return threading.Event().wait(60)

        return waits


@pytest.mark.parametrize("name", ["checked", "recomputed", "executed", "judged", "based", "threaded"])
async def test_cancelling_goes_through(name: str) -> None:
    running = asyncio.create_task(getattr(Stuck, name)().verify(case(3)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not running.done()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(running, 20)


async def test_a_verifier_without_a_check_abstains() -> None:
    verdict = await VerifierBase("empty", "1", "rule", exact=False).verify(case(3))
    assert verdict.ruling == "abstain"
    assert "must define examine" in verdict.critique
