"""What these tests share: how models are asked, what they are asked with, and that the record is what the wire saw."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from real.proxy import Counts

from surefoot.engine import Engine
from surefoot.models.api.model import ApiModel
from surefoot.storage.records import JournalRecord, ModelCall, Plan, Step, Usage
from surefoot.storage.store import Store
from surefoot.tools import tool

SLOW = 900.0
"""Seconds: nothing here fails because the machine has other work to do."""
PRICES = {"A1": 2.5, "B2": 4.0}


def model(url: str, **options: Any) -> ApiModel:
    """A model that says the same each time, within few tokens."""
    given = {"api_key": "x", "temperature": 0.0, "max_tokens": 64, "timeout": SLOW, "deadline": SLOW}
    return ApiModel("openai/smol", base_url=url, **given | options)


@tool(effect="pure")
def unit_price(sku: Literal["A1", "B2"]) -> float:
    """Price of one unit in euros."""
    return PRICES[sku]


def prices(n: int) -> Plan:
    """`n` steps whose arguments the model fills in; none needs another."""
    goals = [f"Order {place}: what does {'A1' if place % 2 else 'B2'} cost?" for place in range(n)]
    return Plan(tuple(Step(f"s{place}", goal, tool="unit_price") for place, goal in enumerate(goals)))


def kept(store: Store, run_id: str, *kinds: type) -> list[Any]:
    """A run's records of some kinds, in their order."""
    return list(store.records(run_id, kinds=kinds))


def spent(calls: Iterable[JournalRecord]) -> Usage:
    return sum((one.usage for one in calls if isinstance(one, ModelCall)), Usage())


def same(calls: list[ModelCall], counts: Counts) -> None:
    """No reply was lost and none counted twice, and each cost what the server said."""
    assert len(calls) == len(counts.replies)
    assert {call.usage_source for call in calls} == {"provider"}
    used = spent(calls)
    assert used.prompt_tokens == counts.prompt_tokens
    assert used.completion_tokens == counts.completion_tokens
    assert used.samples == len(calls)


def once(store: Store, url: str, plan: Plan, **options: Any) -> Engine:
    """An engine that asks once a step and takes what comes."""
    options.setdefault("tools", [unit_price])
    return Engine(options.pop("model", None) or model(url), planner=plan, store=store, verify=False, **options)
