"""Files of a run's workspace: `read_file`, `write_file`, `list_files`.

A path is walked from the workspace down, one component at a time, each opened relative to the folder above it and
never through a link. So there is no moment between a check and a use in which a link could be put in the way; a
concurrent rename makes a call fail, not escape. Not covered: file systems mounted inside the workspace.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import stat
import uuid
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from surefoot.storage.errors import Retry, ToolError
from surefoot.tools.function import tool
from surefoot.tools.tool import ToolContext

READ_LIMIT = 200_000
"""Bytes that one call reads."""
WRITE_LIMIT = 2_000_000
"""Bytes that one call writes."""
LIST_LIMIT = 1_000
"""Paths that one call lists."""
DEPTH_LIMIT = 40
"""Folders inside each other that one call lists: each is walked to from the top."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Without O_NONBLOCK, opening a named pipe would wait for a writer.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

_MENDABLE = {
    errno.ELOOP: "it is a link, and links are not followed",
    errno.ENAMETOOLONG: "a part of it is too long",
    errno.ENXIO: "it is not a plain file",
}

WhichFile = Annotated[str, Field(description="Path in the workspace, for example 'data/prices.csv'")]


@dataclass(frozen=True, slots=True)
class Listing:
    """What a folder holds."""

    paths: list[str]
    """Sorted; a folder ends in "/", a link, which is not followed, in "@"."""
    complete: bool
    """False where there are more, or deeper ones, than could be listed."""


@tool(effect="pure", output_limit=None)
def read_file(
    path: WhichFile,
    context: ToolContext,
    first_line: Annotated[int, Field(ge=1, description="Line to start at, from 1")] = 1,
    lines: Annotated[int | None, Field(ge=1, description="How many lines; all, unless given")] = None,
) -> str:
    """Read a text file (UTF-8) of the workspace, or some lines of it."""
    with _opened(_root(context), path) as file:
        size = os.fstat(file).st_size
        if lines is None and first_line == 1:
            if size > READ_LIMIT:
                raise Retry(
                    f"{path} has {size} bytes, one call reads {READ_LIMIT}; read it in parts with first_line and lines"
                )
            return _text(_read(file, size), path)
        return _text(_part(file, first_line, lines, path), path)


@tool(effect="idempotent")
def write_file(
    path: WhichFile, text: Annotated[str, Field(description="The whole new content")], context: ToolContext
) -> str:
    """Write a text file (UTF-8) of the workspace, replacing what was there; missing folders are made."""
    data = _encoded(text)
    if len(data) > WRITE_LIMIT:
        raise Retry(f"the text has {len(data)} bytes, one file may have {WRITE_LIMIT}; write several files")
    *folders, name = _parts(path, "a file")
    with _folder(_root(context), folders, path, make=True) as folder:
        _replace(folder, name, data, path)
    return f"wrote {len(data)} bytes to {path}"


@tool(effect="pure")
def list_files(
    context: ToolContext,
    folder: Annotated[str, Field(description="Folder in the workspace; all of it, unless given")] = ".",
) -> Listing:
    """List the files of the workspace, those in sub-folders too.

    A folder ends in "/", a link, which is not followed, in "@".
    """
    return _collect(_root(context), _parts(folder), folder)


def _root(context: ToolContext) -> Path:
    if context.workspace is None:
        raise ToolError("this run has no workspace, so there are no files to use; run it with a workspace")
    context.workspace.mkdir(parents=True, exist_ok=True)
    return context.workspace


def _parts(path: str, wanted: str = "") -> list[str]:
    """The components of a path in the workspace. Raises Retry where it points elsewhere; links are refused later."""
    if "\0" in path or path.startswith(("/", "~")):
        raise Retry(f"{path!r} is not a path in the workspace; give one relative to it, without '/' or '~' in front")
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise Retry(f"{path!r} has '..' in it, which is refused; give a path inside the workspace")
    if wanted and (not parts or path.endswith("/")):
        raise Retry(f"{path!r} is not the path of {wanted}")
    return parts


@contextlib.contextmanager
def _folder(root: Path, parts: list[str], path: str, make: bool = False) -> Iterator[int]:
    """A descriptor of the folder at `parts`, reached without following any link below the root."""
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in parts:
            with _explained(path):
                below = _enter(fd, part, make)
            os.close(fd)
            fd = below
        yield fd
    finally:
        os.close(fd)


def _enter(fd: int, part: str, make: bool) -> int:
    if make:
        with contextlib.suppress(FileExistsError):
            os.mkdir(part, 0o777, dir_fd=fd)
    return os.open(part, _FOLDER, dir_fd=fd)


@contextlib.contextmanager
def _opened(root: Path, path: str) -> Iterator[int]:
    """A descriptor of a plain file, for reading."""
    *folders, name = _parts(path, "a file")
    with _folder(root, folders, path) as folder:
        with _explained(path):
            fd = os.open(name, _READ, dir_fd=folder)
        try:
            _check(os.fstat(fd), path)
            yield fd
        finally:
            os.close(fd)


def _check(status: os.stat_result, path: str) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise Retry(f"{path} is a folder; list_files shows what is in it")
    if not stat.S_ISREG(status.st_mode):
        raise Retry(f"{path} is not a plain file")
    if status.st_nlink > 1:
        # A hard link may be the second name of a file outside, which no walk can tell.
        raise Retry(f"{path} has more than one name (a hard link), so it may lie outside the workspace; copy it first")


@contextlib.contextmanager
def _explained(path: str) -> Iterator[None]:
    """The system's refusals in words that a model can act on. Links show as ELOOP, or as no folder (ENOTDIR)."""
    try:
        yield
    except FileNotFoundError:
        raise Retry(f"there is no {path} in the workspace; list_files shows what there is") from None
    except NotADirectoryError:
        raise Retry(f"a part of {path} is a file or a link, not a folder; links are not followed") from None
    except OSError as error:
        # What a different path cannot mend (no space, no permission) is a failure of the tool.
        if error.errno not in _MENDABLE:
            raise
        raise Retry(f"{path} cannot be used: {_MENDABLE[error.errno]}") from None


def _read(fd: int, limit: int) -> bytes:
    with os.fdopen(fd, "rb", closefd=False) as file:
        return file.read(limit)


def _part(fd: int, first: int, count: int | None, path: str) -> bytes:
    """Lines `first` to `first + count - 1`, without ever holding more than twice the limit, however long a line is."""
    kept = bytearray()
    at = 1
    with os.fdopen(fd, "rb", closefd=False) as file:
        while (count is None or at < first + count) and (line := file.readline(READ_LIMIT)):
            if at >= first:
                kept += line
            if len(kept) > READ_LIMIT:
                raise Retry(f"these lines of {path} have more than {READ_LIMIT} bytes; read fewer lines at a time")
            at += line.endswith(b"\n")
    if not kept and first > 1:
        raise Retry(f"{path} has no line {first}")
    return bytes(kept)


def _text(data: bytes, path: str) -> str:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Retry(f"{path} is not UTF-8 text (byte {error.start} is no part of it)") from None
    if "\0" in text:
        raise Retry(f"{path} is a binary file; only text can be read")
    return text


def _encoded(text: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise Retry(f"the text cannot be written as UTF-8: character {error.start} is half of a pair") from None


def _replace(folder: int, name: str, data: bytes, path: str) -> None:
    """Write beside the file and rename over it: readers see the old content or the new one, also after a crash."""
    beside = f".{uuid.uuid4().hex}.tmp"
    with _explained(path):
        mode = _mode(folder, name, path)
        fd = os.open(beside, _CREATE, 0o666, dir_fd=folder)
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(data)
                if mode is not None:
                    os.fchmod(fd, mode)
                file.flush()
                os.fsync(fd)
            os.replace(beside, name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            os.unlink(beside, dir_fd=folder)
            raise


def _mode(folder: int, name: str, path: str) -> int | None:
    """Permissions of the file that is replaced. A link is replaced itself; what it points to is left alone."""
    try:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(status.st_mode):
        raise Retry(f"{path} is a folder; give the path of a file")
    return stat.S_IMODE(status.st_mode) if stat.S_ISREG(status.st_mode) else None


def _collect(root: Path, start: list[str], path: str) -> Listing:
    """What is in a folder and below it, nearest first, as far as it can be listed."""
    found: list[str] = []
    complete = True
    todo = deque([start])
    while todo and len(found) <= LIST_LIMIT:
        parts = todo.popleft()
        if len(parts) > DEPTH_LIMIT:
            complete = False
            continue
        try:
            with _folder(root, parts, path) as folder:
                entries = _entries(folder)
        except Retry:
            # Gone, or made a link, since it was seen: it is listed, and not entered.
            if parts is start:
                raise
            continue
        found += ["/".join([*parts, name]) + mark for name, mark in entries]
        todo += [[*parts, name] for name, mark in entries if mark == "/"]
    return Listing(sorted(found[:LIST_LIMIT]), complete=complete and len(found) <= LIST_LIMIT)


def _entries(folder: int) -> list[tuple[str, str]]:
    """Names in one folder, sorted, each with its mark; one more than can be listed tells that there are more."""
    with os.scandir(folder) as entries:
        some = itertools.islice(entries, LIST_LIMIT + 1)
        # A name that is not UTF-8 can be shown, not opened: arguments are text.
        return sorted((os.fsencode(entry.name).decode("utf-8", "replace"), _mark(entry)) for entry in some)


def _mark(entry: os.DirEntry[str]) -> str:
    if entry.is_symlink():
        return "@"
    return "/" if entry.is_dir(follow_symlinks=False) else ""
