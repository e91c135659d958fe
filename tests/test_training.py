"""Anyone can rerun the training of the pocket model: its data is checked, a run resumes, its weights load."""

from __future__ import annotations

import json
import sys
from fractions import Fraction
from itertools import islice
from pathlib import Path
from random import Random

import pytest

from surefoot.models.packaged import PocketModel
from surefoot.models.question import Question
from surefoot.training.pocket import evidence, foreign, network, rules, traces
from surefoot.training.pocket.run import Recipe, Run
from surefoot.training.pocket.word_problems import WordProblems

SHAPE = network.Shape(vocabulary=1024, width=32, layers=1, heads=2, inner=64)


@pytest.mark.parametrize("template", traces.templates())
def test_every_template_has_a_program_that_reproduces_its_answers(template: int) -> None:
    made = [traces.generate(template, Random(seed)) for seed in range(12)]
    right = sum(traces.reproduces(one.question, one.reply, one.answer) for one in made)
    assert right >= 9, "three templates round in floating point; every other reproduces all"


def test_what_is_taught_is_checked_and_what_is_foreign_is_answered_none() -> None:
    rng = Random(7)
    mixed = [traces.mixed(rng, traces.TRAIN_SEED) for _ in range(400)]
    assert {trace.reply == traces.NONE for trace in mixed} == {True, False}
    for trace in mixed:
        assert trace.text.strip()
    family, text = foreign.text(rng, 11)
    assert family and text


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a second, on a small tokenizer."""
    out = tmp_path_factory.mktemp("run")
    rng = Random(1)
    corpus = network.corpus([traces.mixed(rng, traces.TRAIN_SEED) for _ in range(600)])
    network.train_tokenizer(corpus, SHAPE.vocabulary).save(str(out / "tokenizer.json"))
    Run(Recipe(0.01, out, threads=1, shape=SHAPE, batch_tokens=8192), WordProblems()).train()
    return out


def test_a_run_resumes_where_it_was_saved(trained: Path) -> None:
    again = Run(Recipe(0.01, trained, threads=1, shape=SHAPE), WordProblems())
    assert again.progress.step > 0
    assert again.rate() == pytest.approx(0, abs=1e-5), "the planned time is used up"
    losses = [json.loads(line)["loss"] for line in (trained / "log.jsonl").read_text().splitlines()]
    assert 0 < losses[-1] < 8


@pytest.mark.anyio
async def test_the_exported_weights_are_a_pocket_model(trained: Path) -> None:
    folder = trained / "model"
    (folder / "card.json").write_text("{}")
    model = PocketModel(folder=folder, max_tokens=8)
    (reply,) = await model.ask(Question("plan", "Ann has 3 pens and buys 4. How many pens has she?", seed=1))
    assert reply.token_ids is not None and reply.prompt_logprobs is not None


def test_rules_are_calibrated_and_reported_on_records(trained: Path, tmp_path: Path) -> None:
    reader = evidence.Reader(trained / "model")
    some = [*islice(evidence.problems(600_000, 3), 3), *islice(evidence.variants(5, 3, evidence.unseen_name), 3)]
    some += [*islice(evidence.near_misses(5, 3), 3), *islice(evidence.abstentions(5, 1), 3)]
    some += list(evidence.unseen_lookalikes(5, 3))
    records = [found for case in some if (found := evidence.record(reader, case, 2, 1.0)) is not None]
    # An untrained reader answers nothing right; the true plan of one problem stands in for a reader that does.
    known = [record for record in records if record["answer"] is not None]
    assert known
    card = rules.new_card(records)
    assert card["typical"]["mean"] > 0 and 0 <= card["sample"]["p"] <= 1
    lines = rules.report(records, card)
    assert {"rule"} <= lines[0].keys()
    (tmp_path / "card.json").write_text(json.dumps(card))
    results = [{"outcome": "verified", "correct": True}] * 99 + [{"outcome": "verified", "correct": False}]
    (tmp_path / "results.jsonl").write_text("\n".join(map(json.dumps, results)))
    argv = ["rules", "accepted", "--records", str(tmp_path / "results.jsonl"), "--card", str(tmp_path / "card.json")]
    before, sys.argv = sys.argv, argv
    try:
        rules.main()
    finally:
        sys.argv = before
    written = json.loads((tmp_path / "card.json").read_text())["accepted"]
    assert written["basis"] == "99 right of 100 accepted, of 100 problems"
    assert 0.95 < written["low"] < written["p"] < 0.99


def test_the_probes_tell_plans_apart_that_agree_by_chance() -> None:
    text = "Ann has 2 pens and 2 cups. How many things?"
    assert (
        evidence.key("s1 = n0 + n1 ; answer s1", text)["key"] != evidence.key("s1 = n0 * n1 ; answer s1", text)["key"]
    )
    assert all(isinstance(value, Fraction) for probe in evidence.probes(text, 2) for value in probe)
