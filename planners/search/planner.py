"""Search as a planner: it finds a way, and hands it on as a plan that the engine carries out and verifies."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from surefoot.planners.canonical import plan_key
from surefoot.planners.planner import Proposal, Request
from surefoot.planners.search.router import Router
from surefoot.planners.search.space import Budget, Space, Value
from surefoot.planners.search.strategies import STRATEGIES
from surefoot.reflection.verifier import Verifier
from surefoot.storage.errors import SetupError


class SearchPlanner:
    """Plans by searching a space.

    value: guides the search. It may not accept its result: an engine that is given a verifier of the same name refuses.
    strategy: best-of-n, beam, puct or gumbel; None leaves it to the router. tokens, nodes: what a search may spend.
    """

    sampled = False
    checks: tuple[Verifier, ...] = ()

    def __init__(
        self,
        space: Space,
        value: Value,
        *,
        name: str = "search",
        strategy: str | None = None,
        router: Router | None = None,
        tokens: float = 20_000,
        nodes: float = 10_000,
        simulations: int | None = None,
    ) -> None:
        if strategy is not None and strategy not in STRATEGIES:
            raise SetupError(f"there is no strategy {strategy!r}; there are: {', '.join(STRATEGIES)}")
        self.space = space
        self.value = value
        self.name = name
        self.guide = value.name
        self.strategy = strategy
        self.router = router or Router()
        self.tokens = tokens
        self.nodes = nodes
        self.simulations = simulations

    async def propose(self, request: Request, n: int = 1) -> Sequence[Proposal]:
        budget = Budget(self.tokens, self.nodes)
        chosen = self.strategy or self.router.choose(self.simulations)
        rng = Random(request.seed)
        found = await STRATEGIES[chosen](self.space, self.space.start(request.inputs), self.value, budget, rng)
        if found.actions is None:
            spent = f"{found.nodes} states and {found.tokens} tokens"
            return [Proposal(None, error=f"the search ({chosen}) found no way in {spent}", unknown=True)]
        plan = self.space.plan(request.inputs, found.actions)
        return [Proposal(plan, plan_key(plan))]
