from __future__ import annotations

import pytest

from scalesim.proxy.state.clocks import GroupClock


def test_it_is_as_exact_as_the_quickest_answer() -> None:
    clock = GroupClock(0.0)
    assert not clock.measured(10.0, 10.4, 1010.3)
    assert clock.error_s == pytest.approx(0.2)
    assert not clock.measured(11.0, 11.002, 1011.001)
    assert clock.shift == pytest.approx(1000.0)
    assert clock.error_s == pytest.approx(0.001)
    assert not clock.measured(12.0, 12.6, 1012.5), "slow, but it does not contradict"
    assert clock.shift == pytest.approx(1000.0)


def test_it_follows_a_clock_that_goes_at_another_rate() -> None:
    clock = GroupClock(0.0)
    for second in range(100):
        clock.measured(second, second + 0.002, 1000.0 + second * 1.001 + 0.001)
    assert clock.shift + 99.0 == pytest.approx(1000.0 + 99.0 * 1.001, abs=0.02)


@pytest.mark.parametrize("by", [-3600.0, 3600.0, 1.0])
def test_a_jump_is_noticed_and_followed_at_once(by: float) -> None:
    clock = GroupClock(0.0)
    for second in range(20):
        clock.measured(second, second + 0.002, 1000.0 + second)
    assert clock.measured(20.0, 20.01, 1020.0 + by)
    assert clock.shift == pytest.approx(1000.0 + by, abs=0.01)
    assert not clock.measured(21.0, 21.01, 1021.0 + by)


def test_a_wrong_first_guess_is_no_jump() -> None:
    clock = GroupClock(77.0)
    assert clock.error_s is None
    assert not clock.measured(1.0, 1.01, 1001.0)
