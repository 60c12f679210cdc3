"""What an engine with a host tier and LoRA must do besides, written once: loads ahead of calls, slots, adapters.

A test class inherits `MemoryContract` and defines a fixture `bench` that yields a `MemoryBench`, made with
`memory_bench_on`: an engine of ten adapters and at least three slots, whose host memory has room for three times its
cache and for all adapters. Nothing here depends on how long an engine takes, or on how large its adapters are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from scalesim.engine_adapters.base import EngineAdapter, EngineRefused, Fence, FenceLost
from scalesim.engine_adapters.sglang_plugin import wire
from scalesim.proxy.core.actions import DropAdapter, FetchAdapter, Load, Order, Renew, StopLoad
from scalesim.proxy.core.model import KV_PREFIX, LORA, AdapterName, LoadResult, LoadState, MemoryId, Owner
from tests.engine_adapters.bench import Bench, bench_on, owners

WITHIN_S = 600.0
"""So long that a load ends for its own reasons, however busy the machine is."""
ADAPTERS = 10
HOST_TIMES = 3
"""So many times its cache an engine's host memory holds."""


def adapters(count: int) -> list[AdapterName]:
    return [AdapterName(f"ad-{index}") for index in range(count)]


@dataclass
class MemoryBench(Bench):
    """`paths`: where each adapter lies, as the engine's machine sees it."""

    paths: Mapping[AdapterName, str] = field(default_factory=dict)

    async def load(self, memory: MemoryId, distance: float = 0.0, fence: Fence | None = None) -> LoadResult:
        action = Load(self.adapter.engine, memory, distance, WITHIN_S)
        result = await self.adapter.carry_out(action, fence or self.fence)
        assert result is not None
        return result

    async def arrange(
        self,
        nearest_first: Sequence[Owner] = (),
        adapters_first: Sequence[AdapterName] = (),
        pinned: Sequence[AdapterName] = (),
        no_host_copy: Sequence[Owner] = (),
    ) -> None:
        """A plan in which these call next, one after the other."""
        await self.do(
            Order(
                self.adapter.engine,
                tuple((owner, float(place)) for place, owner in enumerate(nearest_first)),
                adapters=tuple((name, float(place)) for place, name in enumerate(adapters_first)),
                pinned_adapters=tuple(pinned),
                no_host_copy=tuple(no_host_copy),
            )
        )

    async def ask(self, adapter: AdapterName, prompt: str) -> int:
        """One request on an adapter; returns how much of its prompt came from the cache. What is in force stays so."""
        await self.keep()
        answer = await self.client.post(
            "/generate",
            json={
                "input_ids": self.prompt(prompt, 40),
                "sampling_params": {"max_new_tokens": 1, "temperature": 0, "ignore_eos": True},
                "lora_path": adapter,
            },
        )
        assert answer.status_code == 200, answer.text
        return int(answer.json()["meta_info"]["cached_tokens"])

    async def in_slots(self) -> list[AdapterName]:
        """Adapters that a call would not have to bring."""
        memories = (await self.adapter.report()).memories
        return [
            AdapterName(memory.key)
            for memory, size in memories.items()
            if memory.kind == LORA and size.device_bytes and not size.missing_bytes
        ]

    async def in_host_memory(self) -> dict[Owner, int]:
        """Tokens of each owner of which there is a copy."""
        held = (await self.read("residency"))["owners"]
        return {Owner(owner): entry["host_tokens"] for owner, entry in held.items() if entry["host_tokens"]}

    async def not_in_slots(self) -> list[AdapterName]:
        there = await self.in_slots()
        return [name for name in adapters(ADAPTERS) if name not in there]

    async def counted(self, kind: str) -> dict[str, int]:
        counts: dict[str, int] = (await self.read("stats"))["loads"][kind]
        return counts

    async def since(self, before: Mapping[str, int], kind: str) -> dict[str, int]:
        """What of the counters has changed."""
        return {
            name: count - before[name]
            for name, count in (await self.counted(kind)).items()
            if count != before[name]
        }

    async def put_out(self, owner: Owner) -> None:
        """The owner calls, and its prefix then leaves the device: only a copy can be left."""
        await self.arrange()
        assert await self.call(self.prompt(owner), owner) == 0
        for turn in range(2):
            await self.press(8, f"pressing-{turn}")
        assert await self.resident(owner) == 0


async def memory_bench_on(
    adapter: EngineAdapter,
    client: httpx.AsyncClient,
    paths: Mapping[AdapterName, str],
    beat: Callable[[], object] | None = None,
) -> MemoryBench:
    """Takes command of the engine, empties its cache, and sees to it that it knows all adapters and owes nothing."""
    plain = await bench_on(adapter, client, beat)
    bench = MemoryBench(
        adapter,
        client,
        plain.capacity_tokens,
        plain.pin_budget_tokens,
        beat,
        plain.fence,
        plain.ages,
        paths=paths,
    )
    known = (await bench.read("stats"))["memories"][LORA]
    for name in adapters(ADAPTERS):
        if name not in known:
            await bench.do(FetchAdapter(adapter.engine, name, paths[name]))
    # A load that was done before and waits for its call would count as wasted when its slot is taken.
    for name in await bench.in_slots():
        await bench.ask(name, "to settle")
    return bench


def prefix_of(owner: Owner) -> MemoryId:
    return MemoryId(KV_PREFIX, owner)


def slot_of(adapter: AdapterName) -> MemoryId:
    return MemoryId(LORA, adapter)


@pytest.mark.anyio
class MemoryContract:
    async def test_a_probe_tells_slots_and_what_can_be_loaded(self, bench: MemoryBench) -> None:
        known = await bench.adapter.probe()
        assert known.extended
        told = (*wire.FEATURES, *wire.HOST_TIER_FEATURES, *wire.ADAPTER_FEATURES)
        assert known.features == frozenset(told)
        assert known.adapter_slots is not None
        assert known.adapter_slots >= 3
        assert known.host_adapters is None or known.host_adapters >= ADAPTERS

    async def test_a_report_tells_pools_and_memories(self, bench: MemoryBench) -> None:
        ann, bob = owners(2)
        await bench.fill([ann])
        await bench.arrange([ann, bob])
        report = await bench.adapter.report()
        pools = {kind: pool for pool in report.pools for kind in pool.kinds}
        assert {KV_PREFIX, LORA} <= pools.keys()
        for pool in pools.values():
            assert 0 <= pool.free_bytes <= pool.capacity_bytes
        told = report.memories[prefix_of(ann)]
        assert told.missing_bytes == 0
        # One prompt of a tenth of the cache at most, and not the token that was generated last.
        per_token = pools[KV_PREFIX].capacity_bytes / bench.capacity_tokens
        assert told.device_bytes == pytest.approx(bench.unit * per_token, rel=0.05)
        assert prefix_of(bob) not in report.memories
        assert {memory.key for memory in report.memories if memory.kind == LORA} >= set(adapters(ADAPTERS))
        assert report.loading == frozenset()
        assert report.running_adapters == frozenset()

    async def test_loads_are_counted_by_kind(self, bench: MemoryBench) -> None:
        told = ["issued", "used", "late", "missed", "stopped", "refused", "wasted"]
        for kind in (KV_PREFIX, LORA):
            assert list(await bench.counted(kind)) == [*told, "moved_bytes", "wasted_bytes"]

    # --- prefixes --------------------------------------------------------------------------------------------------

    async def test_an_evicted_prefix_is_loaded_and_the_next_call_finds_it(self, bench: MemoryBench) -> None:
        ann = Owner("town/ann")
        await bench.put_out(ann)
        await bench.arrange([ann])
        missing = (await bench.adapter.report()).memories[prefix_of(ann)].missing_bytes
        assert missing > 0
        before = await bench.counted(KV_PREFIX)
        assert await bench.load(prefix_of(ann)) == LoadResult(LoadState.LOADED, missing)
        assert await bench.resident(ann) == bench.unit
        assert (await bench.adapter.report()).memories[prefix_of(ann)].missing_bytes == 0
        assert await bench.call(bench.prompt(ann), ann) == bench.unit - 1
        assert await bench.since(before, KV_PREFIX) == {"issued": 1, "used": 1, "moved_bytes": missing}

    async def test_what_is_there_is_not_loaded_again(self, bench: MemoryBench) -> None:
        (ann,) = owners(1)
        await bench.fill([ann])
        await bench.arrange([ann])
        before = await bench.counted(KV_PREFIX)
        assert await bench.load(prefix_of(ann)) == LoadResult(LoadState.RESIDENT, 0)
        assert await bench.since(before, KV_PREFIX) == {}

    async def test_an_evicted_prefix_comes_back_with_the_call_that_needs_it(self, bench: MemoryBench) -> None:
        ann = Owner("town/ann")
        await bench.put_out(ann)
        before = await bench.counted(KV_PREFIX)
        assert await bench.call(bench.prompt(ann), ann) == bench.unit - 1
        assert await bench.since(before, KV_PREFIX) == {"missed": 1}

    async def test_the_prefix_of_an_unknown_owner_is_absent(self, bench: MemoryBench) -> None:
        before = await bench.counted(KV_PREFIX)
        assert await bench.load(prefix_of(Owner("town/nobody"))) == LoadResult(LoadState.ABSENT, 0)
        assert await bench.since(before, KV_PREFIX) == {"refused": 1}

    async def test_a_prefix_that_shall_have_no_copy_is_absent_once_evicted(self, bench: MemoryBench) -> None:
        ann, bob, *nearer = owners(12)
        await bench.arrange([*nearer, ann, bob], no_host_copy=[ann])
        await bench.fill([ann, bob, *nearer[::-1]])
        await bench.arrange([ann, bob], no_host_copy=[ann])
        assert [await bench.resident(owner) for owner in (ann, bob)] == [0, 0]
        assert (await bench.load(prefix_of(ann))).state is LoadState.ABSENT
        assert (await bench.load(prefix_of(bob))).state is LoadState.LOADED

    async def test_nothing_nearer_makes_room_for_a_load(self, bench: MemoryBench) -> None:
        crowd = owners(12)
        await bench.arrange(crowd)
        await bench.fill(crowd[::-1])  # the farthest calls first and has to leave for the nearer ones
        assert await bench.resident(crowd[11]) == 0
        near = [await bench.resident(owner) for owner in crowd[:8]]
        before = await bench.counted(KV_PREFIX)
        for distance in (11.0, 0.0):  # what the plan says of it counts
            assert (await bench.load(prefix_of(crowd[11]), distance)).state is LoadState.NO_ROOM
        assert [await bench.resident(owner) for owner in crowd[:8]] == near == [bench.unit] * 8
        assert (await bench.since(before, KV_PREFIX))["refused"] == 2

    async def test_what_is_farther_makes_room_for_a_load(self, bench: MemoryBench) -> None:
        crowd = owners(12)
        await bench.arrange(crowd)
        await bench.fill(crowd[::-1])
        await bench.arrange([crowd[11], *crowd[:11]])
        assert (await bench.load(prefix_of(crowd[11]))).state is LoadState.LOADED
        assert await bench.resident(crowd[11]) == bench.unit
        assert [await bench.resident(owner) for owner in crowd[:7]] == [bench.unit] * 7

    async def test_what_was_loaded_and_left_unused_is_counted_as_wasted(self, bench: MemoryBench) -> None:
        ann = Owner("town/ann")
        await bench.put_out(ann)
        await bench.arrange([ann])
        before = await bench.counted(KV_PREFIX)
        moved = (await bench.load(prefix_of(ann))).moved_bytes
        await bench.arrange()
        for turn in range(2):
            await bench.press(9, f"wasting-{turn}")
        assert await bench.since(before, KV_PREFIX) == {
            "issued": 1,
            "wasted": 1,
            "moved_bytes": moved,
            "wasted_bytes": moved,
        }

    async def test_what_a_full_host_tier_gave_up_is_absent_and_what_it_kept_is_still_loaded(
        self, bench: MemoryBench
    ) -> None:
        # Ten fit on the device, thirty into host memory: one engine counts what is on the device to them, another not.
        crowd = owners(10 + HOST_TIMES * 10 + 6)
        kept, gone = crowd[12:18], crowd[-6:]
        await bench.arrange(crowd)
        # The farthest calls first, and leaves the device and then host memory first.
        await bench.fill(crowd[::-1])
        held = await bench.in_host_memory()
        assert held.keys().isdisjoint(gone)
        assert held.keys() >= set(kept)
        assert sum(held.values()) <= HOST_TIMES * bench.capacity_tokens
        missing = (await bench.adapter.report()).memories
        assert not missing.keys() & set(map(prefix_of, gone))

        # Those that are gone are said to be the nearest, so nothing but their absence can refuse them.
        await bench.arrange([*gone, *kept])
        before = await bench.counted(KV_PREFIX)
        # A load that hangs would else pass for one whose time was over.
        async with asyncio.timeout(WITHIN_S / 2):
            ended = await asyncio.gather(*(bench.load(prefix_of(owner)) for owner in (*gone, *kept)))
        assert [one.state for one in ended] == [LoadState.ABSENT] * len(gone) + [LoadState.LOADED] * len(kept)
        assert await bench.since(before, KV_PREFIX) == {
            "issued": len(kept),
            "refused": len(gone),
            "moved_bytes": sum(one.moved_bytes for one in ended),
        }
        for owner in kept:
            assert await bench.call(bench.prompt(owner), owner) == bench.unit - 1
        assert (await bench.since(before, KV_PREFIX))["used"] == len(kept)
        for owner in gone:
            assert await bench.call(bench.prompt(owner), owner) == 0
        await bench.nothing_in_use()

    async def test_calls_and_loads_side_by_side_all_end_while_both_tiers_are_full(
        self, bench: MemoryBench
    ) -> None:
        crowd = owners(10 + HOST_TIMES * 10)
        await bench.arrange(crowd)
        await bench.fill(crowd[::-1])
        nearest = crowd[10:14]
        await bench.arrange([*nearest, *crowd[:10], *crowd[14:]])
        calling = [Owner(f"town/new-{index}") for index in range(4)]
        async with asyncio.timeout(WITHIN_S / 2), bench.kept():
            async with asyncio.TaskGroup() as tasks:
                loads = [tasks.create_task(bench.load(prefix_of(owner))) for owner in crowd]
                calls = [tasks.create_task(bench.call(bench.prompt(owner), owner)) for owner in calling]
            states = {task.result().state for task in loads}
            assert LoadState.STOPPED not in states
            assert LoadState.NO_ROOM in states  # forty do not fit where ten do
            assert [task.result() for task in calls] == [0] * len(calling)
            for owner in nearest:
                # Now that nobody calls there is room for them, if they did not get it before.
                again = (await bench.load(prefix_of(owner))).state
                assert again in (LoadState.LOADED, LoadState.RESIDENT)
                assert await bench.call(bench.prompt(owner), owner) == bench.unit - 1
        await bench.nothing_in_use()

    # --- adapters --------------------------------------------------------------------------------------------------

    async def test_an_adapter_is_loaded_into_a_slot_and_the_next_call_finds_it(
        self, bench: MemoryBench
    ) -> None:
        name = (await bench.not_in_slots())[0]
        await bench.arrange(adapters_first=[name])
        before = await bench.counted(LORA)
        result = await bench.load(slot_of(name))
        assert result.state is LoadState.LOADED
        assert result.moved_bytes > 0
        assert name in await bench.in_slots()
        await bench.ask(name, "what now?")
        assert await bench.since(before, LORA) == {
            "issued": 1,
            "used": 1,
            "moved_bytes": result.moved_bytes,
        }
        assert await bench.load(slot_of(name)) == LoadResult(LoadState.RESIDENT, 0)

    async def test_a_call_brings_its_adapter_itself_if_nobody_did(self, bench: MemoryBench) -> None:
        name = (await bench.not_in_slots())[0]
        before = await bench.counted(LORA)
        await bench.ask(name, "what now?")
        assert await bench.since(before, LORA) == {"missed": 1}
        assert name in await bench.in_slots()
        await bench.ask(name, "and now?")
        assert await bench.since(before, LORA) == {"missed": 1}

    async def test_adapters_leave_their_slots_by_distance_and_pinned_ones_last(
        self, bench: MemoryBench
    ) -> None:
        for name in adapters(ADAPTERS):
            await bench.ask(name, "to fill the slots")
        there = await bench.in_slots()
        assert len(there) >= 3
        newcomer, another = (await bench.not_in_slots())[:2]
        # Recency says otherwise: the one used last is the farthest.
        await bench.arrange(adapters_first=there, pinned=[there[-1]])
        await bench.ask(newcomer, "who leaves?")
        assert there[-2] not in await bench.in_slots()
        await bench.arrange(adapters_first=[newcomer, *there])
        await bench.ask(another, "who leaves next?")
        left = await bench.in_slots()
        assert there[-1] not in left
        assert newcomer in left

    async def test_all_room_that_is_reported_can_hold_adapters(self, bench: MemoryBench) -> None:
        # A slot that no adapter gets, taken for room, would have loads asked for in vain.
        for name in adapters(ADAPTERS):
            await bench.ask(name, "to fill the slots")
        report = await bench.adapter.report()
        [slots] = [pool for pool in report.pools if pool.kinds == {LORA}]
        assert slots.free_bytes == 0
        held = (size.device_bytes for memory, size in report.memories.items() if memory.kind == LORA)
        assert sum(held) == slots.capacity_bytes

    async def test_no_nearer_adapter_leaves_its_slot_for_a_load(self, bench: MemoryBench) -> None:
        for name in adapters(ADAPTERS):
            await bench.ask(name, "to fill the slots")
        there, far = await bench.in_slots(), (await bench.not_in_slots())[0]
        await bench.arrange(adapters_first=[*there, far])
        for distance in (float(len(there)), 0.0):  # what the plan says of it counts
            assert (await bench.load(slot_of(far), distance)).state is LoadState.NO_ROOM
        assert sorted(await bench.in_slots()) == sorted(there)

    async def test_an_unknown_adapter_is_absent_and_a_call_on_it_is_refused(self, bench: MemoryBench) -> None:
        before = await bench.counted(LORA)
        nobody = AdapterName("nobody-s-adapter")
        assert await bench.load(slot_of(nobody)) == LoadResult(LoadState.ABSENT, 0)
        assert await bench.since(before, LORA) == {"refused": 1}
        sampling = {"max_new_tokens": 1}
        body: dict[str, Any] = {"input_ids": [5, 6, 7], "sampling_params": sampling, "lora_path": nobody}
        answer = await bench.client.post("/generate", json=body)
        assert answer.status_code == 400
        assert nobody in answer.text

    async def test_a_prefix_belongs_to_its_adapter(self, bench: MemoryBench) -> None:
        one, other = adapters(2)
        assert await bench.ask(one, "the same prompt") == 0
        assert await bench.ask(other, "the same prompt") == 0
        assert await bench.call(bench.prompt("the same prompt", 40)) == 0
        assert await bench.ask(one, "the same prompt") == 39

    async def test_a_model_s_name_may_carry_the_adapter(self, bench: MemoryBench) -> None:
        name = (await bench.not_in_slots())[0]
        served = (await bench.client.get("/v1/models")).json()["data"][0]["id"]
        body = {"model": f"{served}:{name}", "prompt": "the baker walked", "max_tokens": 1}
        answer = await bench.client.post("/v1/completions", json=body)
        assert answer.status_code == 200, answer.text
        assert name in await bench.in_slots()

    async def test_an_adapter_goes_and_comes_back_and_its_prefixes_do_not(self, bench: MemoryBench) -> None:
        name = adapters(1)[0]
        engine = bench.adapter.engine
        assert await bench.ask(name, "before it went") == 0
        await bench.do(DropAdapter(engine, name))
        assert slot_of(name) not in (await bench.adapter.report()).memories
        assert await bench.load(slot_of(name)) == LoadResult(LoadState.ABSENT, 0)
        await bench.do(FetchAdapter(engine, name, bench.paths[name]))
        size = (await bench.adapter.report()).memories[slot_of(name)]
        assert (size.device_bytes, size.missing_bytes > 0) == (0, True)
        assert await bench.ask(name, "before it went") == 0

    async def test_the_engine_says_why_it_does_not_take_or_drop_an_adapter(self, bench: MemoryBench) -> None:
        name = adapters(1)[0]
        refused: list[tuple[str, dict[str, str], str]] = [
            ("/load_lora_adapter", {"lora_name": name, "lora_path": bench.paths[name]}, "already loaded"),
            ("/load_lora_adapter", {"lora_name": "new", "lora_path": "/nowhere/at/all"}, "nowhere"),
            ("/unload_lora_adapter", {"lora_name": "nobody"}, "does not exist"),
        ]
        for path, body, why in refused:
            answer = await bench.client.post(path, json=body)
            assert answer.status_code == 400, (path, body)
            assert answer.json()["success"] is False
            assert why in answer.json()["error_message"]
        engine = bench.adapter.engine
        # What is as it should be is no error to whoever asks for it.
        await bench.do(FetchAdapter(engine, name, bench.paths[name]))
        await bench.do(DropAdapter(engine, AdapterName("nobody")))
        with pytest.raises(EngineRefused, match="nowhere"):
            await bench.do(FetchAdapter(engine, AdapterName("new"), "/nowhere/at/all"))

    # --- loads as commands -----------------------------------------------------------------------------------------

    async def test_a_stop_says_that_nothing_was_under_way(self, bench: MemoryBench) -> None:
        fence = [bench.fence.token, bench.fence.sequence]
        body = {"fence": fence, "kind": LORA, "key": adapters(1)[0]}
        answer = await bench.client.post(f"{wire.PREFIX}/stop", json=body)
        assert answer.status_code == 200
        assert (answer.json()["ok"], answer.json()["was_loading"]) == (True, False)
        stop = StopLoad(bench.adapter.engine, prefix_of(Owner("town/nobody")))
        assert await bench.adapter.carry_out(stop, bench.fence) is None

    async def test_of_a_load_s_fence_only_the_token_counts(self, bench: MemoryBench) -> None:
        (ann,) = owners(1)
        await bench.fill([ann])
        token = bench.fence.token + 1
        await bench.adapter.carry_out(Renew(bench.adapter.engine), Fence(token, 7))
        assert (await bench.load(prefix_of(ann), fence=Fence(token, 1))).state is LoadState.RESIDENT
        for action in (
            Load(bench.adapter.engine, prefix_of(ann), 0.0, WITHIN_S),
            StopLoad(bench.adapter.engine, prefix_of(ann)),
        ):
            with pytest.raises(FenceLost):
                await bench.adapter.carry_out(action, Fence(token - 1, 9_999))
        assert (await bench.read("stats"))["fence"] == [token, 7]

    async def test_malformed_loads_are_refused(self, bench: MemoryBench) -> None:
        sound: dict[str, object] = {
            "fence": [bench.fence.token, bench.fence.sequence],
            "kind": KV_PREFIX,
            "key": "town/ann",
            "distance": 1.0,
            "within_s": 5.0,
        }
        wrong: list[dict[str, object]] = [
            {"kind": "dance"},
            {"kind": 1},
            {"key": ""},
            {"distance": -1},
            {"distance": None},
            {"within_s": 0},
            {"within_s": wire.MAX_WITHIN_S + 1},
            {"also": 1},
            {"fence": [1]},
        ]
        for change in wrong:
            answer = await bench.client.post(f"{wire.PREFIX}/load", json={**sound, **change})
            assert (answer.status_code, answer.json()["error"]["type"]) == (400, "bad_request"), change
        with pytest.raises(EngineRefused, match="dance"):
            await bench.load(MemoryId("dance", "town/ann"))
        answer = await bench.client.post(f"{wire.PREFIX}/stop", json={**sound, "kind": "dance"})
        assert answer.status_code == 400
