"""Running the candidate: code against tests, in a process and a folder of its own."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from surefoot.reflection.base import VerifierBase, digest, tail
from surefoot.reflection.verifier import Case
from surefoot.storage.errors import SetupError
from surefoot.storage.records import Json, Verdict
from surefoot.tools.process import Finished, Limits, run
from surefoot.tools.thread import in_thread

PYTEST = (sys.executable, "-m", "pytest", "-q", "--tb=short", "-p", "no:cacheprovider", "--rootdir", ".")
SHOWN = 1500
"""Characters of the output's end that become the critique."""

_ENVIRONMENT = {
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONHASHSEED": "0",
    "PYTHONUTF8": "1",
    "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # importing what happens to be installed can take seconds
}
_LIMITS = Limits(seconds=60.0)
_NO_TESTS = frozenset({3, 4, 5})
"""pytest's own exit codes: internal error, wrong usage, no tests found. They say nothing of the candidate."""


class ExecutionCheck(VerifierBase):
    """Passes a candidate with which a command ends with exit code 0.

    The candidate becomes the file `path`, as it is where it is text and as JSON otherwise, beside `files`
    (path to text), in a temporary folder where the command runs; the default is pytest over `files`, with those
    plugins only that a conftest.py among them names. A candidate that hangs or crashes fails; a command that
    cannot be started abstains. The critique is the end of the output.

    exact: True unless said otherwise: the tests are taken as the specification. Say False where they are only
    examples of it, so that votes are needed beside them.
    proof: a regular expression that the output must match as well, so that a candidate that ends the process
    early, with exit code 0, does not pass; for pytest, that tests did pass.
    environment: variables for the process, which gets hardly any of this one's (`process.KEPT`): a candidate
        must not read the user's keys.

    The process is separate, not confined: it may do what the user may do. And a candidate that is malicious,
    not just wrong, can still fake success, for it runs in the same process as the tests.
    """

    def __init__(
        self,
        files: Mapping[str, str] | None = None,
        path: str = "solution.py",
        command: Sequence[str] | None = None,
        *,
        proof: str | None = None,
        environment: Mapping[str, str] | None = None,
        limits: Limits = _LIMITS,
        exact: bool = True,
        name: str = "execution",
        version: str | None = None,
    ) -> None:
        self.files = dict(files or {})
        self.path = path
        self.command = tuple(command or PYTEST)
        self.proof = proof if command else proof or r"\b[1-9][0-9]* passed\b"
        self.environment = dict(environment or {})
        self.limits = limits
        settings = [self.files, path, command, proof, self.environment]
        super().__init__(name, version or digest(*settings), "test", exact)
        _refuse_outside([*self.files, path])
        if path in self.files:
            raise SetupError(f"the candidate becomes {path!r}, which is one of the files: give it another path")
        if not command and not self.files:
            raise SetupError("nothing to run: give the tests as files, or a command")

    async def examine(self, case: Case) -> Verdict:
        with TemporaryDirectory(prefix="surefoot-") as folder:
            await in_thread(lambda: self._fill(Path(folder), case.candidate))
            environment = _ENVIRONMENT | self.environment
            done = await run(self.command, cwd=Path(folder), env=environment, limits=self.limits)
        return self._read(done, folder)

    def _fill(self, folder: Path, candidate: Json) -> None:
        text = candidate if isinstance(candidate, str) else json.dumps(candidate, ensure_ascii=False)
        for name, content in {**self.files, self.path: text}.items():
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content, encoding="utf-8")

    def _read(self, done: Finished, folder: str) -> Verdict:
        output = _everywhere(f"{done.stdout}\n{done.stderr}", folder).strip()
        evidence = {"exit_code": done.exit_code, "timed_out": done.timed_out}
        if done.timed_out:
            said = f"running it did not end within {self.limits.seconds:g} s"
            return self.rule("fail", f"{said}\n{tail(output, SHOWN)}".strip(), evidence=evidence)
        if self._no_tests(done):
            said = f"the tests did not run (exit code {done.exit_code})"
            return self.rule("abstain", f"{said}\n{tail(output, SHOWN)}".strip(), evidence=evidence)
        if done.exit_code != 0:
            said = tail(output, SHOWN) or f"it ended with exit code {done.exit_code} and no output"
            return self.rule("fail", said, evidence=evidence)
        if self.proof and re.search(self.proof, output) is None:
            said = "it ended with exit code 0 before the check was through: do not end the process"
            return self.rule("fail", f"{said}\n{tail(output, SHOWN)}".strip(), evidence=evidence)
        return self.rule("pass", evidence={"exit_code": 0})

    def _no_tests(self, done: Finished) -> bool:
        if self.command != PYTEST:
            return False
        return done.exit_code in _NO_TESTS or "No module named pytest" in done.stderr


def _everywhere(output: str, folder: str) -> str:
    """The output as it would be on any machine: the same failure has the same critique."""
    for path, name in ((folder + os.sep, ""), (folder, "."), (sys.prefix, "<python>"), (sys.base_prefix, "<python>")):
        output = output.replace(path, name)
    return output


def _refuse_outside(paths: Sequence[str]) -> None:
    for path in paths:
        parts = PurePosixPath(path)
        if not path or parts.is_absolute() or ".." in parts.parts or "\\" in path:
            raise SetupError(f"{path!r} leads out of the folder that the check runs in: give a relative path")
