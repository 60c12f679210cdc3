import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalesim.proxy.core import shadow_cache
from scalesim.proxy.core.model import Owner
from scalesim.proxy.core.shadow_cache import ShadowCache

A, B, C, D = (Owner(name) for name in "abcd")


def _filled(*owners: Owner, capacity: int = 30, size: int = 10) -> ShadowCache:
    """Each was used in turn, and no call runs."""
    cache = ShadowCache(capacity)
    for owner in owners:
        cache.take(owner, size)
        cache.release(owner)
    return cache


def test_a_memory_is_there_when_it_was_taken_before_and_not_dropped() -> None:
    cache = _filled(A, B)
    assert cache.take(A, 10)
    assert not cache.take(C, 10)
    cache.drop(B)
    assert not cache.take(B, 10)
    assert len(cache) == 3


def test_the_oldest_was_released_longest_ago() -> None:
    cache = _filled(A, B, C)
    cache.take(A, 10)
    cache.release(A)
    assert cache.oldest() == B


def test_what_is_released_may_be_larger_than_when_it_was_taken() -> None:
    cache = _filled(A, B)
    cache.take(B, 10)
    cache.release(B, 20)
    assert not cache.overfull
    cache.take(B, 20)
    cache.release(B, 21)
    assert cache.overfull
    cache.drop(A)
    assert not cache.overfull


def test_what_is_locked_is_neither_old_nor_far() -> None:
    cache = _filled(A, B, C)
    order = {C: 0, B: 1, A: 2}
    assert cache.farthest(order) == A
    cache.take(A, 10)
    assert (cache.oldest(), cache.farthest(order)) == (B, B)
    cache.release(A)
    assert (cache.oldest(), cache.farthest(order)) == (B, A)


def test_strangers_to_the_order_leave_before_the_farthest_the_oldest_first() -> None:
    cache, order = _filled(A, B, C, D), {B: 0, A: 1}
    gone = []
    while len(cache):
        gone.append(cache.farthest(order))
        cache.drop(gone[-1])
    assert gone == [C, D, A, B]


def test_of_those_equally_far_the_oldest_leaves() -> None:
    cache, order = _filled(A, B, C), {B: 0, C: 0, A: 0}
    cache.take(A, 10)
    cache.release(A)
    assert cache.farthest(order) == B


def test_a_new_order_counts_at_once() -> None:
    cache = _filled(A, B)
    assert cache.farthest({A: 0, B: 1}) == B
    assert cache.farthest({B: 0, A: 1}) == A


def test_it_is_overfull_while_something_can_leave() -> None:
    cache = _filled(A, B, C)
    assert not cache.overfull
    cache.take(D, 40)
    assert cache.overfull
    for owner in (A, B, C):
        cache.drop(owner)
    assert not cache.overfull
    cache.release(D)
    assert cache.overfull


def test_a_memory_that_grows_takes_more_room() -> None:
    cache = _filled(A, B, C)
    cache.take(A, 11)
    assert cache.overfull
    cache.take(A, 10)
    assert not cache.overfull


def test_small_memories_are_bounded_in_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shadow_cache, "MEMORY_LIMIT", 2)
    assert not _filled(A, B, size=1).overfull
    assert _filled(A, B, C, size=1).overfull


def test_a_cleared_one_is_empty() -> None:
    cache = _filled(A, B, C)
    cache.take(A, 10)
    cache.clear()
    assert len(cache) == 0
    assert not cache.take(A, 30)
    assert not cache.overfull


def test_many_uses_between_two_evictions_leave_no_more_behind_than_a_multiple_of_what_is_held() -> None:
    cache, order = _filled(A, B, C), {A: 2, B: 0, C: 1}
    cache.farthest(order)
    for _ in range(1000):
        cache.take(B, 10)
        cache.release(B)
    assert len(cache._farthest_first or ()) <= 3 * 2 + 65
    assert cache.farthest(order) == A


def test_what_it_holds_and_what_of_that_is_locked_can_be_asked() -> None:
    cache = ShadowCache(10)
    for owner in (A, B):
        cache.take(owner, 1)
    cache.release(A)
    assert ([*cache], {*cache.locked}) == ([B, A], {B})


@given(st.integers(0, 2**32))
def test_the_farthest_is_the_one_that_sorting_finds(seed: int) -> None:
    rng = random.Random(seed)
    owners = [Owner(str(number)) for number in range(8)]
    cache, ranks = ShadowCache(0), dict[Owner, int]()
    idle: list[Owner] = []
    for _ in range(60):
        owner = rng.choice(owners)
        step = rng.random()
        if step < 0.6:
            cache.take(owner, 1)
            cache.release(owner)
            idle = [*(one for one in idle if one != owner), owner]
        elif step < 0.75:
            ranks = {one: rng.randrange(4) for one in rng.sample(owners, rng.randrange(9))}
        elif idle:
            victim = min(
                idle,
                key=lambda one: (one in ranks, -ranks.get(one, 0), idle.index(one)),
            )
            assert cache.farthest(ranks) == victim
            cache.drop(victim)
            idle.remove(victim)
