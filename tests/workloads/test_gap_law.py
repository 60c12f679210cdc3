from __future__ import annotations

import math

import pytest

from scalesim.workloads.gap_law import GapLaw, worth_by_law
from scalesim.workloads.records import CallRecord


def test_the_chance_to_come_back_follows_from_how_long_one_has_been_away() -> None:
    # Half come back after a step, half after three.
    worths = GapLaw([1, 3, 1, 3]).worths(0.5)
    assert worths[0] == pytest.approx((0.5 + 0.125) / 2)
    # Who did not come after one comes after three for sure: two more steps.
    assert worths[1] == pytest.approx(0.25)
    assert worths[2] == pytest.approx(0.5)
    assert worths[3] == 0.0


def test_who_may_never_come_back_is_worth_less() -> None:
    assert GapLaw([2, math.inf]).worths(0.5)[0] == pytest.approx(0.125)
    assert GapLaw([math.inf]).worths(0.5) == [0.0]
    assert GapLaw([]).worths(0.5) == [0.0]


def test_who_is_active_in_a_step_is_worth_most_until_its_last_call_ends() -> None:
    calls = [
        CallRecord("Ann", 0, 0, "plan", 0.0, 1.0),
        CallRecord("Bob", 0, 0, "plan", 0.0, 3.0),
        CallRecord("Ann", 1, 0, "plan", 4.0, 5.0),
        CallRecord("Bob", 2, 0, "plan", 6.0, 7.0),
    ]
    worth, again_at = worth_by_law(GapLaw([1, 2]), 0.5, calls)
    assert again_at == [0.0, 4.0, 6.0]
    assert worth(0, 0.5) == 1.0
    assert worth(0, 1.0) == pytest.approx((0.5 + 0.25) / 2)
    # In the next step Ann is active again before her call has begun, and Bob has been away for one.
    assert worth(0, 4.0) == 1.0
    assert worth(1, 4.0) == pytest.approx(0.5)
    # Nobody stays away for longer than two steps.
    assert worth(0, 6.0) == 0.0
