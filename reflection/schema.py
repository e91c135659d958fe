"""Is the candidate of the type that its contract promises?"""

from __future__ import annotations

from collections.abc import Mapping

from surefoot.models.schema import check, short
from surefoot.reflection.base import VerifierBase, digest
from surefoot.reflection.verifier import Case
from surefoot.storage.records import Json, Verdict


def check_schema(value: Json, schema: Json) -> str | None:
    """What is wrong with a value, in one sentence that names the place, or None. A schema of None is anything.

    A schema that is `const` alone states an exact value; a plan may hold a different one per step, so it is
    compared without being compiled. Raises SetupError where the schema is none.
    """
    if schema is None:
        return None
    if isinstance(schema, dict) and len(schema) == 1 and "const" in schema:
        wanted = schema["const"]
        return None if same(value, wanted) else f"$: must be exactly {short(wanted)}, not {short(value)}"
    return check(schema)(value)


def same(left: Json, right: Json) -> bool:
    """JSON equality: 1 is 1.0, and true is not 1."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, (str, int, float)):
        return bool(left == right)
    if isinstance(left, (list, tuple)) and isinstance(right, (list, tuple)):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(same(item, right[key]) for key, item in left.items())
    return bool(left == right)


class SchemaCheck(VerifierBase):
    """Passes a candidate that fits a JSON Schema: the given one, else what the step's contract gives.

    Not exact: a well-typed answer may still be wrong. Where the step's inputs break what the contract takes,
    no candidate can be right, and it abstains; `blame` names the sibling that the input came from.
    """

    def __init__(self, schema: Json = None, *, name: str = "schema", version: str | None = None) -> None:
        super().__init__(name, version or digest(schema), "rule", exact=False)
        self.schema = schema

    async def examine(self, case: Case) -> Verdict:
        contract = case.step.contract
        problem = check_schema(dict(case.inputs), contract.takes)
        if problem is not None:
            said = f"the inputs of the step break its contract, at {problem}"
            return self.rule("abstain", said, blame=_source(case, problem))
        problem = check_schema(case.candidate, contract.gives if self.schema is None else self.schema)
        if problem is None:
            return self.rule("pass")
        return self.rule("fail", f"the output does not fit its type, at {problem}")


def _source(case: Case, problem: str) -> str | None:
    """id of the sibling whose output is the argument that the problem's path starts with."""
    for name, value in (case.step.args or {}).items():
        if problem.startswith((f"$.{name}:", f"$.{name}.", f"$.{name}[")) and isinstance(value, dict):
            reference = value.get("$ref")
            return reference.partition(".")[0] if isinstance(reference, str) else None
    return None
