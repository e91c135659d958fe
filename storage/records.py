"""The vocabulary: what a run is made of. The words for what is asked of it stand in `plan.py`, and are here too.

Values: nothing in one changes once it is made. `sql/tables.py` gives each journal record its table; every other
folder speaks these words. One word, one meaning: a *step* is a node of a plan, an *attempt* one try at it, a
*verdict* what one verifier says of a candidate, a *commit* the acceptance that lets later steps read it.

Inside a run every record has a `seq`: one counter for all kinds, so that order never depends on a clock.
"""

from __future__ import annotations

import time
from dataclasses import field
from enum import StrEnum
from typing import Literal

from surefoot.storage.outcome import Outcome as Outcome
from surefoot.storage.plan import ANYTHING as ANYTHING
from surefoot.storage.plan import Budget as Budget
from surefoot.storage.plan import Contract as Contract
from surefoot.storage.plan import Json as Json
from surefoot.storage.plan import Plan as Plan
from surefoot.storage.plan import Step as Step
from surefoot.storage.plan import Task as Task
from surefoot.storage.plan import given as given
from surefoot.storage.plan import record as record
from surefoot.storage.plan import ref as ref


class Effect(StrEnum):
    """What running a tool again would do to the world."""

    PURE = "pure"
    """Nothing: it may run any number of times."""
    IDEMPOTENT = "idempotent"
    """Nothing more than the first time, given the same idempotency key."""
    ONCE = "once"
    """Harm: it must not run again unless a person says so."""


Ruling = Literal["pass", "fail", "abstain"]
Role = Literal["plan", "act", "judge", "propose"]
Basis = Literal["exact", "measured", "prior", "none"]


@record
class Usage:
    """What was spent. Sums with `+`."""

    attempts: int = 0
    samples: int = 0
    """Replies asked of models."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    usd: float = 0.0

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.attempts + other.attempts,
            self.samples + other.samples,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.cached_tokens + other.cached_tokens,
            self.usd + other.usd,
        )


# --- what the journal holds, in order of seq ----------------------------------------------------------------


@record
class PlannedStep:
    """A step took its place in the run's plan."""

    seq: int
    parent: int | None
    """seq of the step that was expanded; None for the root, which is the task itself."""
    ordinal: int
    version: int
    """Version of the parent's plan, from 1."""
    step: Step
    needs: tuple[int, ...] = ()
    """seqs of the siblings that must be committed first."""


AttemptStatus = Literal["proposed", "invalid", "error", "unknown"]
"""proposed: there is a candidate; invalid: output did not parse or broke its contract; error: the model or
a tool failed; unknown: the model says that the task is beyond it."""

AttemptRole = Literal["sample", "tool", "plan", "result", "reused", "person"]


@record
class Attempt:
    """One try at a step, with the candidate that it proposes."""

    seq: int
    step: int
    ordinal: int
    role: AttemptRole
    status: AttemptStatus
    output: Json = None
    """The candidate; for a plan, the plan as JSON."""
    error: str | None = None
    key: str = ""
    """Canonical form: candidates with equal keys are one candidate."""
    call: int | None = None
    """seq of the model call that proposed it."""
    source: str = ""
    """Where the sample came from, where it was not the step's model asked as it is: another representation or model."""
    form: int = 0
    """In which form of the question it was asked; 0 is the usual one."""


@record
class Verdict:
    """What one named, versioned verifier says of one candidate. An error inside a verifier is abstain."""

    verifier: str
    ruling: Ruling
    version: str = "1"
    kind: str = "rule"
    """rule, program, test, recompute, vote, judge, model, person."""
    exact: bool = False
    """A pass proves the property that it checks; it does not merely make it likely."""
    critique: str = ""
    """What is wrong and how to mend it: goes to the next attempt."""
    score: float | None = None
    blame: str | None = None
    """id of the step whose committed output this verdict contradicts."""
    evidence: Json = None
    seq: int = 0
    attempt: int = 0
    usage: Usage = Usage()
    nats: float | None = None
    """What it adds to the candidate's log-odds, where the verifier was measured. None: a pass adds nothing, and a fail
    refutes the candidate."""


@record
class Message:
    """One message of a conversation with a model, stored once; `parent` is the message before it."""

    seq: int
    parent: int | None
    role: Literal["system", "user", "assistant", "tool"]
    content: str
    tool_calls: Json = None
    tool_call_id: str | None = None
    sampled: bool = False
    """The model wrote it."""
    call: int | None = None
    token_ids: bytes | None = None
    """This message's own tokens (int32, little endian); the path from the root concatenates to what the model saw."""
    mask: bytes | None = None
    """One byte a token: 1 where the model sampled it."""
    logprobs: bytes | None = None
    """float32 a sampled token."""
    token_source: Literal["engine", "none"] = "none"
    extra: Json = None
    """Fields of an assistant's message that are the provider's own, such as its reasoning."""


@record
class ModelCall:
    """One request to a model, and what the provider reported."""

    seq: int
    step: int
    role: Role
    model: str
    revision: str
    policy: int | None
    prompt: int | None
    """seq of the last message of the prompt."""
    completion: int | None
    """seq of the reply's message; None where no reply came."""
    attempt: int | None = None
    sampling: Json = None
    finish_reason: str | None = None
    usage: Usage = Usage()
    usage_source: Literal["provider", "counted", "estimated", "none"] = "none"
    latency_ms: float = 0.0
    retries: int = 0
    repaired: bool = False
    """The text broke JSON syntax and was mended before parsing; the raw text is in the message."""
    error: str | None = None
    trainable: bool = False
    """Exact token ids and log-probabilities were captured while sampling."""


@record
class ToolCall:
    """One execution of a tool."""

    seq: int
    step: int
    name: str
    arguments: Json
    call: int | None = None
    """seq of the model call that asked for it."""
    call_id: str | None = None
    arguments_raw: str | None = None
    result: Json = None
    error: str | None = None
    retry: bool = False
    """The error went back to the model, which may try again."""
    effect: Effect = Effect.PURE
    idempotency_key: str | None = None
    latency_ms: float = 0.0


EventKind = Literal[
    "started",
    "planned",
    "committed",
    "failed",
    "rolled_back",
    "escalated",
    "canary",
    "intent",
    "asked",
    "paused",
    "answered",
    "resumed",
    "finished",
]


@record
class Event:
    """A decision, or something that happened to the run as a whole."""

    seq: int
    kind: EventKind
    step: int | None = None
    attempt: int | None = None
    data: Json = None


@record
class Reward:
    """A number that training may use. Absent is not zero."""

    seq: int
    target: Literal["run", "step", "attempt"]
    target_seq: int | None
    name: str
    value: float
    source: str = ""


SETTLED = "settled"
"""Name of the reward that says that a run, or a step of it, has been settled, so that nothing is counted twice: a mark
and no reward. Exports leave it out."""

JournalRecord = PlannedStep | Attempt | Verdict | Message | ModelCall | ToolCall | Event | Reward


@record
class Feedback:
    """A person's word on a run or a step of it: beside the verdicts, never in place of them."""

    run_id: str
    score: float | None = None
    step: int | None = None
    key: str = "correctness"
    comment: str = ""
    correction: Json = None
    source: Literal["HUMAN", "LLM", "CODE", "END_USER"] = "HUMAN"
    annotator: str = ""
    created_at: float = field(default_factory=time.time)
    """Seconds since the epoch, for people; nothing is ordered by it."""

    @property
    def right(self) -> bool | None:
        """Whether it calls the result right: a score on correctness of .5 or more does. None: it does not say."""
        return None if self.score is None or self.key != "correctness" else self.score >= 0.5


@record
class Policy:
    """A model at one exact revision."""

    model: str
    revision: str = ""
    weights_sha256: str = ""
    tokenizer_sha256: str = ""
    template_sha256: str = ""


# --- what a user gets back ----------------------------------------------------------------------------------


@record
class Reliability:
    """How far a result can be trusted, and what that rests on."""

    target: float | None
    predicted: float | None
    """Probability that the output is right, given that it was accepted; None where nothing was verified."""
    silent_error_bound: float | None
    """Upper bound of the probability that the accepted output is wrong."""
    basis: Basis
    """The weakest support under any step: exact checks, measured rates, or a stated prior."""
    abstention: float | None = None
    """Chance that a run like this one would have abstained: some step would not have got its evidence."""
    samples: float | None = None
    """Samples drawn for steps that no exact check settled."""
    optimum: float | None = None
    """Wald's bound for the same steps: the fewest samples on average with which any test could have done it."""
    by_votes: float | None = None
    """What would be predicted if the model had no misconceptions: questions that it nearly always gets wrong in the
    same way, which votes cannot show. None where truth was measured."""
