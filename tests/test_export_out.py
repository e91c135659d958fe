"""Where `surefoot export` writes: whole files under their names, and in place what is no file."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest
from terminal import Shell

from surefoot.engine import Engine
from surefoot.models import ScriptedModel
from surefoot.storage.records import Plan, Step, ref
from surefoot.storage.store import Store


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    monkeypatch.chdir(tmp_path)
    with Store.open(".surefoot/surefoot.db") as store:
        Engine(ScriptedModel(["3"]), planner=Plan((Step("x", "Three?", votes=1),), output=ref("x")), store=store).run(
            "3"
        )
    return Shell(capsys)


def test_an_export_goes_into_a_pipe_or_a_device_that_stands_there(shell: Shell) -> None:
    got: list[str] = []
    os.mkfifo("pipe")
    Path("link").symlink_to("pipe")
    reader = threading.Thread(target=lambda: got.append(Path("pipe").read_text()))
    reader.start()
    assert shell("export", "--out", "link").code == 0
    reader.join(10)
    assert json.loads(got[0])["run"] and Path("pipe").is_fifo() and Path("link").is_symlink()
    null = Path(os.devnull).stat()
    assert shell("export", "--out", os.devnull).code == 0 and Path(os.devnull).stat().st_rdev == null.st_rdev
    assert {path.name for path in Path().iterdir()} == {".surefoot", "pipe", "link"}


@pytest.mark.parametrize("there", [True, False])
def test_an_export_to_a_link_replaces_what_it_names(shell: Shell, there: bool) -> None:
    Path("data").mkdir()
    if there:
        Path("data/old.jsonl").write_text("old")
    Path("link").symlink_to("data/old.jsonl")
    assert shell("export", "--out", "link").code == 0
    assert Path("link").is_symlink() and json.loads(Path("data/old.jsonl").read_text())
    assert [path.name for path in Path("data").iterdir()] == ["old.jsonl"]


def test_an_export_over_a_file_is_whole_or_not_there(shell: Shell) -> None:
    Path("old.jsonl").write_text("old")
    with Path("old.jsonl").open() as before:
        assert shell("export", "--run", "ffffffff", "--out", "old.jsonl").code == 2
        assert Path("old.jsonl").read_text() == "old"
        assert shell("export", "--out", "old.jsonl").code == 0
        assert before.read() == "old", "who has it open keeps the old file"


def test_an_export_to_a_folder_or_a_loop_of_links_is_refused(shell: Shell) -> None:
    Path("folder").mkdir()
    Path("loop").symlink_to("loop")
    for name in ("folder", "loop"):
        said = shell("export", "--out", name)
        assert said.code == 2 and f"cannot write {name}" in said.err
    assert Path("loop").is_symlink()
