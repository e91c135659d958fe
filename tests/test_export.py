"""Exports hold what the store holds, and offer for training only what a run accepted."""

from __future__ import annotations

import io
import json
import tracemalloc
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import MISSING, replace
from dataclasses import fields as of
from pathlib import Path
from typing import Any

import pytest

from surefoot.engine import Engine, Outcome, Result
from surefoot.models import ScriptedModel
from surefoot.models.chat import messages
from surefoot.models.question import ChatMessage, Question, Reply, ToolRequest
from surefoot.models.scripted import call
from surefoot.planners import NextStepPlanner
from surefoot.reflection import verifier
from surefoot.storage.errors import SetupError, StoreError, ToolError
from surefoot.storage.records import (
    SETTLED,
    Attempt,
    Contract,
    Effect,
    Event,
    Feedback,
    Json,
    Message,
    ModelCall,
    Plan,
    PlannedStep,
    Reward,
    Step,
    Task,
    ToolCall,
    Usage,
    Verdict,
    ref,
)
from surefoot.storage.store import Store
from surefoot.tools import tool
from surefoot.trajectories.exports.formats import export
from surefoot.trajectories.tokens import path_tokens

NUMBER = Contract(gives={"type": "integer"})
ONE = Plan((Step("x", "What is 1 + 2?", contract=NUMBER, votes=1),), output=ref("x"))
PARTS: dict[str, type] = {
    "plan": PlannedStep,
    "attempts": Attempt,
    "verdicts": Verdict,
    "messages": Message,
    "model_calls": ModelCall,
    "tool_calls": ToolCall,
    "events": Event,
    "rewards": Reward,
}


@tool(effect="pure")
async def add(a: int, b: int) -> int:
    """Adds two whole numbers."""
    return a + b


@tool(effect="pure")
async def broken() -> int:
    """Never works."""
    raise ToolError("the line is dead")


@verifier(inline=True)
def is_three(candidate: int) -> bool:
    return candidate == 3


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "runs.db") as store:
        yield store


def lines(store: Store, format: str, **options: Any) -> list[Any]:
    """Rows of a format; conversations of runs that votes alone accepted, unless others are asked for."""
    if format == "trl-sft":
        options.setdefault("outcome", Outcome.AGREED)
    out = io.StringIO()
    written = export(store, format, out, **options)
    found = [json.loads(line) for line in out.getvalue().splitlines()]
    assert written == len(found)
    return found


def run(store: Store, script: Any, plan: Any = ONE, *, tools: Sequence[Any] = (add,), **options: Any) -> Result:
    model = ScriptedModel(script)
    result = Engine(model, planner=plan, tools=tools, store=store, **options).run("Add one and two.")
    model.assert_done()
    return result


def body(message: ChatMessage) -> str:
    return message.content + "".join(f"[{one.name} {one.arguments_raw}]" for one in message.tool_calls)


def seen(question: Question) -> str:
    """What a model with one token a character sees of a question."""
    return "".join(f"<{one.role}>{body(one)}" for one in messages(question)) + "<assistant>"


def ids(text: str) -> array[int]:
    return array("i", map(ord, text))


def words(found: Sequence[int]) -> str:
    return "".join(map(chr, found))


def exact(text: str, *calls: ToolRequest) -> Callable[[Question], Reply]:
    """A reply that tells its tokens; the log-probability of its first is -1, of its second -2, and so on."""
    said = ids(body(ChatMessage("assistant", text, calls)))
    logprobs = array("f", [-float(one) for one in range(1, len(said) + 1)])
    return lambda question: Reply(
        text, (), calls, prompt_ids=ids(seen(question)), token_ids=said, logprobs=logprobs, model="m"
    )


Rich = tuple[Store, Result, ScriptedModel]
ADD = call("add", {"a": 1, "b": 2})
CHECKED = Plan((replace(ONE.steps[0], checks=("is_three",)),), output=ref("x"))


@pytest.fixture
def rich(store: Store) -> Rich:
    """A wrong answer that is refuted, a call of a tool, a reply that is sent back, and the right answer."""
    script = iter([exact("4"), exact("", ADD), exact("three"), exact("3")])
    model = ScriptedModel(lambda question, index: next(script)(question))
    result = Engine(model, planner=CHECKED, tools=[add], checks=[is_three], store=store).run("Add one and two.")
    assert result.outcome is Outcome.AGREED
    store.reward(result.run_id, Reward(0, "run", None, "answer", 1.0, "known answer"))
    return store, result, model


# --- whole trajectories -------------------------------------------------------------------------------------


def read_back(kind: type, part: dict[str, Json]) -> Any:
    """The record that an exported part stands for."""
    fields: dict[str, Any] = {one.name: None for one in of(kind) if one.default is MISSING} | part
    if kind is PlannedStep:
        step = dict(fields["step"])
        step |= {name: tuple(step[name]) for name in ("needs", "checks") if name in step}
        if "contract" in step:
            step["contract"] = Contract(**step["contract"])
        fields |= {"step": Step(**step), "needs": tuple(fields.get("needs", ()))}
    if kind is Message and "token_ids" in fields:
        for name, code in (("token_ids", "i"), ("mask", "B"), ("logprobs", "f")):
            if name in fields:
                fields[name] = array(code, fields[name]).tobytes()
    if "usage" in fields:
        fields["usage"] = Usage(**fields["usage"])
    if kind is ToolCall:
        fields["effect"] = Effect(fields["effect"])
    return kind(**fields)


def test_a_line_holds_every_record_of_its_run_exactly(rich: Rich) -> None:
    store, result, _ = rich
    (line,) = lines(store, "jsonl")
    assert line["schema_version"] == 1
    for name, kind in PARTS.items():
        records = list(store.records(result.run_id, kinds=(kind,)))
        assert records, f"the run has no {name}: it proves nothing"
        assert [read_back(kind, part) for part in line[name]] == records
    assert {one for name in PARTS for one in (part["seq"] for part in line[name])} == {
        record.seq for record in store.records(result.run_id)
    }


def test_a_line_says_what_was_asked_and_what_came_of_it(rich: Rich) -> None:
    store, result, _ = rich
    (line,) = lines(store, "jsonl")
    assert line["run"]["run_id"] == result.run_id
    assert (line["run"]["outcome"], line["run"]["output"]) == ("agreed", 3)
    assert line["run"]["reliability"]["basis"] == result.reliability.basis
    assert line["run"]["usage"]["samples"] == 4
    assert line["run"]["config"]["tools"][0]["name"] == "add"
    assert line["task"]["goal"] == "Add one and two."
    assert line["policies"] == {"1": {"model": "scripted", "revision": "script"} | dict.fromkeys(HASHES, "")}
    assert {one["policy"] for one in line["model_calls"]} == {1}


HASHES = ("weights_sha256", "tokenizer_sha256", "template_sha256")


def test_rejected_attempts_stay_beside_the_accepted_one(rich: Rich) -> None:
    store, _, _ = rich
    (line,) = lines(store, "jsonl")
    outputs = {one["seq"]: one["output"] for one in line["attempts"] if one["role"] == "sample"}
    assert list(outputs.values()) == [4, 3]
    accepted = set(line["accepted"])
    assert [outputs[one] for one in outputs if one in accepted] == [3]
    (refuted,) = (one for one in line["verdicts"] if one["ruling"] == "fail")
    assert outputs[refuted["attempt"]] == 4


def test_a_fork_names_its_parent_and_feedback_is_part_of_the_line(rich: Rich) -> None:
    store, result, _ = rich
    store.feedback(Feedback(result.run_id, 1.0, comment="well done"))
    Engine(ScriptedModel(["3"]), planner=CHECKED, checks=[is_three], store=store).fork(result.run_id, "x")
    first, second = lines(store, "jsonl")
    assert second["run"]["parent"] == first["run"]["run_id"] == result.run_id
    assert "parent" not in first["run"]
    (said,) = first["feedback"]
    assert (said["score"], said["comment"], second["feedback"]) == (1.0, "well done", [])


def test_what_is_absent_is_left_out_and_is_not_zero(store: Store) -> None:
    result = run(store, ["3"], tools=(), verify=False)
    store.reward(result.run_id, Reward(0, "run", None, "taste", float("nan")))
    store.reward(result.run_id, Reward(0, "run", None, "zero", 0.0))
    (line,) = lines(store, "jsonl")
    assert line["run"]["outcome"] == "unverified"
    assert {one["name"]: one.get("value", "absent") for one in line["rewards"]} == {"taste": "absent", "zero": 0.0}
    (asked,) = line["model_calls"]
    assert asked["usage"] == {"samples": 1}, "tokens that nobody counted are not zero tokens"
    assert asked["trainable"] is False
    assert not any("token_ids" in one or "logprobs" in one for one in line["messages"])


def test_a_run_that_has_not_ended_is_exported_as_far_as_it_stands(store: Store) -> None:
    journal = store.begin(Task("wait"))
    journal.append(PlannedStep(journal.seq(), None, 0, 1, Step("task", "wait", planner="fixed")))
    journal.close()
    (line,) = lines(store, "jsonl")
    assert len(line["plan"]) == 1
    assert not {"outcome", "output", "ended_at"} & line["run"].keys()
    assert lines(store, "trl-sft") == []


# --- tokens -------------------------------------------------------------------------------------------------


def test_tokens_concatenate_to_what_the_model_saw_and_said(rich: Rich) -> None:
    store, result, model = rich
    records = list(store.records(result.run_id))
    calls = [one for one in records if isinstance(one, ModelCall)]
    replies = ["4", body(ChatMessage("assistant", "", (ADD,))), "three", "3"]
    for made, question, said in zip(calls, model.questions, replies, strict=True):
        assert made.trainable and made.completion is not None
        found, mask, logprobs = path_tokens(records, made.completion)
        assert words(found) == seen(question) + said
        assert mask[-len(said) :] == array("B", [1] * len(said))
        assert logprobs[-len(said) :].tolist() == [-float(one) for one in range(1, len(said) + 1)]
        assert len(logprobs) == sum(mask)


def test_tokens_of_prompts_and_tools_are_masked_and_earlier_replies_are_not(rich: Rich) -> None:
    store, result, _ = rich
    asked = [one for one in store.records(result.run_id) if isinstance(one, ModelCall)][3]
    assert asked.completion is not None
    of_the_step = store.records(result.run_id, kinds=(Message,), steps=[asked.step])
    found, mask, _ = path_tokens(of_the_step, asked.completion)
    spans = "".join(chr(one) if on else "." for one, on in zip(found, mask, strict=True))
    assert [part for part in spans.split(".") if part] == ['[add {"a": 1, "b": 2}]', "three", "3"]


def test_exported_arrays_give_the_same_tokens(rich: Rich) -> None:
    store, result, _ = rich
    (line,) = lines(store, "jsonl")
    said = {one["seq"]: one for one in line["messages"]}
    for made in line["model_calls"]:
        tip, joined = made["completion"], []
        while tip is not None:
            joined, tip = said[tip]["token_ids"] + joined, said[tip].get("parent")
        assert joined == path_tokens(store.records(result.run_id), made["completion"])[0].tolist()


def test_a_reply_without_exact_tokens_is_no_training_sequence(store: Store) -> None:
    result = run(store, [Reply("3", (), token_ids=array("i", [7]))], verify=False)
    (made,) = (one for one in store.records(result.run_id) if isinstance(one, ModelCall))
    assert not made.trainable and made.completion is not None
    with pytest.raises(StoreError, match="not known: train on its text"):
        path_tokens(store.records(result.run_id), made.completion)


def test_a_damaged_or_incomplete_record_is_refused(rich: Rich) -> None:
    store, result, _ = rich
    said = [one for one in store.records(result.run_id) if isinstance(one, Message)]
    tip = said[-1]
    with pytest.raises(StoreError, match="is damaged"):
        path_tokens([*said[:-1], replace(tip, logprobs=b"")], tip.seq)
    with pytest.raises(StoreError, match="is damaged"):
        path_tokens([*said[:-1], replace(tip, mask=b"\1\1")], tip.seq)
    with pytest.raises(StoreError, match="not among the records"):
        path_tokens([tip], tip.seq)


# --- conversations for fine-tuning --------------------------------------------------------------------------


def roles(row: dict[str, Any]) -> list[str]:
    return [one["role"] for one in row["messages"]]


def test_a_row_is_the_accepted_conversation_without_what_was_sent_back(
    rich: Rich,
) -> None:
    store, _, _ = rich
    (row,) = lines(store, "trl-sft")
    assert roles(row) == ["system", "user", "assistant", "tool", "assistant"]
    asked, told, said = row["messages"][2:]
    assert asked["tool_calls"] == [{"type": "function", "function": {"name": "add", "arguments": {"a": 1, "b": 2}}}]
    assert (told["name"], told["content"], said["content"]) == ("add", "3", "3")
    (offered,) = json.loads(row["tools"])
    assert offered["type"] == "function" and offered["function"]["name"] == "add"
    assert offered["function"]["parameters"]["required"] == ["a", "b"]


def test_an_empty_reply_that_was_sent_back_leaves_no_second_question(store: Store) -> None:
    run(store, ["", "3"])
    (row,) = lines(store, "trl-sft")
    assert roles(row) == ["system", "user", "assistant"]


def test_a_call_that_failed_stays_with_the_error_that_was_mended(store: Store) -> None:
    run(store, [call("add", {"a": 1}), call("add", {"a": 1, "b": 2}), "3"])
    (row,) = lines(store, "trl-sft")
    assert roles(row) == ["system", "user", "assistant", "tool", "assistant", "tool", "assistant"]
    failed, worked = (one for one in row["messages"] if one["role"] == "tool")
    assert failed["content"].startswith("error:") and worked["content"] == "3"


def test_arguments_that_are_no_object_keep_a_conversation_out(store: Store) -> None:
    for raw in ("[1, 2]", "{not json"):
        run(store, [ToolRequest("1", "add", raw, None), "3"])
    assert lines(store, "trl-sft") == []
    assert [one["arguments"] for line in lines(store, "jsonl") for one in tool_calls(line)] == ["[1, 2]", "{not json"]


def tool_calls(line: dict[str, Any]) -> Iterator[Any]:
    return (one for message in line["messages"] for one in message.get("tool_calls", ()))


def test_ids_of_calls_may_repeat(store: Store) -> None:
    run(store, [call("add", {"a": 1, "b": 2}), call("broken", {}), "3"], tools=(add, broken))
    (row,) = lines(store, "trl-sft")
    assert [one["name"] for one in row["messages"] if one["role"] == "tool"] == ["add", "broken"]


def test_a_step_that_fills_in_arguments_ends_with_its_call_and_offers_that_tool_alone(store: Store) -> None:
    plan = Plan((Step("x", "Add one and two.", tool="add", votes=1),), output=ref("x"))
    result = run(store, [call("add", {"a": 1, "b": 2})], plan, tools=(add, broken))
    assert result.output == 3
    (row,) = lines(store, "trl-sft")
    assert roles(row) == ["system", "user", "assistant"]
    assert row["messages"][-1]["tool_calls"][0]["function"]["arguments"] == {"a": 1, "b": 2}
    assert [one["function"]["name"] for one in json.loads(row["tools"])] == ["add"]


def test_a_conversation_that_waited_for_a_person_is_a_row(store: Store) -> None:
    @tool(effect="once", approval=True)
    async def pay(euros: int) -> str:
        """Pays a bill."""
        return "paid"

    model = ScriptedModel([call("pay", {"euros": 5}), "done"])
    engine = Engine(model, planner=Plan((Step("x", "Pay 5.", votes=1),), output=ref("x")), tools=[pay], store=store)
    result = engine.run("Pay.")
    assert (result.outcome, lines(store, "trl-sft")) == (Outcome.INPUT_REQUIRED, [])
    assert engine.resume(result.run_id, True).output == "done"
    (row,) = lines(store, "trl-sft")
    assert roles(row) == ["system", "user", "assistant", "tool", "assistant"]
    assert (row["messages"][3]["name"], row["messages"][3]["content"]) == ("pay", "paid")


def test_what_a_later_check_undid_stays_out(store: Store) -> None:
    result = run(store, ["4", "3"], tools=(), verifiers=[is_three])
    assert (result.outcome, result.output) == (Outcome.AGREED, 3)
    (row,) = lines(store, "trl-sft")
    assert (row["messages"][-1]["content"], row["tools"]) == ("3", None)
    (line,) = lines(store, "jsonl")
    committed = [one["attempt"] for one in line["events"] if one["kind"] == "committed"]
    undone = set(committed) - set(line["accepted"])
    assert [one["output"] for one in line["attempts"] if one["seq"] in undone] == [4]


def test_what_stood_in_a_plan_that_was_given_up_stays_out(store: Store) -> None:
    first = {"steps": [{"id": "a", "goal": "Say one."}, {"id": "b", "tool": "broken", "args": {}}], "output": ref("b")}
    second = {"steps": [{"id": "c", "goal": "Say three."}], "output": ref("c")}
    result = run(store, [first, "one", second, "three"], None, tools=(broken,), votes=1, concurrency=1)
    assert (result.outcome, result.output) == (Outcome.AGREED, "three")
    plan, answer = lines(store, "trl-sft")
    assert json.loads(plan["messages"][-1]["content"]) == second
    assert plan["tools"] is None, "a planner reads of its tools in the text"
    assert answer["messages"][-1]["content"] == "three"
    (line,) = lines(store, "jsonl")
    outputs = [one["output"] for one in line["attempts"] if one["seq"] in line["accepted"]]
    assert "three" in outputs and "one" not in outputs


def test_plans_made_step_by_step_are_rows_too(store: Store) -> None:
    steps = [
        {"step": {"id": "a", "goal": "Say one."}, "output": None},
        "one",
        {"step": None, "output": ref("a")},
    ]
    assert run(store, steps, NextStepPlanner(), votes=1).output == "one"
    said = [row["messages"][-1]["content"] for row in lines(store, "trl-sft")]
    assert [json.loads(one) if one.startswith("{") else one for one in said] == steps


def test_only_verified_runs_are_offered_unless_others_are_asked_for(store: Store) -> None:
    run(store, ["3"], verify=False)
    run(store, ["no number"] * 8)
    run(store, ["3"])
    assert export(store, "trl-sft", io.StringIO()) == 0, "what votes alone accepted is not taught unasked"
    (row,) = lines(store, "trl-sft", outcome=Outcome.UNVERIFIED)
    assert row["messages"][-1]["content"] == "3"
    assert lines(store, "trl-sft", outcome=Outcome.ABSTAINED) == []


@pytest.mark.parametrize("step", [None, "x"])
def test_what_a_person_called_wrong_is_not_taught(store: Store, step: str | None) -> None:
    result = run(store, ["3"])
    seq = next((one.seq for one in result.steps if one.id == step), None)
    store.feedback(Feedback(result.run_id, 1.0, seq, key="tone"))
    assert len(lines(store, "trl-sft")) == 1
    for wrong in (0.0, 0.3):
        store.feedback(Feedback(result.run_id, wrong, seq))
        assert lines(store, "trl-sft") == [], "below .5 it is called wrong"
    store.feedback(Feedback(result.run_id, 1.0, seq, comment="I was mistaken"))
    assert len(lines(store, "trl-sft")) == 1, "the last word counts"


def test_a_mark_of_the_store_is_no_reward(store: Store) -> None:
    result = run(store, ["3"])
    store.reward(result.run_id, Reward(0, "run", None, "answer", 1.0, "known"))
    store.reward(result.run_id, Reward(0, "run", None, SETTLED, 1.0, "settled"))
    (line,) = lines(store, "jsonl")
    names = [one["name"] for one in line["rewards"]]
    assert "answer" in names and SETTLED not in names


def test_text_of_any_kind_comes_through(store: Store) -> None:
    odd = 'a \ud800 lone surrogate, \0, "quotes", ünïcode and\nlines'
    run(store, [odd], Plan((Step("x", "Say it.", votes=1),), output=ref("x")), tools=())
    (row,) = lines(store, "trl-sft")
    assert row["messages"][-1]["content"] == odd
    (line,) = lines(store, "jsonl")
    assert line["run"]["output"] == odd


# --- which runs ---------------------------------------------------------------------------------------------


def test_runs_come_oldest_first_or_in_the_order_asked_for(store: Store) -> None:
    names = [run(store, [answer]).run_id for answer in ("3", "4", "5")]
    assert [line["run"]["run_id"] for line in lines(store, "jsonl")] == names
    wanted = [names[2], names[0]]
    assert [line["run"]["run_id"] for line in lines(store, "jsonl", runs=wanted)] == wanted
    assert [line["run"]["run_id"] for line in lines(store, "jsonl", runs=["last"])] == [names[2]]
    assert lines(store, "jsonl", runs=wanted, outcome=Outcome.FAILED) == []
    assert len(lines(store, "jsonl", outcome=Outcome.AGREED)) == 3


def test_unknown_formats_and_runs_are_refused_with_a_hint(store: Store) -> None:
    with pytest.raises(SetupError, match="there are: jsonl, trl-sft"):
        export(store, "parquet", io.StringIO())
    with pytest.raises(StoreError, match="surefoot list"):
        export(store, "jsonl", io.StringIO(), runs=["0123abcd"])


class Nowhere(io.TextIOBase):
    def write(self, text: str) -> int:
        return len(text)


@pytest.mark.parametrize("format", ["jsonl", "trl-sft"])
def test_memory_does_not_grow_with_the_run(store: Store, format: str) -> None:
    def peak(steps: int) -> int:
        plan = Plan(tuple(Step(f"s{one}", "Say a long thing.", votes=1) for one in range(steps)), output="done")
        result = run(store, lambda question, index: "x" * 4000, plan, tools=())
        tracemalloc.start()
        rows = export(store, format, Nowhere(), runs=[result.run_id], outcome=Outcome.AGREED)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert rows == (1 if format == "jsonl" else steps)
        return most

    small = peak(300)
    assert peak(1200) < 1.5 * small
