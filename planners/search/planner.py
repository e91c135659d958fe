"""Search as a planner: it finds a way, and hands it on as a plan that the engine carries out and verifies."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from random import Random

from surefoot.planners.canonical import plan_key
from surefoot.planners.document import whole
from surefoot.planners.planner import Proposal, Request
from surefoot.planners.search.drive import Problem, drive
from surefoot.planners.search.router import Router
from surefoot.planners.search.space import Budget, Found, Space
from surefoot.planners.search.strategies import STRATEGIES, simulations
from surefoot.planners.search.value import Value
from surefoot.reflection.verifier import Verifier
from surefoot.storage.errors import SetupError, SurefootError


class SearchPlanner:
    """Plans by searching: a task as a whole, or single steps that name this planner.

    space_of: the search problem that a step poses; None where it poses none that this planner knows. It may ask
        `request.model`, which is under the run's budget.
    value: guides the search, and never accepts its result: a verifier of its name is refused, here and by the engine.
    strategy: best-of-n, beam, puct or gumbel; None leaves it to the router, which takes best-of-n as long as the value
        function is not known to be good enough.
    tokens, simulations: what one search may spend.
    batch: leaves of a tree, or attempts, at a time: more of them wait less for a model, and know less of each other.
    ranked: the space has no rule that says what is solved. The final state that the value function likes best is
        proposed as a plan; `checks`, verifiers of the plan, and votes of further searches decide about it.

    Raises SetupError where there is no such strategy, or what guides would accept too.
    """

    def __init__(
        self,
        space_of: Callable[[Request], Space | None],
        value: Value,
        *,
        name: str = "search",
        strategy: str | None = None,
        router: Router | None = None,
        tokens: float = 20_000,
        simulations: float = 10_000,
        batch: int = 1,
        ranked: bool = False,
        checks: Iterable[Verifier] = (),
    ) -> None:
        if strategy is not None and strategy not in STRATEGIES:
            raise SetupError(f"there is no strategy {strategy!r}; there are: {', '.join(STRATEGIES)}")
        self.space_of = space_of
        self.value = value
        self.name = name
        self.guide = value.name
        """Name of what guides; the engine refuses a verifier of this name."""
        self.strategy = strategy
        self.router = router or Router()
        self.tokens = tokens
        self.simulations = simulations
        self.batch = batch
        self.sampled = ranked
        self.checks = tuple(checks)
        if self.guide in (one.name for one in self.checks):
            raise SetupError(
                f"{self.guide!r} guides the search and would accept what it finds too: what is searched for is found, "
                "right or not; give a verifier that the search does not see"
            )

    async def propose(self, request: Request, n: int = 1) -> Sequence[Proposal]:
        try:
            space = self.space_of(request)
            if space is None:
                return [Proposal(None, error=f"this is no step that {self.name} can search for", unknown=True)]
            # Searches of one step run side by side, so that their states are judged together.
            problems = [self._problem(space, Random(f"{request.seed} {place}")) for place in range(n)]
            chosen = self.strategy or self.router.choose(simulations(problems[0]))
            found = await drive(space, self.value, [(one, STRATEGIES[chosen](one)) for one in problems])
            return [self._proposal(space, one, chosen) for one in found]
        except SurefootError:
            raise
        except Exception as error:
            return [Proposal(None, error=f"the search {self.name} failed: {type(error).__name__}: {error}")]

    def _problem(self, space: Space, rng: Random) -> Problem:
        budget = Budget(self.tokens, self.simulations)
        return Problem(space, space.start(), budget, rng, self.value.tokens, self.sampled, self.batch)

    def _proposal(self, space: Space, found: Found, chosen: str) -> Proposal:
        if found.best is None:
            return Proposal(None, error=self._nothing(found, chosen), unknown=True)
        plan = whole(space.plan(found.best.actions))
        return Proposal(plan, plan_key(plan))

    def _nothing(self, found: Found, chosen: str) -> str:
        """What was tried, for the record: nothing is proposed that was not found."""
        spent = f"{found.simulations:,} simulations, {found.states:,} states and {found.tokens:,} tokens"
        end = "all that the policy offers was tried" if found.exhausted else "the budget is spent"
        why = "" if self.strategy else f"; {self.router.why()}"
        return f"the search ({chosen}) found no way in {spent}: {end}{why}"
