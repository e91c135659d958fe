"""How local weights are spoken to: as a chat, or in one of the compact languages of the pocket models."""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, Protocol

from surefoot.models.chat import render, wire
from surefoot.models.pocket import compact, digits, pegs
from surefoot.models.question import ChatMessage, Question, Reply, ToolRequest
from surefoot.models.schema import check
from surefoot.storage.errors import ModelRefused, SetupError
from surefoot.storage.records import Json

Name = Literal["chat", "compact", "digits", "pegs"]


class Beyond(Exception):
    """Why a model cannot be asked something at all, so that its answer is `unknown`."""


class Dialect(Protocol):
    """Turns a question into a prompt, and the text that follows into a reply."""

    def prompt(self, question: Question, tokenizer: Any) -> tuple[tuple[ChatMessage, ...], str]:
        """The prompt as messages, for the record, and as the exact text to tokenize. Raises Beyond."""
        ...

    def read(self, question: Question, reply: Reply) -> Reply:
        """The reply, with what the dialect itself can tell from its text."""
        ...


def dialect(name: str) -> Dialect:
    """The dialect of a name, with its own defaults. Raises SetupError for another name."""
    kinds: Mapping[str, Callable[[], Dialect]] = {
        "chat": ChatDialect,
        "compact": CompactDialect,
        "digits": DigitsDialect,
        "pegs": PegsDialect,
    }
    if name not in kinds:
        raise SetupError(f"there is no dialect {name!r}; there are: {', '.join(kinds)}")
    return kinds[name]()


# --- chat ---------------------------------------------------------------------------------------------------

_TOOL_CALL = re.compile(r"<tool_call>\s*(.*?)\s*</tool_call>", re.DOTALL)


class ChatDialect:
    """The tokenizer's chat template; plain headings where it has none. Tool calls in <tool_call> tags."""

    def prompt(self, question: Question, tokenizer: Any) -> tuple[tuple[ChatMessage, ...], str]:
        chat = render(question)
        if getattr(tokenizer, "chat_template", None):
            text = tokenizer.apply_chat_template(
                [_templated(message) for message in chat.messages],
                tools=list(chat.tools) or None,
                add_generation_prompt=True,
                tokenize=False,
            )
        elif chat.tools:
            raise ModelRefused("these weights have no chat template, so they cannot be offered tools")
        else:
            text = _headed(chat.messages)
        return chat.messages, text

    def read(self, question: Question, reply: Reply) -> Reply:
        if not question.tools:
            return reply
        calls = tuple(_tool_call(position, body) for position, body in enumerate(_TOOL_CALL.findall(reply.text), 1))
        return replace(reply, tool_calls=calls, text=_TOOL_CALL.sub("", reply.text).strip()) if calls else reply


def _templated(message: ChatMessage) -> dict[str, Any]:
    """Templates take arguments as objects and write them out themselves."""
    form = wire(message)
    for call in form.get("tool_calls", ()):
        call["function"]["arguments"] = json.loads(call["function"]["arguments"])
    return form | {"content": message.content}


def _headed(messages: Sequence[ChatMessage]) -> str:
    return "".join(f"[{message.role}]\n{message.content}\n\n" for message in messages) + "[assistant]\n"


def _tool_call(position: int, body: str) -> ToolRequest:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        value = None
    known = value if isinstance(value, dict) else {}
    arguments = known.get("arguments", {})
    raw = body if value is None else json.dumps(arguments)
    return ToolRequest(
        f"call-{position}",
        str(known.get("name", "")),
        raw,
        arguments if isinstance(arguments, dict) and known else None,
    )


# --- compact ------------------------------------------------------------------------------------------------


UNTAUGHT = (
    "the pocket model knows some kinds of word problems, and this is none of them; for other tasks set "
    "SUREFOOT_MODEL, or model=, as in openai/gpt-5.1"
)


class CompactDialect:
    """Plans for word problems: the goal goes in with its numbers masked, a plan of calculator steps comes out."""

    def __init__(self, names: compact.Names = compact.AS_THEY_ARE) -> None:
        self.names = names

    def prompt(self, question: Question, tokenizer: Any) -> tuple[tuple[ChatMessage, ...], str]:
        if question.role != "plan":
            raise Beyond(f"a pocket model only plans; the role {question.role!r} needs another model")
        if question.tools:
            raise Beyond("a pocket model cannot call tools itself")
        if question.inputs.get("inputs"):
            raise Beyond("a pocket model reads the goal and no other inputs")
        text = compact.render(question.goal, self.names)
        return (ChatMessage("user", text),), text

    def read(self, question: Question, reply: Reply) -> Reply:
        try:
            plan = compact.parse(reply.text, compact.mask(question.goal).numbers)
        except ValueError as error:
            return replace(reply, error=f"the plan cannot be read: {error}")
        if plan is None:
            return replace(reply, unknown=True, error=UNTAUGHT)
        problem = None if question.output_schema is None else check(question.output_schema)(plan)
        if problem is not None:
            return replace(reply, error=f"a pocket model makes whole plans, and another form was wanted: {problem}")
        return replace(reply, parsed=plan)


# --- single steps -------------------------------------------------------------------------------------------


class StepDialect(ABC):
    """Questions of the role `act` that their inputs say all of; everything else in them is left out."""

    needs: str
    """What the model does with which inputs."""

    @abstractmethod
    def text(self, inputs: Mapping[str, Json]) -> str:
        """The exact prompt. Raises KeyError, TypeError or ValueError for inputs that it is not made for."""

    @abstractmethod
    def value(self, text: str) -> Json:
        """The answer in a reply. Raises ValueError for another form, which is dropped and never mended."""

    def prompt(self, question: Question, tokenizer: Any) -> tuple[tuple[ChatMessage, ...], str]:
        try:
            text = self.text(question.inputs)
        except (KeyError, TypeError, ValueError) as error:
            why = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            raise Beyond(f"the model {self.needs} ({why})") from None
        if question.role != "act":
            raise Beyond(f"the model {self.needs}, and does not {question.role}")
        return (ChatMessage("user", text),), text

    def read(self, question: Question, reply: Reply) -> Reply:
        try:
            return replace(reply, parsed=self.value(reply.text))
        except ValueError as error:
            return replace(reply, error=str(error))


class DigitsDialect(StepDialect):
    """Sums of two whole numbers, the inputs `total` and `add`."""

    needs = "adds the whole numbers `total` and `add` of its inputs"

    def text(self, inputs: Mapping[str, Json]) -> str:
        return digits.prompt(_whole(inputs["total"]), _whole(inputs["add"]))

    def value(self, text: str) -> Json:
        return digits.read(text)


class PegsDialect(StepDialect):
    """The next move of the Towers of Hanoi: from the inputs `move` and `places` to an object of the same two.

    `move` is [disk, from peg, to peg], null before the first one; `places` is the peg of each disk, the smallest
    first. Disks are counted from 1, pegs from 0.
    """

    needs = "makes the next move of a tower from the inputs `move` and `places`"

    def text(self, inputs: Mapping[str, Json]) -> str:
        move = inputs["move"]
        if move is not None:
            disk, origin, goal = map(_whole, move)
            move = (disk, origin, goal)
        return pegs.prompt(pegs.Turn(move, tuple(map(_whole, inputs["places"]))))

    def value(self, text: str) -> Json:
        turn = pegs.read(text)
        return {"move": list(turn.move or ()), "places": list(turn.places)}


def _whole(value: Any) -> int:
    """Raises TypeError for anything but a whole number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value // 1:
        raise TypeError(f"{value!r} is no whole number")
    return int(value)
