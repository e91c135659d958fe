"""How steps stand is one account: the engine's own state and everybody who reads a record agree on it."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bench import World, worlds
from hypothesis import HealthCheck, settings
from hypothesis import given as examples
from hypothesis import strategies as st
from test_state import recorded

from surefoot.engine import Engine, Outcome
from surefoot.engine.core.fold import fold
from surefoot.engine.core.state import RunState
from surefoot.engine.labels import voted
from surefoot.engine.result import receipts
from surefoot.models.question import Question
from surefoot.models.scripted import ScriptedModel
from surefoot.service.display.record import write_json
from surefoot.service.display.tree import RunTree
from surefoot.storage.records import Event, Json, PlannedStep, Step
from surefoot.storage.store import Store
from surefoot.tools import tool
from surefoot.trajectories.exports.formats import export
from surefoot.trajectories.standing import Standing


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "runs.db") as store:
        yield store


OF_STATE = {"waiting": {"open", "undone"}, "ready": {"open", "undone"}, "expanded": {"open", "undone"}}


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@examples(worlds(), st.sampled_from(["known", "model"]))
def test_at_any_record_all_readers_see_what_the_engine_sees(world: World, planner: str) -> None:
    records, _, _ = recorded(world, planner)
    state, tree, standing = RunState(), RunTree(), Standing()
    parents: dict[int, int | None] = {}
    gone: set[int | None] = set()
    for record in records:
        fold(state, record)
        tree.add(record)
        standing.add(record)
        if isinstance(record, PlannedStep):
            parents[record.seq] = record.parent
        elif isinstance(record, Event) and record.kind == "rolled_back":
            # The engine keeps the steps of a plan that was given up until there is another.
            fell = set(record.data["steps"] or [record.step])
            for seq, parent in parents.items():  # a parent comes before its children
                if parent in fell or parent in gone:
                    gone.add(seq)
        status = {seq: standing.status(seq, parent) for seq, parent in parents.items()}
        for seq, step in state.steps.items():
            assert status[seq] in ({"replaced"} if seq in gone else OF_STATE.get(step.status, {step.status}))
        for seq in parents.keys() - state.steps.keys():  # what the engine let go
            assert status[seq] == "replaced" or status[parents[seq] or 0] == "committed"
        assert {seq: node.status for seq, node in tree.nodes.items()} == status
    assert {one.seq: one.status for one in receipts(records)} == status
    done = [seq for seq, one in status.items() if one == "committed" and parents[seq] is not None]
    assert tree.committed == len(done)
    if not any(isinstance(one, Event) and one.kind == "rolled_back" and one.data["steps"] for one in records):
        small = RunTree(keep=3)
        for record in records:
            small.add(record)
        assert small.committed == len(done), "what was let go is counted, as long as its plan stands"


@tool(effect="pure")
def fetch(name: str) -> str:
    """Fetches a page."""
    if name == "broken":
        raise OSError("no route")
    return f"page {name}"


def script(question: Question, index: int) -> Json:
    if question.role == "act":
        return "Paris"
    mended = "no route" in json.dumps(question.inputs)
    steps = [
        {"id": "city" if mended else "town", "goal": "Which one?" if mended else "Which town?", "args": {}},
        {"id": "page", "tool": "fetch", "args": {"name": "mirror" if mended else "broken"}, "needs": []},
    ]
    return {"steps": steps, "output": [{"$ref": step["id"]} for step in steps]}


def test_a_plan_that_was_replaced_reads_the_same_everywhere(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    engine = Engine(ScriptedModel(script), tools=[fetch], store=store, concurrency=1)
    result = engine.run("two pages")
    assert (result.outcome, result.output) == (Outcome.AGREED, ["Paris", "page mirror"])
    wanted = {"task": "committed", "town": "replaced", "city": "committed"}
    records = list(store.records(result.run_id))
    steps = [(one.id, one.status) for one in result.steps]
    assert dict(steps) == wanted | {"page": "committed"} and ("page", "replaced") in steps
    gone = {one.seq for one in result.steps if one.status == "replaced"}
    assert len(gone) == 2 and all(one.output is None for one in result.steps if one.seq in gone)

    tree = RunTree()
    for record in records:
        tree.add(record)
    assert {seq: node.status for seq, node in tree.nodes.items()} == {one.seq: one.status for one in result.steps}
    assert tree.committed == 2
    write_json(store, result.run_id)
    whole = json.loads(capsys.readouterr().out)
    assert {one["seq"]: one["status"] for one in whole["plan"]} == {one.seq: one.status for one in result.steps}
    for seq in gone:
        write_json(store, result.run_id, seq)
        assert [one["status"] for one in json.loads(capsys.readouterr().out)["plan"]] == ["replaced"]

    out = io.StringIO()
    export(store, "jsonl", out)
    accepted = set(json.loads(out.getvalue())["accepted"])
    stands = {attempt.step for one in result.steps for attempt in one.attempts if attempt.seq in accepted}
    assert stands == {one.seq for one in result.steps} - gone
    out = io.StringIO()
    export(store, "trl-sft", out, outcome=Outcome.AGREED)
    rows = [json.loads(line)["messages"] for line in out.getvalue().splitlines()]
    (asked,) = [row for row in rows if row[-1]["content"] == "Paris"]
    assert "Which one?" in asked[-2]["content"]
    keyed = {seq for seq, one in voted(records).items() if one.key is not None}
    assert keyed == {one.seq for one in result.steps if one.id in ("task", "city")}


def test_steps_that_a_kill_cut_off_before_their_plan_was_accepted_are_replaced() -> None:
    root = PlannedStep(1, None, 0, 1, Step("task", planner="p"))
    cut = [PlannedStep(2, 1, 0, 1, Step("a"))]
    live = [PlannedStep(3, 1, 0, 1, Step("a")), PlannedStep(4, 1, 1, 1, Step("b"))]
    records: list[Any] = [root, *cut, *live, Event(5, "planned", 1, data={"version": 1, "size": 2})]
    standing = Standing(records)
    assert [standing.status(one.seq, one.parent) for one in (*cut, *live)] == ["replaced", "open", "open"]


def test_what_failed_for_want_of_a_model_is_open_again_when_the_run_goes_on() -> None:
    step = PlannedStep(1, None, 0, 1, Step("task"))
    ends: list[Any] = [Event(2, "failed", 1, data={"reason": "away", "fault": True}), Event(3, "resumed", 1)]
    assert Standing([step, *ends[:1]]).status(1, None) == "failed"
    assert Standing([step, *ends]).status(1, None) == "open"
    failed = Event(2, "failed", 1, data={"reason": "no evidence"})
    assert Standing([step, failed, ends[1]]).status(1, None) == "failed"


def test_questions_of_a_run_that_has_ended_are_asked_no_more() -> None:
    step = PlannedStep(1, None, 0, 1, Step("task"))
    asked = Event(2, "asked", 1, data={"key": "k", "question": "agree?"})
    standing = Standing([step, asked])
    assert (standing.status(1, None), standing.questions(1)) == ("asked", [asked.data])
    ended, short = (Event(3, "finished", 1, data={"outcome": one}) for one in ("failed", "out_of_budget"))
    assert Standing([step, asked, ended]).status(1, None) == "open"
    assert Standing([step, asked, short]).status(1, None) == "asked", "with a larger budget it is"
