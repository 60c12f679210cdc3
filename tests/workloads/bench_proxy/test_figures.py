from __future__ import annotations

import math
from dataclasses import replace

import pytest

from scalesim.workloads.bench_proxy.figures import Sample, percentile, row

SAMPLE = Sample(
    rps=100.0, p50_ms=2.0, p99_ms=9.0, cpu_us=50.0, busy=0.5, ends_busy=0.6, rss_mb=30.0, errors={}
)
DIRECT = replace(SAMPLE, p50_ms=0.5, p99_ms=1.0, cpu_us=0.0, busy=0.0, rss_mb=0.0)


def test_a_percentile_is_a_value_that_was_measured() -> None:
    assert math.isnan(percentile([], 50))
    assert percentile([5.0], 99) == 5.0
    values = [float(number) for number in range(100, 0, -1)]
    assert [percentile(values, of_100) for of_100 in (1, 50, 99, 100)] == [1.0, 50.0, 99.0, 100.0]
    assert percentile([1.0, 2.0, 3.0], 50) == 2.0


def test_a_row_has_the_medians_of_its_rounds_and_what_was_added_in_each() -> None:
    rounds = [
        replace(SAMPLE, rps=10.0, p50_ms=4.0, p99_ms=8.0, cpu_us=1.0, rss_mb=31.0),
        replace(SAMPLE, rps=30.0, p50_ms=2.0, p99_ms=9.0, cpu_us=3.0, rss_mb=33.0),
        replace(SAMPLE, rps=20.0, p50_ms=3.0, p99_ms=7.0, cpu_us=2.0, rss_mb=32.0),
    ]
    direct = [
        replace(DIRECT, p50_ms=3.5, p99_ms=1.0),
        replace(DIRECT, p50_ms=0.5, p99_ms=3.0),
        replace(DIRECT, p50_ms=0.9, p99_ms=2.0),
    ]
    found = row(rounds, direct)
    assert found is not None
    assert (found.rps, found.p50_ms, found.p99_ms, found.cpu_us, found.rss_mb) == (20.0, 3.0, 8.0, 2.0, 33.0)
    assert (found.added_p50_ms, found.added_p99_ms) == (pytest.approx(1.5), pytest.approx(6.0))
    assert (found.rounds, found.errors, found.at_least) == (3, {}, False)


def test_a_round_without_a_sample_or_without_an_answer_takes_no_part() -> None:
    silent = replace(SAMPLE, rps=0.0, p50_ms=math.nan, p99_ms=math.nan, cpu_us=math.nan)
    found = row([SAMPLE, None, silent], [DIRECT, DIRECT, DIRECT])
    assert found is not None
    assert (found.rounds, found.rps, found.p50_ms, found.added_p50_ms) == (2, 50.0, 2.0, 1.5)
    assert row([None], [DIRECT]) is None
    alone = row([SAMPLE], [None])
    assert alone is not None
    assert math.isnan(alone.added_p50_ms)


def test_errors_of_all_rounds_add_up() -> None:
    found = row(
        [replace(SAMPLE, errors={"a": 1}), replace(SAMPLE, errors={"a": 2, "b": 7})], [DIRECT, DIRECT]
    )
    assert found is not None
    assert found.errors == {"b": 7, "a": 3}


@pytest.mark.parametrize(
    ("busy", "ends_busy", "at_least"), [(0.7, 0.98, True), (0.97, 0.98, False), (0.7, 0.7, False)]
)
def test_what_mock_and_generator_held_up_is_at_least_what_is_said(
    busy: float, ends_busy: float, at_least: bool
) -> None:
    found = row([replace(SAMPLE, busy=busy, ends_busy=ends_busy)], [DIRECT])
    assert found is not None
    assert found.at_least is at_least
