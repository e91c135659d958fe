"""What a result rests on: supports of steps, and their product."""

from __future__ import annotations

import math
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surefoot.reflection.evidence import Belief, posterior
from surefoot.reflection.trust import EXACT, NOTHING, Support, Trust
from surefoot.storage.records import Basis, Reliability


def combine(supports: Iterable[Support], target: float | None = None) -> Reliability:
    """The reliability of a result that stands on all these steps."""
    trust = Trust()
    for one in supports:
        trust.add(one)
    return trust.reliability(target)


def test_an_exact_check_adds_no_error() -> None:
    assert combine([EXACT] * 1000, 0.99) == Reliability(0.99, 1.0, 0.0, "exact")


def test_nothing_is_predicted_of_what_nobody_checked() -> None:
    assert combine([EXACT, NOTHING]) == Reliability(None, None, 1.0, "none")


def test_before_the_first_step_there_is_nothing_to_say() -> None:
    assert combine([]) == Reliability(None, None, None, "none")


@pytest.mark.parametrize(
    ("bases", "weakest"),
    [
        (("exact", "measured", "prior"), "prior"),
        (("exact", "measured"), "measured"),
        (("exact",), "exact"),
        (("exact", "none", "prior"), "none"),
    ],
)
def test_a_result_rests_on_its_weakest_step(bases: tuple[Basis, ...], weakest: Basis) -> None:
    assert combine(Support(0.9, 0.2, basis) for basis in bases).basis == weakest


def test_ten_steps_multiply() -> None:
    stands = posterior({"": {"x": 2}}, {"": Belief(0.95, concentration=math.inf)}, "x")
    result = combine([Support(stands.p, stands.bound, "prior", 0.001, 3, 2.5)] * 10, 0.99)
    assert result.target == 0.99
    assert result.predicted == pytest.approx(0.9727, abs=5e-5)
    assert result.silent_error_bound == pytest.approx(1 - 0.9727, abs=5e-5)
    assert (result.samples, result.optimum) == (30, 25)
    assert result.abstention == pytest.approx(1 - 0.999**10)


def test_a_million_steps_lose_no_digits() -> None:
    tiny = Support(1 - 1e-12, 3e-17, "measured")
    trust = Trust()
    for _ in range(10**6):
        trust.add(tiny)
    result = trust.reliability()
    assert result.predicted == pytest.approx(1 - 1e-6, abs=1e-10)
    assert result.silent_error_bound == pytest.approx(3e-11, rel=1e-9)  # 1 - 3e-17 alone would be 1


def test_a_step_that_cannot_be_right_makes_the_result_wrong() -> None:
    result = combine([Support(0.0, 1.0, "measured"), EXACT])
    assert (result.predicted, result.silent_error_bound) == (0.0, 1.0)


SUPPORTS = st.lists(
    st.builds(
        Support,
        st.floats(0, 1),
        st.floats(0, 1),
        st.sampled_from(["exact", "measured", "prior", "none"]),
    ),
    max_size=8,
)


@given(SUPPORTS, SUPPORTS)
def test_what_was_rolled_back_leaves_no_trace(kept: list[Support], undone: list[Support]) -> None:
    trust = Trust()
    for one in [*kept, *undone]:
        trust.add(one)
    for one in undone:
        trust.remove(one)
    there, direct = trust.reliability(), combine(kept)
    assert there.basis == direct.basis
    assert there.predicted == pytest.approx(direct.predicted, abs=1e-9)
    assert there.silent_error_bound == pytest.approx(direct.silent_error_bound, abs=1e-9)


@given(st.lists(st.builds(Support, st.floats(0.01, 1), st.floats(0, 0.99), st.just("prior")), min_size=1, max_size=8))
def test_the_product_is_the_product(supports: list[Support]) -> None:
    result = combine(supports)
    assert result.predicted == pytest.approx(math.prod(one.p for one in supports))
    assert result.silent_error_bound == pytest.approx(1 - math.prod(1 - one.bound for one in supports))


def test_taking_back_what_was_never_added_is_refused() -> None:
    with pytest.raises(ValueError, match="was added"):
        Trust().remove(EXACT)
