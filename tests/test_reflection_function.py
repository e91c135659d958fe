"""`@verifier`: what a function's return value, error and signature mean."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy
import pytest
from pydantic import BaseModel

from surefoot.models.question import Reply
from surefoot.reflection import Case, Verifier, verifier
from surefoot.reflection.base import VerifierBase
from surefoot.reflection.function import FunctionVerifier
from surefoot.storage.errors import SetupError
from surefoot.storage.records import Step, Verdict

pytestmark = pytest.mark.anyio


def case(candidate: Any = 3, **parts: Any) -> Case:
    return Case(Step("s1", goal="add"), candidate, **parts)


def returning(value: Any) -> FunctionVerifier[[Any], Any]:
    return verifier(lambda candidate: value, name="returns", inline=True)


@pytest.mark.parametrize(
    ("value", "ruling", "critique"),
    [
        (True, "pass", ""),
        (False, "fail", ""),
        ("too small", "fail", "too small"),
        ((True, "fine"), "pass", "fine"),
        ((False, "off by one"), "fail", "off by one"),
        ((None, "no data"), "abstain", "no data"),
        (numpy.True_, "pass", ""),
        (numpy.False_, "fail", ""),
    ],
)
async def test_a_return_value_decides(value: Any, ruling: str, critique: str) -> None:
    verdict = await returning(value).verify(case())
    assert (verdict.ruling, verdict.critique) == (ruling, critique)


@pytest.mark.parametrize(
    "value", [None, "", " ", 0, 1, 0.5, [], {"pass": True}, (True,), (1, "one"), numpy.array([True])]
)
async def test_a_value_that_means_nothing_abstains_and_says_so(value: Any) -> None:
    verdict = await returning(value).verify(case())
    assert verdict.ruling == "abstain"
    assert "returns returned" in verdict.critique


async def test_a_verdict_keeps_what_it_says_and_takes_the_verifiers_identity() -> None:
    @verifier(version="7", kind="program", exact=True)
    def blames(candidate: int) -> Verdict:
        return Verdict("someone else", "fail", critique="s0 is off", blame="s0", score=0.25, evidence={"seen": 4})

    assert await blames.verify(case()) == Verdict(
        "blames", "fail", "7", "program", True, "s0 is off", 0.25, "s0", {"seen": 4}
    )


async def test_an_error_inside_abstains_with_the_error_and_its_place() -> None:
    @verifier
    def divides(candidate: int) -> bool:
        return 1 / (candidate - 3) > 0

    verdict = await divides.verify(case(3))
    assert verdict.ruling == "abstain"
    assert verdict.critique == "divides could not check the candidate: ZeroDivisionError: division by zero"
    assert verdict.evidence["error"] == "ZeroDivisionError: division by zero"
    assert verdict.evidence["at"].startswith("test_reflection_function.py:")


async def test_the_error_of_a_wrapped_call_says_where_it_was_raised() -> None:
    verdict = VerifierBase("v", "1", "rule", False).broken(ValueError("never raised"))
    assert verdict.evidence == {"error": "ValueError: never raised", "at": None}


async def test_an_error_whose_text_raises_still_abstains() -> None:
    class Spiteful(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    @verifier(inline=True)
    def spiteful(candidate: int) -> bool:
        raise Spiteful

    verdict = await spiteful.verify(case())
    assert verdict.ruling == "abstain"
    assert "Spiteful" in verdict.critique


@pytest.mark.parametrize("error", [StopIteration, SystemExit, RecursionError, TimeoutError, StopAsyncIteration])
@pytest.mark.parametrize("inline", [True, False])
async def test_no_error_of_any_kind_leaves_a_verifier(error: type[BaseException], inline: bool) -> None:
    def breaks(candidate: int) -> bool:
        raise error("broken")

    verdict = await asyncio.wait_for(verifier(breaks, inline=inline).verify(case()), 20)
    assert verdict.ruling == "abstain"
    assert error.__name__ in verdict.critique


async def test_an_assertion_fails_with_its_message() -> None:
    @verifier
    def adds_up(candidate: list[int]) -> bool:
        assert sum(candidate) == 3, "the total is off"
        return True

    assert (await adds_up.verify(case([1, 2]))).ruling == "pass"
    verdict = await adds_up.verify(case([1, 1]))
    assert verdict.ruling == "fail"
    assert verdict.critique.startswith("the total is off")  # pytest adds its own comparison here


async def test_an_assertion_without_a_message_shows_its_line(tmp_path: Path) -> None:
    module = load(tmp_path, "def positive(candidate):\n    assert candidate > 0\n    return True\n")
    verdict = await verifier(module.positive).verify(case(-1))
    assert (verdict.ruling, verdict.critique) == ("fail", "this does not hold: assert candidate > 0")

    scope: dict[str, Any] = {}
    exec("def positive(candidate):\n    assert candidate > 0\n", scope)
    verdict = await verifier(scope["positive"]).verify(case(-1))
    assert (verdict.ruling, verdict.critique) == ("fail", "an assertion does not hold")


async def test_forgetting_to_return_never_passes() -> None:
    @verifier
    def only_asserts(candidate: int) -> None:
        assert candidate > 0

    assert (await only_asserts.verify(case())).ruling == "abstain"


async def test_parameters_are_given_by_name() -> None:
    reply = Reply("3", prompt=())
    seen: dict[str, Any] = {}

    @verifier
    def looks(answer: int, /, step: Step, inputs: Any, *, goal: str, reply: Any, case: Any, factor: int = 2) -> bool:
        seen.update(answer=answer, step=step, inputs=inputs, goal=goal, reply=reply, case=case, factor=factor)
        return True

    given = case(3, inputs={"a": 1}, goal="sum up", reply=reply)
    assert (await looks.verify(given)).ruling == "pass"
    assert seen == {
        "answer": 3,
        "step": given.step,
        "inputs": {"a": 1},
        "goal": "sum up",
        "reply": reply,
        "case": given,
        "factor": 2,
    }


async def test_a_candidate_by_name_may_come_late_or_not_at_all() -> None:
    late = verifier(lambda inputs, candidate: inputs["a"] == candidate, name="late")
    assert (await late.verify(case(3, inputs={"a": 3}))).ruling == "pass"
    without = verifier(lambda inputs: inputs["a"] == 3, name="without")
    assert (await without.verify(case(0, inputs={"a": 3}))).ruling == "pass"
    assert (await verifier(lambda: True, name="nothing").verify(case())).ruling == "pass"


async def test_a_parameter_annotated_case_receives_the_case() -> None:
    @verifier
    def whole(it: Case) -> bool:
        return it.step.id == "s1" and it.candidate == 3

    assert (await whole.verify(case(3))).ruling == "pass"


def two(candidate: int, other: int) -> bool:
    return True


def many(candidate: int, *others: int) -> bool:
    return True


def named(candidate: int, **others: int) -> bool:
    return True


@pytest.mark.parametrize("function", [two, many, named])
def test_a_parameter_that_nothing_fills_is_refused_at_once(function: Callable[..., bool]) -> None:
    with pytest.raises(SetupError, match=r"other.*nothing fills.*candidate, inputs, step"):
        verifier(function)


class Offer(BaseModel):
    sku: str
    price: float


async def test_the_candidate_is_converted_to_its_annotation() -> None:
    @verifier
    def cheap(offer: Offer) -> bool:
        return isinstance(offer, Offer) and offer.price < 10

    assert (await cheap.verify(case({"sku": "A1", "price": 3}))).ruling == "pass"
    assert (await cheap.verify(case({"sku": "A1", "price": 30}))).ruling == "fail"


async def test_a_candidate_of_the_wrong_type_fails_with_a_critique() -> None:
    @verifier
    def cheap(offer: list[Offer]) -> bool:
        raise RuntimeError("not reached")

    verdict = await cheap.verify(case([{"sku": 1, "price": "low"}, {}]))
    assert verdict.ruling == "fail"
    assert verdict.critique == (
        "the candidate is not of the wanted type: candidate[0].sku: Input should be a valid string; "
        "candidate[0].price: Input should be a valid number, unable to parse string as a number; "
        "candidate[1].sku: Field required; and 1 more"
    )


async def test_a_local_class_can_be_an_annotation() -> None:
    class Local(BaseModel):
        n: int

    @verifier
    def positive(candidate: Local) -> bool:
        return candidate.n > 0

    assert (await positive.verify(case({"n": 1}))).ruling == "pass"
    assert (await positive.verify(case({"n": "x"}))).ruling == "fail"


def test_an_annotation_that_cannot_be_read_is_refused_at_once() -> None:
    def unknown(candidate: Missing) -> bool:  # type: ignore[name-defined]  # noqa: F821
        return True

    def opaque(candidate: Callable[[], threading.Lock] | threading.Thread) -> bool:
        return True

    with pytest.raises(SetupError, match=r"'Missing' cannot be read .* define it above"):
        verifier(unknown)
    with pytest.raises(SetupError, match="pydantic cannot read the annotation"):
        verifier(opaque)


def test_what_has_no_signature_or_no_name_is_refused() -> None:
    with pytest.raises(SetupError, match="needs a name"):
        verifier(lambda candidate: True)
    with pytest.raises(SetupError, match="no readable signature"):
        verifier(max, version="1")


async def test_a_decorated_function_can_still_be_called() -> None:
    @verifier
    def small(candidate: int) -> bool:
        """Below ten."""
        return candidate < 10

    assert small(3) is True
    assert small.__doc__ == "Below ten."
    assert isinstance(small, Verifier)
    assert repr(small) == f"<verifier small {small.version}>"
    assert (small.name, small.kind, small.exact) == ("small", "rule", False)


async def test_a_partial_a_method_and_an_object_are_functions_too() -> None:
    def below(limit: int, candidate: int) -> bool:
        return candidate < limit

    class Limit:
        def __init__(self, limit: int) -> None:
            self.limit = limit

        def check(self, candidate: int) -> bool:
            return candidate < self.limit

        async def __call__(self, candidate: int) -> bool:
            return candidate < self.limit

    for made in (
        verifier(partial(below, 5), name="partial"),
        verifier(Limit(5).check),
        verifier(Limit(5), name="object"),
    ):
        assert [(await made.verify(case(n))).ruling for n in (4, 6)] == ["pass", "fail"]
    assert verifier(partial(below, 5), name="p").version != verifier(partial(below, 6), name="p").version


async def test_a_slow_function_does_not_hold_up_the_loop() -> None:
    released = threading.Event()

    @verifier
    def waits(candidate: int) -> bool:
        return released.wait(20)

    running = asyncio.create_task(waits.verify(case()))
    await asyncio.sleep(0)
    released.set()  # never reached if the function ran on the loop
    assert (await running).ruling == "pass"


async def test_an_inline_function_runs_on_the_loops_own_thread() -> None:
    here = threading.get_ident()
    on_loop = verifier(lambda candidate: threading.get_ident() == here, name="where", inline=True)
    elsewhere = verifier(lambda candidate: threading.get_ident() != here, name="where")
    assert (await on_loop.verify(case())).ruling == "pass"
    assert (await elsewhere.verify(case())).ruling == "pass"


def test_inline_is_refused_for_an_async_function() -> None:
    async def check(candidate: int) -> bool:
        return True

    with pytest.raises(SetupError, match="leave inline out"):
        verifier(check, inline=True)


async def test_running_out_of_time_abstains() -> None:
    forever = threading.Event()

    @verifier(timeout=0.05)
    def blocks(candidate: int) -> bool:
        return forever.wait(20)

    @verifier(timeout=0.05)
    async def hangs(candidate: int) -> bool:
        await asyncio.Event().wait()
        return True

    for slow in (blocks, hangs):
        verdict = await slow.verify(case())
        assert verdict.ruling == "abstain"
        assert "did not finish within 0.05 s" in verdict.critique
    forever.set()


async def test_an_async_function_may_await() -> None:
    @verifier(timeout=None)
    async def waits(candidate: int) -> str | bool:
        await asyncio.sleep(0)
        return candidate == 3 or "not three"

    assert (await waits.verify(case(3))).ruling == "pass"
    assert (await waits.verify(case(4))).critique == "not three"
    assert (await waits.verify(case({}))).ruling == "fail"


async def test_awaiting_something_that_was_cancelled_abstains() -> None:
    @verifier
    async def awaits(candidate: int) -> bool:
        task = asyncio.create_task(asyncio.Event().wait())
        task.cancel()
        return await task

    assert (await awaits.verify(case())).ruling == "abstain"


def load(folder: Path, text: str) -> ModuleType:
    """A module made from text, as it would be imported from a file."""
    load.count += 1  # type: ignore[attr-defined]
    name = f"checks_{load.count}"  # type: ignore[attr-defined]
    path = folder / f"{name}.py"
    path.write_text(text)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


load.count = 0  # type: ignore[attr-defined]

SOURCE = """
from surefoot.reflection import verifier

def under(limit):
    @verifier
    def small(candidate):
        return candidate < limit + {extra}
    return small
"""


def test_the_version_changes_with_the_source_and_what_it_closes_over(tmp_path: Path) -> None:
    first, same, other = (load(tmp_path, SOURCE.format(extra=extra)) for extra in (0, 0, 1))
    assert first.under(3).version == same.under(3).version
    assert first.under(3).version != first.under(4).version
    assert first.under(3).version != other.under(3).version
    assert first.under(object()).version == first.under(object()).version  # no stable text: left out


def test_the_version_of_a_function_without_source_changes_with_its_code() -> None:
    def made(text: str) -> str:
        scope: dict[str, Any] = {}
        exec(f"def check(candidate):\n    return {text}", scope)
        return verifier(scope["check"]).version

    assert made("candidate < 3") == made("candidate < 3")
    assert len({made(text) for text in ("candidate < 3", "candidate < 4", "candidate > 3", "len(candidate)")}) == 4


def test_a_version_that_is_given_is_kept() -> None:
    assert verifier(single, version="2").version == "2"


def single(candidate: int) -> bool:
    return True


def test_an_empty_closure_cell_does_not_matter() -> None:
    @verifier
    def check(candidate: int) -> bool:
        return later

    assert len(check.version) == 12
    later = True


async def test_a_cheap_inline_predicate_costs_microseconds() -> None:
    positive = verifier(lambda candidate: candidate > 0, name="positive", inline=True)
    given = case(3)
    best = float("inf")
    for _ in range(20):
        start = time.perf_counter()
        for _ in range(500):
            await positive.verify(given)
        best = min(best, (time.perf_counter() - start) / 500)
    assert best < 50e-6  # 5 us on an idle core; the rest is for a busy machine
