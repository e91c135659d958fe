"""Files with a JSON object a line, and the tasks in one."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError

from surefoot.storage.errors import SetupError


class TaskRow(BaseModel):
    """One line of the file. Further keys are allowed and not read."""

    model_config = ConfigDict(extra="ignore", strict=True)

    id: str | int | None = None
    """Default: the number of its line."""
    task: str = Field(min_length=1, pattern=r"\S")
    inputs: dict[str, Any] = Field(default_factory=dict)
    answer: Any = None
    """The known answer. It is not looked at before the run has ended."""
    _line: int = PrivateAttr(0)

    @property
    def line(self) -> int:
        """Its number in the file."""
        return self._line


@dataclass(frozen=True, slots=True)
class Broken:
    """A line that is no task."""

    line: int
    error: str
    id: str | int | None = None


def lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines of a file, or of stdin for `-`, with their numbers, as they are reached; none is blank. Raises
    SetupError."""
    try:
        with nullcontext(sys.stdin.buffer) if str(path) == "-" else path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if line.strip(b"\xef\xbb\xbf \t\r\n"):
                    yield number, line
    except OSError as error:
        raise SetupError(
            f"cannot read {path}: {error.strerror}; --file takes a file with a JSON object a line"
        ) from None


def read(path: Path) -> Iterator[TaskRow | Broken]:
    """The tasks of a file, as they are reached. Raises SetupError."""
    return (row(number, line) for number, line in lines(path))


def row(number: int, line: bytes) -> TaskRow | Broken:
    """The task on one line, or what is wrong with it."""
    try:
        value = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError:
        return Broken(number, "it is not UTF-8")
    except (ValueError, RecursionError) as error:
        return Broken(number, f"it is no JSON: {error}")
    if not isinstance(value, dict):
        return Broken(number, "it is no JSON object")
    try:
        found = TaskRow.model_validate(value)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        known = value.get("id")
        return Broken(number, wrong, known if isinstance(known, (str, int)) and not isinstance(known, bool) else None)
    found = found if found.id is not None else found.model_copy(update={"id": number})
    found._line = number
    return found
