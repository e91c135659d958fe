"""Candidates: proposed, put before their checks, and recorded."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from surefoot.engine.core.state import Candidate, StepState
from surefoot.engine.running.runtime import StepRuntime
from surefoot.reflection.calibration import step_class
from surefoot.reflection.verifier import Case, Verifier
from surefoot.storage.records import Attempt, AttemptRole, AttemptStatus, Json, Step, Verdict


async def check(
    run: StepRuntime, candidate: Candidate, verifiers: Sequence[Verifier], case: Case, soft: Collection[str] = ()
) -> None:
    """Puts a candidate before verifiers in their order, and stops at the first that refutes it.

    What those named in `soft` say is evidence only.
    """
    for verifier in verifiers:
        verdict = await verifier.verify(case)
        if verdict.ruling == "abstain" and run.account.refused is not None:
            raise run.account.refused  # it could not ask its model, which is no word on the candidate
        nats, evidence = _weighed(run, verifier, verdict, candidate, case.step, verifier.name in soft)
        run.record(
            Verdict(  # `dataclasses.replace` takes seven times as long, twice a step
                verifier.name,  # whatever it calls itself in the verdict: rules and statistics go by this name
                verdict.ruling,
                verdict.version,
                verdict.kind,
                verdict.exact,
                verdict.critique,
                verdict.score,
                verdict.blame,
                evidence,
                run.seq(),
                candidate.attempt,
                verdict.usage,
                nats,
            )
        )
        if verdict.ruling == "fail" and verifier.name not in soft:
            return


def _weighed(
    run: StepRuntime, verifier: Verifier, verdict: Verdict, candidate: Candidate, step: Step, soft: bool
) -> tuple[float | None, Json]:
    """What a measured verifier's word weighs after those before it, and its evidence, which says what that rests on.

    No weight for an exact one, one not measured, and a fail that refutes.
    """
    if verdict.exact or verdict.ruling == "abstain" or (verdict.ruling == "fail" and not soft):
        return None, verdict.evidence
    if not run.context.calibration.knows(verifier.name):
        return None, verdict.evidence
    heard = [one for one in candidate.verdicts.values() if one.nats is not None and one.verifier != verifier.name]
    said = {one.verifier: one.ruling == "pass" for one in heard}
    place = (step_class(step), verifier.name, verifier.version)
    before = sum(one.nats or 0.0 for one in heard)
    found = run.context.calibration.weight(*place, verdict.ruling == "pass", said, before)
    if found is None:
        return None, verdict.evidence
    nats, basis = found
    if basis != "prior":
        return nats, verdict.evidence
    given = verdict.evidence
    kept = given if isinstance(given, dict) else {} if given is None else {"found": given}
    return nats, {**kept, "basis": basis}


def proposed(
    run: StepRuntime,
    step: StepState,
    output: Json,
    key: str,
    call: int | None = None,
    role: AttemptRole = "sample",
    source: str = "",
    form: int = 0,
) -> None:
    """Records an attempt that has a candidate."""
    ordinal = step.tried + 1
    run.record(Attempt(run.seq(), step.seq, ordinal, role, "proposed", output, None, key, call, source, form))


def missed(
    run: StepRuntime,
    step: StepState,
    error: str,
    call: int | None = None,
    role: AttemptRole = "sample",
    status: AttemptStatus = "error",
    source: str = "",
) -> None:
    """Records an attempt that has none."""
    run.record(Attempt(run.seq(), step.seq, step.tried + 1, role, status, error=error, call=call, source=source))
