"""Calling a tool, under the rules of its effect."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Mapping, Sequence

from surefoot.engine.core.state import HALF, QUESTION, StepState
from surefoot.engine.running.paused import NeedsPerson
from surefoot.engine.running.runtime import StepRuntime
from surefoot.models.question import ToolRequest
from surefoot.planners.refs import copied
from surefoot.reflection.schema import check_schema
from surefoot.storage.errors import Retry, ToolError
from surefoot.storage.events import Intent
from surefoot.storage.records import Effect, Event, Json, ToolCall
from surefoot.tools.tool import Tool, ToolContext


async def use_tool(
    run: StepRuntime,
    step: StepState,
    tool: Tool,
    arguments: Mapping[str, Json],
    request: ToolRequest | None = None,
    call: int | None = None,
) -> Json:
    """One execution of a tool under its effect's rules.

    Pure tools just run. Any other tool has its intent made durable before and its result after; a recorded
    result is used again instead of a second execution, and a `once` tool that may have run is not run again
    unless a person says so. Raises Retry, ToolError or NeedsPerson.
    """
    pure = tool.effect is Effect.PURE
    if not pure and run.state.steps.get(step.seq) is not step:
        raise ToolError(f"{tool.name} was not run: another plan has taken the place of this step's")
    key = (
        None
        if pure and not tool.approval
        else effect_key(run.tool_context.run_id, path(run, step), tool.name, arguments)
    )
    if key is not None:
        while (running := run.running.get(key)) is not None:  # another sample of the step, or this reply, asked for it
            await running.wait()
        if key in run.state.effects:
            return run.state.effects[key]
        if "output" in (said := run.state.answers.get(key) or {}):
            return said["output"]
        arguments = _agreed(run, tool, arguments, key)
        if not pure:
            run.running[key] = asyncio.Event()
    try:
        return await _execute(run, step, tool, arguments, request, call, key, pure)
    finally:
        if key is not None and (running := run.running.pop(key, None)) is not None:
            running.set()


async def _execute(
    run: StepRuntime,
    step: StepState,
    tool: Tool,
    arguments: Mapping[str, Json],
    request: ToolRequest | None,
    call: int | None,
    key: str | None,
    pure: bool,
) -> Json:
    """Runs the tool, with its intent before and its result after in the record, where it has an effect."""
    if not pure:
        data = Intent(key=key or "", tool=tool.name, arguments=arguments)
        run.record(Event(run.seq(), "intent", step.seq, data=data))
        await run.barrier()
    tool_context = run.tool_context
    if tool_context.step != step.step.id or tool_context.idempotency_key:
        tool_context = ToolContext(tool_context.run_id, step.step.id, key or "", tool_context.workspace)
    began = time.perf_counter()
    result: Json = None
    failure: Retry | ToolError | None = None
    try:
        result = await tool.call(copied(arguments), tool_context)
        if problem := check_schema(result, tool.returns):
            failure = ToolError(f"{tool.name} gave something else than its return type says, at {problem}")
    except (Retry, ToolError) as error:
        failure = error
    spent = (time.perf_counter() - began) * 1000
    run.record(
        ToolCall(
            run.seq(),
            step.seq,
            tool.name,
            arguments,
            call,
            request.id if request else None,
            request.arguments_raw if request else None,
            result,
            str(failure) if failure else None,
            isinstance(failure, Retry),
            tool.effect,
            key if not pure else None,
            round(spent, 3),
        )
    )
    if not pure:
        await run.barrier()
    if failure is not None:
        raise failure
    return result


def effect_key(run_id: str, path: Sequence[str], tool: str, arguments: Mapping[str, Json]) -> str:
    """Idempotency key: the same for every attempt at the same call of one step.

    The step goes by its ids from the root on, so that it is the same one in another version of the plan. The
    second half is the call alone, wherever in the run it is made.
    """
    return _digest([run_id, *path]) + _digest([tool, arguments])


def _digest(value: Json) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:HALF]


def path(run: StepRuntime, step: StepState) -> list[str]:
    """ids from the root down to a step."""
    ids = [step.step.id]
    while step.parent is not None:
        step = run.state.steps[step.parent]
        ids.append(step.step.id)
    return ids[::-1]


def _agreed(run: StepRuntime, tool: Tool, arguments: Mapping[str, Json], key: str) -> Mapping[str, Json]:
    """The arguments, once nothing stands in the way. Raises NeedsPerson, or ToolError after a refusal."""
    said = run.state.answers.get(key) or _declined(run, key)
    if said is not None and not said.get("approve", True):
        raise ToolError(f"a person declined {tool.name}" + (f": {said['comment']}" if said.get("comment") else ""))
    if said is not None and isinstance(said.get("arguments"), dict):
        arguments = said["arguments"]
    # Whoever agreed to the call did not agree to a second one: what is in doubt is asked again.
    doubt = tool.effect is Effect.ONCE and any(one not in run.running for one in run.state.doubts(key))
    if doubt or (said is None and tool.approval):
        why = "may have run before the run was stopped; run it again" if doubt else "wants to run"
        question: dict[str, Json] = {"key": QUESTION + key, "question": f"{tool.name} {why}: agree?"}
        raise NeedsPerson([question | {"tool": tool.name, "arguments": dict(arguments)}])
    return arguments


def _declined(run: StepRuntime, key: str) -> Json:
    """A person's refusal of the same call at another step: another plan is no way around it."""
    answers = run.state.answers.items()
    return next((said for one, said in answers if one[HALF:] == key[HALF:] and said.get("approve") is False), None)
