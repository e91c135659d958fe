"""What was measured of samples and verifiers, as beliefs for the runs to come.

A row is kept by class of step, policy (a model at one revision), source of samples, verifier and version: when any of
them changes, the old row does not match any more and the new one starts from nothing. Below `MEASURED` observations
the stated prior stands.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import combinations
from math import inf

from surefoot.reflection.correlation import concentration
from surefoot.reflection.evidence import Belief
from surefoot.reflection.forms import FORMS, FormCounts, Openings, right_in, split_in
from surefoot.reflection.rates import Beta, Rates
from surefoot.reflection.vote_belief import UNKNOWN, Pattern, Truth, VoteBelief, ordered
from surefoot.storage.learned import Agreement, Checking, Learned, Lesson, Sampling
from surefoot.storage.records import Basis, Json, Step

DEEP = 3
"""Words of other verifiers, at the most, after which a verifier is measured."""

FORMAL = ("schema", "type", "structure")
"""Checks of the engine's own that look at the form alone; they are not measured."""

MEASURED = 20
"""Prompts, and candidates of either kind, from which on a rate counts as measured."""

PLENTY = 60
"""Prompts from which on rates and pairs alone tell how samples err together, more finely than the grid of votes. With
fewer, the quantile of that is so wide that forty-seven votes of forty-nine were not enough."""

HINT = 4.0
"""Prompts that what other classes of a policy showed may be worth to a class, however many they were."""

OFTEN = 2.0 - 0.1
"""Steps that must have been told a text before it is offered to others; counts fade a little."""

LESSONS = 2
"""Texts on trial at a class of steps."""

USUAL_TEMPERATURE = 1.0
"""What a model samples at where nothing else is said, and what its card was measured at."""

Shape = tuple[str, Truth]
"""How the samples of a prompt fell into answers and forms, as `shape_of` writes it, and what is known of them."""

Known = Sequence[tuple[str, bool]]
"""Samples of one prompt in the order drawn: canonical form, and whether it is right."""


def policy_of(model: str, revision: str, temperature: float | None) -> str:
    """The policy that statistics are kept by: at another temperature a model is right at another rate."""
    label = f"{model}@{revision}"
    return label if temperature in (None, USUAL_TEMPERATURE) else f"{label} t={temperature:g}"


def source_of(lesson: str) -> str:
    """The name by which samples that were given a lesson are counted."""
    return f"lesson-{hashlib.sha256(lesson.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def step_class(step: Step) -> str:
    """The class that statistics of a step are kept by."""
    return step.kind or step.tool or step.planner or "answer"


def tally(kind: str, policy: str, source: str, known: Known, *, complete: bool = False) -> Sampling:
    """Counts of one prompt.

    complete: the number of samples was fixed beforehand, so that all of them and all their pairs may be counted; a
    prompt then counts as one, however many samples it has, and its pairs as those of them that share no sample. Else
    sampling stopped when it went well, and only the first sample, and the one after it, are free of that choice.
    """
    if not known:
        return Sampling(kind, policy, source)
    if not complete:
        (key, right), *rest = known[:2]
        if right:
            return Sampling(kind, policy, source, 1, 1, 0)
        failed = [other for other, fine in rest if not fine]
        same = float(failed == [key])
        thrice = same * (len(known) > 2 and known[2] == (key, False))
        return Sampling(kind, policy, source, 1, 0, 1, len(rest), len(failed), same, thrice)
    size = len(known)
    counts = Counter(key for key, right in known if not right)
    wrong = counts.total()
    if size == 1:
        return Sampling(kind, policy, source, 1, 1 - wrong, wrong)
    pairs = 2 * (size - 1)  # size / 2 pairs out of size * (size - 1) in either order
    again, same = wrong * (wrong - 1) / pairs, sum(count * (count - 1) for count in counts.values()) / pairs
    triples = sum(count * (count - 1) * (count - 2) for count in counts.values())
    thrice = triples / (pairs * (size - 2)) if size > 2 else 0.0
    return Sampling(kind, policy, source, 1, 1 - wrong / size, wrong / size, wrong / 2, again, same, thrice)


def belief_of(counts: Sampling, stated: Belief) -> Belief:
    """What these counts say of a source; the stated belief where they are too few."""
    if counts.prompts < MEASURED:
        return stated
    p = Beta(counts.right, counts.wrong)
    if not counts.pairs:  # nothing says how alike errors are: that part is still only stated
        if stated.basis == "measured" and p.upper() >= stated.p:
            return stated
        return replace(stated, p=p.mean, low=p.lower(), basis="prior")
    alike = 1 / (1 + concentration(p.mean, (counts.again + 0.5) / (counts.pairs + 1)))
    # Pairs of one prompt share its difficulty: so many of them are worth as much as one each of other prompts.
    each = max(counts.pairs / counts.wrong, 1.0) if counts.wrong else 1.0
    worth = 1 / (1 + (each - 1) * alike)
    again = Beta(worth * counts.again, worth * max(counts.pairs - counts.again, 0.0))
    same = Beta(worth * counts.same, worth * max(counts.again - counts.same, 0.0))
    c = concentration(p.mean, again.mean)
    third = 1 - p.mean if c == inf else ((1 - p.mean) * c + 2) / (c + 2)  # P(wrong | two wrong before)
    wrong = counts.same * third
    held = Beta(worth * counts.thrice, worth * max(wrong - counts.thrice, 0.0))
    return replace(
        stated,
        p=p.mean,
        low=p.lower(),
        basis="measured",
        concentration=c,
        low_concentration=concentration(p.mean, again.upper()),
        same=same.mean,
        high_same=same.upper(),
        held=max(held.mean, same.mean),
    )


def patterns(shapes: Mapping[Shape, float], forms: Sequence[int] = FORMS) -> dict[Pattern, float]:
    """Shapes of samples as beliefs about votes learn from them: all samples, or those of the one form that is kept."""
    found: dict[Pattern, float] = {}
    for (shape, truth), prompts in shapes.items():
        split = split_in(shape)
        right = right_in(split, truth)
        counts = [sum(one[form] for form in forms) for one in split]
        if not any(counts):
            continue
        if right is not None:
            truth = str(counts[right]) if right >= 0 else "0"
        elif counts != [sum(one) for one in split]:
            truth = UNKNOWN  # which answer led in one form alone is not said
        pattern = (ordered(counts), truth)
        found[pattern] = found.get(pattern, 0.0) + prompts
    return found


def belief_in(votes: VoteBelief) -> Belief:
    """A source as votes and labels taught it."""
    basis: Basis = "measured" if votes.truths >= MEASURED else "prior"
    low, _ = votes.interval()
    return Belief(votes.p, basis, votes.concentration, votes.same, low=low, votes=votes)


def words(said: Mapping[str, bool]) -> str:
    """What verifiers said of a candidate, in one form whatever their order: what another's rates are taken after."""
    return " ".join(f"{name}={'pass' if passed else 'fail'}" for name, passed in sorted(said.items()))


def subsets(said: Mapping[str, bool]) -> Iterable[str]:
    """Every selection of at most `DEEP` of them, for counting: which of them come first in a run is not known."""
    for size in range(min(len(said), DEEP) + 1):
        for chosen in combinations(sorted(said.items()), size):
            yield words(dict(chosen))


class Calibration:
    """Everything measured, by what it was measured on."""

    def __init__(self, learned: Iterable[Learned] = ()) -> None:
        self._samplings: dict[tuple[str, str, str], Sampling] = {}
        self._checkings: dict[tuple[str, str, str, str], dict[str, Checking]] = {}
        self._verifiers: set[str] = set()
        self._lessons: dict[str, list[Lesson]] = {}
        self._agreements: dict[str, dict[tuple[str, str], dict[Shape, float]]] = {}
        """By policy, and class and source; then by shape and truth."""
        self._votes: dict[tuple[str, str, str], VoteBelief] = {}
        for one in learned:
            if isinstance(one, Sampling):
                self._samplings[one.step_class, one.policy, one.source] = one
            elif isinstance(one, Checking):
                self._checkings.setdefault((one.step_class, one.verifier, one.version, one.after), {})[one.origin] = one
                self._verifiers.add(one.verifier)
            elif isinstance(one, Agreement):
                found = self._agreements.setdefault(one.policy, {}).setdefault((one.step_class, one.source), {})
                if one.prompts > 0:  # a label that came twice may leave a little less than nothing
                    found[one.counts, one.truth] = one.prompts
            else:
                self._lessons.setdefault(one.step_class, []).append(one)

    def belief(self, kind: str, policy: str, source: str, stated: Belief) -> Belief:
        """What is believed of samples of a source on steps of a class."""
        counts = self._samplings.get((kind, policy, source))
        return stated if counts is None else belief_of(counts, stated)

    def votes(self, kind: str, policy: str, source: str, run: Mapping[Pattern, float] | None = None) -> VoteBelief:
        """What counts of answers, labelled or not, tell of a source on steps of a class.

        It starts from what the policy's other classes and sources showed, as from a hint of a few prompts.
        run: what the run that asks has seen itself.
        """
        place = (kind, policy, source)
        if place not in self._votes:
            kept = self.forms(kind, policy, source).kept
            mine: dict[Pattern, float] = {}
            others: dict[Pattern, float] = {}
            for (other, way), shapes in self._agreements.get(policy, {}).items():
                into = mine if (other, way) == (kind, source) else others
                for pattern, prompts in patterns(shapes, kept if into is mine else FORMS).items():
                    into[pattern] = into.get(pattern, 0.0) + prompts
            self._votes[place] = VoteBelief().learnt(others, HINT).learnt(mine)
        return self._votes[place].learnt(run or {})

    def classes(self) -> list[tuple[str, str, str]]:
        """Class, policy and source of whatever votes were kept of."""
        return sorted((kind, policy, way) for policy, found in self._agreements.items() for kind, way in found)

    def forms(self, kind: str, policy: str, source: str) -> FormCounts:
        """What asking in two forms showed of a source on steps of a class."""
        found = FormCounts()
        for (shape, truth), prompts in self._agreements.get(policy, {}).get((kind, source), {}).items():
            split = split_in(shape)
            found = found.plus(split, right_in(split, truth), prompts)
        return found

    def openings(self, kind: str, policy: str, source: str) -> Openings:
        """How often the first two samples of a prompt agreed."""
        found = Openings()
        for (shape, _), prompts in self._agreements.get(policy, {}).get((kind, source), {}).items():
            found = found.plus(shape, prompts)
        return found

    def rates(self, kind: str, verifier: str, version: str, after: str = "") -> tuple[Rates, Basis] | None:
        """A verifier's rates, and what they rest on; None where too little was seen.

        after: `words` of others on the candidates that are meant; of all candidates where it is empty.

        Where enough wrong candidates of models were audited, these alone count, and the rates are measured. Mutants
        are wrong in ways of our making, so that what only they show is called a prior.
        """
        by_origin = self._checkings.get((kind, verifier, version, after), {})
        audit, canary = by_origin.get("audit"), by_origin.get("canary")
        if audit is not None and _enough(audit):
            return rates_in(audit), "measured"
        both = [one for one in (audit, canary) if one is not None]
        summed = _sum(both) if both else None
        return (rates_in(summed), "prior") if summed is not None and _enough(summed) else None

    def knows(self, verifier: str) -> bool:
        """Whether anything at all was counted of a verifier."""
        return verifier in self._verifiers

    def weight(
        self, kind: str, verifier: str, version: str, passed: bool, said: Mapping[str, bool], nats: float
    ) -> tuple[float, Basis] | None:
        """Nats of a verifier's word, and what they rest on; None where it was not measured.

        said, nats: what measured verifiers said of the candidate before, and what that came to. Its rates after these
        words count, so that a copy of a verifier adds nothing. Where they were not measured, it adds what its word
        alone is worth beyond what the others gave.
        """
        alone = self.rates(kind, verifier, version)
        if alone is None:
            return None
        given = self.rates(kind, verifier, version, words(said)) if said else alone
        if given is not None:
            return _word(given[0], passed), given[1]
        own = _word(alone[0], passed)
        return (max(0.0, own - max(nats, 0.0)) if passed else min(0.0, own - min(nats, 0.0))), alone[1]

    def seen(self, kind: str, verifier: str, version: str, other: str | None = None) -> tuple[float, float]:
        """Right and wrong candidates that a verifier was tried on; with `other`, those that both were tried on."""
        pairs = ("",) if other is None else (words({other: True}), words({other: False}))
        found = [one for after in pairs for one in self._checkings.get((kind, verifier, version, after), {}).values()]
        return sum(one.good_passed + one.good_failed for one in found), sum(
            one.bad_passed + one.bad_failed for one in found
        )

    def lessons(self, kind: str, policy: str) -> list[Lesson]:
        """Texts that may help at steps of a class: those most often told, one that was found not to help left out."""
        often = sorted((one for one in self._lessons.get(kind, ()) if one.seen >= OFTEN), key=lambda one: -one.seen)
        plain = Beta(*self.counts(kind, policy, ""))
        return [one for one in often if self._may_help(one, policy, plain)][:LESSONS]

    def _may_help(self, lesson: Lesson, policy: str, plain: Beta) -> bool:
        right, wrong = self.counts(lesson.step_class, policy, source_of(lesson.text))
        return right + wrong < MEASURED or Beta(right, wrong).upper() > plain.mean

    def counts(self, kind: str, policy: str, source: str) -> tuple[float, float]:
        """First samples of a source that were right, and wrong."""
        one = self._samplings.get((kind, policy, source))
        return (one.right, one.wrong) if one is not None else (0.0, 0.0)

    def to_json(self, policies: Iterable[str]) -> Json:
        """What concerns these policies, for the record of a run: its decisions can then be made again."""
        wanted = set(policies)
        samplings = [asdict(one) for one in self._samplings.values() if one.policy in wanted]
        checkings = [asdict(one) for found in self._checkings.values() for one in found.values()]
        lessons = [asdict(one) for found in self._lessons.values() for one in found if one.seen >= OFTEN]
        agreements = [
            [kind, policy, source, shape, truth, round(prompts, 4)]
            for policy in sorted(wanted)
            for (kind, source), shapes in self._agreements.get(policy, {}).items()
            for (shape, truth), prompts in shapes.items()
        ]
        found = {"sampling": samplings, "checking": checkings, "lesson": lessons, "agreement": agreements}
        return {name: rows for name, rows in found.items() if rows}

    @classmethod
    def from_json(cls, saved: Json) -> Calibration:
        saved = saved or {}
        samplings = [Sampling(**row) for row in saved.get("sampling", ())]
        checkings = [Checking(**row) for row in saved.get("checking", ())]
        lessons = [Lesson(**row) for row in saved.get("lesson", ())]
        return cls([*samplings, *checkings, *lessons, *(Agreement(*row) for row in saved.get("agreement", ()))])


def _word(rates: Rates, passed: bool) -> float:
    return rates.passes() if passed else rates.fails()


def _enough(one: Checking) -> bool:
    return one.good_passed + one.good_failed >= MEASURED / 2 and one.bad_passed + one.bad_failed >= MEASURED


def rates_in(one: Checking) -> Rates:
    """What a verifier's counts say of it."""
    return Rates(Beta(one.good_passed, one.good_failed), Beta(one.bad_passed, one.bad_failed))


def _sum(found: Sequence[Checking]) -> Checking:
    counts = ("good_passed", "good_failed", "bad_passed", "bad_failed")
    return replace(found[0], **{name: sum(getattr(one, name) for one in found) for name in counts})
