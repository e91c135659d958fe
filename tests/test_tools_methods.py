"""Methods as tools: of an object, of a class, static ones; and what is said of one whose object is not known."""

from __future__ import annotations

import functools
from typing import Any

import pytest

from surefoot.storage.errors import SetupError
from surefoot.storage.records import Effect
from surefoot.tools import ToolContext, tool
from surefoot.tools.registry import as_tool, registered

pytestmark = pytest.mark.anyio

HERE = ToolContext(run_id="r1", step="s1", idempotency_key="k1")


class Shop:
    """Tools of every kind that a class can hold."""

    def __init__(self, rate: int) -> None:
        self.rate = rate

    @tool(effect="pure")
    def price(self, count: int) -> int:
        """What so many cost."""
        return self.rate * count

    @tool
    async def later(self, count: int) -> int:
        return self.rate + count

    @staticmethod
    @tool
    def outer(count: int) -> int:
        return count

    @tool
    @staticmethod
    def inner(count: int) -> int:
        return count

    @classmethod
    @tool
    def outer_class(cls, count: int) -> str:
        return f"{cls.__name__} {count}"

    @tool
    @classmethod
    def inner_class(cls, count: int) -> str:
        return f"{cls.__name__} {count}"

    def plain(self, count: int) -> int:
        return self.rate - count


async def test_tools_of_a_class_are_tools_of_its_objects() -> None:
    shop, other = Shop(3), Shop(5)
    found = registered([shop.price, shop.later, Shop.outer, shop.inner, Shop.outer_class, shop.inner_class, shop.plain])
    assert list(found) == ["price", "later", "outer", "inner", "outer_class", "inner_class", "plain"]
    for one in found.values():
        assert list(one.parameters["properties"]) == ["count"], one.name
    said = [await one.call({"count": 2}, HERE) for one in found.values()]
    assert said == [6, 5, 2, 2, "Shop 2", "Shop 2", 1]
    assert await as_tool(other.price).call({"count": 2}, HERE) == 10 and shop.price(2) == 6
    assert shop.price.description == "What so many cost." and shop.price.effect is Effect.PURE
    assert len(registered([shop.price, shop.price])) == 1
    with pytest.raises(SetupError, match="two tools are called 'price'"):
        registered([shop.price, other.price])


@pytest.mark.parametrize("unbound", [Shop.price, Shop.plain])
def test_a_method_without_its_object_is_refused(unbound: Any) -> None:
    with pytest.raises(SetupError, match=r"is a method of a class; give that of an object: \[the_object\."):
        registered([unbound])


def test_a_partial_is_named_for_its_function() -> None:
    def add(a: int, b: int) -> int:
        return a + b

    assert as_tool(functools.partial(add, b=1)).name == "add"
