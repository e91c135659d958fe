"""Proposing candidates for a step: by its tool, by sampling a model, or by asking its planner for a plan."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from surefoot.engine.core.rules import SampleSource, StepRules
from surefoot.engine.core.state import StepState
from surefoot.engine.running.asking import model_of, output_of, put, question
from surefoot.engine.running.calling import use_tool
from surefoot.engine.running.candidates import missed, proposed
from surefoot.engine.running.expand import carried, expand
from surefoot.engine.running.paused import NeedsPerson, Sample, ask, ended, pause, sample_from
from surefoot.engine.running.recorder import Conversation
from surefoot.engine.running.runtime import StepRuntime
from surefoot.engine.running.sampling import Metered, Sampler
from surefoot.models.question import ChatMessage, Question, Reply
from surefoot.models.representation import Back
from surefoot.planners.document import plan_to
from surefoot.planners.planner import Done, Proposal, Request
from surefoot.planners.refs import copied
from surefoot.reflection.canonical import canonical
from surefoot.storage.errors import InvalidOutput, ModelError, Retry, RunError, ToolError
from surefoot.storage.records import Json, Plan


async def propose(run: StepRuntime, step: StepState, rules: StepRules, n: int, source: str = "") -> None:
    """`n` attempts at a step, recorded; what waits for a person is recorded with its questions.

    Raises ModelError, ToolError, Retry, OutOfBudget or Missing.
    """
    if rules.mode == "tool":
        await _call_tool(run, step)
    elif rules.mode == "arguments":
        await _sample_arguments(run, step, rules, n)
    elif rules.mode == "plan":
        await _plan(run, step, rules, n)
    else:
        await _sample_answer(run, step, n, rules.source(source), rules.voted)


async def go_on(run: StepRuntime, step: StepState, rules: StepRules, numbers: Sequence[int]) -> None:
    """Goes on with paused samples. Raises as `propose` does."""
    kept = step.paused or {}
    samples = [sample_from(number, kept[number], _seed(run, step, 0)) for number in numbers]
    if rules.mode == "arguments":
        await _together(_fill(run, step, sample) for sample in samples)
    else:
        await _together(_draw(run, step, rules.source(one.source), rules.voted, one) for one in samples)


async def _together(samples: Iterable[Coroutine[Any, Any, None]]) -> None:
    """All end before the step goes on: one that ran on by itself would propose to a step already decided."""
    errors = [one for one in await asyncio.gather(*samples, return_exceptions=True) if one is not None]
    for error in sorted(errors, key=lambda one: isinstance(one, (ModelError, ToolError))):
        raise error


async def _call_tool(run: StepRuntime, step: StepState) -> None:
    try:
        result = await use_tool(run, step, run.context.tools[step.step.tool or ""], run.inputs(step))
    except NeedsPerson as person:
        ask(run, step, person.questions)
        return
    proposed(run, step, result, canonical(result), role="tool")


async def _sample_arguments(run: StepRuntime, step: StepState, rules: StepRules, n: int) -> None:
    tool = run.context.tools[step.step.tool or ""]
    sampler = _sampler(run, step)
    seed = _seed(run, step, 0)
    asked = _question(run, step, step.step.goal, run.inputs(step), seed, tools=(tool.name,), required=True)
    for call, reply in await sampler.replies(asked, n):
        request = next((one for one in reply.tool_calls if one.name == tool.name), None)
        if request is None or request.arguments is None:
            error = f"answer with one call of {tool.name}, its arguments a JSON object"
            missed(run, step, reply.error or error, call, status="invalid")
            continue
        said = ChatMessage("assistant", reply.text, (request,), extra=reply.extra)
        await _fill(run, step, Sample(seed, call=call, conversation=(said,)), reply)


async def _fill(run: StepRuntime, step: StepState, sample: Sample, reply: Reply | None = None) -> None:
    """The step's tool with the arguments that a model gave it."""
    (request,) = sample.conversation[-1].tool_calls
    tool = run.context.tools[step.step.tool or ""]
    try:
        result = await use_tool(run, step, tool, request.arguments or {}, request, sample.call)
    except NeedsPerson as person:
        pause(run, step, sample, NeedsPerson(person.questions, sample.conversation, [None], sample.call))
    except (Retry, ToolError) as error:
        ended(run, step, sample)
        missed(run, step, str(error), sample.call, status="invalid")
    else:
        ended(run, step, sample)
        _propose(run, step, result, sample.call, reply)


async def _sample_answer(run: StepRuntime, step: StepState, n: int, source: SampleSource, voted: bool) -> None:
    """Samples of one question together; one by one where each has tools to call, or is asked in a form of its own."""
    forms = _forms(run, step, source, n)
    if not run.context.tools and source.ask is None:
        await _in_forms(run, step, source, forms, voted)
        return
    samples = [Sample(_seed(run, step, index), source.name, forms[index]) for index in range(n)]
    await _together(_draw(run, step, source, voted, sample) for sample in samples)


def _forms(run: StepRuntime, step: StepState, source: SampleSource, n: int) -> list[int]:
    """The form of each sample. What votes alone decide is asked in two, in turn: a model that says the same in both is
    less likely to say it for the form's sake. What was measured was measured in the first."""
    if source.belief.votes is None or not run.context.settings.forms:
        return [0] * n
    drawn = step.drawn(source.name)
    return [source.forms[(drawn + index) % len(source.forms)] for index in range(n)]


async def _in_forms(run: StepRuntime, step: StepState, source: SampleSource, forms: list[int], voted: bool) -> None:
    """Samples of one question, all of a form together, counted in turn."""

    async def ask_in(form: int) -> list[tuple[int, Reply, int]]:
        sampler = _sampler(run, step, source.name)
        first = forms.index(form)
        seed = _seed(run, step, first)
        goal, inputs, _ = put(source, step.step.goal, run.inputs(step), seed)
        asked = _question(run, step, goal, inputs, seed, form=form)
        return [(call, reply, form) for call, reply in await sampler.replies(asked, forms.count(form), voted)]

    kinds = list(dict.fromkeys(forms))
    if len(kinds) == 1:
        found: list[list[tuple[int, Reply, int]] | BaseException] = [await ask_in(kinds[0])]
    else:
        found = await asyncio.gather(*map(ask_in, kinds), return_exceptions=True)
    answered = [one for one in found if not isinstance(one, BaseException)]
    for drawn in zip_longest(*answered):
        for call, reply, form in filter(None, drawn):
            _answered(run, step, call, reply, source.name, form=form)
    for error in found:
        if isinstance(error, BaseException):
            raise error


async def _draw(run: StepRuntime, step: StepState, source: SampleSource, voted: bool, sample: Sample) -> None:
    """One sample, from its question or from where it paused, up to its answer or to where it pauses."""
    sampler = _sampler(run, step, source.name)
    goal, inputs, back = put(source, step.step.goal, run.inputs(step), sample.seed)
    tools = tuple(run.context.tools)
    asked = _question(run, step, goal, inputs, sample.seed, tools=tools, form=sample.form)
    try:
        if tools:
            call, reply = await sampler.draw(asked, sample, voted)
        else:
            ((call, reply),) = await sampler.replies(asked, 1, voted)
    except NeedsPerson as person:
        pause(run, step, sample, person)
        return
    except (RunError, RecursionError) as error:
        if not (isinstance(error, RunError) and error.ends):  # when the run is resumed, it goes on from here
            ended(run, step, sample)
        raise
    ended(run, step, sample)
    _answered(run, step, call, reply, source.name, back, sample.form)


def _answered(
    run: StepRuntime,
    step: StepState,
    call: int,
    reply: Reply,
    source: str = "",
    back: Back | None = None,
    form: int = 0,
) -> None:
    if reply.unknown:
        missed(run, step, reply.error or "", call, status="unknown", source=source)
    elif reply.error is not None:
        missed(run, step, reply.error, call, status="invalid", source=source)
    else:
        try:
            output = output_of(reply, back)
        except InvalidOutput as error:
            missed(run, step, str(error), call, status="invalid", source=source)
        else:
            _propose(run, step, output, call, reply, source, form)


def _propose(
    run: StepRuntime,
    step: StepState,
    output: Json,
    call: int | None,
    reply: Reply | None,
    source: str = "",
    form: int = 0,
) -> None:
    key = canonical(output)
    fresh = key not in step.candidates
    proposed(run, step, output, key, call, source=source, form=form)
    fresh = fresh and key in step.candidates  # another plan may have taken the place of the step's
    if fresh and reply is not None:
        run.replies[step.candidates[key].attempt] = reply


async def _plan(run: StepRuntime, step: StepState, rules: StepRules, n: int) -> None:
    planner = run.context.planners[step.step.planner or ""]
    model = Metered(run.context.models["plan"], run.account, step.seq) if "plan" in run.context.models else None
    request = Request(
        step.step,
        copied(run.inputs(step)),
        tuple(run.context.specs.values()),
        tuple(_done(run, step)),
        step.critique if step.attempts or step.version else "",
        model,
        _seed(run, step, 0),
        run.context.settings.temperature,
    )
    for proposal in await planner.propose(request, n):
        _planned(run, step, rules, proposal)


def _planned(run: StepRuntime, step: StepState, rules: StepRules, proposal: Proposal) -> None:
    talk = run.talks.setdefault(step.seq, Conversation())
    call = None
    for reply in proposal.replies:
        call = run.recorder.reply(step.seq, "plan", reply, run.context.models["plan"].policy, talk)
    if proposal.unknown:
        missed(run, step, proposal.error, call, role="plan", status="unknown")
    elif proposal.plan is None:
        missed(run, step, proposal.error, call, role="plan", status="invalid")
        if not rules.sampled:
            run.fail(step, proposal.error, infrastructure_error=True)
    elif not rules.sampled:
        found = _problems(run, step, proposal.plan)
        if found:
            missed(run, step, "; ".join(found), call, role="plan", status="invalid")
            run.fail(step, "; ".join(found), infrastructure_error=True)
        else:
            expand(run, step, proposal.plan, None, None)
    elif not rules.verify and (found := _problems(run, step, proposal.plan)):
        # That it can be carried out at all is no question of trust.
        missed(run, step, "; ".join(found), call, role="plan", status="invalid")
    else:
        fresh = proposal.key not in step.candidates
        plan = carried(run, step, proposal.plan)
        proposed(run, step, plan_to(plan), proposal.key, call, role="plan")
        if fresh and proposal.replies and proposal.key in step.candidates:
            run.replies[step.candidates[proposal.key].attempt] = proposal.replies[-1]


def _problems(run: StepRuntime, step: StepState, plan: Plan) -> list[str]:
    return run.context.structure.problems(plan, run.inputs(step), run.known(step))


def _done(run: StepRuntime, step: StepState) -> list[Done]:
    children = run.state.children(step) if step.children else ()
    return [
        Done(child.step, child.status == "committed", child.output, child.reason)
        for child in children
        if child.status in ("committed", "failed")
    ]


def _sampler(run: StepRuntime, step: StepState, source: str = "") -> Sampler:
    talk = run.talks.setdefault(step.seq, Conversation())
    return Sampler(run, step, model_of(run.context, source), run.context.tools, talk)


def _question(
    run: StepRuntime,
    step: StepState,
    goal: str,
    inputs: Mapping[str, Json],
    seed: int,
    *,
    form: int = 0,
    tools: tuple[str, ...] = (),
    required: bool = False,
) -> Question:
    """With what was wrong with the attempt before."""
    if step.critique:
        inputs = {**inputs, "what was wrong with the last attempt": step.critique}
        if refuted := [one.output for one in step.candidates.values() if one.refuted]:
            inputs["the last attempt"] = refuted[-1]
    gives = step.step.contract.gives
    return question(run.context, goal, inputs, gives, seed, form=form, tools=tools, required=required)


def _seed(run: StepRuntime, step: StepState, index: int) -> int:
    """Another seed for every attempt, the same again in a run with the same seed."""
    return (run.context.settings.seed * 1_000_003 + step.seq * 7_919 + step.tried * 31 + index) % 2**31
