"""The journal is the truth: folded again, cut at any record, it is where the run stood, and the run goes on."""

from __future__ import annotations

import random
from collections.abc import Iterator
from math import prod
from typing import Any

import pytest
from bench import Bench, World, worlds
from hypothesis import HealthCheck, settings
from hypothesis import given as examples
from hypothesis import strategies as st

from surefoot.engine.core.actions import Commit, Continue, Propose, RollBack
from surefoot.engine.core.decide import decide
from surefoot.engine.core.fold import fold
from surefoot.engine.core.refold import FOLDED, refold
from surefoot.engine.core.state import Candidate, RunState, StepState
from surefoot.engine.running.candidates import missed, proposed
from surefoot.engine.running.expand import expand
from surefoot.engine.setup.settings import Settings
from surefoot.reflection.trust import EXACT
from surefoot.storage.records import (
    Event,
    JournalRecord,
    Json,
    Message,
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


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with Store.open(tmp_path_factory.mktemp("state") / "runs.db") as store:
        yield store


def kept(store: Store, records: list[JournalRecord]) -> list[JournalRecord]:
    """The records as the store gives them back."""
    journal = store.begin(Task("t"))
    for record in records:
        journal.append(record)
    journal.close()
    return list(store.records(journal.run_id, kinds=FOLDED))


FIELDS = (
    *("parent", "needs", "status", "pending", "tried", "attempts", "errors", "critique", "reason"),
    *("out_of_scope", "infrastructure_error"),
    *("output", "support", "asked", "paused", "version", "open_children", "broken", "delivers", "more"),
    *("rollbacks", "replans", "mended", "adopted"),
)


def said(candidate: Candidate) -> list[Verdict]:
    return list(candidate.verdicts.values())


def picture(state: RunState) -> Json:
    """Everything that the next decision may depend on, drafts of a plan that is not accepted left out."""
    drafts = {seq for step in state.steps.values() for seq in step.drafted}
    steps = {}
    for seq, step in state.steps.items():
        if seq not in drafts:
            ballot = [
                (one.key, one.attempt, one.votes, one.output, one.refuted, [(v.verifier, v.ruling) for v in said(one)])
                for one in step.candidates.values()
            ]
            values = {name: getattr(step, name) for name in FIELDS}
            # A kill loses no order that matters: who feeds whom does, not in which order it was noted.
            values |= {"feeds": sorted(step.feeds), "children": dict(step.children), "step": step.step.id}
            values |= {"spare": [one.seq for one in step.spare], "below": step.below and step.below.reliability()}
            steps[seq] = (values, ballot)
    run = (
        state.root,
        state.committed,
        round(state.budget_shares, 9),
        state.spent.usage,
        dict(state.judged),
        state.finished,
    )
    people = (dict(state.answers), dict(state.effects), set(state.in_doubt))
    return steps, run, people, state.trust.reliability()


def movable(bench: Bench) -> set[int]:
    """Steps that the rules have something to do for, the root left to the phases."""
    state = bench.state
    return {
        step.seq
        for step in state.steps.values()
        if step.seq != state.root and decide(state, step, bench.rules(step)) is not None
    }


def recorded(world: World, planner: str) -> tuple[list[JournalRecord], list[Any], Any]:
    """A run's records, a picture of the state after each, and how it ended."""
    bench = Bench(world)
    records: list[JournalRecord] = []
    pictures: list[Any] = []

    def note(record: JournalRecord) -> None:
        records.append(record)
        pictures.append(picture(bench.state))

    bench.listener = note
    bench.begin(planner)
    return records, pictures, bench.run()


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@examples(worlds(), st.sampled_from(["known", "model"]))
def test_cut_at_any_record_the_journal_leads_to_the_state_that_the_run_was_in(
    store: Store, world: World, planner: str
) -> None:
    records, pictures, _ = recorded(world, planner)
    stored = kept(store, records)
    assert len(stored) == len(records)
    for cut in range(1, len(stored) + 1):
        state = refold(stored[:cut], world.context().rules)
        assert picture(state) == pictures[cut - 1]
        bench = Bench(world, state)
        assert movable(bench) <= set(state.ready), "a step that could go on was forgotten"
        assert len(state.ready) == len(set(state.ready))


def resumed(world: World, records: list[JournalRecord], order: int) -> Bench:
    bench = Bench(world, refold(records, world.context().rules), last=max(one.seq for one in records), order=order)
    records = list(records)
    bench.listener = records.append
    bench.record(Event(bench.seq(), "resumed", bench.state.root))
    bench.journal = records  # type: ignore[attr-defined]
    return bench


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@examples(worlds(), st.integers(0, 10**6))
def test_killed_at_any_records_the_run_ends_as_it_would_have(store: Store, world: World, seed: int) -> None:
    records, _, ended = recorded(world, "known")
    rng = random.Random(seed)
    for cut in sorted(rng.sample(range(1, len(records)), min(8, len(records) - 1))):
        bench = resumed(world, kept(store, records[:cut]), order=seed)
        assert bench.run() == ended
        # And killed once more in what came after.
        again: list[JournalRecord] = bench.journal  # type: ignore[attr-defined]
        later = rng.randrange(cut + 1, len(again) + 1)
        assert resumed(world, kept(store, again[:later]), order=seed + 1).run() == ended


# --- one promise at a time ------------------------------------------------------------------------------------


def small(*steps: Step, output: Json = None, **settings: Any) -> Bench:
    """A run of one fixed plan, in place and not yet driven."""
    plan = Plan(steps, output if output is not None else [ref(one.id) for one in steps])
    bench = Bench(World(1, {"": plan}, Settings(**settings), errors=0.0))
    bench.begin("known", checks=())
    root = bench.state.steps[bench.state.root]
    bench.act(root, Propose(1))
    return bench


def child(bench: Bench, id: str) -> StepState:
    return bench.state.steps[bench.state.steps[bench.state.root].children[id]]


def commit(bench: Bench, id: str, votes: int = 1) -> None:
    step = child(bench, id)
    for _ in range(votes):
        proposed(bench, step, f"{id}!", "k")  # type: ignore[arg-type]
    action = decide(bench.state, step, bench.rules(step))
    assert isinstance(action, Commit)
    bench.act(step, action)


CHAIN = (
    Step("d", "g", args={"x": ref("c")}),
    Step("c", "g", args={"x": ref("b")}),
    Step("side", "g", args={"x": ref("a")}),
    Step("b", "g", needs=("a",)),
    Step("a", "g", args={}),
)


def test_a_step_is_ready_when_the_last_of_its_needs_is_committed() -> None:
    bench = small(*CHAIN, votes=1)
    assert [bench.state.steps[seq].step.id for seq in bench.state.ready] == ["a"]
    bench.state.ready.clear()
    commit(bench, "a")
    assert {bench.state.steps[seq].step.id for seq in bench.state.ready} == {"b", "side"}
    assert child(bench, "c").status == "waiting"


def test_what_is_rolled_back_is_the_step_to_blame_and_exactly_its_transitive_readers() -> None:
    bench = small(*CHAIN, votes=1)
    for id in ("a", "b", "side", "c", "d"):
        commit(bench, id)
    root = bench.state.steps[bench.state.root]
    proposed(bench, root, "whole", "w", role="result")  # type: ignore[arg-type]
    attempt = root.candidates["w"].attempt
    bench.record(Verdict("final", "fail", seq=bench.seq(), attempt=attempt, blame="b", critique="b is off"))
    action = decide(bench.state, root, bench.rules(root))
    assert isinstance(action, RollBack)
    assert {bench.state.steps[seq].step.id for seq in action.children} == {"b", "c", "d"}
    bench.state.ready.clear()
    bench.act(root, action)
    assert [child(bench, id).status for id in ("a", "side", "b", "c", "d")] == ["committed"] * 2 + ["ready"] + [
        "waiting"
    ] * 2
    assert [bench.state.steps[seq].step.id for seq in bench.state.ready] == ["b"]
    assert child(bench, "b").critique == "b is off"
    for id in ("b", "c", "d"):
        commit(bench, id)
    assert root.open_children == 0


def test_a_rolled_back_step_takes_its_support_with_it() -> None:
    bench = small(Step("a", "g"), votes=2)
    commit(bench, "a", votes=2)
    before = bench.state.trust.reliability()
    assert before.predicted == pytest.approx(1 / (1 + 1.5 * 2.5 / (28.5 * 29.5)))
    bench.record(Event(bench.seq(), "rolled_back", bench.state.root, data={"steps": [child(bench, "a").seq]}))
    assert bench.state.trust.reliability().predicted is None
    commit(bench, "a", votes=2)
    assert bench.state.trust.reliability() == before


def sure(votes: int, steps: int) -> Any:
    """The prediction for so many steps that won by so many votes."""
    odds = prod((1.5 + vote) / (28.5 + vote) for vote in range(votes))
    return pytest.approx((1 / (1 + odds)) ** steps)


def test_a_new_plan_does_not_answer_for_the_steps_of_the_old_one() -> None:
    bench = small(Step("a", "g"), Step("b", "g"), votes=2)
    root = bench.state.steps[bench.state.root]
    commit(bench, "a", votes=2)
    commit(bench, "b", votes=2)
    assert bench.state.trust.reliability().predicted == sure(2, 2)
    bench.record(Event(bench.seq(), "rolled_back", bench.state.root, data={"steps": [], "critique": "anew"}))
    expand(bench, root, Plan((Step("c", "g"),), ref("c")), None, None)  # type: ignore[arg-type]
    commit(bench, "c", votes=2)
    assert bench.state.trust.reliability().predicted == sure(2, 1)


def test_a_step_that_is_undone_takes_everything_under_it_with_it() -> None:
    bench = small(Step("deep", planner="known"), Step("b", "g"), votes=2)
    deep = child(bench, "deep")
    inner = Plan((Step("x", "g"), Step("y", "g")), [ref("x"), ref("y")])

    def fill(committed: int) -> None:
        expand(bench, deep, inner, None, None)  # type: ignore[arg-type]
        for seq in list(deep.children.values())[:committed]:
            step = bench.state.steps[seq]
            for _ in range(2):
                proposed(bench, step, 1, "1")  # type: ignore[arg-type]
            action = decide(bench.state, step, bench.rules(step))
            assert isinstance(action, Commit)
            bench.act(step, action)

    fill(2)
    proposed(bench, deep, 1, "1", role="result")  # type: ignore[arg-type]
    bench.commit(deep, deep.candidates["1"], EXACT)
    commit(bench, "b", votes=2)
    assert bench.state.trust.reliability().predicted == sure(2, 3)
    bench.record(Event(bench.seq(), "rolled_back", bench.state.root, data={"steps": [deep.seq]}))
    assert bench.state.trust.reliability().predicted == sure(2, 1)
    fill(1)
    assert bench.state.trust.reliability().predicted == sure(2, 2)
    bench.record(Event(bench.seq(), "rolled_back", bench.state.root, data={"steps": [], "critique": "anew"}))
    expand(bench, bench.state.steps[bench.state.root], Plan((Step("c", "g"),), ref("c")), None, None)  # type: ignore[arg-type]
    assert bench.state.trust.reliability().predicted in (None, pytest.approx(1.0)), "its open half goes as well"


def test_a_failed_step_blocks_its_dependents_and_reaches_its_parent() -> None:
    bench = small(*CHAIN, votes=1)
    bench.fail(child(bench, "a"), "broken", infrastructure_error=True)
    root = bench.state.steps[bench.state.root]
    assert root.broken == child(bench, "a").seq
    assert [child(bench, id).status for id in ("b", "c", "d", "side")] == ["waiting"] * 4
    status, _ = bench.run()
    assert (status, root.reason, root.infrastructure_error) == ("failed", "step a failed: broken", True)


def drafts(bench: Bench) -> list[JournalRecord]:
    """What a kill in the middle of an expansion leaves: steps, and no event that brings them to life."""
    root = bench.state.root
    return [PlannedStep(bench.seq(), root, i, 1, Step(id, "g")) for i, id in enumerate("ab")]


def test_steps_of_a_plan_that_a_kill_cut_in_half_never_come_to_life() -> None:
    bench = Bench(World(1, {"": Plan((Step("a", "g"), Step("b", "g")), [ref("a"), ref("b")])}, Settings(votes=1)))
    records: list[JournalRecord] = []
    bench.listener = records.append
    bench.begin("known")
    for record in drafts(bench):
        bench.record(record)
    state = refold(records, bench.context.rules)
    assert list(state.steps) == [state.root]
    again = resumed(bench.world, records, 0)
    assert again.run()[0] in ("committed", "failed")
    journal: list[JournalRecord] = again.journal  # type: ignore[attr-defined]
    alive = next(i for i, one in enumerate(journal) if isinstance(one, Event) and one.kind == "planned")
    state = refold(journal[: alive + 1], bench.context.rules)
    assert len(state.steps) == 3, "the root and the two steps of the plan that was accepted"
    assert sorted(state.ready) == sorted(state.steps[state.root].children.values())


def test_records_of_steps_that_are_gone_change_nothing_but_what_was_spent() -> None:
    bench = small(Step("a", "g"), Step("b", "g", needs=("a",)), votes=1)
    gone = child(bench, "a")
    bench.record(Event(bench.seq(), "rolled_back", bench.state.root, data={"steps": [], "critique": "anew"}))
    expand(bench, bench.state.steps[bench.state.root], Plan((Step("c", "g"),), ref("c")), None, None)  # type: ignore[arg-type]
    before = picture(bench.state)[0]
    proposed(bench, gone, "late", "late")  # type: ignore[arg-type]
    missed(bench, gone, "late")  # type: ignore[arg-type]
    bench.fail(gone, "late")
    bench.record(Verdict("soft", "pass", seq=bench.seq(), attempt=bench.last - 3))
    assert picture(bench.state)[0] == before
    assert bench.state.spent.usage == Usage(attempts=2)


def test_messages_and_rewards_are_only_for_reading() -> None:
    bench = small(Step("a", "g"))
    before = picture(bench.state)
    bench.record(Message(bench.seq(), None, "user", "hello"))
    bench.record(Reward(bench.seq(), "run", None, "verified", 1.0))
    assert picture(bench.state) == before


def test_an_intent_without_a_result_is_in_doubt_and_a_failed_call_stays_so() -> None:
    bench = small(Step("a", "g"))
    seq = child(bench, "a").seq
    bench.record(Event(bench.seq(), "intent", seq, data={"key": "k"}))
    assert bench.state.in_doubt == {"k"}
    bench.record(ToolCall(bench.seq(), seq, "send", {}, error="no route", idempotency_key="k"))
    assert (bench.state.in_doubt, bench.state.effects) == ({"k"}, {})
    bench.record(ToolCall(bench.seq(), seq, "send", {}, result=None, idempotency_key="k"))
    assert (bench.state.in_doubt, bench.state.effects) == (set(), {"k": None})


def test_a_question_of_a_store_of_before_holds_its_step_and_an_answer_lets_it_go_on() -> None:
    """Then a step had one question, which kept the conversation that waited."""
    bench = small(Step("a", "g"), Step("b", "g"), votes=1)
    bench.state.ready.clear()
    step = child(bench, "a")
    asked = bench.seq()
    bench.record(Event(asked, "asked", step.seq, data={"key": "k", "question": "agree?", "conversation": [1]}))
    assert decide(bench.state, step, bench.rules(step)) is None
    assert step.asked == {"k": {"key": "k", "question": "agree?"}}
    bench.record(Event(bench.seq(), "answered", step.seq, data={"key": "k", "answer": {"approve": True}}))
    assert bench.state.answers == {"k": {"approve": True}}
    assert bench.state.ready == [step.seq]
    assert decide(bench.state, step, bench.rules(step)) == Continue((asked,)), "the conversation goes on"
    missed(bench, step, "it failed")  # type: ignore[arg-type]
    assert step.paused is None and isinstance(decide(bench.state, step, bench.rules(step)), Propose)


@pytest.mark.parametrize("notice", [True, False], ids=["after its parent noticed", "before"])
def test_what_failed_for_want_of_a_model_or_tool_is_open_again_when_the_run_goes_on(notice: bool) -> None:
    bench = small(Step("a", "g"), Step("b", "g"), votes=1)
    bench.fail(child(bench, "b"), "no route", infrastructure_error=True)
    if notice:
        assert bench.run()[0] == "failed"
    bench.record(Event(bench.seq(), "resumed", bench.state.root))
    assert bench.run()[0] == "committed"


def test_what_failed_for_want_of_evidence_stays_failed() -> None:
    bench = small(Step("a", "g"), Step("b", "g"), votes=1)
    bench.fail(child(bench, "a"), "no route", infrastructure_error=True)
    bench.fail(child(bench, "b"), "the samples disagree")
    bench.record(Event(bench.seq(), "resumed", bench.state.root))
    assert bench.run()[0] == "failed"
    assert "disagree" in bench.state.steps[bench.state.root].reason


def test_the_memory_of_a_long_run_is_its_open_part() -> None:
    bench = Bench(World(1, {"": Plan((Step("s0", "g"),), ref("s0"), True)}, Settings(votes=1)))
    bench.begin("known")
    root = bench.state.steps[bench.state.root]
    bench.act(root, Propose(1))
    step = child(bench, "s0")
    expand(bench, step, Plan(tuple(Step(f"t{i}", "g") for i in range(50)), 1), None, None)  # type: ignore[arg-type]
    assert len(bench.state.steps) == 52
    for inner in list(step.children.values()):
        one = bench.state.steps[inner]
        proposed(bench, one, 1, "1")  # type: ignore[arg-type]
        bench.commit(one, one.candidates["1"], EXACT)
    proposed(bench, step, 1, "1", role="result")  # type: ignore[arg-type]
    bench.commit(step, step.candidates["1"], EXACT)
    assert len(bench.state.steps) == 2
    assert bench.state.judged == {}


def test_folding_never_looks_at_anything_but_the_record() -> None:
    """The same records, folded twice, one by one, give the same state at every point."""
    world = World(7, {"": Plan(CHAIN, [ref("d"), ref("side")])}, Settings())
    records, pictures, _ = recorded(world, "known")
    state = RunState()
    for record, wanted in zip(records, pictures, strict=True):
        fold(state, record)
        assert picture(state) == wanted
