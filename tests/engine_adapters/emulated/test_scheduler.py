from __future__ import annotations

from array import array

import pytest

from scalesim.engine_adapters.emulated.cache import RadixCache
from scalesim.engine_adapters.emulated.scheduler import Generation, Scheduler, candidates
from scalesim.engine_adapters.emulated.tokens import END


def scheduler_of(capacity: int, max_running: int = 8) -> Scheduler:
    cache = RadixCache(capacity, None)
    return Scheduler(cache, max_running=max_running, prefill_s_per_token=0.5, decode_s_per_token=2.0)


def request(rid: str, prompt: int, max_new: int = 1, ends_at: int | None = None) -> Generation:
    ids = array("q", (hash_free(rid) + n for n in range(prompt)))
    return Generation(rid, ids, max_new, ends_at, None, 0, notify=lambda: None)


def hash_free(rid: str) -> int:
    return 1_000 * sum(rid.encode())


def step(scheduler: Scheduler) -> float:
    seconds = scheduler.begin()
    scheduler.end()
    return seconds


def test_a_step_takes_as_long_as_its_tokens() -> None:
    scheduler = scheduler_of(1_000)
    scheduler.submit(request("a", prompt=10, max_new=2))
    scheduler.submit(request("b", prompt=20, max_new=2))
    assert [step(scheduler), step(scheduler)] == [15.0, 2.0]
    assert scheduler.idle


def test_cached_tokens_take_no_time() -> None:
    scheduler = scheduler_of(1_000)
    for expected in (5.0, 0.5):
        scheduler.submit(request("a", prompt=10))
        assert step(scheduler) == expected


def test_prefills_go_before_decodes() -> None:
    scheduler = scheduler_of(1_000)
    first, second = request("a", 10, max_new=3), request("b", 10, max_new=3)
    scheduler.submit(first)
    step(scheduler)
    scheduler.submit(second)
    step(scheduler)
    assert (len(first.output), len(second.output)) == (1, 1)


def test_no_more_run_than_may_and_the_rest_waits_in_order() -> None:
    scheduler = scheduler_of(1_000, max_running=2)
    requests = [request(name, 10, max_new=2) for name in "abc"]
    for one in requests:
        scheduler.submit(one)
    step(scheduler)
    assert [one.rid for one in scheduler.running] == ["a", "b"]
    step(scheduler)
    step(scheduler)
    assert [one.rid for one in scheduler.running] == ["c"]


def test_what_does_not_fit_waits_and_nobody_overtakes_it() -> None:
    scheduler = scheduler_of(100)
    large, larger, small = request("a", 60, max_new=2), request("b", 70), request("c", 5)
    for one in (large, larger, small):
        scheduler.submit(one)
    step(scheduler)
    assert [one.rid for one in scheduler.waiting] == ["b", "c"]
    while not scheduler.idle:
        step(scheduler)
    assert [one.finish for one in (large, larger, small)] == ["length"] * 3


def test_an_answer_ends_by_itself_or_at_its_limit() -> None:
    scheduler = scheduler_of(1_000)
    stopped, cut = request("a", 10, max_new=9, ends_at=3), request("b", 10, max_new=2, ends_at=3)
    for one in (stopped, cut):
        scheduler.submit(one)
    while not scheduler.idle:
        step(scheduler)
    assert (stopped.finish, len(stopped.output), stopped.output[-1]) == ("stop", 3, END)
    assert (cut.finish, len(cut.output)) == ("length", 2)


@pytest.mark.parametrize("steps", [0, 1, 2, 3])
def test_an_abort_frees_everything_and_keeps_what_was_computed(steps: int) -> None:
    scheduler = scheduler_of(100)
    one = request("a", 10, max_new=20)
    scheduler.submit(one)
    for _ in range(steps):
        step(scheduler)
    scheduler.abort("a")
    while not scheduler.idle:
        step(scheduler)
    assert one.finish == "abort"
    cache = scheduler.cache
    assert cache.available + cache.evictable == 100
    assert cache.evictable == (10 + steps if steps else 0)


def test_a_request_for_no_tokens_caches_its_prompt() -> None:
    scheduler = scheduler_of(100)
    touch = request("a", 10, max_new=0)
    scheduler.submit(touch)
    step(scheduler)
    assert (touch.finish, len(touch.output)) == ("length", 0)
    assert scheduler.cache.evictable == 10


def test_candidates_are_distinct_and_the_first_is_the_likeliest() -> None:
    found = candidates(state=12, choice=0, count=5)
    assert len({token for token, _ in found}) == 5
    assert sorted(found, key=lambda pair: -pair[1]) == found
    assert candidates(12, 0, 2) == found[:2]
    assert candidates(12, 1, 1) != found[:1]
