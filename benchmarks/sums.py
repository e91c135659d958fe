"""Running sums, as the demo has them, with what benchmarks add: policies by accuracy, and checks that prove nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from surefoot.engine import Engine
from surefoot.reflection import verifier
from surefoot.reflection.verifier import Verifier
from surefoot.service.demo.sums import GOAL, SPLIT, Chain, ChainPlanner, chain, labelled, model

__all__ = ["GOAL", "Chain", "ChainPlanner", "chain", "labelled", "model"]

POLICIES = ("p80", "p90", "p95", "p99")


def casting_out(modulus: int, name: str = "") -> Verifier:
    """A check that proves nothing: the sum leaves the same remainder as the numbers. No right sum fails it."""

    @verifier(name=name or f"cast{modulus}", version="1", inline=True)
    def cast(candidate: int, inputs: dict[str, Any]) -> bool:
        return remainder_fits(modulus, inputs["total"], inputs["add"], candidate)

    return cast


def remainder_fits(modulus: int, total: int, add: int, said: int) -> bool:
    return (total + add - said) % modulus == 0


def engine(policy: str, store: Path, *, spread: bool = True, checks: Sequence[Verifier] = (), **options: Any) -> Engine:
    """An engine for chains whose sums are put before `checks`; `spread` lets it ask each sum in other forms."""
    planner = ChainPlanner([one.name for one in checks])
    forms = [SPLIT] if spread else []
    return Engine(model(policy), planner=planner, store=store, representations=forms, checks=checks, **options)
