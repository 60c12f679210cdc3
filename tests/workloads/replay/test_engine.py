from __future__ import annotations

from collections import deque
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalesim.proxy.core.model import KV_PREFIX, LORA, LoadResult, LoadState, MemoryId
from scalesim.workloads.replay.clock import Clock
from scalesim.workloads.replay.engine import MOST_OVERTAKEN, Call

from .toy import COPY_S, HELD_S, OVERHEAD_S, STEP_S, TOKEN_S, Asking, costs, engine

READ_S = 40_000 / 1e8
"""In which an adapter of 40 kB is read on the device."""


def asking(capacity: int = 10_000, *, chunk_tokens: int = 1000, max_running: int = 8, **sizes: int) -> Asking:
    clock = Clock()
    server = costs(chunk_tokens=chunk_tokens, max_running=max_running)
    return Asking(clock, engine(clock, capacity, costs=server, **sizes))


def test_a_call_takes_its_prefill_and_a_step_for_each_further_token() -> None:
    town = asking()
    call = town.call([("persona", 100)], 3)
    town.finish()
    assert call.first_s == pytest.approx(100 * TOKEN_S)
    # Two steps; it holds 101 tokens in the first, and 102 in the second.
    assert call.ended_s == pytest.approx(100 * TOKEN_S + 2 * STEP_S + (101 + 102) * HELD_S)
    assert town.engine.spent.prefill == pytest.approx(100 * TOKEN_S)


def test_an_answer_of_one_token_ends_with_the_prefill() -> None:
    town = asking()
    call = town.call([("persona", 100)], 1)
    town.finish()
    assert call.ended_s == call.first_s == pytest.approx(0.1)


def test_few_tokens_take_as_long_as_reading_the_weights() -> None:
    town = asking()
    call = town.call([("persona", 3)], 1)
    town.finish()
    assert call.ended_s == pytest.approx(STEP_S)


def test_a_prompt_that_begins_like_one_before_is_computed_from_there_on() -> None:
    town = asking()
    town.call([("persona", 100), ("task", 50)], 1)
    town.finish()
    call = town.call([("persona", 100), ("other", 20)], 1)
    town.finish()
    assert call.cached == 100
    assert call.ended_s - call.arrived_s == pytest.approx(20 * TOKEN_S)


def test_the_last_token_of_a_prompt_is_always_computed() -> None:
    town = asking()
    for _ in range(2):
        call = town.call([("persona", 100)], 1)
        town.finish()
    assert call.cached == 99


def test_prefixes_are_found_in_whole_blocks() -> None:
    clock = Clock()
    town = Asking(clock, engine(clock, 10_000, costs=costs(block_tokens=64)))
    for task in ("one", "other"):
        call = town.call([("persona", 100), (task, 50)], 1)
        town.finish()
    assert call.cached == 64


def test_a_long_prompt_is_computed_in_chunks() -> None:
    town = asking(chunk_tokens=400)
    long = town.call([("long", 1000)], 1)
    short = town.call([("short", 100)], 1, "bob")
    town.finish()
    assert long.first_s == pytest.approx(1.0 + 0.1)  # in its last chunk there is room for the short one
    assert short.first_s == pytest.approx(1.0 + 0.1)
    assert town.engine.counts.steps == 3


def test_two_that_come_together_are_computed_and_decoded_together() -> None:
    town = asking()
    one, other = town.call([("one", 100)], 2), town.call([("other", 200)], 2, "bob")
    town.finish()
    # The first begins alone, as it came first; the other waits for the end of its step.
    assert one.first_s == pytest.approx(0.1)
    assert other.first_s == pytest.approx(0.3)
    assert one.ended_s == other.ended_s == pytest.approx(0.3 + STEP_S + (101 + 201) * HELD_S)


def test_who_comes_while_others_decode_waits_for_the_end_of_a_step() -> None:
    town = asking()
    first = town.call([("first", 100)], 101)
    town.call_at(0.1 + 3.5 * STEP_S, [("second", 50)], 1, "bob")
    town.clock.run_until(lambda: len(town.ended) == 2)
    second = town.ended[0]
    four_steps = 4 * STEP_S + (101 + 102 + 103 + 104) * HELD_S
    assert second.began_s == pytest.approx(0.1 + four_steps)
    assert second.ended_s == pytest.approx(0.1 + four_steps + 0.05)
    # The first one's hundred steps are all made, later by the second one's prefill.
    held = sum(range(101, 201)) * HELD_S
    assert first.ended_s == pytest.approx(0.1 + 100 * STEP_S + held + 0.05)


def test_who_finds_no_room_waits_until_somebody_ends() -> None:
    town = asking(capacity=150)
    one, other = town.call([("one", 100)], 1), town.call([("other", 100)], 1, "bob")
    town.finish()
    assert other.began_s == pytest.approx(one.ended_s)
    town.engine.cache.check()


def test_no_more_run_than_may() -> None:
    town = asking(max_running=2)
    for name in ("a", "b", "c"):
        town.call([(name, 10)], 5, name)
    town.finish()
    assert town.engine.counts.most_running == 2


def test_what_left_the_device_is_computed_again_without_host_memory() -> None:
    town = asking(capacity=250)
    for name in ("ann", "bob", "cid", "ann"):
        call = town.call([(name, 100)], 1, name)
        town.finish()
    assert call.cached == 0


def test_what_left_the_device_is_copied_back_from_host_memory() -> None:
    town = asking(capacity=250, host_tokens=1000)
    for name in ("ann", "bob", "cid", "ann"):
        call = town.call([(name, 100)], 1, name)
        town.finish()
    assert (call.cached, call.from_host) == (99, 99)
    # A hundred tokens are copied; one is computed, as fast as the weights are read.
    assert call.ended_s - call.arrived_s == pytest.approx(OVERHEAD_S + 99 * COPY_S + STEP_S)
    assert town.engine.spent.load == pytest.approx(OVERHEAD_S + 99 * COPY_S)


def test_an_adapter_is_copied_into_a_slot_once() -> None:
    town = asking(slots=1, adapter_bytes=40_000)
    for _ in range(2):
        call = town.call([("persona", 100)], 1, "ann", "ad")
        town.finish()
        assert town.engine.slots.has("ad")
    assert not call.adapter_missed
    assert town.engine.spent.load == pytest.approx(OVERHEAD_S + 0.01)


def test_an_adapter_waits_for_a_slot_and_others_pass_it() -> None:
    town = asking(slots=1, adapter_bytes=4_000)
    one = town.call([("one", 100)], 3, "ann", "ad-1")
    other = town.call([("other", 100)], 1, "bob", "ad-2")
    plain = town.call([("plain", 100)], 1, "cid")
    town.finish()
    assert plain.ended_s < one.ended_s <= other.began_s


def test_a_load_ahead_spares_its_call_the_wait() -> None:
    town = _ordered(slots=1, adapter_bytes=40_000)
    results: list[LoadResult] = []
    town.engine.ahead.load(MemoryId(LORA, "ad"), 1.0, 10.0, results.append)
    town.clock.run_until(lambda: bool(results))
    assert results == [LoadResult(LoadState.LOADED, 40_000)]
    assert town.clock.now == pytest.approx(OVERHEAD_S + 0.01)
    call = town.call([("persona", 100)], 1, "ann", "ad")
    town.finish()
    assert call.adapter_ahead
    assert town.engine.spent.load == 0


def test_a_call_takes_over_what_is_on_its_way() -> None:
    town = _ordered(slots=1, adapter_bytes=40_000)
    results: list[LoadResult] = []
    town.engine.ahead.load(MemoryId(LORA, "ad"), 1.0, 10.0, results.append)
    town.call_at(0.0075, [("persona", 100)], 1, "ann", "ad")
    town.clock.run_until(lambda: len(town.ended) == 1)
    # It waits for what is left of the load, and for nothing twice.
    assert town.ended[0].first_s == pytest.approx(OVERHEAD_S + 0.01 + 0.1 + READ_S)
    assert [one.state for one in results] == [LoadState.LOADED]


def test_a_call_waits_for_one_slice_of_a_load_for_another() -> None:
    town = _ordered(slots=2, adapter_bytes=40_000)
    town.engine.ahead.load(MemoryId(LORA, "far"), 1.0, 10.0, lambda result: None)
    town.call_at(0.0065, [("persona", 100)], 1, "ann", "mine")
    town.clock.run_until(lambda: len(town.ended) == 1)
    # The first slice ends at 6 ms, the second at 7: then its own is copied.
    assert town.ended[0].first_s == pytest.approx(0.007 + OVERHEAD_S + 0.01 + 0.1 + READ_S)


def test_a_prefix_is_brought_back_ahead_and_makes_no_room_of_nearer_ones() -> None:
    town = _ordered(capacity=250, host_tokens=1000)
    for name in ("ann", "bob", "cid"):
        town.call([(name, 100)], 1, name)
        town.finish()
    results: list[LoadResult] = []
    ledger = town.engine.ledger
    ledger.set_plan({"bob": 1.0, "cid": 2.0, "ann": 3.0})
    town.engine.ordered.changed()
    town.engine.ahead.load(MemoryId(KV_PREFIX, "ann"), 3.0, 10.0, results.append)
    assert [one.state for one in results] == [LoadState.NO_ROOM]
    ledger.set_plan({"ann": 1.0, "bob": 2.0, "cid": 3.0})
    town.engine.ordered.changed()
    town.engine.ahead.load(MemoryId(KV_PREFIX, "ann"), 1.0, 10.0, results.append)
    town.clock.run_until(lambda: len(results) == 2)
    assert results[1].state is LoadState.LOADED
    assert town.engine.prefixes.sizes("cid")[0] == 0
    assert town.engine.prefixes.sizes("bob")[0] > 0
    town.engine.cache.check()


def test_each_adapter_is_read_once_a_step_by_the_calls_that_run() -> None:
    town = asking(slots=2, adapter_bytes=400_000)
    calls = [
        town.call([(name, 100)], 3, name, adapter) for name, adapter in (("ann", "ad-1"), ("bob", "ad-2"))
    ]
    town.finish()
    read = 2 * 400_000 / 1e8
    assert calls[1].ended_s - calls[1].first_s == pytest.approx(2 * (STEP_S + read) + (202 + 204) * HELD_S)
    town.call([("cid", 100)], 3, "cid", "ad-2")
    town.call([("dan", 100)], 3, "dan", "ad-2")
    town.finish()
    last = town.ended[-1]
    assert last.ended_s - last.first_s == pytest.approx(2 * (STEP_S + read / 2) + (202 + 204) * HELD_S)


def test_an_adapter_has_an_overhead_that_a_prefix_has_not() -> None:
    clock = Clock()
    town = Asking(
        clock, engine(clock, 10_000, costs=costs(adapter_overhead_s=0.1), slots=1, adapter_bytes=40_000)
    )
    call = town.call([("persona", 100)], 1, "ann", "ad")
    town.finish()
    assert call.load_s == pytest.approx(OVERHEAD_S + 0.1 + 0.01)
    assert town.engine._costs.load_s(40_000) == pytest.approx(OVERHEAD_S + 0.01)


def _ready_first(**sizes: int) -> Asking:
    town = _ordered(slots=2, adapter_bytes=400_000, **sizes)
    town.engine.ledger.set_plan({"ann": 0.0}, {"mine": 0.0}, ready_first=True)
    return town


def test_a_call_whose_adapter_is_there_goes_before_others() -> None:
    town = _ready_first()
    town.call([("persona", 100)], 1, "ann", "mine")
    town.finish()
    town.call([("plain", 100)], 1, "cid")
    late = town.call([("late", 100)], 1, "bob", "other")
    ready = town.call([("ready", 100)], 1, "ann", "mine")
    town.finish()
    assert ready.began_s < late.began_s


def test_an_adapter_that_is_missing_is_brought_beside_the_steps_of_others() -> None:
    town = _ready_first()
    long = town.call([("persona", 100)], 100, "ann", "mine")
    town.call_at(0.5, [("other", 100)], 1, "bob", "other")
    town.finish()
    waited = town.engine.spent.load
    short = next(call for call in town.ended if call.owner == "bob")
    # Only the first of all, beside which nothing ran, held up a step.
    assert waited == pytest.approx(OVERHEAD_S + 0.1)
    assert short.began_s > 0.5 + OVERHEAD_S + 0.1
    assert short.began_s < long.ended_s


def test_without_that_it_holds_up_the_step_that_needs_it() -> None:
    town = _ready_first()
    town.engine.ledger.set_plan({"ann": 0.0}, {"mine": 0.0}, ready_first=False)
    town.call([("persona", 100)], 100, "ann", "mine")
    town.call_at(0.5, [("other", 100)], 1, "bob", "other")
    town.finish()
    assert town.engine.spent.load == pytest.approx(2 * (OVERHEAD_S + 0.1))


def test_who_was_overtaken_often_enough_is_not_any_more() -> None:
    town = _ready_first()
    town.call([("persona", 100)], 1, "ann", "mine")
    town.finish()
    waits = Call(99, "bob", town.path(("waits", 100)), 1, "other", lambda _: None, overtaken=MOST_OVERTAKEN)
    ready = Call(100, "ann", town.path(("ready", 100)), 1, "mine", lambda _: None)
    for order in ([waits, ready], [ready, waits]):
        town.engine.waiting = deque(order)
        town.engine._put_ready_first()
        assert list(town.engine.waiting) == order
    waits.overtaken = 0
    town.engine.waiting = deque([waits, ready])
    town.engine._put_ready_first()
    assert list(town.engine.waiting) == [ready, waits]
    assert waits.overtaken == 1


def _three_who_called(capacity: int, host_tokens: int, first: int = 100) -> Asking:
    """Two of them are on the device, the first is in host memory."""
    town = _ordered(capacity=capacity, host_tokens=host_tokens)
    for name, tokens in (("ann", first), ("bob", 100), ("cid", 100)):
        town.call([(name, tokens)], 1, name)
        town.finish()
    assert town.engine.prefixes.sizes("ann") == (0, first * 4)
    return town


def test_what_makes_room_for_a_load_does_not_take_its_place_in_host_memory() -> None:
    town = _three_who_called(capacity=250, host_tokens=100)
    results: list[LoadResult] = []
    town.engine.ledger.set_plan({"ann": 1.0, "cid": 2.0, "bob": 3.0})
    town.engine.ordered.changed()
    town.engine.ahead.load(MemoryId(KV_PREFIX, "ann"), 1.0, 10.0, results.append)
    town.clock.run_until(lambda: bool(results))
    town.engine.cache.check()
    assert results == [LoadResult(LoadState.LOADED, 400)]
    assert town.engine.prefixes.sizes("ann") == (400, 0)


def test_nothing_is_given_up_for_a_load_that_finds_no_room_after_all() -> None:
    town = _three_who_called(capacity=250, host_tokens=1000, first=170)
    results: list[LoadResult] = []
    town.engine.ledger.set_plan({"cid": 1.0, "ann": 2.0, "bob": 3.0})
    town.engine.ordered.changed()
    town.engine.ahead.load(MemoryId(KV_PREFIX, "ann"), 2.0, 10.0, results.append)
    assert [one.state for one in results] == [LoadState.NO_ROOM]
    assert town.engine.prefixes.sizes("bob") == (400, 0)


def test_a_call_that_waits_for_the_place_of_a_load_begins_when_that_has_ended() -> None:
    town = _ordered(slots=1, adapter_bytes=40_000)
    town.engine.ahead.load(MemoryId(LORA, "far"), 1.0, 10.0, lambda result: None)
    call = town.call([("persona", 100)], 1, "ann", "mine")
    town.finish()
    assert call.began_s == pytest.approx(OVERHEAD_S + 0.01)


def test_what_was_brought_for_nothing_is_counted_as_wasted() -> None:
    town = _ordered(capacity=250, host_tokens=1000)
    for name in ("ann", "bob", "cid"):
        town.call([(name, 100)], 1, name)
        town.finish()
    results: list[LoadResult] = []
    town.engine.ledger.set_plan({"ann": 1.0})
    town.engine.ordered.changed()
    town.engine.ahead.load(MemoryId(KV_PREFIX, "ann"), 1.0, 10.0, results.append)
    town.clock.run_until(lambda: bool(results))
    town.call([("large", 240)], 1, "eve")
    town.finish()
    assert town.engine.cache.counts.wasted == 100


def test_a_call_that_can_never_run_is_refused() -> None:
    with pytest.raises(ValueError, match="larger than"):
        asking(capacity=100).call([("persona", 100)], 1)


def _ordered(capacity: int = 10_000, **sizes: int) -> Asking:
    clock = Clock()
    return Asking(clock, engine(clock, capacity, rule=None, **sizes))


CALLS = st.lists(
    st.tuples(
        st.sampled_from(["ann", "bob", "cid", "dee"]),
        st.integers(0, 3),  # pieces of the owner's history
        st.integers(1, 60),  # of the task
        st.integers(1, 30),  # of the answer
        st.sampled_from([None, "ad-1", "ad-2", "ad-3"]),
        st.floats(0, 3),  # when it comes
        st.booleans(),  # is something loaded ahead for its owner
    ),
    min_size=1,
    max_size=25,
)


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(CALLS, st.integers(260, 600), st.sampled_from([0, 150, 2000]), st.integers(1, 3), st.integers(20, 500))
def test_whatever_comes_no_token_is_lost_no_pool_overflows_and_every_call_ends(
    calls: list[tuple[str, int, int, int, str | None, float, bool]],
    capacity: int,
    host: int,
    slots: int,
    chunk: int,
) -> None:
    clock = Clock()
    asked = engine(
        clock,
        capacity,
        costs=costs(chunk_tokens=chunk, max_running=3),
        rule=None,
        host_tokens=host,
        slots=slots,
        adapter_bytes=9_000,
    )
    town = Asking(clock, asked)
    settled: list[LoadResult] = []
    loads = 0
    moments = [0.0]

    def comes(number: int) -> None:
        nonlocal loads
        owner, history, task, output, adapter, _, ahead = calls[number]
        if ahead:
            asked.ledger.set_plan({owner: 1.0}, {adapter: 1.0} if adapter else {})
            asked.ordered.changed()
            asked.ahead.load(MemoryId(KV_PREFIX, owner), 1.0, 1.0, settled.append)
            asked.ahead.load(MemoryId(LORA, adapter or "ad-1"), 1.0, 1.0, settled.append)
            loads += 2
        runs = [(owner, 40), *((f"{owner}-{part}", 20) for part in range(history)), (number, task)]
        town.call(runs, output, owner, adapter)
        asked.cache.check()
        assert clock.now >= moments[-1]
        moments.append(clock.now)

    for number, call in enumerate(calls):
        clock.at(call[5], partial(comes, number))
    clock.run_until(lambda: town.made == len(calls) == len(town.ended) and len(settled) == loads)
    asked.cache.check()
    assert asked.idle
    assert asked.cache.loose == asked.cache.used  # nobody holds anything any more
    assert len(asked.slots.held) <= slots
    assert not any(slot.locks for slot in asked.slots.held.values())
    assert asked.counts.prompt_tokens == sum(call.prompt_tokens for call in town.ended)
    assert asked.counts.output_tokens == sum(call[3] for call in calls)
    assert (
        asked.counts.computed_tokens + sum(call.cached for call in town.ended) == asked.counts.prompt_tokens
    )
    for call in town.ended:
        assert call.arrived_s <= call.began_s < call.first_s <= call.ended_s
        assert 0 <= call.from_host <= call.cached < call.prompt_tokens
    assert asked.spent.busy <= clock.now + 1e-9


def test_an_idle_engine_begins_with_all_that_come_at_the_same_moment() -> None:
    for gathers, together in ((False, False), (True, True)):
        town = asking(gathers=gathers)
        calls = [town.call([(name, 100)], 1, owner=name) for name in "ab"]
        town.finish()
        assert (calls[0].first_s == calls[1].first_s) is together


def test_no_call_of_a_step_pushes_out_what_another_one_of_it_found() -> None:
    for gathers, found in ((False, 0), (True, 100)):
        town = asking(380, gathers=gathers)
        for name in "ab":
            town.call([(name, 100)], 1, owner=name)
            town.finish()
        # There is room for both, if the first takes that of `b` and not that of `a`.
        town.call([("busy", 50)], 1, owner="busy")
        new = town.call([("new", 150)], 1, owner="new")
        again = town.call([("a", 100), ("task", 20)], 1, owner="a")
        town.finish()
        assert new.cached == 0
        assert again.cached == found
