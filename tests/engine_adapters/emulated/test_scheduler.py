from __future__ import annotations

from array import array
from typing import Any

import pytest

from scalesim.engine_adapters.emulated.adapters import Adapter
from scalesim.engine_adapters.emulated.cache import RadixCache
from scalesim.engine_adapters.emulated.link import Link
from scalesim.engine_adapters.emulated.machine import Machine
from scalesim.engine_adapters.emulated.scheduler import MAX_OVERTAKEN, Generation, Scheduler, candidates
from scalesim.engine_adapters.emulated.tokens import END
from scalesim.engine_adapters.sglang_plugin.ledger import MISSED_TOKENS


def scheduler_of(capacity: int, max_running: int = 8) -> Scheduler:
    cache = RadixCache(capacity, None)
    return Scheduler(cache, max_running=max_running, prefill_s_per_token=0.5, decode_s_per_token=2.0)


def request(rid: str, prompt: int, max_new: int = 1, ends_at: int | None = None) -> Generation:
    ids = array("q", (hash_free(rid) + n for n in range(prompt)))
    return Generation(rid, ids, max_new, ends_at, None, 0, notify=lambda: None)


def hash_free(rid: str) -> int:
    return 1_000 * sum(rid.encode())


def step(scheduler: Scheduler) -> float:
    taken = scheduler.begin()
    scheduler.end()
    return taken.compute_s


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


# --- agent memory ------------------------------------------------------------------------------------------------------


def machine(**sizes: Any) -> Machine:
    usual: dict[str, Any] = {
        "capacity_tokens": 1_000,
        "prefill_s_per_token": 0.5,
        "decode_s_per_token": 2.0,
        "max_running": 1,
        "extended": True,
        "pin_budget_tokens": None,
        "bytes_per_token": 10,
        "host_tokens": 1_000,
        "adapter_slots": 2,
        "adapter_bytes": 400,
        "host_adapters": None,
        "link": Link(bytes_per_s=100.0, overhead_s=1.0),
        "device_bytes": None,
        "kinds": {},
    }
    return Machine(**{**usual, **sizes})


def on(name: str, rid: str, prompt: int = 10) -> Generation:
    one = request(rid, prompt)
    one.adapter = Adapter(f"id-of-{name}", name, f"/{name}")
    return one


def begun(scheduler: Scheduler) -> list[str]:
    """Steps until all have ended; the order in which they began."""
    order: list[str] = []
    while not scheduler.idle:
        waited = {one.rid for one in scheduler.waiting}
        scheduler.begin()
        order += sorted(waited - {one.rid for one in scheduler.waiting})
        scheduler.end()
    return order


def test_a_step_waits_for_what_its_calls_have_to_load() -> None:
    scheduler = machine().scheduler
    scheduler.submit(on("one", "a"))
    assert scheduler.begin() == (1.0 + 4.0, 5.0, False)
    assert scheduler.running_adapters == ["one"]
    scheduler.end()
    scheduler.submit(on("one", "a"))
    assert scheduler.begin() == (0.0, 0.5, False)
    scheduler.end()
    scheduler.cache.evict(1_000)
    scheduler.submit(on("one", "a"))
    assert scheduler.begin() == (1.0 + 0.9, 0.5, False)
    scheduler.end()
    assert scheduler.running_adapters == []


def test_a_call_whose_adapter_finds_no_slot_lets_others_begin() -> None:
    scheduler = machine(adapter_slots=1, max_running=3).scheduler
    for rid, name in (("a", "one"), ("b", "other"), ("c", "one")):
        scheduler.submit(on(name, rid))
    assert begun(scheduler) == ["a", "c", "b"]


def test_calls_whose_memory_is_ready_go_first_only_if_the_plan_says_so() -> None:
    for ready_first, expected in ((False, ["far", "near"]), (True, ["near", "far"])):
        made = machine()
        assert made.ledger is not None
        made.ledger.set_plan({}, ready_first=ready_first)
        made.scheduler.submit(on("one", "first"))
        begun(made.scheduler)
        made.scheduler.submit(on("other", "far"))
        made.scheduler.submit(on("one", "near"))
        assert begun(made.scheduler) == expected


@pytest.mark.parametrize("max_running", [1, 30])
def test_a_call_is_overtaken_a_bounded_number_of_times(max_running: int) -> None:
    made = machine(max_running=max_running)
    assert made.ledger is not None
    made.ledger.set_plan({}, ready_first=True)
    made.scheduler.submit(on("one", "first"))
    begun(made.scheduler)
    late = on("other", "late")
    made.scheduler.submit(late)
    for index in range(20):
        made.scheduler.submit(on("one", f"ready-{index:02}"))
    before = [one.rid for one in made.scheduler.in_turn()]
    assert before.index("late") == MAX_OVERTAKEN
    begun(made.scheduler)
    assert late.overtaken == MAX_OVERTAKEN


def test_kinds_that_share_a_pool_make_room_for_each_other() -> None:
    made = machine(device_bytes=1_000 * 10 + 400 + 700, kinds={"model": 700})
    scheduler, (pool,) = made.scheduler, made.memory.pools
    for owner in "abcd":
        one = on("one", owner, prompt=300)
        one.owner = owner
        scheduler.submit(one)
        begun(scheduler)
        assert 0 <= pool.free_bytes <= pool.capacity_bytes
    assert 1 <= len(made.memory.private["model"].held) < 4
    assert made.cache.host.used > 0
    assert made.tally.of["model"].missed == 4


def test_what_calls_will_still_need_is_known() -> None:
    scheduler = machine(capacity_tokens=200, host_tokens=200, max_running=1).scheduler
    for _ in range(2):
        scheduler.submit(request("a", prompt=10, max_new=5))
    assert scheduler.reserved_tokens() == 15 + 15
    step(scheduler)
    # One token is out, and the other call finds its prompt but for the last token.
    assert scheduler.reserved_tokens() == 4 + 1 + 5
    while not scheduler.idle:
        step(scheduler)
    assert scheduler.reserved_tokens() == 0
    scheduler.cache.evict(200)
    scheduler.submit(request("a", prompt=10, max_new=5))
    assert scheduler.reserved_tokens() == 15, "what is in host memory needs room as well"


@pytest.mark.parametrize(("on_host", "missed"), [(MISSED_TOKENS - 1, 0), (MISSED_TOKENS, 1)])
def test_a_call_that_brings_a_little_itself_misses_nothing(on_host: int, missed: int) -> None:
    made = machine(capacity_tokens=500, host_tokens=500)
    for _ in range(2):
        call = request("a", prompt=on_host + 1)
        call.owner = "ann"
        made.scheduler.submit(call)
        begun(made.scheduler)
        made.cache.evict(500)
    assert call.from_host == on_host
    assert made.tally.of["kv_prefix"].missed == missed


def test_a_warm_up_says_nothing_of_what_an_owner_s_calls_look_like() -> None:
    made = machine(capacity_tokens=500)
    assert made.ledger is not None
    for prompt, max_new in ((100, 1), (100, 1), (20, 0), (40, 0)):
        call = request("a", prompt, max_new)
        call.owner = "ann"
        made.scheduler.submit(call)
        begun(made.scheduler)
    assert made.ledger.calls_of("ann") == 2
    assert made.ledger.reusable_depth("ann") == 100


def test_an_adapter_moved_ahead_and_given_up_unused_is_wasted_once() -> None:
    made = machine()
    slots = made.memory.slots
    assert slots is not None
    for most_bytes in (1, slots.size_bytes):
        slots.place("one")
        slots.move("one", most_bytes, ahead=True)
    slots.drop("one")
    slots.place("two")
    slots.move("two", slots.size_bytes, ahead=True)
    assert slots.use("two")
    slots.drop("two")
    assert made.memory.wasted() == {"kv_prefix": (0, 0), "lora": (1, slots.size_bytes)}
    assert made.tally.told(made.memory.wasted())["lora"]["wasted"] == 1


def test_sizes_that_no_call_could_live_with_are_refused_by_name() -> None:
    for bad, named in (
        ({"device_bytes": 10_399}, "device_bytes"),
        ({"kinds": {"model": 700}}, "device_bytes"),
        ({"adapter_slots": 0}, "adapter_slots"),
        ({"host_tokens": -1}, "host_tokens"),
        ({"kinds": {"model": 0}, "device_bytes": 99_999}, "model"),
    ):
        with pytest.raises(ValueError, match=named):
            machine(**bad)
