"""Measuring an engine's models and verifiers on steps whose answers are known.

Every source of samples is asked each labelled step several times; every verifier that is not exact is put before what
came out, and before mutants of the answer. What that shows goes into the store, and runs from then on stand on it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any

from surefoot.engine.core.observations import Observations, summed
from surefoot.engine.core.rules import SampleSource
from surefoot.engine.core.spending import Tally
from surefoot.engine.running.account import Account
from surefoot.engine.running.asking import model_of, output_of, put, question
from surefoot.engine.running.canaries import MUTANTS
from surefoot.engine.running.loop import run_sync
from surefoot.engine.running.sampling import Metered
from surefoot.engine.setup.context import RunContext
from surefoot.models.answer import answer
from surefoot.models.question import Model, Reply
from surefoot.reflection.calibration import step_class, tally
from surefoot.reflection.canonical import canonical
from surefoot.reflection.forms import shape_of, split_of, truth_of
from surefoot.reflection.mutants import mutants
from surefoot.reflection.verifier import Case
from surefoot.reflection.vote_belief import MOST
from surefoot.storage.errors import InvalidOutput, ModelError, OutOfBudget, SetupError
from surefoot.storage.learned import Learned, Origin
from surefoot.storage.records import Budget, Contract, Json, Step, Usage

if TYPE_CHECKING:
    from surefoot.engine.engine import Engine

SAMPLES = 8
"""Of each source, for each labelled step."""

TOGETHER = 256
"""Labelled steps that are asked at once."""


@dataclass(frozen=True)
class Labelled:
    """A step whose answer is known."""

    answer: Json
    inputs: Mapping[str, Json] = field(default_factory=dict)
    goal: str = ""
    kind: str = ""
    """Class of steps that it stands for: what runs are to look it up by."""
    gives: Json = None
    """JSON Schema of the answer; None for text."""

    @property
    def step(self) -> Step:
        return Step("labelled", self.goal, None, self.inputs, contract=Contract(gives=self.gives), kind=self.kind)


@dataclass(frozen=True)
class Measured:
    """What labelled steps showed."""

    counts: list[Learned]
    """As they were added to the store."""
    steps: int
    """Labelled steps that were asked."""
    usage: Usage
    dropped: int = 0
    """Samples that were no answer of the wanted type, and so no votes."""
    flaw: str = ""
    """What was wrong with the first of these."""
    stopped: str = ""
    """Why others were not: the budget ended. Empty where all were."""


def calibrate(engine: Engine, cases: Iterable[Labelled], **options: Any) -> Measured:
    """Measures the engine on labelled steps and adds the counts to its store.

    samples: of each source for each step. budget: its tokens, dollars and seconds; where it ends first, what could be
    asked is measured.

    Raises SetupError where there is no labelled step, and ModelError where some could not be asked; what the others
    showed is in the store by then.
    """
    return run_sync(acalibrate, engine, cases, **options)


async def acalibrate(
    engine: Engine,
    cases: Iterable[Labelled],
    *,
    samples: int = SAMPLES,
    seed: int = 0,
    budget: Budget | None = None,
) -> Measured:
    """The same, inside a running event loop. Without `samples`, `SAMPLES` are drawn."""
    known = list(cases)
    if not known:
        raise SetupError("there is no labelled step: give at least one, and better some hundreds")
    session = _Session(engine.parts.context(), Account(budget or Budget(), Tally()), samples)
    learned: list[Learned] = []
    failed: list[ModelError] = []
    asked = 0
    for start in range(0, len(known), TOGETHER):
        part = known[start : start + TOGETHER]
        observed = Observations()
        measured = [session.measure(observed, case, seed + start + place) for place, case in enumerate(part)]
        found = await asyncio.gather(*measured, return_exceptions=True)
        errors = [one for one in found if isinstance(one, BaseException)]
        for error in errors:
            if not isinstance(error, (ModelError, OutOfBudget)):
                raise error
        failed += [one for one in errors if isinstance(one, ModelError)]
        asked += len(part) - len(errors)
        _weigh(observed, [one for one in found if not isinstance(one, BaseException)])
        counts = observed.learned(session.context.policy)
        await asyncio.to_thread(engine.store.learn, counts)  # what was paid for is kept, whatever comes next
        learned += counts
        if session.account.refused is not None or len(errors) == len(part):
            break
    if failed:
        raise _unmeasured(len(known), failed, bool(learned))
    stopped = "" if session.account.refused is None else str(session.account.refused)
    usage = session.account.spent.usage
    return Measured(summed(learned), asked, usage, len(session.flaws), next(iter(session.flaws), ""), stopped)


def _unmeasured(known: int, failed: list[ModelError], some: bool) -> ModelError:
    if not some:
        return failed[0]
    kept = "what the others showed is in the store"
    return ModelError(f"{len(failed)} of {known} labelled steps could not be asked, {kept}; the first: {failed[0]}")


@dataclass(slots=True)
class _Seen:
    """A form of answer that came out, or was made, for a labelled step."""

    output: Json
    good: bool
    origin: Origin = "audit"
    reply: Reply | None = None
    times: int = 0
    """Samples that gave it."""
    said: dict[str, bool] = field(default_factory=dict)
    """Whether each verifier passed it."""


@dataclass(slots=True)
class _Words:
    """What verifiers said of the forms of one step."""

    step: Step
    versions: dict[str, str]
    forms: list[_Seen]


def _weigh(observed: Observations, words: list[_Words]) -> None:
    """Counts what verifiers said. Wrong forms weigh by how often they are sampled, all together as many as they are."""
    wrong = [one.times for word in words for one in word.forms if one.origin == "audit" and not one.good]
    each = len(wrong) / sum(wrong) if wrong else 1.0
    for word in words:
        kind = step_class(word.step)
        for one in word.forms:
            weight = one.times * each if one.origin == "audit" and not one.good else 1.0
            observed.ruled(kind, word.versions, one.said, one.origin, one.good, weight)


@dataclass(frozen=True, slots=True)
class _Session:
    """What all labelled steps are asked with."""

    context: RunContext
    account: Account
    samples: int
    flaws: list[str] = field(default_factory=list)
    """What was wrong with each sample that was dropped."""

    async def measure(self, observed: Observations, case: Labelled, seed: int) -> _Words:
        """Counts what samples of one step come to, and has what came out, and mutants, judged."""
        step = case.step
        right = canonical(case.answer)
        seen = {right: _Seen(case.answer, True)}
        for source in self.context.rules(step).sources:
            known: list[tuple[str, bool]] = []
            async for output, reply in self._drawn(case, source, seed):
                key = canonical(output)
                known.append((key, key == right))
                seen.setdefault(key, _Seen(output, False, reply=reply)).times += 1
            if known:
                observed.sampled(tally(step_class(step), "", source.name, known, complete=True))
                asked = [(key, 0) for key, _ in known[:MOST]]
                truth = truth_of(split_of(asked), right)
                observed.agreed(step_class(step), "act", source.name, shape_of(asked), truth)
        for mutant in mutants(case.answer, Random(seed), MUTANTS):
            seen.setdefault(canonical(mutant), _Seen(mutant, False, "canary"))
        return await self._judged(case, list(seen.values()))

    async def _drawn(self, case: Labelled, source: SampleSource, seed: int) -> AsyncIterator[tuple[Json, Reply]]:
        """Well-formed samples of a source; others are dropped, as they are where votes count."""
        context = self.context
        model = self._metered(model_of(context, source.name))
        seeds = [(seed * 7_919 + index) % 2**31 for index in range(self.samples)]
        ways = [put(source, case.goal, case.inputs, one) for one in seeds]
        asked = [
            question(context, goal, inputs, case.gives, at) for at, (goal, inputs, _) in zip(seeds, ways, strict=True)
        ]
        if source.ask is not None:
            drawn = [one[0] for one in await asyncio.gather(*(answer(model, one, 1, strict=True) for one in asked))]
        else:
            drawn = await answer(model, asked[0], self.samples, strict=True)
        for (reply, *_), (_, _, back) in zip(drawn, ways, strict=False):  # a server may give fewer than were asked for
            if self._usable(reply):
                try:
                    output = output_of(reply, back)
                except InvalidOutput as error:
                    self.flaws.append(str(error))
                else:
                    yield output, reply

    def _usable(self, reply: Reply) -> bool:
        """Whether it is a vote."""
        if reply.error is None and not reply.unknown:
            return True
        self.flaws.append(reply.error or "the model does not know tasks of this kind")
        return False

    async def _judged(self, case: Labelled, forms: list[_Seen]) -> _Words:
        verifiers = [one for one in self.context.verifiers.values() if not one.exact]
        judge = self.context.models.get("judge")
        heard = self._metered(judge) if judge is not None else None
        for one in forms:
            put = Case(case.step, one.output, case.inputs, case.goal, one.reply, heard, self._metered)
            for verifier in verifiers:
                verdict = await verifier.verify(put)
                if verdict.ruling != "abstain":
                    one.said[verifier.name] = verdict.ruling == "pass"
        return _Words(case.step, {one.name: one.version for one in verifiers}, forms)

    def _metered(self, model: Model) -> Metered:
        return Metered(model, self.account, note=self.account.paid)
