"""Proposing candidates for a step: by its tool, by sampling a model, or by asking its planner for a plan."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from itertools import zip_longest
from random import Random

from surefoot.engine.act import Metered, Sampler, message_from, missed, proposed, use_tool
from surefoot.engine.desk import Desk
from surefoot.engine.expand import carried, expand
from surefoot.engine.recorder import Conversation
from surefoot.engine.rules import Rules, Source
from surefoot.engine.state import StepState
from surefoot.models.question import Question, Reply
from surefoot.models.representation import Back, Representation
from surefoot.planners.document import plan_to
from surefoot.planners.planner import Done, Proposal, Request
from surefoot.planners.refs import copied
from surefoot.reflection.canonical import canonical
from surefoot.storage.errors import ModelError, Retry, ToolError
from surefoot.storage.records import Json

LESSON = "what went wrong with earlier attempts at other steps like this"


async def propose(desk: Desk, step: StepState, rules: Rules, n: int, source: str = "") -> None:
    """`n` attempts at a step, recorded. Raises ModelError, ToolError, Retry, NeedsPerson, OutOfBudget, Missing."""
    if rules.mode == "tool":
        await _call_tool(desk, step)
    elif rules.mode == "arguments":
        await _sample_arguments(desk, step, rules, n)
    elif rules.mode == "plan":
        await _plan(desk, step, rules, n)
    else:
        await _sample_answer(desk, step, n, rules.source(source), rules.voted)


async def _call_tool(desk: Desk, step: StepState) -> None:
    result = await use_tool(desk, step, desk.kit.tools[step.step.tool or ""], desk.inputs(step))
    proposed(desk, step, result, canonical(result), role="tool")


async def _sample_arguments(desk: Desk, step: StepState, rules: Rules, n: int) -> None:
    tool = desk.kit.tools[step.step.tool or ""]
    sampler = _sampler(desk, step)
    question = _question(desk, step, desk.inputs(step), tools=(tool.name,), choice="required")
    for reply in await sampler.replies(question, n):
        request = next((one for one in reply.tool_calls if one.name == tool.name), None)
        if request is None or request.arguments is None:
            error = f"answer with one call of {tool.name}, its arguments a JSON object"
            missed(desk, step, reply.error or error, sampler.call, status="invalid")
            continue
        try:
            result = await use_tool(desk, step, tool, request.arguments, request, sampler.call)
        except (Retry, ToolError) as error:
            missed(desk, step, str(error), sampler.call, status="invalid")
            continue
        _propose(desk, step, result, sampler, reply)


async def _sample_answer(desk: Desk, step: StepState, n: int, source: Source, voted: bool) -> None:
    """Samples of one question together; one by one where each has tools to call, or is asked in a form of its own."""
    names = tuple(desk.kit.tools)
    other = next((one for one in desk.kit.representations if one.name == source.name), None)
    forms = _forms(desk, step, source, n)
    if not names and other is None:
        await _in_forms(desk, step, source, forms, voted)
        return
    draws = [_draw(desk, step, names, index, source, other, voted, forms[index]) for index in range(n)]
    # All end before the step goes on: one that ran on by itself would propose to a step already decided.
    errors = [one for one in await asyncio.gather(*draws, return_exceptions=True) if one is not None]
    for error in sorted(errors, key=lambda one: isinstance(one, (ModelError, ToolError))):
        raise error


def _forms(desk: Desk, step: StepState, source: Source, n: int) -> list[int]:
    """The form of each sample. What votes alone decide is asked in two, in turn: a model that says the same in both is
    less likely to say it for the form's sake. What was measured was measured in the first."""
    if source.belief.votes is None or not desk.kit.settings.forms:
        return [0] * n
    drawn = step.drawn(source.name)
    return [source.forms[(drawn + index) % len(source.forms)] for index in range(n)]


async def _in_forms(desk: Desk, step: StepState, source: Source, forms: list[int], voted: bool) -> None:
    """Samples of one question, all of a form together, counted in turn."""

    async def ask(form: int) -> list[tuple[Sampler, Reply, int]]:
        sampler = _sampler(desk, step, source.name)
        first = forms.index(form)
        question = _question(desk, step, desk.inputs(step), index=first, lesson=source.lesson, form=form)
        return [(sampler, reply, form) for reply in await sampler.replies(question, forms.count(form), voted)]

    kinds = list(dict.fromkeys(forms))
    if len(kinds) == 1:
        found: list[list[tuple[Sampler, Reply, int]] | BaseException] = [await ask(kinds[0])]
    else:
        found = await asyncio.gather(*map(ask, kinds), return_exceptions=True)
    answered = [one for one in found if not isinstance(one, BaseException)]
    for drawn in zip_longest(*answered):
        for sampler, reply, form in filter(None, drawn):
            _answered(desk, step, sampler, reply, source.name, form=form)
    for error in found:
        if isinstance(error, BaseException):
            raise error


async def _draw(
    desk: Desk,
    step: StepState,
    names: tuple[str, ...],
    index: int,
    source: Source,
    other: Representation | None,
    voted: bool,
    form: int,
) -> None:
    sampler = _sampler(desk, step, source.name)
    inputs: Mapping[str, Json] = desk.inputs(step)
    back = None
    if other is not None:
        inputs, back = other.ask(inputs, Random(_seed(desk, step, index)))
    question = _question(desk, step, inputs, tools=names, index=index, lesson=source.lesson, form=form)
    if names:
        stopped = [message_from(one) for one in step.stopped or ()] if index == 0 else []
        reply = await sampler.draw(question, stopped, voted)
    else:
        (reply,) = await sampler.replies(question, 1, voted)
    _answered(desk, step, sampler, reply, source.name, back, form)


def _answered(
    desk: Desk,
    step: StepState,
    sampler: Sampler,
    reply: Reply,
    source: str = "",
    back: Back | None = None,
    form: int = 0,
) -> None:
    if reply.unknown:
        missed(desk, step, reply.error or "", sampler.call, status="unknown", source=source)
    elif reply.error is not None:
        missed(desk, step, reply.error, sampler.call, status="invalid", source=source)
    else:
        try:
            output = reply.parsed if back is None else back(reply.parsed)
        except (ValueError, LookupError, TypeError) as error:
            missed(desk, step, f"no answer to the question: {error}", sampler.call, status="invalid", source=source)
        else:
            _propose(desk, step, output, sampler, reply, source, form)


def _propose(
    desk: Desk, step: StepState, output: Json, sampler: Sampler, reply: Reply, source: str = "", form: int = 0
) -> None:
    key = canonical(output)
    fresh = key not in step.candidates
    proposed(desk, step, output, key, sampler.call, source=source, form=form)
    if fresh and key in step.candidates:  # not where another plan has taken the place of the step's
        desk.replies[step.candidates[key].attempt] = reply


async def _plan(desk: Desk, step: StepState, rules: Rules, n: int) -> None:
    planner = desk.kit.planners[step.step.planner or ""]
    model = Metered(desk.kit.models["plan"], desk.account, step.seq) if "plan" in desk.kit.models else None
    request = Request(
        step.step,
        copied(desk.inputs(step)),
        tuple(desk.kit.specs.values()),
        tuple(_done(desk, step)),
        step.critique if step.attempts or step.version else "",
        model,
        _seed(desk, step, 0),
        desk.kit.settings.temperature,
    )
    for proposal in await planner.propose(request, n):
        _planned(desk, step, rules, proposal)


def _planned(desk: Desk, step: StepState, rules: Rules, proposal: Proposal) -> None:
    talk = desk.talks.setdefault(step.seq, Conversation())
    call = None
    for reply in proposal.replies:
        call = desk.recorder.reply(step.seq, "plan", reply, desk.kit.models["plan"].policy, talk)
    if proposal.unknown:
        missed(desk, step, proposal.error, call, role="plan", status="unknown")
    elif proposal.plan is None:
        missed(desk, step, proposal.error, call, role="plan", status="invalid")
        if not rules.sampled:
            desk.fail(step, proposal.error, fault=True)
    elif not rules.sampled:
        found = desk.kit.defects(proposal.plan, desk.inputs(step), desk.known(step))
        if found:
            missed(desk, step, "; ".join(found), call, role="plan", status="invalid")
            desk.fail(step, "; ".join(found), fault=True)
        else:
            expand(desk, step, proposal.plan, None, None)
    elif not rules.verify and (found := desk.kit.defects(proposal.plan, desk.inputs(step), desk.known(step))):
        # That it can be carried out at all is no question of trust.
        missed(desk, step, "; ".join(found), call, role="plan", status="invalid")
    else:
        fresh = proposal.key not in step.candidates
        plan = carried(desk, step, proposal.plan)
        proposed(desk, step, plan_to(plan), proposal.key, call, role="plan")
        if fresh and proposal.replies and proposal.key in step.candidates:
            desk.replies[step.candidates[proposal.key].attempt] = proposal.replies[-1]


def _done(desk: Desk, step: StepState) -> list[Done]:
    children = desk.state.children(step) if step.children else ()
    return [
        Done(child.step, child.status == "committed", child.output, child.reason)
        for child in children
        if child.status in ("committed", "failed")
    ]


def _sampler(desk: Desk, step: StepState, source: str = "") -> Sampler:
    talk = desk.talks.setdefault(step.seq, Conversation())
    return Sampler(desk, step, desk.kit.alternates.get(source) or desk.kit.models["act"], desk.kit.tools, talk)


def _question(
    desk: Desk,
    step: StepState,
    inputs: Mapping[str, Json],
    tools: tuple[str, ...] = (),
    choice: str = "auto",
    index: int = 0,
    lesson: str = "",
    form: int = 0,
) -> Question:
    if lesson:
        inputs = {**inputs, LESSON: lesson}
    if step.critique:
        inputs = dict(inputs)
        inputs["what was wrong with the last attempt"] = step.critique
        refuted = [one.output for one in step.candidates.values() if one.refuted]
        if refuted:
            inputs["the last attempt"] = refuted[-1]
    return Question(
        role="act",
        goal=step.step.goal,
        inputs=inputs,
        output_schema=step.step.contract.gives if choice == "auto" else None,
        tools=tuple(desk.kit.specs[name] for name in tools),
        tool_choice="required" if choice == "required" else "auto",
        temperature=desk.kit.settings.temperature,
        seed=_seed(desk, step, index),
        form=form,
    )


def _seed(desk: Desk, step: StepState, index: int) -> int:
    """Another seed for every attempt, the same again in a run with the same seed."""
    return (desk.kit.settings.seed * 1_000_003 + step.seq * 7_919 + step.tried * 31 + index) % 2**31
