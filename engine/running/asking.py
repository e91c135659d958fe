"""How a step is put to a model: the one way, for runs and for measuring."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

from surefoot.engine.core.rules import SampleSource
from surefoot.engine.setup.context import RunContext
from surefoot.models.question import Model, Question, Reply
from surefoot.models.representation import Back
from surefoot.storage.errors import InvalidOutput
from surefoot.storage.records import Json

LESSON = "what went wrong with earlier attempts at other steps like this"


def model_of(context: RunContext, source: str) -> Model:
    """Who gives the samples of a source."""
    return context.alternates.get(source) or context.models["act"]


def put(
    source: SampleSource, goal: str, inputs: Mapping[str, Json], seed: int
) -> tuple[str, Mapping[str, Json], Back | None]:
    """Goal and inputs as a source is asked with them, and the way back from its answers, where they need one."""
    if source.ask is not None:
        return source.ask(goal, inputs, Random(seed))
    return goal, ({**inputs, LESSON: source.lesson} if source.lesson else inputs), None


def question(
    context: RunContext,
    goal: str,
    inputs: Mapping[str, Json],
    gives: Json,
    seed: int,
    *,
    form: int = 0,
    tools: tuple[str, ...] = (),
    required: bool = False,
) -> Question:
    """required: a call of a tool is wanted, and no answer."""
    return Question(
        role="act",
        goal=goal,
        inputs=inputs,
        output_schema=None if required else gives,
        tools=tuple(context.specs[name] for name in tools),
        tool_choice="required" if required else "auto",
        temperature=context.settings.temperature,
        seed=seed,
        form=form,
    )


def output_of(reply: Reply, back: Back | None) -> Json:
    """What a well-formed reply answers. Raises InvalidOutput where there is no way back from it."""
    if back is None:
        return reply.parsed
    try:
        return back(reply.parsed)
    except (ValueError, LookupError, TypeError) as error:
        raise InvalidOutput(f"no answer to the question: {error}") from None
