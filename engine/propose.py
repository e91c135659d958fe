"""Proposing candidates for a step: by its tool, by sampling a model, or by asking its planner for a plan."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

from surefoot.engine.act import Metered, Sampler, message_from, missed, proposed, use_tool
from surefoot.engine.decide import Mode, Rules
from surefoot.engine.expand import carried, expand
from surefoot.engine.recorder import Conversation
from surefoot.engine.state import StepState
from surefoot.models.question import Question, Reply
from surefoot.planners.document import plan_to
from surefoot.planners.planner import Done, Proposal, Request
from surefoot.reflection.canonical import canonical
from surefoot.storage.errors import Retry, ToolError
from surefoot.storage.records import Json

if TYPE_CHECKING:
    from surefoot.engine.flow import Flow


async def propose(flow: Flow, step: StepState, rules: Rules, n: int) -> None:
    """`n` attempts at a step, recorded. Raises ModelError, ToolError, Retry, NeedsPerson, OutOfBudget, LookupError."""
    await _WAYS[rules.mode](flow, step, rules, n)


async def _call_tool(flow: Flow, step: StepState, rules: Rules, n: int) -> None:
    result = await use_tool(flow, step, flow.kit.tools[step.step.tool or ""], flow.inputs(step))
    proposed(flow, step, result, canonical(result), role="tool")


async def _sample_arguments(flow: Flow, step: StepState, rules: Rules, n: int) -> None:
    tool = flow.kit.tools[step.step.tool or ""]
    sampler = _sampler(flow, step)
    question = _question(flow, step, rules, tools=(tool.name,), choice="required")
    for reply in await sampler.replies(question, n):
        request = next((one for one in reply.tool_calls if one.name == tool.name), None)
        if request is None or request.arguments is None:
            error = f"answer with one call of {tool.name}, its arguments a JSON object"
            missed(flow, step, reply.error or error, sampler.call, status="invalid")
            continue
        try:
            result = await use_tool(flow, step, tool, request.arguments, request, sampler.call)
        except (Retry, ToolError) as error:
            missed(flow, step, str(error), sampler.call, status="invalid")
            continue
        _propose(flow, step, result, sampler, reply)


async def _sample_answer(flow: Flow, step: StepState, rules: Rules, n: int) -> None:
    names = tuple(flow.kit.tools)
    if not names:
        sampler = _sampler(flow, step)
        for reply in await sampler.replies(_question(flow, step, rules), n):
            _answered(flow, step, sampler, reply)
    else:
        await asyncio.gather(*(_draw(flow, step, rules, names, index) for index in range(n)))


async def _draw(flow: Flow, step: StepState, rules: Rules, names: tuple[str, ...], index: int) -> None:
    sampler = _sampler(flow, step)
    stopped = [message_from(one) for one in step.stopped or ()] if index == 0 else []
    reply = await sampler.draw(_question(flow, step, rules, tools=names, index=index), stopped)
    _answered(flow, step, sampler, reply)


def _answered(flow: Flow, step: StepState, sampler: Sampler, reply: Reply) -> None:
    if reply.unknown:
        missed(flow, step, reply.error or "", sampler.call, status="unknown")
    elif reply.error is not None:
        missed(flow, step, reply.error, sampler.call, status="invalid")
    else:
        _propose(flow, step, reply.parsed, sampler, reply)


def _propose(flow: Flow, step: StepState, output: Json, sampler: Sampler, reply: Reply) -> None:
    key = canonical(output)
    fresh = key not in step.candidates
    proposed(flow, step, output, key, sampler.call)
    if fresh:
        flow.replies[step.candidates[key].attempt] = reply


async def _plan(flow: Flow, step: StepState, rules: Rules, n: int) -> None:
    planner = flow.kit.planners[step.step.planner or ""]
    model = Metered(flow.kit.models["plan"], flow.account) if "plan" in flow.kit.models else None
    request = Request(
        step.step,
        flow.inputs(step),
        tuple(flow.kit.specs.values()),
        tuple(_done(flow, step)),
        step.critique if step.attempts or step.version else "",
        model,
        _seed(flow, step, 0),
        _temperature(flow, rules),
    )
    for proposal in await planner.propose(request, n):
        _planned(flow, step, rules, proposal)


def _planned(flow: Flow, step: StepState, rules: Rules, proposal: Proposal) -> None:
    talk = flow.talks.setdefault(step.seq, Conversation())
    call = None
    for reply in proposal.replies:
        call = flow.recorder.reply(step.seq, "plan", reply, flow.kit.models["plan"].policy, talk)
    if proposal.unknown:
        missed(flow, step, proposal.error, call, role="plan", status="unknown")
    elif proposal.plan is None:
        missed(flow, step, proposal.error, call, role="plan", status="invalid")
        if not rules.sampled:
            flow.fail(step, proposal.error)
    elif not rules.sampled:
        found = flow.kit.defects(proposal.plan, flow.inputs(step), flow.known(step))
        if found:
            missed(flow, step, "; ".join(found), call, role="plan", status="invalid")
            flow.fail(step, "; ".join(found))
        else:
            expand(flow, step, proposal.plan, None, None)
    else:
        fresh = proposal.key not in step.candidates
        plan = carried(flow, step, proposal.plan)
        proposed(flow, step, plan_to(plan), proposal.key, call, role="plan")
        if fresh and proposal.replies:
            flow.replies[step.candidates[proposal.key].attempt] = proposal.replies[-1]


def _done(flow: Flow, step: StepState) -> list[Done]:
    children = flow.state.children(step) if step.children else ()
    return [
        Done(child.step, child.status == "committed", child.output, child.reason)
        for child in children
        if child.status in ("committed", "failed")
    ]


def _sampler(flow: Flow, step: StepState) -> Sampler:
    talk = flow.talks.setdefault(step.seq, Conversation())
    return Sampler(flow, step, flow.kit.models["act"], flow.kit.tools, talk)


def _question(
    flow: Flow, step: StepState, rules: Rules, tools: tuple[str, ...] = (), choice: str = "auto", index: int = 0
) -> Question:
    inputs = flow.inputs(step)
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
        tools=tuple(flow.kit.specs[name] for name in tools),
        tool_choice="required" if choice == "required" else "auto",
        temperature=_temperature(flow, rules),
        seed=_seed(flow, step, index),
    )


def _temperature(flow: Flow, rules: Rules) -> float | None:
    return flow.kit.settings.temperature if rules.verify else 0.0


def _seed(flow: Flow, step: StepState, index: int) -> int:
    """Another seed for every attempt, the same again in a run with the same seed."""
    return (flow.kit.settings.seed * 1_000_003 + step.seq * 7_919 + step.tried * 31 + index) % 2**31


_WAYS: Mapping[Mode, Callable[[Flow, StepState, Rules, int], Awaitable[None]]] = {
    "tool": _call_tool,
    "arguments": _sample_arguments,
    "answer": _sample_answer,
    "plan": _plan,
}
