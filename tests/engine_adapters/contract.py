"""What every engine behind an adapter must do, written once: run against the emulated engine and against SGLang itself.

A test class inherits `ExtendedContract` or `StockContract` and defines a fixture `bench` that yields a `Bench`, made
with `bench_on`. One running engine may serve all tests: each bench starts from an empty cache and a new fence.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import pytest

from scalesim.engine_adapters.base import EngineRefused, Fence, FenceLost
from scalesim.engine_adapters.sglang_plugin import wire
from scalesim.engine_adapters.sglang_plugin.ledger import PLAN_BEATS
from scalesim.proxy.core.actions import Evict, Order, Pin, Renew, Unpin
from scalesim.proxy.core.model import FAR, KV_PREFIX, Owner
from tests.engine_adapters.bench import PATIENCE_S, Bench, owners

LONG_ANSWER = 1_000


@pytest.mark.anyio
class ExtendedContract:
    async def test_a_probe_tells_what_the_engine_can_do(self, bench: Bench) -> None:
        known = await bench.adapter.probe()
        assert known.extended
        assert known.reason == ""
        assert known.features == frozenset(wire.FEATURES)
        assert known.boot_id
        assert known.version
        assert (await bench.adapter.probe()).boot_id == known.boot_id

    async def test_it_says_what_it_serves(self, bench: Bench) -> None:
        cards = await bench.adapter.models()
        assert all(isinstance(card, dict) and isinstance(card["id"], str) for card in cards)
        assert cards

    async def test_a_report_tells_what_is_in_force(self, bench: Bench) -> None:
        ann, bob = owners(2)
        await bench.fill([ann, bob])
        quiet = await bench.adapter.report()
        assert (quiet.plan_in_force, quiet.pinned_owners, quiet.pinned_tokens) == (False, frozenset(), 0)
        await bench.order(ann, bob)
        await bench.pin(ann)
        report = await bench.adapter.report()
        told = {memory.key: size for memory, size in report.memories.items() if memory.kind == KV_PREFIX}
        assert told.keys() == {ann, bob}
        assert all(size.device_bytes > 0 and size.missing_bytes == 0 for size in told.values())
        assert report.boot_id == (await bench.adapter.probe()).boot_id
        assert report.plan_in_force
        assert report.pinned_owners == {ann}
        assert report.pinned_tokens == bench.unit
        assert report.capacity_tokens == bench.capacity_tokens

    async def test_a_repeated_prompt_is_cached_but_for_its_last_token(self, bench: Bench) -> None:
        prompt = bench.prompt("again")
        assert await bench.call(prompt) == 0
        assert await bench.call(prompt) == bench.unit - 1
        assert await bench.call(prompt + bench.prompt("more", 20)) == bench.unit

    # --- order -----------------------------------------------------------------------------------------------------

    async def test_without_a_plan_the_longest_unused_leaves_first(self, bench: Bench) -> None:
        crowd = owners(8)
        await bench.fill(crowd)
        await bench.press(4)
        assert await bench.resident(crowd[0]) == 0
        assert await bench.resident(crowd[7]) == bench.unit

    async def test_with_a_plan_the_farthest_leaves_first(self, bench: Bench) -> None:
        crowd = owners(8)
        await bench.fill(crowd)
        await bench.order(*crowd)
        await bench.press(4)
        assert await bench.resident(crowd[7]) == 0
        for owner in crowd[:4]:
            assert await bench.call(bench.prompt(owner), owner) == bench.unit - 1
        assert await bench.call(bench.prompt(crowd[7]), crowd[7]) == 0

    async def test_a_new_plan_works_at_once(self, bench: Bench) -> None:
        crowd = owners(8)
        await bench.fill(crowd)
        await bench.order(*crowd)
        await bench.order(*reversed(crowd))
        await bench.press(4)
        assert await bench.resident(crowd[0]) == 0
        for owner in reversed(crowd[4:]):
            assert await bench.call(bench.prompt(owner), owner) == bench.unit - 1
        assert await bench.call(bench.prompt(crowd[0]), crowd[0]) == 0

    async def test_owners_outside_the_plan_leave_before_those_in_it(self, bench: Bench) -> None:
        crowd = owners(8)
        await bench.fill(crowd)
        await bench.order(*crowd[:4])
        await bench.press(5)
        for owner in crowd[:4]:
            assert await bench.resident(owner) == bench.unit
        assert await bench.resident(crowd[4]) == 0

    async def test_an_owner_expected_at_no_time_is_as_one_outside_the_plan(self, bench: Bench) -> None:
        crowd = owners(8)
        await bench.fill(crowd)
        distances = [(owner, 1.0) for owner in crowd[:4]] + [(owner, FAR) for owner in crowd[4:]]
        await bench.do(Order(bench.adapter.engine, tuple(distances)))
        await bench.press(5)
        assert await bench.resident(crowd[0]) == bench.unit
        assert await bench.resident(crowd[4]) == 0

    async def test_an_empty_plan_gives_the_cache_back_to_recency(self, bench: Bench) -> None:
        crowd = owners(8)
        await bench.fill(crowd)
        await bench.order(*crowd)
        await bench.order()
        await bench.press(4)
        assert await bench.resident(crowd[0]) == 0
        assert await bench.resident(crowd[7]) == bench.unit

    async def test_by_recency_the_longest_unused_leaves_first(self, bench: Bench) -> None:
        crowd = owners(8)
        await bench.fill(crowd)
        await bench.order(*crowd)
        await bench.do(Order(bench.adapter.engine, (), by_recency=True))
        assert (await bench.adapter.report()).plan_in_force
        await bench.press(4)
        assert await bench.resident(crowd[0]) == 0
        assert await bench.resident(crowd[7]) == bench.unit

    async def test_by_recency_what_nobody_will_ask_for_again_leaves_before_all_else(
        self, bench: Bench
    ) -> None:
        ann, *crowd = owners(7)
        await bench.fill(crowd)
        persona = bench.prompt(ann, bench.unit // 2)
        for question in ("first", "second"):
            await bench.call(persona + bench.prompt(question), ann)
        await bench.do(Order(bench.adapter.engine, (), by_recency=True))
        await bench.press(3)
        for owner in crowd:
            assert await bench.resident(owner) == bench.unit
        assert await bench.call(persona + bench.prompt("third"), ann) == len(persona)

    async def test_no_more_leaves_than_is_needed(self, bench: Bench) -> None:
        ann, *others = owners(9)
        await bench.fill([ann, *others])
        await bench.order(*others, ann)
        free = (await bench.read("stats"))["available_tokens"]
        await bench.call(bench.prompt("stranger", free + bench.unit // 4))
        kept = await bench.resident(ann)
        assert 0 < kept < bench.unit
        assert await bench.call(bench.prompt(ann), ann) == kept

    async def test_owners_survive_the_split_of_a_node(self, bench: Bench) -> None:
        ann, bob = owners(2)
        shared = bench.prompt("shared")
        await bench.call(shared + bench.prompt(ann), ann)
        assert await bench.call(shared + bench.prompt(bob), bob) == bench.unit
        assert await bench.resident(ann) == await bench.resident(bob) == 2 * bench.unit
        await bench.order(ann)
        await bench.press(8)
        assert await bench.resident(bob) == bench.unit
        assert await bench.call(shared + bench.prompt(ann), ann) == 2 * bench.unit - 1

    # --- pins ------------------------------------------------------------------------------------------------------

    async def test_a_pinned_owner_survives_pressure(self, bench: Bench) -> None:
        crowd = owners(8)
        await bench.fill(crowd)
        await bench.pin(crowd[0])
        for turn in range(3):
            await bench.press(4, f"stranger-{turn}")
        assert await bench.resident(crowd[1]) == 0
        assert await bench.call(bench.prompt(crowd[0]), crowd[0]) == bench.unit - 1

    async def test_a_pool_full_of_pins_still_serves(self, bench: Bench) -> None:
        crowd = owners(9)
        await bench.fill(crowd)
        await bench.pin(*crowd)
        await bench.press(9)
        assert sum([await bench.resident(owner) for owner in crowd]) <= bench.capacity_tokens - 9 * bench.unit

    async def test_an_unpinned_owner_leaves_like_any_other(self, bench: Bench) -> None:
        crowd = owners(8)
        await bench.fill(crowd)
        await bench.pin(crowd[0])
        await bench.unpin(crowd[0])
        await bench.press(4)
        assert await bench.resident(crowd[0]) == 0

    # --- eviction --------------------------------------------------------------------------------------------------

    async def test_evicted_owners_leave_at_once_and_nobody_else(self, bench: Bench) -> None:
        ann, bob, eve = owners(3)
        await bench.fill([ann, bob, eve])
        await bench.evict(bob, Owner("town/nobody"))
        assert [await bench.resident(owner) for owner in (ann, bob, eve)] == [bench.unit, 0, bench.unit]
        assert await bench.call(bench.prompt(bob), bob) == 0

    async def test_what_is_shared_stays_when_one_of_its_owners_is_evicted(self, bench: Bench) -> None:
        ann, bob = owners(2)
        shared = bench.prompt("shared")
        await bench.call(shared + bench.prompt(ann), ann)
        await bench.call(shared + bench.prompt(bob), bob)
        await bench.evict(ann)
        assert await bench.resident(bob) == 2 * bench.unit
        assert await bench.call(shared + bench.prompt(ann), ann) == bench.unit

    async def test_tokens_are_evicted_on_demand(self, bench: Bench) -> None:
        await bench.fill(owners(4))
        before = (await bench.read("stats"))["available_tokens"]
        body = {"fence": [bench.fence.token, bench.fence.sequence + 1], "tokens": bench.unit}
        answer = await bench.client.post(f"{wire.PREFIX}/evict", json=body)
        evicted = answer.json()["evicted_tokens"]
        assert evicted >= bench.unit
        assert (await bench.read("stats"))["available_tokens"] == before + evicted

    # --- what can be seen ------------------------------------------------------------------------------------------

    async def test_residency_is_told_per_owner(self, bench: Bench) -> None:
        ann, bob = owners(2)
        await bench.call(bench.prompt(ann), ann, output=3)
        await bench.call(bench.prompt(bob), bob)
        await bench.press(1)
        await bench.pin(bob)
        seen = await bench.read("residency")
        assert seen == {
            "owners": {
                # The last token of an answer has gone through no layer yet, so it is not in the cache.
                ann: {"device_tokens": bench.unit + 2, "host_tokens": 0, "pinned": False},
                bob: {"device_tokens": bench.unit, "host_tokens": 0, "pinned": True},
            },
            "unowned_tokens": bench.unit,
        }

    async def test_a_flush_empties_the_cache_and_keeps_the_commands(self, bench: Bench) -> None:
        ann, bob = owners(2)
        await bench.fill([ann, bob])
        await bench.order(ann, bob)
        await bench.pin(ann)
        await bench.flush()
        assert (await bench.read("residency"))["owners"] == {}
        report = await bench.adapter.report()
        assert (report.plan_in_force, report.pinned_owners, report.pinned_tokens) == (
            True,
            frozenset({ann}),
            0,
        )
        assert await bench.call(bench.prompt(ann), ann) == 0
        assert await bench.resident(ann) == bench.unit

    # --- who commands ----------------------------------------------------------------------------------------------

    async def test_whoever_was_outranked_is_refused(self, bench: Bench) -> None:
        ann, bob = owners(2)
        token = bench.fence.token + 1
        mine = Order(bench.adapter.engine, ((ann, 1.0), (bob, 2.0)))
        await bench.adapter.carry_out(mine, Fence(token, 7))
        for stale in (Fence(token, 6), Fence(token - 1, 9_999)):
            for action in (
                Order(bench.adapter.engine, ()),
                Renew(bench.adapter.engine),
                Pin(bench.adapter.engine, (ann,)),
                Unpin(bench.adapter.engine, (ann,)),
                Evict(bench.adapter.engine, (ann,)),
            ):
                with pytest.raises(FenceLost) as lost:
                    await bench.adapter.carry_out(action, stale)
                assert lost.value.token == token
        stats = await bench.read("stats")
        assert (stats["fence"], stats["plan_owners"], stats["pins"]) == ([token, 7], 2, [])

    async def test_a_repeated_or_a_higher_fence_is_accepted(self, bench: Bench) -> None:
        (ann,) = owners(1)
        token = bench.fence.token + 1
        for fence in (Fence(token, 3), Fence(token, 3), Fence(token, 4), Fence(token + 1, 0)):
            await bench.adapter.carry_out(Order(bench.adapter.engine, ((ann, 1.0),)), fence)
        assert (await bench.read("stats"))["fence"] == [token + 1, 0]

    async def test_malformed_commands_are_refused_and_change_nothing(self, bench: Bench) -> None:
        (ann,) = owners(1)
        await bench.order(ann)
        before = await bench.read("stats")
        fence = [before["fence"][0] + 5, 0]
        bodies: list[tuple[str, object]] = [
            ("plan", {"owners": {ann: 1}}),
            ("plan", {"fence": fence}),
            ("plan", {"fence": fence, "owners": [ann]}),
            ("plan", {"fence": fence, "owners": {ann: -1}}),
            ("plan", {"fence": fence, "owners": {ann: "near"}}),
            ("plan", {"fence": fence, "owners": {ann: None}}),
            ("plan", {"fence": fence, "owners": {ann: True}}),
            ("plan", {"fence": fence, "owners": {"": 1}}),
            ("plan", {"fence": fence, "owners": {"x" * (wire.MAX_OWNER_CHARS + 1): 1}}),
            ("plan", {"fence": fence, "owners": {ann: 1}, "also": 1}),
            ("plan", {"fence": [1], "owners": {}}),
            ("plan", {"fence": [1.5, 0], "owners": {}}),
            ("plan", {"fence": [2**64, 0], "owners": {}}),
            ("renew", {}),
            ("renew", []),
            ("renew", "renew"),
            ("renew", None),
            ("pin", {"fence": fence, "owners": ann}),
            ("pin", {"fence": fence, "owners": [1]}),
            ("unpin", {"fence": fence, "owners": {ann: 1}}),
            ("evict", {"fence": fence, "tokens": -1}),
            ("evict", {"fence": fence, "tokens": 1, "owners": []}),
            ("dance", {"fence": fence}),
        ]
        for name, body in bodies:
            answer = await bench.client.post(f"{wire.PREFIX}/{name}", json=body)
            assert (answer.status_code, answer.json()["error"]["type"]) == (400, "bad_request"), (name, body)
        for raw in (b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"fence": [1, NaN]}'):
            answer = await bench.client.post(
                f"{wire.PREFIX}/plan", content=raw, headers={"content-type": "application/json"}
            )
            assert answer.status_code == 400, raw[:20]
        assert (await bench.client.get(f"{wire.PREFIX}/dance")).status_code == 404
        after = await bench.read("stats")
        assert (after["fence"], after["plan_owners"]) == (before["fence"], before["plan_owners"])
        assert await bench.call(bench.prompt(ann), ann) == 0

    async def test_an_absurd_distance_is_refused(self, bench: Bench) -> None:
        fence = [bench.fence.token, bench.fence.sequence + 1]
        for distance in ("1e400", "NaN", "-Infinity", "1" + "0" * 400):
            raw = f'{{"fence": {fence}, "owners": {{"a": {distance}}}}}'
            answer = await bench.client.post(
                f"{wire.PREFIX}/plan", content=raw, headers={"content-type": "application/json"}
            )
            assert answer.status_code == 400, distance
        assert not (await bench.adapter.report()).plan_in_force

    # --- ageing ----------------------------------------------------------------------------------------------------

    async def test_a_plan_that_nobody_renews_gives_way_to_recency(self, bench: Bench) -> None:
        crowd = owners(8)
        await bench.fill(crowd)

        async def lives_on() -> bool:
            await bench.order(*crowd)
            await bench.pin(crowd[0])
            await bench.beats(PLAN_BEATS // 2)
            return (await bench.adapter.report()).plan_in_force

        assert await is_so_on_a_machine_in_time(lives_on, PLAN_BEATS)
        await bench.beats(PLAN_BEATS // 2)

        async def aged() -> bool:
            report = await bench.adapter.report()
            return not report.plan_in_force and not report.pinned_owners

        await bench.until(aged, "plan and pin are gone")
        await bench.press(4)
        assert await bench.resident(crowd[0]) == 0
        assert await bench.resident(crowd[7]) == bench.unit

    async def test_a_renewed_plan_stays_in_force(self, bench: Bench) -> None:
        ann, bob = owners(2)

        async def lives_on() -> bool:
            await bench.order(ann, bob)
            await bench.pin(ann)
            for _ in range(3):
                await bench.beats(PLAN_BEATS // 2)
                await bench.renew()
            report = await bench.adapter.report()
            return (report.plan_in_force, report.pinned_owners) == (True, frozenset({ann}))

        # Three halves of a life: late by another half in all, and none of them can have been a whole one.
        assert await is_so_on_a_machine_in_time(lives_on, 2 * PLAN_BEATS)

    # --- requests --------------------------------------------------------------------------------------------------

    async def test_an_abort_ends_a_stream(self, bench: Bench) -> None:
        await abort_ends_a_stream(bench)
        await bench.nothing_in_use()

    async def test_an_abort_ends_a_request_that_does_not_stream(self, bench: Bench) -> None:
        await abort_ends_a_request(bench)
        await bench.nothing_in_use()

    async def test_an_abort_of_an_unknown_request_is_no_error(self, bench: Bench) -> None:
        await bench.adapter.abort("nobody-has-this-id")

    async def test_the_additions_carry_the_owner_into_the_cache(self, bench: Bench) -> None:
        (ann,) = owners(1)
        body: dict[str, object] = {
            "model": "any",
            "prompt": "the baker walked to the market",
            "max_tokens": 2,
        }
        added = bench.adapter.additions("/v1/completions", body, ann, "request-1")
        answer = await bench.client.post("/v1/completions", json={**body, **added})
        assert answer.status_code == 200, answer.text
        assert await bench.resident(ann) == answer.json()["usage"]["prompt_tokens"] + 1

    async def test_a_chat_of_no_tokens_caches_its_prompt(self, bench: Bench) -> None:
        (ann,) = owners(1)
        messages = [{"role": "user", "content": "the baker walked to the market and met the miller there"}]
        body = {"model": "any", "messages": messages, "max_tokens": 0, "temperature": 0, "session_id": ann}
        answer = await bench.client.post("/v1/chat/completions", json=body)
        assert answer.status_code == 200, answer.text
        usage = answer.json()["usage"]
        assert usage["completion_tokens"] == 0
        assert await bench.resident(ann) == usage["prompt_tokens"]


@pytest.mark.anyio
class StockContract:
    async def test_a_probe_says_why_it_is_stock(self, bench: Bench) -> None:
        known = await bench.adapter.probe()
        assert not known.extended
        assert known.kind == "sglang"
        assert "plugin" in known.reason
        assert known.features == {"abort", "warm_up"}
        assert known.version != "unknown"
        assert known.capacity_tokens is not None
        assert known.boot_id is not None
        assert (await bench.adapter.probe()).boot_id == known.boot_id

    async def test_memory_actions_are_refused(self, bench: Bench) -> None:
        (ann,) = owners(1)
        engine = bench.adapter.engine
        actions = (Order(engine, ((ann, 1.0),)), Renew(engine), Pin(engine, (ann,)), Unpin(engine, (ann,)))
        for action in (*actions, Evict(engine, (ann,))):
            with pytest.raises(EngineRefused):
                await bench.do(action)
        with pytest.raises(EngineRefused):
            await bench.adapter.report()

    async def test_it_serves_and_caches(self, bench: Bench) -> None:
        (ann,) = owners(1)
        await bench.fill([ann])
        assert await bench.call(bench.prompt(ann), ann) == bench.unit - 1

    async def test_the_longest_unused_leaves_first(self, bench: Bench) -> None:
        crowd = owners(8)
        await bench.fill(crowd)
        await bench.press(4)
        assert await bench.call(bench.prompt(crowd[7]), crowd[7]) == bench.unit - 1
        assert await bench.call(bench.prompt(crowd[0]), crowd[0]) == 0

    async def test_an_abort_ends_a_stream(self, bench: Bench) -> None:
        await abort_ends_a_stream(bench)

    async def test_an_abort_ends_a_request_that_does_not_stream(self, bench: Bench) -> None:
        await abort_ends_a_request(bench)


async def is_so_on_a_machine_in_time(is_so: Callable[[], Awaitable[bool]], beats: int) -> bool:
    """Asks again, three times at most, where asking took longer than so many beats of a real engine: the machine then
    stood still, and the engine may have aged in earnest what the test found aged."""
    for _ in range(3):
        began = time.monotonic()
        if await is_so():
            return True
        if time.monotonic() - began < beats - 1:  # the first beat may come at once
            return False
    return False


def _long_request(bench: Bench, rid: str) -> dict[str, object]:
    sampling = {"max_new_tokens": LONG_ANSWER, "temperature": 0, "ignore_eos": True}
    return {"input_ids": bench.prompt(rid, 20), "rid": rid, "sampling_params": sampling}


async def abort_ends_a_stream(bench: Bench) -> None:
    body = {**_long_request(bench, "a-long-stream"), "stream": True}
    pieces = 0
    async with asyncio.timeout(PATIENCE_S), bench.client.stream("POST", "/generate", json=body) as answer:
        async for _ in _data_of(answer):
            if not pieces:
                await bench.adapter.abort("a-long-stream")
            pieces += 1
    assert 0 < pieces < LONG_ANSWER


async def abort_ends_a_request(bench: Bench) -> None:
    request = asyncio.create_task(
        bench.client.post("/generate", json=_long_request(bench, "a-long-request"), timeout=PATIENCE_S)
    )
    async with asyncio.timeout(PATIENCE_S):
        # An id that the engine has not seen yet is no error, so the abort is repeated until it finds its request.
        while not request.done():
            await bench.adapter.abort("a-long-request")
            await asyncio.wait({request}, timeout=0.02)
    answer = request.result()
    if answer.status_code == 200:
        assert answer.json()["meta_info"]["completion_tokens"] < LONG_ANSWER


async def _data_of(answer: httpx.Response) -> AsyncIterator[str]:
    async for line in answer.aiter_lines():
        if line.startswith("data: ") and line != "data: [DONE]":
            yield line
