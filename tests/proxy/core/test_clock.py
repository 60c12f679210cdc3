import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalesim.proxy.core.clock import StepClock


def test_a_tick_without_a_number_is_the_next_step() -> None:
    clock = StepClock()
    clock.tick(1.0, None)
    clock.tick(2.0, None)
    assert (clock.passed, clock.step) == (2.0, 2.0)


def test_the_first_number_heard_says_where_the_simulation_is_not_how_far_it_came() -> None:
    clock = StepClock()
    clock.tick(1.0, 17.0)
    assert (clock.passed, clock.step) == (1.0, 17.0)
    clock.tick(2.0, 19.0)
    assert (clock.passed, clock.step) == (3.0, 19.0)


def test_a_simulation_that_starts_over_does_not_turn_the_count_back() -> None:
    clock = StepClock()
    clock.tick(1.0, 1.0)
    clock.tick(2.0, 90.0)
    clock.tick(3.0, 0.0)
    assert (clock.passed, clock.step) == (90.0, 0.0)
    clock.tick(4.0, 1.0)
    assert clock.passed == 91.0


def test_no_pace_is_known_before_two_steps() -> None:
    clock = StepClock()
    assert clock.pace_s is None
    clock.tick(1.0, None)
    assert clock.pace_s is None


def test_the_pace_is_seconds_per_step_also_when_steps_are_skipped() -> None:
    clock = StepClock()
    clock.tick(0.0, 1.0)
    clock.tick(6.0, 4.0)
    assert clock.pace_s == 2.0


def test_one_long_pause_does_not_change_the_pace() -> None:
    clock = StepClock()
    for at in (0.0, 2.0, 4.0, 6.0, 3600.0, 3602.0):
        clock.tick(at, None)
    assert clock.pace_s == 2.0


def test_the_pace_follows_the_last_eight_steps() -> None:
    clock = StepClock()
    for at in range(10):
        clock.tick(float(at), None)
    for at in range(8):
        clock.tick(20.0 + at * 5, None)
    assert clock.pace_s == 5.0


def test_ticks_at_one_instant_say_nothing_of_the_pace() -> None:
    clock = StepClock()
    clock.tick(1.0, None)
    clock.tick(1.0, None)
    assert clock.pace_s is None
    assert clock.passed == 2.0


@pytest.mark.parametrize("step", [math.nan, math.inf, -math.inf])
def test_a_step_that_is_no_number_is_ignored(step: float) -> None:
    clock = StepClock()
    clock.tick(1.0, step)
    assert not clock.ticked


def test_the_count_stays_finite() -> None:
    clock = StepClock()
    for step in (0.0, 1.7e308, -1.7e308, 1.7e308):
        clock.tick(1.0, step)
    assert math.isfinite(clock.passed)


def test_from_the_middle_of_a_step_on_the_next_one_is_foreseen() -> None:
    clock = StepClock()
    clock.tick(0.0, None)
    assert clock.foreseen(99.0) == 1.0
    clock.tick(4.0, None)
    assert [clock.foreseen(at) for at in (4.0, 5.9, 6.0, 8.0)] == [2.0, 2.0, 3.0, 3.0]


def test_no_more_than_one_step_is_foreseen_however_late_it_comes() -> None:
    clock = StepClock()
    clock.tick(0.0, None)
    clock.tick(4.0, None)
    assert clock.foreseen(1e6) == 3.0


@given(st.lists(st.floats(0.0, 9.0), max_size=10))
def test_what_is_foreseen_never_goes_back(pauses: list[float]) -> None:
    clock, at, seen = StepClock(), 0.0, [0.0]
    for pause in pauses:
        at += pause
        seen.append(clock.foreseen(at))
        clock.tick(at, None)
        seen.append(clock.foreseen(at))
    assert seen == sorted(seen)
