"""Conversations are stored once, and their tokens concatenate to what the model saw and said."""

from __future__ import annotations

from array import array
from itertools import count

from surefoot.engine.running.recorder import Conversation, Recorder
from surefoot.models.question import ChatMessage, Reply
from surefoot.models.scripted import call
from surefoot.storage.records import JournalRecord, ModelCall, Policy
from surefoot.trajectories.tokens import path_tokens


def test_a_short_prompt_after_a_longer_one_keeps_its_tokens() -> None:
    """A conversation that waited for a person is taken up in the middle; later samples begin it anew."""
    records: list[JournalRecord] = []
    numbers = count(1)
    recorder = Recorder(lambda: next(numbers), records.append, lambda policy: 1)
    talk = Conversation()
    long = (
        ChatMessage("system", "orders"),
        ChatMessage("user", "question"),
        ChatMessage("assistant", "", (call("add", {"a": 1, "b": 2}),)),
        ChatMessage("tool", "3", tool_call_id="call-1"),
    )
    prompts = ((long, [1, 2, 3, 4]), (long[:2], [1, 2]), (long, [1, 2, 3, 4]), (long[:2], [1, 2, 5]))
    for prompt, asked in prompts:
        reply = Reply("3", prompt, prompt_ids=array("i", asked), token_ids=array("i", [9]), logprobs=array("f", [-1]))
        recorder.reply(1, "act", reply, Policy("m"), talk)
    tips = [one.completion for one in records if isinstance(one, ModelCall)]
    assert [path_tokens(records, tip or 0)[0].tolist() for tip in tips] == [[*asked, 9] for _, asked in prompts]
