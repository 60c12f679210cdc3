from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalesim.proxy.core.residuals import CLASSES, Expected, Residuals


def _law(*gaps: float) -> Residuals:
    law = Residuals()
    for gap in gaps:
        law.add(gap)
    return law


def test_nothing_is_expected_before_the_first_gap() -> None:
    law = _law(0.0, -1.0, math.nan, math.inf)
    assert (law.known, law.expected(1.0)) == (False, None)


def test_agents_that_are_always_on_time_are_expected_then() -> None:
    law = _law(*[5.0] * 20)
    assert [law.expected(away) for away in (0.0, 2.0, 4.9)] == [Expected(5.0, 5.0)] * 3


def test_whoever_was_never_away_for_so_long_is_expected_to_be_away_as_long_again() -> None:
    law = _law(5.0)
    assert [law.expected(away) for away in (5.0, 9.0, 10.0, 39.0)] == [
        Expected(10.0, 10.0),
        Expected(10.0, 10.0),
        Expected(20.0, 20.0),
        Expected(40.0, 40.0),
    ]


def test_where_most_come_back_soon_whoever_is_late_is_far_and_comes_nearer_again() -> None:
    law = _law(*[1.0, 1.0, 1.0, 32.0] * 50)
    # One in four is waited for in vain: 1 step each, of whom three come.
    assert law.expected(0.0) == Expected(pytest.approx(4 / 3, rel=0.01), 1.0)
    assert law.expected(1.0) == Expected(32.0, 32.0)


def test_whoever_was_away_for_longer_than_can_be_counted_is_not_expected() -> None:
    assert _law(1e-300).expected(1e308) == Expected(math.inf, math.inf)


def test_it_follows_a_simulation_that_changes() -> None:
    law = _law(*[4.0] * 5000, *[16.0] * 20000)
    expected = law.expected(0.0)
    assert expected is not None
    assert expected.after == pytest.approx(16.0, rel=0.02)


@settings(max_examples=50)
@given(st.lists(st.integers(1, 8).map(float), min_size=1, max_size=8))
def test_it_is_the_least_time_of_waiting_per_agent_that_comes(gaps: list[float]) -> None:
    law = _law(*gaps)
    for away in sorted({0.0, *gaps})[:-1]:
        left = [gap - away for gap in gaps if gap > away]
        least = min(sum(min(gap, end) for gap in left) / sum(gap <= end for gap in left) for end in left)
        expected = law.expected(away)
        assert expected is not None
        assert expected.after == pytest.approx(away + least)


@settings(max_examples=50)
@given(
    st.lists(st.floats(1e-3, 1e12), min_size=1, max_size=40),
    st.lists(st.floats(0.0, 1e12), min_size=1, max_size=8),
)
def test_nobody_is_overdue_before_something_else_is_expected(gaps: list[float], aways: list[float]) -> None:
    law = _law(*gaps)
    assert law.sizes()["gap_classes"] <= min(len(gaps), CLASSES)
    for away in aways:
        expected = law.expected(away)
        assert expected is not None
        assert away < expected.until <= expected.after * (1 + 1e-9)
