from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalesim.proxy.access.rates import Rate, Rates, origin_of


def test_a_burst_goes_at_once_and_then_one_after_another() -> None:
    rates: Rates[str] = Rates(Rate(per_s=10, burst=3))
    assert [rates.take("ann", 0.0) for _ in range(3)] == [0, 0, 0]
    assert rates.take("ann", 0.0) == pytest.approx(0.1)
    assert rates.take("ann", 0.1) == 0
    assert rates.take("ann", 0.1) > 0


def test_who_waits_as_long_as_told_is_served() -> None:
    rates: Rates[str] = Rates(Rate(per_s=0.3, burst=1))
    at = 1e6
    for _ in range(1000):
        rates.take("ann", at)
        wait_s = rates.take("ann", at)
        assert wait_s > 0
        at += wait_s


def test_a_refused_call_costs_nothing() -> None:
    rates: Rates[str] = Rates(Rate(per_s=1, burst=1))
    rates.take("ann", 0.0)
    assert len({rates.take("ann", 0.5) for _ in range(100)}) == 1


def test_one_that_calls_too_often_is_no_burden_to_others() -> None:
    rates: Rates[str] = Rates(Rate(per_s=1, burst=1))
    assert [rates.take(one, 0.0) > 0 for one in ("ann", "ann", "bob")] == [False, True, False]


def test_the_table_is_bounded() -> None:
    rates: Rates[int] = Rates(Rate(per_s=1, burst=1), limit=10)
    for who in range(1000):
        assert rates.take(who, 0.0) == 0
    assert len(rates) == 10


@given(st.lists(st.floats(0, 5), max_size=80), st.floats(0.1, 100), st.integers(1, 20))
def test_never_more_than_the_burst_and_the_rate(pauses: list[float], per_s: float, burst: int) -> None:
    rates: Rates[str] = Rates(Rate(per_s, burst))
    at, taken = 0.0, 0
    for pause in pauses:
        at += pause
        taken += rates.take("ann", at) == 0
        assert taken <= burst + at * per_s + 1e-3


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("10.0.0.7", "10.0.0.7"),
        ("::ffff:10.0.0.7", "10.0.0.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("testclient", "testclient"),
        ("a:b", "a:b"),
    ],
)
def test_a_network_of_ipv6_counts_as_one(host: str, origin: str) -> None:
    assert origin_of(host) == origin
