from __future__ import annotations

import pytest

from scalesim.proxy.core.recent import Recent


def test_what_happened_a_half_life_ago_counts_as_a_half() -> None:
    recent = Recent(10.0)
    assert recent.count(5.0) == 0.0
    recent.add(100.0)
    recent.add(110.0)
    assert (recent.count(110.0), recent.count(120.0)) == (1.5, 0.75)


def test_it_never_grows_by_time_and_in_the_end_nothing_is_left() -> None:
    recent = Recent(10.0)
    recent.add(100.0)
    assert recent.count(90.0) == 1.0
    assert recent.count(1e9) == 0.0


def test_a_steady_habit_comes_to_a_steady_count() -> None:
    recent = Recent(10.0)
    for second in range(1000):
        recent.add(float(second))
    assert recent.count(999.0) == pytest.approx(14.9, abs=0.1)
