from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from scalesim.proxy.state.lease import Ask, Lease

TTL = 2.0


class Redis:
    """A lease as Redis keeps it, on a clock of its own."""

    def __init__(self) -> None:
        self.token = 100
        self.holder: int | None = None
        self.until = 0.0

    def take(self, at: float, floor: int = 0) -> int | None:
        if self.holder is not None and at < self.until:
            return None
        self.token = max(self.token + 1, floor + 1)
        self.holder, self.until = self.token, at + TTL
        return self.token

    def renew(self, token: int, at: float) -> bool:
        if self.holder != token or at >= self.until:
            return False
        self.until = at + TTL
        return True


def test_it_is_asked_for_at_once_and_held_from_the_moment_of_asking() -> None:
    lease = Lease(TTL)
    assert lease.next(10.0) is Ask.TAKE
    lease.granted(7, asked_at=10.0)
    assert lease.holds(10.0)
    assert lease.holds(11.79)
    assert not lease.holds(11.81)


def test_a_holder_renews_it_several_times_in_its_life() -> None:
    lease = Lease(TTL)
    lease.granted(7, asked_at=10.0)
    assert lease.next(10.3) is None
    assert lease.next(10.41) is Ask.RENEW
    lease.granted(7, asked_at=10.41)
    assert lease.holds(12.0)


def test_an_answer_that_took_long_gives_only_what_is_left() -> None:
    lease = Lease(TTL)
    lease.granted(7, asked_at=10.0)
    lease.granted(7, asked_at=10.5)  # answered at 12.2, a little before its end in Redis
    assert lease.holds(12.2)
    assert not lease.holds(12.31)


def test_while_redis_does_not_answer_a_holder_goes_on_until_its_end() -> None:
    lease = Lease(TTL)
    lease.granted(7, asked_at=10.0)
    lease.unanswered(10.5)
    assert lease.holds(11.0)
    lease.unanswered(11.9)
    assert not lease.holds(11.9)
    assert lease.next(12.5) is Ask.TAKE


def test_a_process_that_was_stopped_finds_it_over() -> None:
    lease = Lease(TTL)
    lease.granted(7, asked_at=10.0)
    assert not lease.holds(4000.0)
    assert lease.next(4000.0) is Ask.TAKE


def test_who_waits_for_another_one_asks_when_it_may_have_ended() -> None:
    lease = Lease(TTL)
    lease.held_by_another(10.0, left_s=0.1)
    assert lease.next(10.09) is None
    assert lease.next(10.11) is Ask.TAKE
    lease.held_by_another(10.11, left_s=2.0)
    assert lease.next(10.37) is Ask.TAKE, "its holder may give it back"


def test_after_an_engine_has_seen_a_higher_token_the_next_one_is_higher_still() -> None:
    lease, redis = Lease(TTL), Redis()
    lease.granted(7, asked_at=10.0)
    lease.outranked(5000, 10.1)
    assert not lease.holds(10.1)
    assert lease.next(10.1) is Ask.TAKE
    assert (redis.take(10.1, lease.floor) or 0) > 5000


STEPS = st.lists(
    st.tuples(
        st.integers(0, 2),  # who acts
        st.floats(0.0, 0.7) | st.floats(0.0, 3.0),  # after how long, of true time
        st.floats(0.0, 0.1) | st.floats(0.0, 1.5),  # how long its question takes...
        st.floats(0.0, 0.1) | st.floats(0.0, 1.5),  # ... and the answer
        st.sampled_from(["answered", "answered", "answered", "question lost", "answer lost"]),
    ),
    min_size=10,
    max_size=40,
)


@settings(max_examples=300)
@given(STEPS, st.lists(st.floats(0.95, 1.05), min_size=3, max_size=3))
def test_two_never_hold_it_at_once_whatever_is_late_or_lost(
    steps: list[tuple[int, float, float, float, str]], rates: list[float]
) -> None:
    """Clocks go at rates that differ by 5 %, and have different origins."""
    redis, now = Redis(), 0.0
    leases = [Lease(TTL) for _ in range(3)]

    def clock(one: int, at: float) -> float:
        return 1000.0 * one + rates[one] * at

    def check() -> None:
        holders = [one for one in range(3) if leases[one].holds(clock(one, now))]
        assert len(holders) <= 1
        for one in holders:
            assert leases[one].token == redis.holder
            assert now < redis.until

    for who, wait, there, back, fate in steps:
        now += wait
        check()
        lease, asked_at = leases[who], clock(who, now)
        ask, token = lease.next(asked_at), lease.token
        if ask is None:
            continue
        now += there
        check()
        granted: int | None = None
        if fate != "question lost":
            if ask is Ask.TAKE:
                granted = redis.take(now)
            elif token is not None and redis.renew(token, now):
                granted = token
        now += back
        if fate != "answered":
            lease.unanswered(clock(who, now))
        elif granted is not None:
            lease.granted(granted, asked_at)
        else:
            lease.held_by_another(clock(who, now))
        check()
