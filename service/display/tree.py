"""A run as a tree of steps, folded from its records as they come: what the live view and `show` draw."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from surefoot.storage.events import Backed, Failed, Planned
from surefoot.storage.records import Attempt, Event, JournalRecord, Json, ModelCall, PlannedStep, Step, Usage, Verdict
from surefoot.trajectories.standing import Standing, Status, asking


@dataclass(slots=True)
class Node:
    """One step, and what became of it so far."""

    seq: int
    parent: int | None
    step: Step
    needs: tuple[int, ...] = ()
    status: Status = "open"
    output: Json = None
    reason: str = ""
    basis: str = ""
    """What the commit rests on: exact, measured, prior, none."""
    attempts: int = 0
    sampled: bool = False
    missed: int = 0
    """Attempts without a candidate."""
    candidates: dict[int, tuple[str, Json]] = field(default_factory=dict)
    """Key and output by the seq of the attempt."""
    votes: dict[str, int] = field(default_factory=dict)
    refuted: set[str] = field(default_factory=set)
    """Keys of candidates that a verifier failed."""
    plan_votes: tuple[int, int] | None = None
    """For the accepted plan, and in all."""
    children: dict[int, None] = field(default_factory=dict)
    """seqs, in plan order."""
    hidden: int = 0
    """Committed steps under it that were let go."""

    @property
    def best(self) -> int:
        """Votes of the leading candidate."""
        return max(self.votes.values(), default=0)

    @property
    def rejected(self) -> int:
        """Attempts that were not accepted for what they were."""
        return self.missed + sum(self.votes.get(key, 1) for key in self.refuted)


class RunTree:
    """The steps of one run. With `keep`, only about so many: finished ones are let go, and counted."""

    def __init__(self, keep: int | None = None) -> None:
        self.keep = keep
        self.nodes: dict[int, Node] = {}
        self.root: Node | None = None
        self.standing = Standing()
        self.committed = 0
        """Steps committed, without the task itself."""
        self.rejected = 0
        self.usage = Usage()
        self._steps: dict[int, int] = {}
        """Step of each attempt with a candidate."""

    def add(self, record: JournalRecord) -> None:
        self.standing.add(record)
        if isinstance(record, PlannedStep):
            self._planned(record)
        elif isinstance(record, Attempt):
            self._attempt(record)
        elif isinstance(record, Verdict):
            self._verdict(record)
        elif isinstance(record, Event):
            self._event(record)
        elif isinstance(record, ModelCall):
            self.usage += record.usage

    def walk(self) -> Iterator[tuple[int, Node, tuple[bool, ...]]]:
        """Depth, node, and for each level whether it is the last of its siblings; in plan order."""
        if self.root is None:
            return
        stack: list[tuple[int, Node, tuple[bool, ...]]] = [(0, self.root, ())]
        while stack:
            depth, node, lasts = stack.pop()
            yield depth, node, lasts
            children = [self.nodes[seq] for seq in node.children if seq in self.nodes]
            below = [(depth + 1, child, (*lasts, child is children[-1])) for child in children]
            stack += reversed(below)

    def questions(self) -> list[Json]:
        """What a person has yet to answer, in plan order."""
        asking = (node.seq for node in self.nodes.values() if node.status == "asked")
        return [question for seq in asking for question in self.standing.questions(seq)]

    def active(self, node: Node) -> bool:
        """Whether it is being worked on: open, with everything that it needs committed."""
        if node.status != "open":
            return False
        needed = (self.nodes.get(seq) for seq in node.needs)
        return all(one is None or one.status == "committed" for one in needed)

    # --- folding --------------------------------------------------------------------------------------------

    def _planned(self, record: PlannedStep) -> None:
        node = Node(record.seq, record.parent, record.step, record.needs)
        self.nodes[record.seq] = node
        if record.parent is None:
            self.root = node
        elif (parent := self.nodes.get(record.parent)) is not None:
            parent.children[record.seq] = None

    def _attempt(self, record: Attempt) -> None:
        node = self.nodes.get(record.step)
        if node is None:
            return
        node.attempts += 1
        node.sampled = node.sampled or record.role in ("sample", "plan")
        if record.status in ("invalid", "error"):
            node.missed += 1
            node.reason = record.error or ""
            self.rejected += 1
        elif record.status == "proposed":
            node.candidates[record.seq] = (record.key, record.output)
            node.votes[record.key] = node.votes.get(record.key, 0) + 1
            self._steps[record.seq] = record.step

    def _verdict(self, record: Verdict) -> None:
        node = self.nodes.get(self._steps.get(record.attempt, -1))
        if node is None or record.ruling != "fail":
            return
        key = node.candidates[record.attempt][0]
        if key not in node.refuted:
            node.refuted.add(key)
            node.reason = record.critique
            self.rejected += node.votes.get(key, 1)

    def _event(self, event: Event) -> None:
        node = self.nodes.get(event.step) if event.step is not None else None
        if node is None:
            return
        if event.kind == "committed":
            self._commit(node, event)
        elif event.kind == "planned":
            self._expand(node, event)
        elif event.kind == "failed":
            failed: Failed = event.data
            node.reason = failed["reason"]
            self._restate(node)
        elif event.kind in ("asked", "answered"):
            node.reason = asking(self.standing.questions(node.seq))
            self._restate(node)
        elif (steps := self.standing.fell(event)) is not None:
            self._fall(node, steps)
        elif event.kind in ("resumed", "finished"):
            for one in self.nodes.values():
                self._restate(one)

    def _restate(self, node: Node) -> None:
        """How the node stands now; its parent's turn comes first."""
        before, node.status = node.status, self.standing.status(node.seq, node.parent)
        if node.status in ("undone", "replaced"):
            node.output = None
            self._uncount(node)
        if node is not self.root:
            self.committed += (node.status == "committed") - (before == "committed")

    def _uncount(self, node: Node) -> None:
        """What was let go under a node stands no more."""
        self.committed -= node.hidden
        node.hidden = 0

    def _fall(self, node: Node, steps: Iterable[int] | None) -> None:
        """Steps fell with all that is under them; without steps it is the node's plan that fell."""
        if not steps:
            self._uncount(node)
        below = [*(steps or node.children)]
        while below:
            if (one := self.nodes.get(below.pop())) is not None:
                self._restate(one)
                below += one.children

    def _commit(self, node: Node, event: Event) -> None:
        data: Backed = event.data or {}
        node.reason = ""
        self._restate(node)
        _, node.output = node.candidates.get(event.attempt or 0, ("", None))
        node.basis = data.get("basis", "") if data else "exact"
        self._forget(node)
        if node.status == "committed":  # and not part of a plan that was given up meanwhile
            self._let_go(node)

    def _expand(self, node: Node, event: Event) -> None:
        data: Planned = event.data or {}
        if not data.get("extend"):
            self._fall(node, node.children)
        key, _ = node.candidates.get(event.attempt or 0, ("", None))
        node.plan_votes = (node.votes.get(key, 0), node.attempts) if key else None
        self._forget(node)

    def _let_go(self, node: Node) -> None:
        """Keeps the tree small: beyond `keep`, committed steps and what is below them are history."""
        if self.keep is None or len(self.nodes) <= self.keep:
            return
        below = list(node.children)
        while below:
            if (child := self.nodes.pop(below.pop(), None)) is not None:
                self._forget(child)
                below += child.children
                node.hidden += child.hidden + (child.status == "committed")
        node.children = {}
        if node.parent is not None:
            del self.nodes[node.seq]
            if (parent := self.nodes.get(node.parent)) is not None:
                parent.children.pop(node.seq, None)
                parent.hidden += node.hidden + 1

    def _forget(self, node: Node) -> None:
        """Candidates of a step that is planned or committed: no more votes come for them."""
        for seq in node.candidates:
            self._steps.pop(seq, None)
        node.candidates = {}
