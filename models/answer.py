"""Asking for an answer of a wanted type: ask, read, and where the reply cannot be read, ask once more."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from dataclasses import replace

from surefoot.models.chat import unwrap
from surefoot.models.jsontext import DECODER, FENCE, OPENING, values
from surefoot.models.question import ChatMessage, Model, Question, Reply
from surefoot.models.schema import Check, check
from surefoot.models.written import Unreadable, calls
from surefoot.storage.errors import RunError
from surefoot.storage.records import Json

_MARKS = re.compile(r"[\[\]{}\"`]")
_SEED_STEP = 1_000_003


async def answer(
    model: Model, question: Question, n: int = 1, *, reasks: int = 1, strict: bool = False
) -> list[list[Reply]]:
    """`n` samples; for each the replies made, oldest first: one, and one more for each time it was asked again.

    The last reply of a sample has `parsed`, or `error` where it is no answer of the wanted type; a reply that
    wants tools has neither. `repaired` marks text that broke JSON syntax. A reply that the model has read
    itself (`parsed`, `error` or `unknown` set) is left as it is.

    A reply whose tokens ran out is asked for again with twice as many, where it is known how many it had.

    strict: for samples that are to be votes. Nothing else is asked again, and JSON whose syntax is broken is an error,
    not mended: replies of a wrong form are wrong more often (MAKER, arXiv 2511.09030). A fence is no such flaw.

    Raises ModelError where the first request fails. Where asking again fails, the sample keeps its first
    reply and error, so that what was paid for is recorded.
    """
    replies = await model.ask(question, n)
    samples = [[read(question, reply, strict)] for reply in replies]
    for _ in range(reasks):
        wrong = [
            index
            for index, sample in enumerate(samples)
            if _worth_asking(replies[index], sample) and (not strict or _room(sample[-1]))
        ]
        if not wrong:
            break
        again = await asyncio.gather(*(_ask_again(model, question, samples[index], index, strict) for index in wrong))
        for index, sample in zip(wrong, again, strict=True):
            samples[index] = sample
    return samples


def read(question: Question, reply: Reply, strict: bool = False) -> Reply:
    """The reply with `parsed` or `error`, and `repaired`, filled in."""
    if reply.parsed is not None or reply.error is not None or reply.unknown:
        return reply
    if question.tools:
        if not reply.tool_calls:
            reply = _with_written(question, reply)
        elif _cut(reply) and any(call.arguments is None for call in reply.tool_calls):
            return replace(reply, error=_cut_call(reply))
        if reply.tool_calls or reply.error is not None:
            return reply
        if question.tool_choice == "required":
            why = f"; the reply was cut off: its tokens ran out{_limit(reply)}" if _cut(reply) else ""
            return replace(reply, error=f"no tool was called; call one of: {_names(question)}{why}")
    if not reply.text.strip():
        return replace(reply, error=_nothing(reply))
    if question.output_schema is None:
        if _cut(reply):
            return replace(
                reply, error=f"the reply was cut off: its tokens ran out{_limit(reply)}; answer more briefly"
            )
        return replace(reply, parsed=reply.text)
    return _read_json(question, reply, check(question.output_schema), strict)


def _with_written(question: Question, reply: Reply) -> Reply:
    """The reply with the calls that its text holds. Text that is an answer of the wanted type stays one."""
    try:
        found = calls(reply.text, {tool.name for tool in question.tools}, len(question.follow_up))
        error = None
    except Unreadable as unreadable:
        found, error = (), str(unreadable)
    if not found and error is None:
        return reply
    schema = question.output_schema
    if schema is not None and _read_json(question, reply, check(schema), strict=True).error is None:
        return reply
    if found and _cut(reply):
        return replace(reply, error=_cut_call(reply))
    return replace(reply, tool_calls=found, error=error)


def _names(question: Question) -> str:
    return ", ".join(tool.name for tool in question.tools)


def _cut(reply: Reply) -> bool:
    return reply.finish_reason == "length"


def _cut_call(reply: Reply) -> str:
    return f"the reply was cut off: its tokens ran out{_limit(reply)} inside a tool call; call it again, more briefly"


def _room(reply: Reply) -> int | None:
    """Tokens that a reply is given that was cut off at our limit, where that is known: more room is no use below a
    limit of the server's own."""
    most = reply.sampling.get("max_tokens")
    return 2 * most if _cut(reply) and most and _short_of(most, reply) is None else None


def _limit(reply: Reply) -> str:
    most = reply.sampling.get("max_tokens")
    if not most:
        return ""
    had = _short_of(most, reply)
    return (
        f" (at most {most})"
        if had is None
        else f" (after {had}: the server gave no more, though {most} were asked for)"
    )


def _short_of(most: int, reply: Reply) -> int | None:
    """The tokens of a reply, where the server says that they were fewer than it was allowed."""
    had = reply.usage.completion_tokens
    return had if reply.usage_source == "provider" and 0 < had < most else None


def _nothing(reply: Reply) -> str:
    if _cut(reply):
        return (
            f"the reply is empty: its tokens ran out{_limit(reply)} before the answer began; answer at once and briefly"
        )
    return "the reply is empty; answer the question"


# --- reading JSON -------------------------------------------------------------------------------------------


def _read_json(question: Question, reply: Reply, check: Check, strict: bool) -> Reply:
    schema = question.output_schema
    try:
        value = DECODER.decode(reply.text)
    except (ValueError, RecursionError) as error:
        return _mend(schema, reply, check, f"the reply is no JSON: {error}", strict)
    value, problem = _fit(schema, value, check)
    if problem is None:
        return replace(reply, parsed=value)
    return _bare(schema, reply, check, _misfit(problem))


def _fit(schema: Json, value: Json, check: Check) -> tuple[Json, str | None]:
    """The value that the schema is about, and what is wrong with it.

    Providers want an object at the root, so the chat dialect asks for any other value inside {"answer": ...}
    (`chat.wrap`); a model may also leave the wrapping out.
    """
    inner = unwrap(schema, value)
    problem = check(inner)
    if problem is not None and inner is not value and check(value) is None:
        return value, None
    return inner, problem


def _misfit(problem: str) -> str:
    return f"the JSON does not fit the schema, at {problem}"


def _mend(schema: Json, reply: Reply, check: Check, broken: str, strict: bool) -> Reply:
    """Text that is no JSON: a fence or prose around it, or slips of syntax. Never a reply that was cut off."""
    if _cut(reply):
        cut = f"the reply was cut off: its tokens ran out{_limit(reply)} inside the JSON; answer more briefly"
        return replace(reply, error=cut)
    problem = broken
    fitting: dict[str, Json] = {}
    for found in values(reply.text):
        value, wrong = _fit(schema, found, check)
        if wrong is None:
            fitting[json.dumps(value, sort_keys=True)] = value
        else:
            problem = _misfit(wrong)
    if len(fitting) > 1:
        return replace(reply, error="the reply holds several different JSON values; reply with exactly one")
    if fitting:
        return replace(reply, parsed=fitting.popitem()[1], repaired=True)
    return replace(reply, error=problem) if strict else _mend_syntax(schema, reply, check, problem)


def _mend_syntax(schema: Json, reply: Reply, check: Check, problem: str) -> Reply:
    """Single quotes, comments, trailing commas: json-repair. Only from a bracket on: it makes "" of any prose."""
    bodies = [body for body in FENCE.findall(reply.text) if body.strip()] or [reply.text]
    opening = OPENING.search(bodies[-1])
    if opening is None:
        return _bare(schema, reply, check, problem)
    from json_repair import repair_json

    try:
        value = repair_json(bodies[-1][opening.start() :], return_objects=True, skip_json_loads=True)
        json.dumps(value, allow_nan=False)  # raises where mending made an infinity of a number that is too large
    except (ValueError, RecursionError) as error:
        return replace(reply, error=f"{problem}; it could not be mended: {error}")
    value, wrong = _fit(schema, value, check)
    return replace(reply, parsed=value, repaired=True) if wrong is None else replace(reply, error=problem)


def _bare(schema: Json, reply: Reply, check: Check, problem: str) -> Reply:
    """Words (or a numeral) without quotation marks, where a string was asked for."""
    text = reply.text.strip()
    wants_text = isinstance(schema, dict) and schema.get("type") == "string"
    if wants_text and not _MARKS.search(text) and check(text) is None:
        return replace(reply, parsed=text, repaired=True)
    return replace(reply, error=problem)


# --- asking again -------------------------------------------------------------------------------------------


def _worth_asking(reply: Reply, sample: list[Reply]) -> bool:
    """The reader, not the model, found the error: a model that reads its own replies has no use for the text."""
    return sample[-1].error is not None and reply.error is None and not sample[-1].unknown


async def _ask_again(model: Model, question: Question, sample: list[Reply], index: int, strict: bool) -> list[Reply]:
    reply = sample[-1]
    seed = None if question.seed is None else question.seed + _SEED_STEP * (index + 1)
    if (room := _room(reply)) is not None:
        asked = replace(question, seed=seed, max_tokens=room)
    else:
        asked = replace(question, seed=seed, follow_up=(*question.follow_up, *_critique(reply)))
    try:
        again = await model.ask(asked, 1)
    except RunError as error:
        return [*sample[:-1], replace(reply, error=f"{reply.error}; asking again failed: {error}")]
    return [*sample, read(question, again[0], strict)]


def _critique(reply: Reply) -> Iterator[ChatMessage]:
    # Some providers refuse an empty assistant message.
    if reply.text.strip():
        yield ChatMessage("assistant", reply.text)
    yield ChatMessage("user", f"Your reply cannot be used: {reply.error}. Reply again, with the answer alone.")
