"""What every verifier here has in common: its identity, how verdicts are written, and where errors go."""

from __future__ import annotations

import hashlib
import json
from pathlib import PurePath
from traceback import extract_tb, format_exception_only

from surefoot.reflection.verifier import Case
from surefoot.storage.records import Json, Ruling, Usage, Verdict
from surefoot.tools.guard import passes

LONGEST = 2000
"""Characters of a critique: it goes into the next prompt."""

_NOTHING = Usage()


class VerifierBase:
    """A verifier whose `examine` may raise: `verify` turns errors into verdicts, here and nowhere else.

    A cancelled check raises `asyncio.CancelledError` all the same, so that a run can be stopped while it checks; and
    Ctrl-C comes out.
    """

    def __init__(self, name: str, version: str, kind: str, exact: bool) -> None:
        self.name = name
        self.version = version
        self.kind = kind
        self.exact = exact

    async def verify(self, case: Case) -> Verdict:
        try:
            return await self.examine(case)
        except BaseException as error:
            if passes(error):
                raise
            return self.classify(error)

    async def examine(self, case: Case) -> Verdict:
        """The check itself."""
        raise NotImplementedError(f"{type(self).__name__} must define examine")

    def classify(self, error: BaseException) -> Verdict:
        """The verdict that an error in `examine` stands for; abstain, as long as it may be the verifier's own."""
        return self.broken(error)

    def rule(
        self,
        ruling: Ruling,
        critique: str = "",
        *,
        score: float | None = None,
        blame: str | None = None,
        evidence: Json = None,
        usage: Usage = _NOTHING,
    ) -> Verdict:
        """A verdict in this verifier's name."""
        return Verdict(
            self.name,
            ruling,
            self.version,
            self.kind,
            self.exact,
            clip(critique, LONGEST),
            score,
            blame,
            evidence,
            usage=usage,
        )

    def broken(self, error: BaseException) -> Verdict:
        """The abstention for an error inside the verifier; the evidence says what it was and where."""
        # Unlike str(error), this holds for an exception whose own text raises.
        said = clip("".join(format_exception_only(error)).strip(), 500)
        evidence = {"error": said, "at": _place(error)}
        return self.rule("abstain", f"{self.name} could not check the candidate: {said}", evidence=evidence)


def digest(*parts: Json) -> str:
    """A short fingerprint of a verifier's settings: statistics kept under it expire when they change."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def clip(text: str, limit: int) -> str:
    """The beginning of a text, marked where it was cut."""
    return text if len(text) <= limit else f"{text[: limit - 4]} ..."


def tail(text: str, limit: int) -> str:
    """The end of a text, marked where it was cut: programs say last what went wrong."""
    return text if len(text) <= limit else f"... {text[4 - limit :]}"


def _place(error: BaseException) -> str | None:
    """File and line that raised. The file's name only: a record must not tell how a machine is laid out."""
    frames = extract_tb(error.__traceback__)
    return f"{PurePath(frames[-1].filename).name}:{frames[-1].lineno}" if frames else None
