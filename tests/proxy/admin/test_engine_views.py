from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from scalesim.proxy.admin.engine_views import FEATURES
from scalesim.proxy.core.actions import Pin
from scalesim.proxy.core.model import KV_PREFIX, LORA, EngineReport, MemoryId, MemoryReport, Owner, Pool
from scalesim.proxy.settings import Settings
from tests.support.fake_adapter import EXTENDED, FakeAdapter

from .conftest import Proxy, started

pytestmark = pytest.mark.anyio
PATH = "/admin/v1/engines"
HELD = {
    MemoryId(KV_PREFIX, "town/Ann"): MemoryReport(700, 0),
    MemoryId(KV_PREFIX, "town/Bob"): MemoryReport(0, 300),
    MemoryId(KV_PREFIX, "village/Ann"): MemoryReport(100, 0),
    MemoryId(LORA, "poet"): MemoryReport(50, 0),
}


@pytest.fixture(scope="module")
async def full(anyio_backend: str) -> AsyncIterator[Proxy]:
    """Its engine says what it holds."""
    adapter = FakeAdapter()
    adapter.next_report = EngineReport(
        "boot-1",
        False,
        frozenset(),
        0,
        1000,
        (Pool("kv", frozenset({KV_PREFIX}), 1000, 150),),
        HELD,
        frozenset({MemoryId(KV_PREFIX, "town/Bob")}),
    )
    async with started(Settings(engine="http://engine"), adapter) as proxy:
        await proxy.adapter.until(lambda _: proxy.controller.engines()[0].pools)
        yield proxy


async def test_what_an_engine_can_do_is_told_in_words(full: Proxy) -> None:
    told = (await full.client.get(f"{PATH}/fake/capabilities")).json()
    assert told == {
        "engine": "fake",
        "kind": "fake",
        "version": "1",
        "extended": True,
        "features": {one: FEATURES[one] for one in sorted(EXTENDED.features)},
        "boot_id": "boot-1",
        "capacity_tokens": 1000,
        "adapter_slots": None,
        "host_adapters": None,
        "reason": "",
    }


async def test_an_engine_that_was_not_found_yet_can_do_nothing(full: Proxy) -> None:
    await full.client.post(PATH, json={"name": "later", "url": "http://later:1"})
    told = (await full.client.get(f"{PATH}/later/capabilities")).json()
    held = (await full.client.get(f"{PATH}/later/residency")).json()
    pressed = (await full.client.get(f"{PATH}/later/pressure")).json()
    await full.client.delete(f"{PATH}/later")
    assert (told["kind"], told["features"], told["reason"]) == (None, {}, "not found yet")
    assert held == {"engine": "later", "reports": False, "total": 0, "memories": [], "next": None}
    assert (pressed["capacity_tokens"], pressed["held_over_capacity"], pressed["pools"]) == (None, None, [])


async def test_how_full_an_engine_is_is_told(full: Proxy) -> None:
    told = (await full.client.get(f"{PATH}/fake/pressure")).json()
    assert told == {
        "engine": "fake",
        "running_calls": 0,
        "placed_calls": 0,
        "capacity_tokens": 1000,
        "held_tokens": 0,
        "held_over_capacity": 0,
        "pinned_tokens": 0,
        "pin_budget_tokens": told["pin_budget_tokens"],
        "pools": [{"name": "kv", "kinds": ["kv_prefix"], "capacity_bytes": 1000, "free_bytes": 150}],
        "loads": {
            "in_flight": 0,
            "in_flight_bytes": 0,
            "started": 0,
            "loaded": 0,
            "stopped": 0,
            "failed": 0,
            "refused": 0,
            "moved_bytes": 0,
        },
        "actions_waiting": 0,
    }


async def test_what_an_engine_holds_is_read_page_by_page(full: Proxy) -> None:
    first = (await full.client.get(f"{PATH}/fake/residency?limit=3")).json()
    assert (first["reports"], first["total"], first["next"]) == (True, 4, "kv_prefix:village/Ann")
    assert first["memories"][1] == {
        "kind": "kv_prefix",
        "key": "town/Bob",
        "device_bytes": 0,
        "missing_bytes": 300,
        "loading": True,
        "pinned": False,
    }
    rest = (await full.client.get(f"{PATH}/fake/residency", params={"after": first["next"]})).json()
    assert ([one["key"] for one in rest["memories"]], rest["next"]) == (["poet"], None)
    for query, keys in (
        ("kind=lora", ["poet"]),
        ("simulation=town", ["town/Ann", "town/Bob"]),
        ("kind=lora&simulation=town", []),
    ):
        found = (await full.client.get(f"{PATH}/fake/residency?{query}")).json()["memories"]
        assert [one["key"] for one in found] == keys


async def test_what_is_pinned_is_marked(full: Proxy) -> None:
    town = full.simulation("Ann")
    owner = Owner(f"{town}/Ann")
    report = full.adapter.next_report
    assert report is not None
    held = {**report.memories, MemoryId(KV_PREFIX, owner): MemoryReport(70, 0)}
    full.adapter.next_report = replace(report, memories=held, pinned_owners=frozenset({owner}))
    await full.adapter.until(lambda one: any(isinstance(action, Pin) for action, _ in one.actions))
    marked: list[bool] = []
    while not any(marked):
        found = (await full.client.get(f"{PATH}/fake/residency?simulation={town}")).json()["memories"]
        marked = [one["pinned"] for one in found]
    full.adapter.next_report = report


@pytest.mark.parametrize("view", ["capabilities", "pressure", "residency"])
async def test_an_unknown_engine_is_not_found(full: Proxy, view: str) -> None:
    answer = await full.client.get(f"{PATH}/nobody/{view}")
    assert (answer.status_code, answer.json()["type"]) == (404, "/admin/v1/problems/unknown-engine")


async def test_a_view_that_makes_no_sense_is_refused(full: Proxy) -> None:
    for query in ("kind=cheese", "limit=0"):
        assert (await full.client.get(f"{PATH}/fake/residency?{query}")).status_code == 422
