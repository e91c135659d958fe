"""The file tools: text in and out of the workspace, and no way out of it."""

# ruff: noqa: ASYNC240 (nothing else waits for a test's loop)
from __future__ import annotations

import ctypes
import os
import socket
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surefoot.storage.errors import Retry, ToolError
from surefoot.tools import ToolContext
from surefoot.tools.files import DEPTH_LIMIT, LIST_LIMIT, READ_LIMIT, WRITE_LIMIT, list_files, read_file, write_file
from surefoot.tools.process import Limits, run

pytestmark = pytest.mark.anyio

SECRET = "the secret"
AT_FDCWD, RENAME_EXCHANGE = -100, 2


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.txt").write_text(SECRET)
    inside = tmp_path / "inside"
    inside.mkdir()
    return inside


async def read(workspace: Path | None, path: str, **more: Any) -> str:
    text: str = await read_file.call({"path": path, **more}, ToolContext(workspace=workspace))
    return text


async def write(workspace: Path | None, path: str, text: str) -> str:
    said: str = await write_file.call({"path": path, "text": text}, ToolContext(workspace=workspace))
    return said


async def paths(workspace: Path | None, folder: str = ".") -> list[str]:
    listing = await list_files.call({"folder": folder}, ToolContext(workspace=workspace))
    assert listing["complete"]
    found: list[str] = listing["paths"]
    return found


# --- what they do -------------------------------------------------------------------------------------------------


async def test_what_is_written_is_read_and_listed(workspace: Path) -> None:
    text = "größe\r\nzweite\n"
    assert await write(workspace, "a/b/c.txt", text) == "wrote 16 bytes to a/b/c.txt"
    assert await read(workspace, "./a//b/c.txt") == text
    assert (workspace / "a/b/c.txt").read_bytes() == text.encode()
    assert await paths(workspace) == ["a/", "a/b/", "a/b/c.txt"]
    assert await paths(workspace, "a/b") == ["a/b/c.txt"]


async def test_writing_again_changes_nothing_more(workspace: Path) -> None:
    for _ in range(2):
        await write(workspace, "a.txt", "new")
        assert {p.name: p.read_text() for p in workspace.iterdir()} == {"a.txt": "new"}


async def test_a_workspace_that_does_not_exist_yet_is_made(tmp_path: Path) -> None:
    assert await paths(tmp_path / "x" / "y") == []
    await write(tmp_path / "z", "a.txt", "a")
    assert (tmp_path / "z" / "a.txt").read_text() == "a"


async def test_a_file_keeps_its_permissions(workspace: Path) -> None:
    (workspace / "run.sh").write_text("old")
    (workspace / "run.sh").chmod(0o750)
    await write(workspace, "run.sh", "new")
    assert (workspace / "run.sh").stat().st_mode & 0o777 == 0o750


async def test_a_reader_sees_the_old_or_the_new_text_and_nothing_between(workspace: Path) -> None:
    texts = ["a" * 100_000, "b" * 200_000]
    await write(workspace, "a.txt", texts[0])
    done = threading.Event()
    seen = set()

    def reader() -> None:
        while not done.is_set():
            seen.add((workspace / "a.txt").read_text())

    thread = threading.Thread(target=reader)
    thread.start()
    try:
        for turn in range(60):
            await write(workspace, "a.txt", texts[turn % 2])
    finally:
        done.set()
        thread.join()
    assert seen <= set(texts)


async def test_a_write_that_fails_leaves_the_old_text_and_no_other_file(workspace: Path) -> None:
    (workspace / "sub").mkdir()
    await write(workspace, "a.txt", "old")
    with pytest.raises(Retry, match="half of a pair"):
        await write(workspace, "a.txt", "\ud800")
    with pytest.raises(Retry, match="sub is a folder"):
        await write(workspace, "sub", "text")
    with pytest.raises(Retry, match="too long"):
        await write(workspace, "x" * 300, "text")
    assert await paths(workspace) == ["a.txt", "sub/"]
    assert await read(workspace, "a.txt") == "old"


async def test_lines_are_read_in_parts(workspace: Path) -> None:
    (workspace / "a.txt").write_bytes(b"one\ntwo\r\nthree\nfour")
    assert await read(workspace, "a.txt", first_line=2, lines=2) == "two\r\nthree\n"
    assert await read(workspace, "a.txt", first_line=4) == "four"
    assert await read(workspace, "a.txt", lines=1) == "one\n"
    with pytest.raises(Retry, match="no line 5"):
        await read(workspace, "a.txt", first_line=5)
    (workspace / "empty").touch()
    assert await read(workspace, "empty") == await read(workspace, "empty", lines=3) == ""


async def test_a_big_file_is_read_only_in_parts(workspace: Path) -> None:
    with (workspace / "big.txt").open("w") as file:
        file.writelines(f"line {n}\n" for n in range(100_000))
    with pytest.raises(Retry, match=rf"one call reads {READ_LIMIT}; read it in parts"):
        await read(workspace, "big.txt")
    assert await read(workspace, "big.txt", first_line=90_001, lines=2) == "line 90000\nline 90001\n"
    with pytest.raises(Retry, match="read fewer lines"):
        await read(workspace, "big.txt", first_line=2)


async def test_a_line_without_end_does_not_fill_memory(workspace: Path) -> None:
    with (workspace / "long.txt").open("wb") as file:
        file.truncate(50_000_000)
    with pytest.raises(Retry, match="read fewer lines"):
        await read(workspace, "long.txt", lines=1)
    with pytest.raises(Retry, match="no line 2"):
        await read(workspace, "long.txt", first_line=2)


async def test_too_much_text_is_not_written(workspace: Path) -> None:
    with pytest.raises(Retry, match=f"one file may have {WRITE_LIMIT}"):
        await write(workspace, "a.txt", "x" * (WRITE_LIMIT + 1))
    assert await paths(workspace) == []


@pytest.mark.parametrize("data", [b"\x89PNG\r\n\x1a\n\0", b"a\0b", b"\xff\xfea\0", b"caf\xe9"])
async def test_what_is_not_text_is_refused(workspace: Path, data: bytes) -> None:
    (workspace / "a").write_bytes(data)
    with pytest.raises(Retry, match=r"not UTF-8 text|binary file"):
        await read(workspace, "a")


async def test_missing_files_and_folders_are_named(workspace: Path) -> None:
    (workspace / "a.txt").touch()
    with pytest.raises(Retry, match=r"there is no b/c\.txt in the workspace; list_files shows"):
        await read(workspace, "b/c.txt")
    with pytest.raises(Retry, match="there is no b in"):
        await paths(workspace, "b")
    with pytest.raises(Retry, match="not a folder"):
        await read(workspace, "a.txt/b")
    with pytest.raises(Retry, match="is a folder"):
        await write(workspace, "sub/a.txt", "a") and await read(workspace, "sub")
    with pytest.raises(Retry, match="not a folder"):
        await write(workspace, "a.txt/b", "text")
    for nothing in ("", ".", "sub/"):
        with pytest.raises(Retry, match="not the path of a file"):
            await read(workspace, nothing)


async def test_a_listing_says_when_there_is_more(workspace: Path) -> None:
    for number in range(LIST_LIMIT + 5):
        (workspace / f"{number:05}").touch()
    listing = await list_files.call({}, ToolContext(workspace=workspace))
    assert len(listing["paths"]) == LIST_LIMIT
    assert listing["complete"] is False


async def test_folders_nested_without_end_are_listed_as_far_as_they_can_be(workspace: Path) -> None:
    fd = os.open(workspace, os.O_RDONLY)
    for _ in range(60):
        os.mkdir("d", dir_fd=fd)
        below = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    listing = await list_files.call({}, ToolContext(workspace=workspace))
    assert (len(listing["paths"]), listing["complete"]) == (DEPTH_LIMIT + 1, False)


async def test_a_name_that_is_not_utf8_is_shown_with_a_mark(workspace: Path) -> None:
    Path(os.fsdecode(os.fsencode(workspace) + b"/caf\xe9")).touch()
    assert await paths(workspace) == ["caf\ufffd"]


async def test_without_a_workspace_there_are_no_files() -> None:
    with pytest.raises(ToolError, match="no workspace"):
        await read(None, "a.txt")


async def test_a_disk_that_refuses_is_a_failure_and_leaves_the_old_text(workspace: Path) -> None:
    (workspace / "a.txt").write_text("old")
    script = """
import asyncio
from pathlib import Path
from surefoot.tools import ToolContext
from surefoot.tools.files import write_file
try:
    asyncio.run(write_file.call({"path": "a.txt", "text": "x" * 5000}, ToolContext(workspace=Path("."))))
except Exception as error:
    print(type(error).__name__, error)
"""
    done = await run([sys.executable, "-B", "-c", script], cwd=workspace, limits=Limits(file=1_000))
    assert done.stdout == "ToolError write_file failed: OSError: [Errno 27] File too large\n"
    assert {p.name: p.read_text() for p in workspace.iterdir()} == {"a.txt": "old"}


# --- no way out ---------------------------------------------------------------------------------------------------

OUT = [
    "../outside/secret.txt",
    "a/../../outside/secret.txt",
    "..",
    "./..//outside",
    "/etc/passwd",
    "//etc/passwd",
    "~/secret.txt",
    "~root/secret.txt",
    "a\0b",
]


@pytest.mark.parametrize("path", OUT)
async def test_a_path_that_leads_out_is_refused(workspace: Path, path: str) -> None:
    for call in (read(workspace, path), write(workspace, path, "x"), paths(workspace, path)):
        with pytest.raises(Retry, match="workspace"):
            await call
    assert (workspace.parent / "outside" / "secret.txt").read_text() == SECRET


async def test_links_are_not_followed(workspace: Path) -> None:
    outside = workspace.parent / "outside"
    (workspace / "folder").symlink_to(outside)
    (workspace / "file").symlink_to(outside / "secret.txt")
    (workspace / "root").symlink_to("/proc/self/root")
    (workspace / "inner").symlink_to("real")
    (workspace / "real").write_text("inside, but a link all the same")
    for path in ("file", "folder/secret.txt", "root/etc/passwd", "inner"):
        with pytest.raises(Retry, match="link"):
            await read(workspace, path)
    for path in ("folder/new.txt", "root/tmp/new.txt"):
        with pytest.raises(Retry, match="link"):
            await write(workspace, path, "x")
    with pytest.raises(Retry, match="link"):
        await paths(workspace, "folder")
    assert await paths(workspace) == ["file@", "folder@", "inner@", "real", "root@"]
    assert [p.name for p in outside.iterdir()] == ["secret.txt"]


async def test_writing_over_a_link_replaces_the_link_and_not_its_target(workspace: Path) -> None:
    secret = workspace.parent / "outside" / "secret.txt"
    (workspace / "soft").symlink_to(secret)
    os.link(secret, workspace / "hard")
    for name in ("soft", "hard"):
        await write(workspace, name, "mine")
        assert await read(workspace, name) == "mine"
    assert secret.read_text() == SECRET


async def test_a_file_with_a_second_name_is_not_read(workspace: Path) -> None:
    os.link(workspace.parent / "outside" / "secret.txt", workspace / "hard")
    with pytest.raises(Retry, match="hard link"):
        await read(workspace, "hard")


async def test_what_is_no_plain_file_is_not_opened_for_ever(workspace: Path) -> None:
    os.mkfifo(workspace / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(workspace)
        try:
            server.bind("socket")
        finally:
            os.chdir(here)
        for path in ("pipe", "socket"):
            with pytest.raises(Retry, match="not a plain file"):
                await read(workspace, path)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs renameat2")
async def test_a_folder_swapped_for_a_link_while_it_is_used_gives_no_way_out(workspace: Path) -> None:
    """A second thread keeps exchanging a folder with a link to the outside, as hostile code would."""
    (workspace / "door").mkdir()
    (workspace / "door" / "secret.txt").write_text("harmless")
    (workspace / "link").symlink_to(workspace.parent / "outside")
    libc, done, swaps = ctypes.CDLL(None), threading.Event(), 0
    names = [os.fsencode(workspace / name) for name in ("door", "link")]

    def swap() -> None:
        nonlocal swaps
        while not done.is_set():
            swaps += libc.renameat2(AT_FDCWD, names[0], AT_FDCWD, names[1], RENAME_EXCHANGE) == 0

    thread = threading.Thread(target=swap)
    thread.start()
    worked = refused = 0
    try:
        while worked < 100 or refused < 100:
            try:
                await write(workspace, "door/new.txt", "x")
                assert await paths(workspace, "door") == ["door/new.txt", "door/secret.txt"]
                assert await read(workspace, "door/secret.txt") == "harmless"
                worked += 1
            except Retry:
                refused += 1
    finally:
        done.set()
        thread.join()
    assert swaps > 200
    assert [p.name for p in (workspace.parent / "outside").iterdir()] == ["secret.txt"]


@given(st.text("./~ab\0\\", max_size=20))
def test_no_path_made_of_dots_and_slashes_names_anything_outside(path: str) -> None:
    from surefoot.tools.files import _parts

    try:
        parts = _parts(path)
    except Retry:
        return
    assert not {"..", ".", ""} & set(parts)
    assert not any("/" in part or "\0" in part for part in parts)
