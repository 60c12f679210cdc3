from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import count

import httpx
import pytest

from scalesim.engine_adapters.base import EngineRefused, Fence
from scalesim.proxy.admin import arrival
from scalesim.proxy.core.actions import Action, FetchAdapter
from scalesim.proxy.core.model import (
    KV_PREFIX,
    LORA,
    AgentName,
    EngineReport,
    LoadResult,
    MemoryId,
    MemoryReport,
    Owner,
    Pool,
    SimulationId,
)
from scalesim.proxy.engine_status import LoadTotal
from scalesim.proxy.settings import Settings
from tests.support.fake_adapter import EXTENDED, FakeAdapter
from tests.support.patience import PATIENCE_S

from .conftest import CALLING, Proxy, started

pytestmark = pytest.mark.anyio

PATH = "/admin/v1/adapters"
SIMULATIONS = "/admin/v1/simulations"
NAMES = (f"poet-{number}" for number in count())


async def registered(proxy: Proxy, path: str = "/adapters/a") -> str:
    name = next(NAMES)
    answer = await proxy.client.put(f"{PATH}/{name}", json={"path": path})
    assert answer.status_code == 201
    return name


async def adapter_of(proxy: Proxy, simulation: str, agent: str) -> str | None:
    return proxy.controller.adapter_of(SimulationId(simulation), AgentName(agent))


def is_problem(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    return str(answer.json()["detail"])


async def test_an_adapter_is_registered_told_and_forgotten(proxy: Proxy) -> None:
    name = await registered(proxy, "/adapters/first")
    told = (await proxy.client.get(f"{PATH}/{name}")).json()
    assert told == {
        "name": name,
        "path": "/adapters/first",
        "version": 1,
        "engine_name": name,
        "agents": 0,
        "engines": {"fake": "unknown"},
        "problem": "",
        "pin": None,
    }
    listed = (await proxy.client.get(PATH)).json()
    assert told in listed["adapters"]
    assert listed["total"] == len(listed["adapters"])
    assert (await proxy.client.delete(f"{PATH}/{name}")).status_code == 204
    is_problem(await proxy.client.get(f"{PATH}/{name}"), 404)


async def test_another_path_is_another_version_and_the_same_is_not(proxy: Proxy) -> None:
    name = await registered(proxy)
    again = await proxy.client.put(f"{PATH}/{name}", json={"path": "/adapters/a"})
    assert (again.status_code, again.json()["version"]) == (200, 1)
    other = await proxy.client.put(f"{PATH}/{name}", json={"path": "/adapters/b"})
    assert (other.status_code, other.json()["version"]) == (200, 2)
    assert other.json()["engine_name"] != name


async def test_adapters_come_in_pages(proxy: Proxy) -> None:
    before = (await proxy.client.get(PATH)).json()["total"]
    names = [await registered(proxy) for _ in range(3)]
    answer = (await proxy.client.get(f"{PATH}?limit=1&offset={before + 1}")).json()
    assert (answer["total"], [one["name"] for one in answer["adapters"]]) == (before + 3, [names[1]])


@pytest.mark.parametrize(
    "body", [{}, {"path": ""}, {"path": 7}, {"path": "a\nb"}, {"path": "a", "more": 1}, None]
)
async def test_an_adapter_without_a_place_is_refused(proxy: Proxy, body: object) -> None:
    is_problem(await proxy.client.put(f"{PATH}/nowhere", json=body), 422)
    assert not proxy.controller.knows_adapter("nowhere")


@pytest.mark.parametrize("name", ["two words", "poet@2", "a:b", "x" * 129])
async def test_an_adapter_with_an_odd_name_is_refused(proxy: Proxy, name: str) -> None:
    is_problem(await proxy.client.put(f"{PATH}/{name}", json={"path": "/a"}), 422)


async def test_an_unknown_adapter_is_not_found(proxy: Proxy) -> None:
    for method in ("GET", "DELETE"):
        assert "'ghost'" in is_problem(await proxy.client.request(method, f"{PATH}/ghost"), 404)


async def test_an_adapter_for_which_there_is_no_room_is_a_503() -> None:
    async with started(Settings(engine="http://engine"), adapter_limit=1) as proxy:
        await registered(proxy)
        answer = await proxy.client.put(f"{PATH}/one-more", json={"path": "/a"})
        assert "no room for the adapter 'one-more'" in is_problem(answer, 503)


async def test_an_agent_is_assigned_an_adapter_and_none(proxy: Proxy) -> None:
    town, name = proxy.simulation("Ann/of the hill"), await registered(proxy)
    path = f"{SIMULATIONS}/{town}/agents/Ann/of%20the%20hill/adapter"
    answer = await proxy.client.put(path, json={"name": name})
    assert (answer.status_code, answer.json()["name"]) == (200, "Ann/of the hill")
    assert answer.json()["adapter"] == name
    assert await adapter_of(proxy, town, "Ann/of the hill") == name
    assert (await proxy.client.get(f"{PATH}/{name}")).json()["agents"] == 1
    assert (await proxy.client.delete(path)).status_code == 204
    assert await adapter_of(proxy, town, "Ann/of the hill") is None


async def test_many_agents_are_assigned_adapters_at_once(proxy: Proxy) -> None:
    town, name = proxy.simulation("Ann", "Bob"), await registered(proxy)
    path = f"{SIMULATIONS}/{town}/adapters"
    answer = await proxy.client.put(path, json={"agents": {"Ann": name, "Bob": name}})
    assert answer.json() == {"simulation": town, "agents": 2, "problems": {}}
    await proxy.client.put(path, json={"agents": {"Ann": None}})
    assert [await adapter_of(proxy, town, agent) for agent in ("Ann", "Bob")] == [None, name]


async def test_an_unknown_adapter_is_assigned_to_nobody(proxy: Proxy) -> None:
    town, name = proxy.simulation("Ann", "Bob"), await registered(proxy)
    many = {"agents": {"Ann": name, "Bob": "ghost"}}
    one = {"name": "ghost"}
    for path, body in [("adapters", many), ("agents/Ann/adapter", one)]:
        answer = await proxy.client.put(f"{SIMULATIONS}/{town}/{path}", json=body)
        assert "not registered as adapters: 'ghost'; nothing was changed" in is_problem(answer, 404)
        assert answer.json()["adapters"] == ["ghost"]
    assert await adapter_of(proxy, town, "Ann") is None


async def test_unknown_agents_are_assigned_adapters_only_if_they_are_to_be_created(proxy: Proxy) -> None:
    town, name = proxy.simulation("Ann"), await registered(proxy)
    for path, body in [
        ("adapters", {"agents": {"Ann": name, "Zoe": name}}),
        ("agents/Zoe/adapter", {"name": name}),
    ]:
        answer = await proxy.client.put(f"{SIMULATIONS}/{town}/{path}", json=body)
        assert "'Zoe'" in is_problem(answer, 404)
        assert not proxy.controller.knows(town, AgentName("Zoe"))
        assert await adapter_of(proxy, town, "Ann") is None
    created = {"agents": {"Zoe": name}, "create_agents": True}
    assert (await proxy.client.put(f"{SIMULATIONS}/{town}/adapters", json=created)).status_code == 200
    assert await adapter_of(proxy, town, "Zoe") == name
    is_problem(await proxy.client.put(f"{SIMULATIONS}/atlantis/adapters", json=created), 404)
    is_problem(await proxy.client.delete(f"{SIMULATIONS}/{town}/agents/Nobody/adapter"), 404)


async def test_agents_for_whom_there_is_no_room_are_a_503(cramped: Proxy) -> None:
    name = await registered(cramped)
    body = {"agents": {"Zoe": name}, "create_agents": True}
    answer = await cramped.client.put(f"{SIMULATIONS}/{CALLING}/adapters", json=body)
    assert "'Zoe'" in is_problem(answer, 503)


@pytest.mark.parametrize("body", [{}, {"name": None}, {"name": "a b"}, {"agents": {"Ann": 7}}, [], None])
async def test_an_assignment_that_is_none_is_refused(proxy: Proxy, body: object) -> None:
    town = proxy.simulation("Ann")
    is_problem(await proxy.client.put(f"{SIMULATIONS}/{town}/agents/Ann/adapter", json=body), 422)
    is_problem(await proxy.client.put(f"{SIMULATIONS}/{town}/adapters", json=body), 422)


async def test_host_copies_are_set_for_a_simulation_and_for_an_agent(proxy: Proxy) -> None:
    town = proxy.simulation("Ann")
    body = {"kind": "kv_prefix", "wanted": False}
    whole = await proxy.client.put(f"{SIMULATIONS}/{town}/host-copy", json=body)
    assert (whole.status_code, whole.json()["simulation"]) == (200, town)
    one = await proxy.client.put(f"{SIMULATIONS}/{town}/agents/Ann/host-copy", json=body)
    assert (one.status_code, one.json()["name"]) == (200, "Ann")
    is_problem(await proxy.client.put(f"{SIMULATIONS}/atlantis/host-copy", json=body), 404)
    is_problem(await proxy.client.put(f"{SIMULATIONS}/{town}/agents/Zoe/host-copy", json=body), 404)


@pytest.mark.parametrize(
    "body", [{}, {"kind": "kv_prefix"}, {"kind": "soul", "wanted": True}, {"kind": "lora", "wanted": "no"}]
)
async def test_a_host_copy_of_no_known_kind_is_refused(proxy: Proxy, body: object) -> None:
    town = proxy.simulation("Ann")
    detail = is_problem(await proxy.client.put(f"{SIMULATIONS}/{town}/host-copy", json=body), 422)
    assert "soul" not in str(body) or "there are kv_prefix, lora" in detail


# --- what engines say ----------------------------------------------------------------------------------------------------


class Picky(FakeAdapter):
    """An engine that gets adapters from one folder only, the slow ones once `slow` is set."""

    slow = asyncio.Event()

    async def carry_out(self, action: Action, fence: Fence) -> LoadResult | None:
        if isinstance(action, FetchAdapter) and not action.path.startswith("/good/"):
            raise EngineRefused(self.engine, f"no such directory: {action.path}")
        if isinstance(action, FetchAdapter) and action.path.endswith("/slow"):
            await self.slow.wait()
        return await super().carry_out(action, fence)


@pytest.fixture(scope="module")
async def lora(anyio_backend: str) -> AsyncIterator[Proxy]:
    """One in front of an engine with adapters."""
    adapter = Picky()
    more = {"adapters", "fetch_adapters", "load_lora", "load_kv_prefix"}
    adapter.capabilities = replace(
        EXTENDED, features=EXTENDED.features | more, adapter_slots=4, host_adapters=16
    )
    async with started(Settings(engine="http://engine"), adapter=adapter) as proxy:
        yield proxy


async def test_what_the_engine_says_of_an_adapter_is_told(lora: Proxy) -> None:
    lora.adapter.next_report = EngineReport(
        "boot-1", True, frozenset(), 0, 1000, (Pool("lora", frozenset({LORA}), 100, 60),)
    )
    town = lora.simulation("Ann")
    bad = await registered(lora, "/bad/a")
    await lora.client.put(f"{SIMULATIONS}/{town}/agents/Ann/adapter", json={"name": bad})
    async with asyncio.timeout(PATIENCE_S):
        while not (told := (await lora.client.get(f"{PATH}/{bad}")).json())["problem"]:
            pass
    assert "no such directory: /bad/a" in told["problem"]
    repaired = await lora.client.put(f"{PATH}/{bad}", json={"path": "/good/a"})
    assert repaired.json()["problem"] == ""
    key = repaired.json()["engine_name"]
    await lora.adapter.until(
        lambda a: any(isinstance(one, FetchAdapter) and one.adapter == key for one, _ in a.actions)
    )
    lora.adapter.next_report = None  # it would take back what is fetched after it


async def test_an_assignment_is_answered_once_the_adapter_is_there_or_it_is_known_why_not(
    lora: Proxy,
) -> None:
    town = lora.simulation("Ann", "Bob")
    good, bad = await registered(lora, "/good/b"), await registered(lora, "/bad/b")
    path = f"{SIMULATIONS}/{town}"
    many = await lora.client.put(f"{path}/adapters", json={"agents": {"Ann": good, "Bob": bad}})
    assert (many.status_code, many.json()["agents"]) == (200, 2)
    assert list(many.json()["problems"]) == [bad]
    assert "no such directory: /bad/b" in many.json()["problems"][bad]
    assert (await lora.client.get(f"{PATH}/{good}")).json()["engines"] == {"fake": "host"}
    assert fetched(lora, good)
    one = await lora.client.put(f"{path}/agents/Ann/adapter", json={"name": bad})
    assert (one.json()["adapter"], "/bad/b" in one.json()["problem"]) == (bad, True)
    well = await lora.client.put(f"{path}/agents/Ann/adapter", json={"name": good})
    assert (well.json()["adapter"], well.json()["problem"]) == (good, "")


async def test_a_new_version_of_an_assigned_adapter_is_waited_for_too(lora: Proxy) -> None:
    town, name = lora.simulation("Ann"), await registered(lora, "/good/c")
    await lora.client.put(f"{SIMULATIONS}/{town}/agents/Ann/adapter", json={"name": name})
    again = (await lora.client.put(f"{PATH}/{name}", json={"path": "/good/d"})).json()
    assert (again["version"], again["engines"]) == (2, {"fake": "host"})
    assert fetched(lora, again["engine_name"])
    worse = (await lora.client.put(f"{PATH}/{name}", json={"path": "/bad/d"})).json()
    assert "no such directory: /bad/d" in worse["problem"]


async def test_an_adapter_that_takes_too_long_is_not_waited_for(
    lora: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrival, "WAIT_S", 0.05)
    town, name = lora.simulation("Ann"), await registered(lora, "/good/slow")
    assert isinstance(lora.adapter, Picky)
    lora.adapter.slow = asyncio.Event()
    answer = await lora.client.put(f"{SIMULATIONS}/{town}/adapters", json={"agents": {"Ann": name}})
    lora.adapter.slow.set()
    assert answer.json()["problems"] == {name: "it is not in host memory of 'fake' yet"}


async def test_a_name_that_the_engine_had_already_counts_only_once_it_is_known_to_mean_the_same(
    lora: Proxy,
) -> None:
    town, name = lora.simulation("Ann"), await registered(lora, "/good/e")
    pools = (Pool("lora", frozenset({LORA}), 100, 60),)
    memories = {MemoryId(LORA, name): MemoryReport(0, 10)}
    lora.adapter.next_report = EngineReport("boot-1", True, frozenset(), 0, 1000, pools, memories)
    async with asyncio.timeout(PATIENCE_S):
        while (await lora.client.get(f"{PATH}/{name}")).json()["engines"] != {"fake": "host"}:
            pass
    answer = await lora.client.put(f"{SIMULATIONS}/{town}/agents/Ann/adapter", json={"name": name})
    assert answer.json()["problem"] == ""
    assert fetched(lora, name)


async def test_for_what_a_full_engine_has_no_room_nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrival, "WAIT_S", 60.0)
    monkeypatch.setattr(arrival, "FULL_S", 0.1)
    adapter = Picky()
    more = {"adapters", "fetch_adapters"}
    adapter.capabilities = replace(
        EXTENDED, features=EXTENDED.features | more, adapter_slots=1, host_adapters=1
    )
    async with (
        started(Settings(engine="http://engine"), adapter=adapter) as proxy,
        asyncio.timeout(PATIENCE_S),
    ):
        town = proxy.simulation("Ann", "Bob")
        path = f"{SIMULATIONS}/{town}/adapters"
        first, second = await registered(proxy, "/good/1"), await registered(proxy, "/good/2")
        assert (await proxy.client.put(path, json={"agents": {"Ann": first}})).json()["problems"] == {}
        answer = await proxy.client.put(path, json={"agents": {"Bob": second}})
    assert "not in host memory" in answer.json()["problems"][second]


def fetched(proxy: Proxy, key: str) -> bool:
    return any(isinstance(one, FetchAdapter) and one.adapter == key for one, _ in proxy.adapter.actions)


async def test_pools_memories_and_slots_are_told(lora: Proxy) -> None:
    town = lora.simulation("Bob")
    pools = (Pool("kv", frozenset({KV_PREFIX}), 1000, 250), Pool("lora", frozenset({LORA}), 100, 60))
    memories = {MemoryId(KV_PREFIX, Owner(f"{town}/Bob")): MemoryReport(30, 70)}
    lora.adapter.next_report = EngineReport("boot-1", True, frozenset(), 0, 1000, pools, memories)
    async with asyncio.timeout(PATIENCE_S):
        while True:
            (engine,) = (await lora.client.get("/admin/v1/engines")).json()["engines"]
            (bob,) = (await lora.client.get(f"{SIMULATIONS}/{town}/agents")).json()["agents"]
            prefix = next(one for one in bob["memories"] if one["kind"] == "kv_prefix")
            if len(engine["pools"]) == 2 and prefix["missing_bytes"] == 70:
                break
    assert engine["pools"][0] == {
        "name": "kv",
        "kinds": ["kv_prefix"],
        "capacity_bytes": 1000,
        "free_bytes": 250,
    }
    assert (engine["adapter_slots"], engine["host_adapters"]) == (4, 16)
    assert engine["loads_in_flight"] >= 0
    metrics = (await lora.client.get("/metrics")).text
    assert 'scalesim_engine_pool_bytes{engine="fake",pool="kv"} 1000' in metrics
    assert 'scalesim_engine_pool_free_bytes{engine="fake",pool="kv"} 250' in metrics
    assert 'scalesim_engine_adapter_slots{engine="fake"} 4' in metrics
    assert 'scalesim_engine_loads_in_flight{engine="fake"} ' in metrics


async def test_loads_that_ended_are_counted(lora: Proxy) -> None:
    lora.runtime.loads["lora", "loaded"] = LoadTotal(2, 1.5, 640)
    metrics = (await lora.client.get("/metrics")).text
    assert 'scalesim_loads_total{kind="lora",state="loaded"} 2' in metrics
    assert 'scalesim_load_seconds_total{kind="lora",state="loaded"} 1.5' in metrics
    assert 'scalesim_load_bytes_total{kind="lora",state="loaded"} 640' in metrics


async def test_adapters_are_read_page_by_page_whoever_comes_and_goes(proxy: Proxy) -> None:
    names = [await registered(proxy) for _ in range(3)]
    page = (await proxy.client.get(PATH)).json()
    assert page["next"] is None
    before = len(page["adapters"]) - 3
    seen: list[str] = []
    after = "0"
    while after is not None:
        page = (await proxy.client.get(f"{PATH}?limit=1&after={after}")).json()
        seen += [one["name"] for one in page["adapters"]]
        await proxy.client.delete(f"{PATH}/{seen[-1]}")
        after = page["next"]
    assert seen[before:] == names
    for query in ("after=1&offset=1", "after=x", "offset=-1"):
        assert (await proxy.client.get(f"{PATH}?{query}")).status_code == 422
