"""Waiting for a person: the questions of a step, and the samples that go on once they are answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from surefoot.engine.core.state import StepState
from surefoot.engine.running.runtime import StepRuntime
from surefoot.models.question import ChatMessage, ToolRequest
from surefoot.storage.errors import SurefootError
from surefoot.storage.events import Paused
from surefoot.storage.records import Event, Json, record


class NeedsPerson(SurefootError):
    """A person must agree, answer or correct before this goes on."""

    def __init__(
        self,
        questions: Sequence[Json],
        conversation: Sequence[ChatMessage] = (),
        results: Sequence[str | None] = (),
        call: int | None = None,
    ) -> None:
        """The rest says where the sample stands that met with these questions, as `Sample` has it."""
        self.questions = tuple(questions)
        self.conversation = tuple(conversation)
        self.results = tuple(results)
        self.call = call
        super().__init__("; ".join(one["question"] for one in questions))


@record
class Sample:
    """One sample of a step, with all that it takes to go on with it in another process."""

    seed: int
    source: str = ""
    form: int = 0
    call: int | None = None
    """seq of the model call whose tool calls wait."""
    conversation: tuple[ChatMessage, ...] = ()
    """What followed the question, up to the message with these tool calls; empty for a sample not begun."""
    results: tuple[str | None, ...] = ()
    """What each of them gave; None where it waits for a person."""
    number: int | None = None
    """By which the record knows it; None where it never paused."""


def sample_from(number: int, kept: Mapping[str, Json], seed: int) -> Sample:
    """A paused sample as an event keeps it. Stores of before kept the conversation alone: `seed` stands in."""
    conversation = tuple(message_from(one) for one in kept["conversation"])
    results = tuple(kept.get("results", ()))
    place = {name: kept[name] for name in ("source", "form", "call") if name in kept}
    return Sample(kept.get("seed", seed), conversation=conversation, results=results, number=number, **place)


def ask(run: StepRuntime, step: StepState, questions: Sequence[Json]) -> None:
    """Records what a person must answer before a step goes on: each question once."""
    for question in questions:
        if run.state.steps.get(step.seq) is step and question["key"] not in (step.asked or {}):
            run.record(Event(run.seq(), "asked", step.seq, data=question))


def pause(run: StepRuntime, step: StepState, sample: Sample, why: NeedsPerson) -> None:
    """Records where a sample stands, and what it waits for."""
    if run.state.steps.get(step.seq) is not step:
        return  # another plan has taken the place of the step's
    seq = run.seq()
    number = seq if sample.number is None else sample.number
    kept = Paused(
        sample=number,
        keys=[one["key"] for one in why.questions],
        seed=sample.seed,
        source=sample.source,
        form=sample.form,
        call=why.call,
        conversation=[message_to(one) for one in why.conversation],
        results=list(why.results),
    )
    run.record(Event(seq, "paused", step.seq, data=kept))
    ask(run, step, why.questions)


def ended(run: StepRuntime, step: StepState, sample: Sample) -> None:
    """Records that a sample that had paused came to its end."""
    if sample.number is not None:
        run.record(Event(run.seq(), "paused", step.seq, data=Paused(sample=sample.number)))


def message_to(message: ChatMessage) -> Json:
    """A message as JSON, for a conversation that has to wait."""
    calls = [[one.id, one.name, one.arguments_raw, one.arguments, one.extra] for one in message.tool_calls]
    return [message.role, message.content, calls, message.tool_call_id, message.extra]


def message_from(value: Json) -> ChatMessage:
    role, content, calls, *rest = value
    return ChatMessage(role, content, tuple(ToolRequest(*call) for call in calls), *rest)
