from __future__ import annotations

import math

from scalesim.proxy.histogram import MOMENTS, WAITS, Histogram


def test_a_value_is_counted_in_the_first_bucket_that_holds_it() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 2.0, 3.0, math.inf):
        histogram.note(value)
    assert histogram.counts == [2, 2, 2]
    assert histogram.count == 6


def test_the_sum_is_that_of_all_values() -> None:
    histogram = Histogram((1.0,))
    histogram.note(0.25)
    histogram.note(4.0)
    assert histogram.total == 4.25


def test_the_bounds_rise() -> None:
    for bounds in (MOMENTS, WAITS):
        assert list(bounds) == sorted(set(bounds))
