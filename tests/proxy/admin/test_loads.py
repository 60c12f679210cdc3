from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from scalesim.proxy.core.actions import DropAdapter, FetchAdapter, Load, Order
from scalesim.proxy.core.model import (
    KV_PREFIX,
    LORA,
    EngineReport,
    LoadResult,
    LoadState,
    MemoryId,
    MemoryReport,
    Pool,
    SimulationId,
)
from scalesim.proxy.settings import Settings
from tests.support.fake_adapter import EXTENDED, FakeAdapter
from tests.support.patience import PATIENCE_S, soon

from .conftest import Proxy, started

pytestmark = [pytest.mark.anyio, pytest.mark.slow]
API = "/admin/v1"
POOLS = (Pool(KV_PREFIX, frozenset({KV_PREFIX}), 2000, 1000), Pool(LORA, frozenset({LORA}), 400, 300))


@pytest.fixture
async def loading(anyio_backend: str) -> AsyncIterator[Proxy]:
    """Its engine loads prefixes and adapters ahead, and says what it holds."""
    adapter = FakeAdapter()
    more = {"load_kv_prefix", "load_lora", "adapters", "fetch_adapters"}
    adapter.capabilities = replace(EXTENDED, features=EXTENDED.features | more, adapter_slots=4)
    holds(adapter, {MemoryId(KV_PREFIX, "town-1/Ann"): (100, 0)})
    async with started(Settings(engine="http://engine"), adapter) as proxy:
        await proxy.adapter.until(lambda _: proxy.controller.engines()[0].pools)
        yield proxy


def holds(adapter: FakeAdapter, memories: Mapping[MemoryId, tuple[int, int]]) -> None:
    """From the next report on: bytes on the device, and missing."""
    known = {memory: MemoryReport(*sizes) for memory, sizes in memories.items()}
    adapter.next_report = EngineReport("boot-1", True, frozenset(), 0, 1000, POOLS, known)


async def away(proxy: Proxy) -> tuple[SimulationId, MemoryId]:
    """Ann comes much later, and her memory is in host memory alone."""
    town = proxy.simulation("Ann")
    memory = MemoryId(KV_PREFIX, f"{town}/Ann")
    acts = {"unit": "seconds", "durations": {"Ann": 5000}}
    await proxy.client.post(f"{API}/simulations/{town}/actions", json=acts)
    await proxy.adapter.until(lambda one: any(isinstance(action, Order) for action, _ in one.actions))
    holds(proxy.adapter, {memory: (0, 100)})
    await seen(proxy, town, 100)
    return town, memory


async def seen(proxy: Proxy, town: SimulationId, missing: int) -> None:
    async def reported() -> None:
        while True:
            agent = (await proxy.client.get(f"{API}/simulations/{town}/agents/Ann")).json()
            if agent["memories"][0]["missing_bytes"] == missing:
                return

    await soon(reported(), PATIENCE_S)


async def outcome(proxy: Proxy, answer: Any) -> dict[str, Any]:
    """How the operation ended that the answer tells of."""
    assert answer.status_code == 202, answer.text
    known = proxy.operations.get(answer.json()["id"])
    assert known is not None
    assert answer.headers["location"] == f"{API}/operations/{known.id}"
    await soon(known.over.wait(), PATIENCE_S)
    told: dict[str, Any] = (await proxy.client.get(answer.headers["location"])).json()
    return told


async def test_an_agents_memory_is_loaded_now(loading: Proxy) -> None:
    town, memory = await away(loading)
    loading.adapter.holds_loads = True
    path = f"{API}/simulations/{town}/agents/Ann"
    begun = await loading.client.post(f"{path}/prefetch", json={"for_s": 60})
    assert (begun.json()["kind"], begun.json()["state"]) == ("prefetch", "running")
    await loading.adapter.until(lambda one: memory in one.held)
    assert (await loading.client.get(path)).json()["source"] == "operator"
    holds(loading.adapter, {memory: (100, 0)})
    loading.adapter.release(memory, LoadResult(LoadState.LOADED, 100))
    told = await outcome(loading, begun)
    assert (told["state"], told["progress"]) == ("done", 1.0)
    assert told["of"] == {"simulation": town, "agent": "Ann"}
    assert told["result"] == {"memories": {f"kv_prefix:{town}/Ann": "here"}}
    (load,) = (await loading.client.get(f"{API}/actions?kind=load&agent=Ann")).json()["actions"]
    assert (load["why"], load["result"]) == (f"{town}/Ann is wanted by an operator; to be copied", "loaded")


async def test_memory_of_which_there_is_no_copy_fails_at_once(loading: Proxy) -> None:
    town, memory = await away(loading)
    loading.adapter.load_results[memory] = LoadResult(LoadState.ABSENT)
    told = await outcome(loading, await loading.client.post(f"{API}/simulations/{town}/agents/Ann/prefetch"))
    assert (told["state"], told["says"]) == (
        "failed",
        "0 of 1 memories are on the device; not so kv_prefix (absent)",
    )
    assert (await loading.client.get(f"{API}/simulations/{town}/agents/Ann")).json()["source"] == "plan"


async def test_memory_without_room_is_asked_for_again_until_its_time_is_over(loading: Proxy) -> None:
    town, memory = await away(loading)
    loading.adapter.load_results[memory] = LoadResult(LoadState.NO_ROOM)
    path = f"{API}/simulations/{town}/agents/Ann/prefetch"
    begun = await loading.client.post(path, json={"for_s": 60})
    operation = loading.operations.get(begun.json()["id"])
    assert operation is not None
    refused = {"memories": {f"kv_prefix:{town}/Ann": "no_room"}}
    await loading.adapter.until(lambda _: operation.result == refused)
    assert operation.state == "running"
    told = await outcome(loading, await loading.client.post(path, json={"for_s": 0.001}))
    assert told["state"] == "failed"
    assert told["says"] == "it was not done within 0.001 s: 0 of 1 memories are on the device"


async def test_a_prefetch_that_is_stopped_is_asked_for_no_longer(loading: Proxy) -> None:
    town, memory = await away(loading)
    loading.adapter.holds_loads = True
    path = f"{API}/simulations/{town}/agents/Ann"
    begun = await loading.client.post(f"{path}/prefetch")
    await loading.adapter.until(lambda one: memory in one.held)
    operation = loading.operations.get(begun.json()["id"])
    assert operation is not None
    assert (await loading.client.delete(begun.headers["location"])).status_code == 204
    await soon(operation.over.wait(), PATIENCE_S)
    assert (await loading.client.get(path)).json()["source"] == "plan"


async def test_a_prefetch_that_cannot_be_says_why(loading: Proxy, proxy: Proxy) -> None:
    town, _ = await away(loading)
    path = f"{API}/simulations/{town}/agents"
    hints = {"unit": "steps", "distances": {"Zoe": 1}, "create_agents": True}
    await loading.client.post(f"{API}/simulations/{town}/distances", json=hints)
    for agent, status, type_ in (("Zoe", 409, "no-memory"), ("Nobody", 404, "unknown-agent")):
        answer = await loading.client.post(f"{path}/{agent}/prefetch")
        assert (answer.status_code, answer.json()["type"]) == (status, f"/admin/v1/problems/{type_}")
    await loading.client.put(f"{API}/simulations/{town}/mode", json={"mode": "shadow"})
    answer = await loading.client.post(f"{path}/Ann/prefetch")
    assert (answer.status_code, answer.json()["type"]) == (409, "/admin/v1/problems/mode-not-on")
    for body in ({"for_s": 0}, {"for_s": 601}, {"for_s": "long"}, {"seconds": 5}):
        assert (await loading.client.post(f"{path}/Ann/prefetch", json=body)).status_code == 422
    other = proxy.simulation("Ann")
    answer = await proxy.client.post(f"{API}/simulations/{other}/agents/Ann/prefetch")
    assert (answer.status_code, answer.json()["type"]) == (409, "/admin/v1/problems/cannot-load")


async def test_an_adapter_is_loaded_to_a_slot_and_unloaded(loading: Proxy) -> None:
    poet = MemoryId(LORA, "poet")
    await loading.client.put(f"{API}/adapters/poet", json={"path": "/poet"})
    begun = await loading.client.post(f"{API}/adapters/poet/load")
    await loading.adapter.until(
        lambda one: any(isinstance(action, FetchAdapter) for action, _ in one.actions)
    )
    holds(loading.adapter, {poet: (0, 100)})
    await loading.adapter.until(
        lambda one: any(isinstance(action, Load) and action.memory == poet for action, _ in one.actions)
    )
    told = await outcome(loading, begun)
    assert (told["state"], told["result"]) == ("done", {"engines": {"fake": "slot"}})
    holds(loading.adapter, {poet: (100, 0)})
    unloaded = await loading.client.post(f"{API}/adapters/poet/unload")
    await loading.adapter.until(lambda one: any(isinstance(action, DropAdapter) for action, _ in one.actions))
    holds(loading.adapter, {})
    told = await outcome(loading, unloaded)
    assert (told["state"], told["result"]) == ("done", {"engines": {"fake": "unknown"}})


async def test_an_adapter_that_engines_refuse_fails_with_what_they_say(loading: Proxy) -> None:
    loading.adapter.refuses = frozenset({FetchAdapter})
    await loading.client.put(f"{API}/adapters/poet", json={"path": "/poet"})
    told = await outcome(loading, await loading.client.post(f"{API}/adapters/poet/load"))
    assert told["state"] == "failed"
    assert told["says"] == "it has come to 0 of 1 engines; fake: FetchAdapter is not done here"


async def test_what_cannot_be_loaded_or_unloaded_says_why(loading: Proxy, proxy: Proxy) -> None:
    for what in ("load", "unload"):
        unknown = await loading.client.post(f"{API}/adapters/unheard/{what}")
        assert (unknown.status_code, unknown.json()["type"]) == (404, "/admin/v1/problems/unknown-adapter")
    await loading.client.put(f"{API}/adapters/poet", json={"path": "/poet"})
    await loading.client.put(f"{API}/adapters/poet/pin", json={})
    pinned = await loading.client.post(f"{API}/adapters/poet/unload")
    assert (pinned.status_code, pinned.json()["type"]) == (409, "/admin/v1/problems/adapter-in-use")
    await proxy.client.put(f"{API}/adapters/poet", json={"path": "/poet"})
    nowhere = await proxy.client.post(f"{API}/adapters/poet/load")
    await proxy.client.delete(f"{API}/adapters/poet")
    assert (nowhere.status_code, nowhere.json()["type"]) == (409, "/admin/v1/problems/cannot-load")
