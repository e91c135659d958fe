"""What is known of a run.

`fold` is the only thing that changes a `RunState`. A live run folds each record as it is appended to the
journal; a resumed run folds the journal again and stands where it stood. Nothing here awaits, reads a clock or
touches a store, so the whole flow can be tested on records alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from surefoot.engine.core.observations import Observations
from surefoot.engine.core.spending import Tally
from surefoot.planners.refs import siblings
from surefoot.reflection.trust import Support, Trust
from surefoot.reflection.votes import ahead
from surefoot.storage.records import Json, Step, Verdict

UNKNOWN = "\0unknown"
"""Key of the candidate "I do not know tasks of this kind"."""

HALF = 16
"""Characters of each half of an idempotency key: where the call is made, and the call itself."""

QUESTION = "q-"
"""Begins the key of a question about a call, before the call's own. In a LangGraph `Command(resume=...)` keys of 32
hexadecimal digits would be taken for ids of interrupts."""

Status = Literal["waiting", "ready", "expanded", "committed", "failed"]


@dataclass(slots=True)
class Candidate:
    """One proposed output; attempts with equal keys are votes for it."""

    key: str
    attempt: int
    """seq of the first attempt that proposed it."""
    output: Json
    votes: int = 1
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    """The latest verdict of each verifier."""
    refuted: bool = False
    nats: float = 0.0
    """What measured checks said of it, in log-odds."""
    by: dict[str, int] | None = None
    """Votes from sources other than the first."""

    def sources(self) -> tuple[str, ...]:
        """Where its votes came from."""
        others = self.by or {}
        return (*(("",) if self.votes > sum(others.values()) else ()), *others)


@dataclass(slots=True)
class StepState:
    """A step of the part of the plan that is still open."""

    seq: int
    parent: int | None
    step: Step
    needs: tuple[int, ...]
    status: Status = "waiting"
    pending: int = 0
    """Needs that are not committed yet."""
    feeds: list[int] = field(default_factory=list)
    """Siblings that wait for this step."""
    tried: int = 0
    """Attempts in all; numbers them."""
    attempts: int = 0
    """Attempts since the step was last opened, planned or rolled back."""
    errors: int = 0
    """Attempts without a candidate since the last candidate."""
    cut: int = 0
    """The last of them whose replies were cut off, however many tokens they had."""
    cut_calls: set[int] | None = None
    """Calls whose reply was cut off."""
    candidates: dict[str, Candidate] = field(default_factory=dict)
    samples: list[tuple[str, str, int]] | None = None
    """Source, key and form of each sample that had a candidate, in order."""
    source: str | None = None
    """Where samples come from now; None until that is settled."""
    others: dict[str, int] | None = None
    """Attempts since the step was opened whose source is not the first."""
    tried_fallbacks: tuple[str, ...] = ()
    """Sources and planners that it was handed to because the one before was not enough."""
    excused: int = 0
    """Refuted candidates from before that."""
    undone: int = 0
    """Times that its output was taken back: what it reads or it itself was wrong, and no check of its own saw it."""
    given: dict[str, Json] | None = None
    """A person's answer to the step itself."""
    budget_share: float = 0.0
    """Its share of the error budget, relative to the others'; 0: it needs none, an exact check speaks for it."""
    reserved: float = 0.0
    """What of the budget is kept for it and for steps that are yet to be planned under it."""
    critique: str = ""
    critiques: list[str] | None = None
    """Every critique since the step was opened."""
    reason: str = ""
    """Why it failed."""
    out_of_scope: bool = False
    """It failed because the model does not know tasks of its kind."""
    infrastructure_error: bool = False
    """It failed because a model or tool did, not for lack of evidence."""
    output: Json = None
    support: Support | None = None
    below: Trust | None = None
    """What its plan and everything committed under it stand on, itself included; None where all of it is exact."""
    asked: dict[str, Json] | None = None
    """Questions that a person must answer before this step goes on, by key, in the order in which they arose."""
    paused: dict[int, Json] | None = None
    """Samples that wait for answers, by number; `keys` are those of their questions."""
    version: int = 0
    """Version of the plan that it was expanded into; 0: not expanded."""
    children: dict[str, int] = field(default_factory=dict)
    drafted: list[int] = field(default_factory=list)
    """Steps of a plan whose `planned` event has not come yet."""
    open_children: int = 0
    broken: int | None = None
    """A child that failed."""
    delivers: Json = None
    """The plan's output, with references to its steps."""
    more: bool = False
    rollbacks: int = 0
    replans: int = 0
    inputs: dict[str, Json] | None = None
    """Its arguments with references resolved, once they were needed."""
    spare: tuple[StepState, ...] = ()
    """Steps of the last plan: what they committed may stand in this one."""
    mended: bool = False
    """The last plan had a step that failed; else it was its result that was refuted."""
    twins: dict[str, StepState] | None = None
    """Those of `spare` that stand for a step of this plan, by its id, once they were needed."""
    adopted: bool = False
    """Its output is that of its twin."""

    @property
    def open(self) -> bool:
        return self.status in ("ready", "expanded")

    @property
    def answered(self) -> list[int]:
        """Paused samples that can go on: something that they asked is asked no more."""
        asked = self.asked or {}
        return [number for number, one in (self.paused or {}).items() if not set(one["keys"]) <= asked.keys()]

    @property
    def waits(self) -> bool:
        """Whether nothing can be done for it before a person answers."""
        return self.asked is not None and not self.answered

    def ballot(self) -> dict[str, int]:
        """Votes by candidate, refuted ones left out."""
        return {key: one.votes for key, one in self.candidates.items() if not one.refuted}

    def ballots(self) -> dict[str, dict[str, int]]:
        """Votes by source and candidate, refuted ones left out."""
        if self.others is None:
            return {"": self.ballot()}
        found: dict[str, dict[str, int]] = {}
        for key, one in self.candidates.items():
            if not one.refuted:
                others = one.by or {}
                for source, votes in (("", one.votes - sum(others.values())), *others.items()):
                    if votes:
                        found.setdefault(source, {})[key] = votes
        return found

    def nats(self) -> dict[str, float] | None:
        """What measured checks said of each candidate; None where nothing was said."""
        return {key: one.nats for key, one in self.candidates.items() if one.nats} or None

    def drawn(self, source: str) -> int:
        """Attempts of a source since the step was opened."""
        others = self.others or {}
        return others.get(source, 0) if source else self.attempts - sum(others.values())

    def lead(self, candidate: Candidate) -> int:
        """Votes that a candidate is ahead of the runner-up; 0 where another one leads."""
        if len(self.candidates) == 1:
            return candidate.votes
        key, lead = ahead(self.ballot())
        return lead if key == candidate.key else 0


@dataclass(slots=True)
class RunState:
    """A run, as far as it is still open: what is committed inside a committed step has been let go."""

    steps: dict[int, StepState] = field(default_factory=dict)
    root: int = 0
    ready: list[int] = field(default_factory=list)
    """Steps that can be driven on, deepest last: taking from the end keeps the open part of the plan small."""
    spent: Tally = field(default_factory=Tally)
    committed: int = 0
    budget_shares: float = 0.0
    """Of all open steps: what is left of the error budget is shared over it."""
    trust: Trust = field(default_factory=Trust)
    answers: dict[str, Json] = field(default_factory=dict)
    """A person's answers, by the key of what was asked."""
    effects: dict[str, Json] = field(default_factory=dict)
    """Results of tools that must not run again, by idempotency key."""
    in_doubt: set[str] = field(default_factory=set)
    """Intents without a result: the tool may have run."""
    judged: dict[int, int] = field(default_factory=dict)
    """Step of each attempt that proposed a candidate which is still open."""
    finished: bool = False
    observed: Observations = field(default_factory=Observations)
    """What this run has shown of samples and verifiers."""

    def doubts(self, key: str) -> set[str]:
        """Intents without a result of the call that a key stands for, wherever in the run it was made."""
        return {one for one in self.in_doubt if one[HALF:] == key[HALF:]}

    def children(self, of: StepState) -> Iterator[StepState]:
        return (self.steps[seq] for seq in of.children.values())

    def outputs(self, value: Json, places: Mapping[str, int]) -> dict[str, Json]:
        """What the steps gave that a value refers to, by their ids in a plan."""
        return {name: self.steps[places[name]].output for name in siblings(value)}

    def take(self) -> StepState | None:
        """The next step that can be driven on; None where it is part of the plan no more."""
        return self.steps.get(self.ready.pop())
