"""Questions to a person: all that can arise are asked at once, each answer settles its own, and nothing runs twice."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from surefoot.engine import Budget, Engine, Outcome, Result
from surefoot.engine.core.state import HALF
from surefoot.engine.running.calling import effect_key
from surefoot.models.question import Question
from surefoot.models.scripted import ScriptedModel, call
from surefoot.reflection import verifier
from surefoot.storage.errors import SetupError
from surefoot.storage.records import Event, JournalRecord, Json, ModelCall, Plan, Step, ToolCall, Usage, ref
from surefoot.storage.store import Store
from surefoot.tools import tool

ASK = Plan((Step("s", "Write."),), ref("s"))
CALLS = [
    call("send", {"to": "a"}, "1"),
    call("note", {"text": "x"}, "2"),
    call("send", {"to": "b"}, "3"),
    call("send", {"to": "c"}, "4"),
]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "runs.db") as store:
        yield store


class World:
    """Tools that note each execution."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.broken: set[str] = set()

        @tool(effect="once", approval=True, timeout=None)
        async def send(to: str) -> str:
            """Sends a letter."""
            self.log.append(f"send {to}")
            if to in self.broken:
                raise OSError("no route")
            return f"sent {to}"

        @tool(effect="once", timeout=None)
        async def post(to: str) -> str:
            """Posts a card, without asking."""
            self.log.append(f"post {to}")
            return f"posted {to}"

        @tool(effect="pure", timeout=None)
        async def note(text: str) -> str:
            """Notes a text."""
            self.log.append(f"note {text}")
            return f"noted {text}"

        @tool(effect="pure", timeout=None)
        async def fail(text: str) -> str:
            """Fails."""
            raise OSError("no route")

        self.tools = [send, post, note, fail]

    def engine(self, store: Store, script: Any, plan: Any = ASK, **options: Any) -> Engine:
        model = ScriptedModel(script, usage=Usage(samples=1, prompt_tokens=10))
        return Engine(model, tools=self.tools, planner=plan, store=store, **options)


def calling(question: Question, index: int) -> Any:
    return "done" if question.follow_up else CALLS


def told(engine: Engine) -> list[str]:
    """What the model was told of its calls, in the order of the calls."""
    return [one.content for one in engine.models["act"].questions[-1].follow_up if one.role == "tool"]  # type: ignore[attr-defined]


def asked(result: Result) -> list[Json]:
    assert result.outcome is Outcome.INPUT_REQUIRED, result.reason
    return [one["arguments"]["to"] for one in result.questions]


def keys(result: Result) -> list[str]:
    return [one["key"] for one in result.questions]


# --- one reply -------------------------------------------------------------------------------------------------


def test_all_calls_of_a_reply_are_asked_at_once_and_one_answer_each_settles_them(store: Store) -> None:
    world = World()
    one = world.engine(store, calling)
    first = one.run("write", verify=False)
    assert asked(first) == ["a", "b", "c"] and len(set(keys(first))) == 3
    assert world.log == ["note x"], "what needs nobody has run"
    again = world.engine(store, calling)
    result = again.resume(first.run_id, dict(zip(keys(first), [True, False, True], strict=True)))
    assert result.output == "done", result.reason
    assert world.log == ["note x", "send a", "send c"]
    assert told(again) == ["sent a", "noted x", "error: a person declined send", "sent c"]
    calls = [one for one in store.records(result.run_id) if isinstance(one, ToolCall)]
    models = [one.seq for one in store.records(result.run_id) if isinstance(one, ModelCall)]
    assert {one.call for one in calls} == {models[0]}, "each stands with the reply that asked for it"
    assert again.replay(result.run_id)


@pytest.mark.parametrize(("said", "log"), [(True, ["send a", "send b", "send c"]), (False, [])])
def test_one_word_for_all_questions(store: Store, said: bool, log: list[str]) -> None:
    world = World()
    one = world.engine(store, calling)
    result = one.resume(one.run("write", verify=False).run_id, said)
    assert result.output == "done" and world.log == ["note x", *log]


def test_what_is_answered_is_settled_and_the_rest_is_still_asked_in_order(store: Store) -> None:
    world = World()
    first = world.engine(store, calling).run("write", verify=False)
    a, b, c = keys(first)
    second = world.engine(store, calling).resume(first.run_id, {b: True})
    assert asked(second) == ["a", "c"] and world.log == ["note x", "send b"]
    assert world.engine(store, calling).resume(first.run_id).questions == second.questions, (
        "asking again changes nothing"
    )
    third = world.engine(store, calling).resume(first.run_id, {c: False, b: False})
    assert asked(third) == ["a"] and world.log == ["note x", "send b"], "what is settled is not asked, nor changed"
    last = world.engine(store, calling)
    assert last.resume(first.run_id, {a: True}).output == "done"
    assert world.log == ["note x", "send b", "send a"]
    assert told(last) == ["sent a", "noted x", "sent b", "error: a person declined send"]
    events = [one for one in store.records(first.run_id, kinds=[Event]) if isinstance(one, Event)]
    assert [one.data["key"] for one in events if one.kind == "asked"] == [a, b, c], "each question is asked once"
    assert last.resume(first.run_id, True).output == "done" and len(world.log) == 3, "the run has ended"


def test_each_question_takes_corrected_arguments_an_output_or_a_comment(store: Store) -> None:
    world = World()
    first = world.engine(store, calling).run("write", verify=False)
    a, b, c = keys(first)
    one = world.engine(store, calling)
    one.resume(
        first.run_id,
        {a: {"arguments": {"to": "A"}}, b: {"output": "by hand"}, c: {"approve": False, "comment": "too late"}},
    )
    assert world.log == ["note x", "send A"]
    assert told(one) == ["sent A", "noted x", "by hand", "error: a person declined send: too late"]


def test_the_same_call_twice_in_one_reply_is_one_question(store: Store) -> None:
    world = World()
    twice = [call("send", {"to": "a"}, "1"), call("send", {"to": "a"}, "2"), call("send", {"to": "b"}, "3")]
    one = world.engine(store, lambda question, index: "done" if question.follow_up else twice)
    first = one.run("write", verify=False)
    assert asked(first) == ["a", "b"]
    assert one.resume(first.run_id, True).output == "done" and sorted(world.log) == ["send a", "send b"]
    assert "the same call as 1, twice in one reply: it ran once" in told(one)[1]


def test_a_call_that_failed_beside_a_question_is_not_run_again(store: Store) -> None:
    world = World()
    world.broken.add("b")
    first = world.engine(store, calling).run("write", verify=False)
    second = world.engine(store, calling).resume(first.run_id, {keys(first)[1]: True})
    assert asked(second) == ["a", "c"]
    last = world.engine(store, calling)
    assert last.resume(first.run_id, True).output == "done"
    assert world.log.count("send b") == 1 and "no route" in told(last)[2]


def test_a_later_reply_may_ask_again(store: Store) -> None:
    world = World()

    def script(question: Question, index: int) -> Any:
        turn = sum(one.role == "assistant" for one in question.follow_up)
        return [[call("send", {"to": "a"})], [call("send", {"to": "b"}), call("send", {"to": "c"})], "done"][turn]

    one = world.engine(store, script)
    first = one.run("write", verify=False)
    second = one.resume(first.run_id, True)
    assert (asked(first), asked(second)) == (["a"], ["b", "c"])
    assert one.resume(first.run_id, True).output == "done" and world.log == ["send a", "send b", "send c"]
    assert len(one.models["act"].questions) == 3, "no reply was asked for twice"  # type: ignore[attr-defined]


# --- samples and steps beside each other ---------------------------------------------------------------------------


@pytest.mark.parametrize("tool_step", [False, True], ids=["the model answers", "the model fills in the arguments"])
def test_all_samples_of_a_step_ask_at_once(store: Store, tool_step: bool) -> None:
    world = World()
    wants = ["a", "b", "c"]

    def script(question: Question, index: int) -> Any:
        return "done" if question.follow_up else call("send", {"to": wants.pop(0)})

    step = Step("s", "Write.", "send", None, votes=3) if tool_step else Step("s", "Write.", votes=3)
    world.tools[0] = send_same(world)
    first = world.engine(store, script, Plan((step,), ref("s"))).run("write")
    assert asked(first) == ["a", "b", "c"]
    second = world.engine(store, script, Plan((step,), ref("s"))).resume(first.run_id, {keys(first)[1]: True})
    assert asked(second) == ["a", "c"] and world.log == ["send b"]
    last = world.engine(store, script, Plan((step,), ref("s")))
    result = last.resume(first.run_id, True)
    assert result.output == ("sent" if tool_step else "done"), result.reason
    assert sorted(world.log) == ["send a", "send b", "send c"] and wants == []
    assert len(result.steps[1].attempts) == 3 and last.replay(result.run_id)
    assert len({one.call for one in result.steps[1].attempts}) == 3


def send_same(world: World) -> Any:
    @tool(effect="once", approval=True, timeout=None)
    async def send(to: str) -> str:
        """Sends a letter."""
        world.log.append(f"send {to}")
        return "sent"

    return send


def test_steps_that_wait_are_all_asked_once_all_other_work_is_done(store: Store) -> None:
    world = World()
    letters = tuple(Step(id, tool="send", args={"to": id}) for id in "ab")
    others = (Step("n", tool="note", args={"text": "1"}), Step("m", tool="note", args={"text": ref("n")}))
    plan = Plan((*letters, *others, Step("w", "Write.")), [ref(one) for one in ("a", "b", "m", "w")])
    one = world.engine(store, calling, plan, verify=False)
    first = one.run("write")
    assert [(one["arguments"]["to"], one["step"]) for one in first.questions] == [
        *(("a", 3), ("b", 4)),
        *(("a", 7), ("b", 7), ("c", 7)),
    ]
    assert len(set(keys(first))) == 5, "the same call of two steps is two calls"
    assert sorted(world.log) == ["note 1", "note noted 1", "note x"]
    second = one.resume(first.run_id, dict.fromkeys(keys(first)[1:3], True))
    assert asked(second) == ["a", "b", "c"] and world.log[-2:] in (["send a", "send b"], ["send b", "send a"])
    result = one.resume(first.run_id, True)
    assert result.output == ["sent a", "sent b", "noted noted 1", "done"], result.reason
    assert len(world.log) == 8 and one.replay(result.run_id)


@pytest.mark.parametrize("mended", [True, False], ids=["planned anew", "given up"])
def test_questions_of_steps_that_no_longer_stand_are_gone(store: Store, mended: bool) -> None:
    world = World()
    seen: list[Json] = []

    def script(question: Question, index: int) -> Any:
        seen.append(question.inputs)
        last = {"id": "f", "tool": "note" if mended and "no route" in str(question.inputs) else "fail"}
        steps = [{"id": "s", "tool": "send", "args": {"to": "a"}}, last | {"args": {"text": "x"}, "needs": ["n"]}]
        if "no route" in str(question.inputs):
            steps[0] = {"id": "t", "tool": "send", "args": {"to": "b"}}
        return {"steps": [{"id": "n", "tool": "note", "args": {"text": "1"}}, *steps]}

    one = Engine(ScriptedModel(script), tools=world.tools, store=store, votes=1, concurrency=1)
    result = one.run("write")
    if mended:
        assert asked(result) == ["b"]
    else:
        assert (result.outcome, result.questions) == (Outcome.FAILED, [])
    assert not any(line.startswith("send") for line in world.log)


# --- the step's output beside approvals ---------------------------------------------------------------------------


def test_to_agree_is_no_answer_where_an_output_is_asked_for(store: Store) -> None:
    world = World()
    plan = Plan(
        (Step("guess", "Guess.", checks=("never",)), Step("s", tool="send", args={"to": "a"})), [ref("guess"), ref("s")]
    )

    @verifier
    def never(candidate: str) -> bool:
        return False

    one = world.engine(store, lambda question, index: "5", plan, checks=[never], ladder=("ask",), votes=1)
    first = one.run("guess")
    assert [one.get("wants") for one in first.questions] == ["output", None]
    second = one.resume(first.run_id, True)
    assert [one.get("wants") for one in second.questions] == ["output"] and world.log == ["send a"]
    result = one.resume(first.run_id, {"output": "7"})
    assert result.output == ["7", "sent a"], result.reason


def test_a_person_may_be_asked_for_the_whole_result(store: Store) -> None:
    """No plan can be made: the root itself waits."""
    one = Engine(ScriptedModel(lambda question, index: "no plan"), tools=[], store=store, votes=1, ladder=("ask",))
    first = one.run("guess")
    assert first.outcome is Outcome.INPUT_REQUIRED and len(first.questions) == 1
    assert one.resume(first.run_id, {"output": 5}).output == 5
    declined = one.run("guess")
    assert one.resume(declined.run_id, False).outcome is Outcome.ABSTAINED


# --- kills, budgets, older stores ----------------------------------------------------------------------------------


def copied(store: Store, run_id: str, records: Iterable[JournalRecord]) -> str:
    """A run with records of another, of whose calls the keys name the run."""
    info = store.run(run_id)
    journal = store.begin(store.task(run_id), config=info.config, target=info.target)
    old, new = (effect_key(one, ["task", "s"], "", {})[:HALF] for one in (run_id, journal.run_id))
    for record in records:
        if isinstance(record, Event):
            journal.append(replace(record, data=json.loads(json.dumps(record.data).replace(old, new))))
        elif isinstance(record, ToolCall) and record.idempotency_key:
            journal.append(replace(record, idempotency_key=record.idempotency_key.replace(old, new)))
        else:
            journal.append(record)
    journal.close()
    return journal.run_id


def test_killed_at_any_record_no_call_runs_twice_without_a_persons_word(store: Store) -> None:
    world = World()
    first = world.engine(store, calling).run("write", verify=False)
    whole = world.engine(store, calling).resume(first.run_id, True)
    assert whole.output == "done"
    records = list(store.records(first.run_id))
    begun = next(place for place, one in enumerate(records) if isinstance(one, Event) and one.kind == "started")
    for many in range(begun + 1, len(records) + 1):
        kept = records[:many]
        ran = [one.arguments["to"] for one in kept if isinstance(one, ToolCall) and one.name == "send"]
        tried = [one.data["arguments"]["to"] for one in kept if isinstance(one, Event) and one.kind == "intent"]
        world.log.clear()
        result = world.engine(store, calling).resume(copied(store, first.run_id, kept))
        doubted = [one["arguments"]["to"] for one in result.questions if "may have run" in one["question"]]
        assert doubted == [one for one in tried if one not in ran], "what may have run is for a person to say"
        assert not set(tried) & {line.split()[-1] for line in world.log if line.startswith("send")}
        rounds = 0
        while result.outcome is Outcome.INPUT_REQUIRED:
            result, rounds = world.engine(store, calling).resume(result.run_id, True), rounds + 1
        assert result.output == "done" and rounds <= 1, "one round of answers settles all"
        sends = sorted(line.split()[-1] for line in world.log if line.startswith("send"))
        assert sends == [one for one in "abc" if one not in ran]


def test_what_may_have_run_is_asked_for_all_calls_at_once(store: Store) -> None:
    world = World()
    posts = [call("post", {"to": to}, to) for to in "ab"]

    def script(question: Question, index: int) -> Any:
        return "done" if question.follow_up else posts

    whole = world.engine(store, script).run("write", verify=False)
    records = list(store.records(whole.run_id))
    intents = [place for place, one in enumerate(records) if isinstance(one, Event) and one.kind == "intent"]
    world.log.clear()
    one = world.engine(store, script)
    result = one.resume(copied(store, whole.run_id, records[: intents[1] + 1]))
    assert asked(result) == ["a", "b"] and world.log == []
    result = one.resume(result.run_id, dict(zip(keys(result), [True, {"output": "it is there"}], strict=True)))
    assert result.output == "done" and world.log == ["post a"] and told(one) == ["posted a", "it is there"]


def test_corrected_arguments_stand_when_the_call_is_asked_again(store: Store) -> None:
    world = World()
    letter = Plan((Step("s", tool="send", args={"to": "a"}),), ref("s"))
    first = world.engine(store, [], letter).run("write")
    world.engine(store, [], letter).resume(first.run_id, {"arguments": {"to": "A"}})
    records = list(store.records(first.run_id))
    intent = next(place for place, one in enumerate(records) if isinstance(one, Event) and one.kind == "intent")
    one = world.engine(store, [], letter)
    again = one.resume(copied(store, first.run_id, records[: intent + 1]))
    assert asked(again) == ["A"] and "may have run" in again.reason
    assert one.resume(again.run_id, True).output == "sent A" and world.log == ["send A", "send A"]


def test_a_sample_that_runs_out_of_budget_after_an_answer_goes_on_with_a_larger_one(store: Store) -> None:
    world = World()
    one = world.engine(store, calling, verify=False)
    first = one.run("write", budget=Budget(tokens=15))
    short = one.resume(first.run_id, True)
    assert short.outcome is Outcome.OUT_OF_BUDGET and len(world.log) == 4
    result = one.resume(first.run_id, budget=Budget())
    assert result.output == "done" and world.log == ["note x", "send a", "send b", "send c"]
    assert result.usage.tokens == 20, "the first reply was not asked for again"


def test_a_question_of_a_store_of_before_is_answered_as_it_was(store: Store) -> None:
    """Then there was one question at a time, and it kept the conversation."""
    world = World()
    one = world.engine(store, calling, verify=False)
    first = one.run("write")
    records = list(store.records(first.run_id))
    place = next(place for place, one in enumerate(records) if isinstance(one, Event) and one.kind == "paused")
    paused, question = records[place : place + 2]
    assert isinstance(paused, Event) and isinstance(question, Event)
    data = question.data | {"key": question.data["key"].removeprefix("q-")}
    before = replace(question, data=data | {"conversation": paused.data["conversation"]})
    waiting = one.resume(copied(store, first.run_id, [*records[:place], before]))
    assert asked(waiting) == ["a"] and "conversation" not in waiting.questions[0]
    rest = one.resume(waiting.run_id, True)
    assert asked(rest) == ["b", "c"]
    assert one.resume(waiting.run_id, True).output == "done"
    assert [line for line in world.log if line.startswith("send")] == ["send a", "send b", "send c"]


# --- inside LangGraph ----------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_an_interrupt_has_all_questions_and_takes_some_of_the_answers(store: Store) -> None:
    from langgraph.checkpoint.memory import InMemorySaver
    from langgraph.types import Command

    from surefoot.engine.running.phases import build

    world = World()
    one = world.engine(store, calling, verify=False)
    graph = build(one.runs, InMemorySaver())
    where: Any = {"configurable": {"thread_id": "t"}}
    first = (await graph.ainvoke({"task": "write"}, where))["__interrupt__"][0].value["questions"]
    assert [one["arguments"]["to"] for one in first] == ["a", "b", "c"]
    second = await graph.ainvoke(Command(resume={first[1]["key"]: False}), where)
    assert [one["arguments"]["to"] for one in second["__interrupt__"][0].value["questions"]] == ["a", "c"]
    ended = await graph.ainvoke(Command(resume=True), where)
    assert ended["output"] == "done" and world.log == ["note x", "send a", "send c"]


def test_killed_at_any_record_around_the_question_for_an_output_it_is_asked(store: Store) -> None:
    @verifier
    def never(candidate: str) -> bool:
        return False

    world = World()
    plan = Plan((Step("s", "Guess.", checks=("never",)),), ref("s"))
    one = world.engine(store, lambda question, index: "5", plan, checks=[never], ladder=("ask",), votes=1)
    first = one.run("guess")
    records = list(store.records(first.run_id))
    begun = next(place for place, one in enumerate(records) if isinstance(one, Event) and one.kind == "planned")
    for many in range(begun + 1, len(records) + 1):
        again = one.resume(copied(store, first.run_id, records[:many]))
        assert [one.get("wants") for one in again.questions] == ["output"], again.reason
    assert one.resume(again.run_id, {"output": "7"}).output == "7"


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda key: "yes", "'yes' is no answer"),
        (lambda key: {"aprove": True}, "asks nothing by the key 'aprove'"),
        (lambda key: {"q-nope": True}, "asks nothing by the key 'q-nope'"),
        (lambda key: {key: "no"}, "'no' is no answer"),
        (lambda key: {key: {"aprove": False}}, "is no answer"),
        (lambda key: {key: {"comment": "hm"}}, "is no answer"),
        (lambda key: {key: {"approve": "no"}}, "neither True nor False"),
        (lambda key: {key: {"arguments": {"too": "z"}}}, "do not fit send"),
        (lambda key: {"arguments": {"too": "z"}}, "do not fit send"),
    ],
)
def test_what_is_no_answer_is_refused_and_everything_is_still_asked(store: Store, wrong: Any, says: str) -> None:
    world = World()
    engine = world.engine(store, [CALLS, "done"], verify=False)
    asked = engine.run("go")
    keys = [one["key"] for one in asked.questions]
    before = len(list(store.records(asked.run_id)))
    with pytest.raises(SetupError, match=says):
        engine.resume(asked.run_id, wrong(keys[0]))
    assert len(list(store.records(asked.run_id))) == before and world.log == ["note x"]
    done = engine.resume(asked.run_id, {keys[0]: {"arguments": {"to": "z"}}, keys[1]: False, keys[2]: True})
    assert done.output == "done" and sorted(world.log) == ["note x", "send c", "send z"]
