"""TRL trains on the exported rows as they are."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny

from surefoot.engine import Engine, Outcome
from surefoot.models import ScriptedModel
from surefoot.models.scripted import call
from surefoot.storage.records import Plan, Step, ref
from surefoot.storage.store import Store
from surefoot.tools import tool
from surefoot.trajectories.exports.formats import export

# Every message between marks; what the assistant says is what training may learn.
TEMPLATE = (
    "{% if tools %}<tools>{{ tools | tojson }}</tools>{% endif %}"
    "{% for m in messages %}<{{ m.role }}>"
    "{% if m.role == 'assistant' %}{% generation %}{{ m.content }}"
    "{% for c in m.tool_calls or [] %}<call>{{ c.function.name }} {{ c.function.arguments | tojson }}{% endfor %}"
    "<end>{% endgeneration %}"
    "{% else %}{{ m.content }}{% endif %}{% endfor %}"
)


@tool(effect="pure")
async def add(a: int, b: int) -> int:
    """Adds two whole numbers."""
    return a + b


@tool(effect="pure")
async def spell(word: str) -> str:
    """Spells a word."""
    return "-".join(word)


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Two conversations that call tools with arguments of different names, and one that calls none."""
    plan = Plan(
        (
            Step("sum", "What is 1 + 2?", votes=1),
            Step("word", "Spell owl.", needs=("sum",), votes=1),
            Step("echo", "Say hello.", needs=("word",), votes=1),
        ),
        output=[ref("sum"), ref("word"), ref("echo")],
    )
    model = ScriptedModel([call("add", {"a": 1, "b": 2}), "3", call("spell", {"word": "owl"}), "o-w-l", "hello"])
    path = tmp_path / "rows.jsonl"
    with Store.open(tmp_path / "runs.db") as store, path.open("w") as out:
        result = Engine(model, tools=[add, spell], planner=plan, store=store).run("Add, spell and greet.")
        assert result.outcome is Outcome.AGREED
        assert export(store, "trl-sft", out, outcome=Outcome.AGREED) == 3
    return path


@pytest.mark.slow
# TRL's own default uses a name that transformers has given another.
@pytest.mark.filterwarnings("ignore:`gradient_checkpointing` is deprecated:FutureWarning")
def test_trl_takes_a_training_step_on_rows_with_tool_calls(rows: Path, tmp_path: Path) -> None:
    from datasets import load_dataset
    from trl import SFTConfig, SFTTrainer

    data = load_dataset("json", data_files=str(rows), split="train", cache_dir=str(tmp_path / "cache"))
    tokenizer = tiny.tokenizer(TEMPLATE)
    config = SFTConfig(
        output_dir=str(tmp_path / "out"),
        max_steps=1,
        per_device_train_batch_size=3,
        max_length=None,
        assistant_only_loss=True,
        use_cpu=True,
        bf16=False,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
    )
    trainer = SFTTrainer(tiny.network(), config, train_dataset=data, processing_class=tokenizer)
    taught = [
        tokenizer.decode([id for id in row["labels"] if id >= 0]).split("<end>")[:-1] for row in trainer.train_dataset
    ]
    assert taught == [
        ['<call>add {"a": 1, "b": 2}', "3"],
        ['<call>spell {"word": "owl"}', "o-w-l"],
        ["hello"],
    ]
    assert all('"name": "spell"' in tokenizer.decode(row["input_ids"]) for row in trainer.train_dataset)
    trained = trainer.train()
    assert trained.global_step == 1
    assert 0 < trained.training_loss < 100
