from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from scalesim.proxy.core.actions import Order, Pin, Unpin
from scalesim.proxy.settings import Settings
from tests.support.fake_adapter import EXTENDED, FakeAdapter

from .conftest import Proxy, started

pytestmark = [pytest.mark.anyio, pytest.mark.slow]
API = "/admin/v1"


@pytest.fixture
async def fresh(anyio_backend: str) -> AsyncIterator[Proxy]:
    """Of 1,000 tokens operators may pin 250; of three slots that may be pinned, one."""
    adapter = FakeAdapter()
    features = EXTENDED.features | {"adapters", "fetch_adapters", "load_lora"}
    adapter.capabilities = replace(EXTENDED, features=features, adapter_slots=4)
    async with started(Settings(engine="http://engine"), adapter) as proxy:
        yield proxy


async def test_an_agent_is_pinned_shown_and_unpinned(fresh: Proxy) -> None:
    town = fresh.simulation("Ann")
    path = f"{API}/simulations/{town}/agents/Ann"
    acts = {"unit": "seconds", "durations": {"Ann": 5000}}
    await fresh.client.post(f"{API}/simulations/{town}/actions", json=acts)
    await fresh.adapter.until(lambda one: any(isinstance(action, Order) for action, _ in one.actions))
    pinned = await fresh.client.put(f"{path}/pin", json={"reason": "the judge", "for_s": 900})
    assert pinned.status_code == 200
    pin = pinned.json()["pin"]
    assert (pin["reason"], 899 < pin["ends_in_s"] <= 900) == ("the judge", True)
    await fresh.adapter.until(
        lambda one: any(
            isinstance(action, Pin) and f"{town}/Ann" in action.owners for action, _ in one.actions
        )
    )
    again = await fresh.client.put(f"{path}/pin", json={"reason": "for good"})
    assert (again.status_code, again.json()["pin"]["ends_in_s"]) == (200, None)
    listed = (await fresh.client.get(f"{API}/pins")).json()
    (mine,) = listed["agents"]
    assert mine.pop("pin")["reason"] == "for good"
    assert mine == {"simulation": town, "agent": "Ann", "engine": "fake", "size_tokens": 107}
    assert listed["budgets"] == {"fake": {"pinned_tokens": 107, "budget_tokens": 250}}
    assert (listed["adapters"], listed["next"]) == ([], None)
    found = (await fresh.client.get(f"{API}/simulations/{town}/agents?pinned=true")).json()["agents"]
    assert [one["name"] for one in found] == ["Ann"]
    for _ in range(2):
        assert (await fresh.client.delete(f"{path}/pin")).status_code == 204
    await fresh.adapter.until(lambda one: any(isinstance(action, Unpin) for action, _ in one.actions))
    assert (await fresh.client.get(path)).json()["pin"] is None


async def test_a_full_budget_is_a_conflict_that_says_how_full(fresh: Proxy) -> None:
    town = fresh.simulation("Ann", "Bob", "Cem")
    path = f"{API}/simulations/{town}/agents"
    for agent in ("Ann", "Bob"):
        assert (await fresh.client.put(f"{path}/{agent}/pin", json={})).status_code == 200
    full = await fresh.client.put(f"{path}/Cem/pin", json={})
    assert full.status_code == 409
    assert full.json() == {
        "type": "/admin/v1/problems/pin-budget-full",
        "title": "Conflict",
        "status": 409,
        "detail": "the memory of 'Cem' cannot be pinned: it takes 107 tokens, and operators have pinned 214 of the 250 they "
        "may; nothing was changed",
        "pinned": 214,
        "budget": 250,
    }
    first = (await fresh.client.get(f"{API}/pins?limit=1")).json()
    rest = (await fresh.client.get(f"{API}/pins?limit=1&after={first['next']}")).json()
    assert [one["agent"] for page in (first, rest) for one in page["agents"]] == ["Ann", "Bob"]
    assert rest["next"] is None


async def test_what_cannot_be_pinned_says_why(fresh: Proxy) -> None:
    town = fresh.simulation("Ann")
    path = f"{API}/simulations/{town}/agents"
    hints = {"unit": "steps", "distances": {"Zoe": 1}, "create_agents": True}
    await fresh.client.post(f"{API}/simulations/{town}/distances", json=hints)
    for agent, status, type_ in (("Zoe", 409, "no-memory"), ("Nobody", 404, "unknown-agent")):
        answer = await fresh.client.put(f"{path}/{agent}/pin", json={})
        assert (answer.status_code, answer.json()["type"]) == (status, f"/admin/v1/problems/{type_}")
    assert (await fresh.client.delete(f"{path}/Nobody/pin")).status_code == 404
    for body in (
        {"for_s": -1},
        {"for_s": "long"},
        {"reason": "x" * 201},
        {"reason": "a\nb"},
        {"until": 5},
        [],
    ):
        assert (await fresh.client.put(f"{path}/Ann/pin", json=body)).status_code == 422
    assert (await fresh.client.get(f"{API}/pins")).json()["agents"] == []


async def test_an_adapter_is_pinned_shown_and_unpinned(fresh: Proxy) -> None:
    for name in ("poet", "clerk"):
        await fresh.client.put(f"{API}/adapters/{name}", json={"path": f"/{name}"})
    path = f"{API}/adapters/poet"
    fresh.simulation("Ann")
    pinned = await fresh.client.put(f"{path}/pin", json={"reason": "the king speaks"})
    assert (pinned.status_code, pinned.json()["pin"]["reason"]) == (200, "the king speaks")
    await fresh.adapter.until(
        lambda one: any(
            isinstance(action, Order) and action.pinned_adapters == ("poet",) for action, _ in one.actions
        )
    )
    listed = (await fresh.client.get(f"{API}/pins")).json()["adapters"]
    assert [one["adapter"] for one in listed] == ["poet"]
    full = await fresh.client.put(f"{API}/adapters/clerk/pin", json={})
    assert (full.status_code, full.json()["type"]) == (409, "/admin/v1/problems/pin-budget-full")
    for _ in range(2):
        assert (await fresh.client.delete(f"{path}/pin")).status_code == 204
    assert (await fresh.client.get(path)).json()["pin"] is None
    for method in ("PUT", "DELETE"):
        body = {} if method == "PUT" else None
        unknown = await fresh.client.request(method, f"{API}/adapters/unheard/pin", json=body)
        assert (unknown.status_code, unknown.json()["type"]) == (404, "/admin/v1/problems/unknown-adapter")


async def test_an_engine_that_takes_no_pins_is_a_conflict(proxy: Proxy) -> None:
    await proxy.client.put(f"{API}/adapters/poet", json={"path": "/poet"})
    refused = await proxy.client.put(f"{API}/adapters/poet/pin", json={})
    await proxy.client.delete(f"{API}/adapters/poet")
    assert (refused.status_code, refused.json()["type"]) == (409, "/admin/v1/problems/cannot-pin")
