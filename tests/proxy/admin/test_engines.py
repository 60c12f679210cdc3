from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from scalesim.proxy.core.model import EngineId
from scalesim.proxy.core.placer import Caller
from scalesim.proxy.engines.breaker import Verdict
from tests.support.patience import PATIENCE_S

from .conftest import Proxy

pytestmark = pytest.mark.anyio

ENGINES = "/admin/v1/engines"


async def register(proxy: Proxy, name: str, url: str | None = None, **more: Any) -> httpx.Response:
    body = {"name": name, "url": url or f"http://{name}:30000", **more}
    return await proxy.client.post(ENGINES, json=body)


async def names(proxy: Proxy) -> set[str]:
    return {one["engine"] for one in (await proxy.client.get(ENGINES)).json()["engines"]}


def call(proxy: Proxy, agent: str | None = None) -> EngineId:
    """It runs until the test ends it."""
    return proxy.fleet.place(Caller(agent), proxy.fleet.serving(None), proxy.runtime.now()).engine


async def test_an_engine_is_registered_looked_for_and_removed(proxy: Proxy) -> None:
    sizes = (await proxy.client.get("/admin/v1/status")).json()["sizes"]
    came = await register(proxy, "gpu-2", "http://gpu-2:30000/", weight=2.0)
    assert came.status_code == 201
    assert (came.json()["url"], came.json()["state"]) == ("http://gpu-2:30000", "starting")
    assert (came.json()["weight"], came.json()["configured"]) == (2.0, False)
    async with asyncio.timeout(PATIENCE_S):
        told: dict[str, Any] = {"problem": ""}
        while "connection refused" not in told["problem"]:
            told = (await proxy.client.get(f"{ENGINES}/gpu-2")).json()
    assert 'engine="gpu-2"' in (await proxy.client.get("/metrics")).text
    assert await names(proxy) == {"fake", "gpu-2"}
    assert (await proxy.client.delete(f"{ENGINES}/gpu-2")).status_code == 204
    assert await names(proxy) == {"fake"}
    assert "gpu-2" not in (await proxy.client.get("/metrics")).text
    assert [one.id for one in proxy.controller.engines()] == ["fake"]
    assert (await proxy.client.get("/admin/v1/status")).json()["sizes"] == sizes


async def test_who_registers_again_changes_nothing_but_the_weight(proxy: Proxy) -> None:
    await register(proxy, "gpu-2")
    again = await register(proxy, "gpu-2", weight=3.0)
    assert (again.status_code, again.json()["weight"]) == (200, 3.0)
    await proxy.client.delete(f"{ENGINES}/gpu-2")


async def test_a_name_or_an_address_that_is_taken_is_a_conflict(proxy: Proxy) -> None:
    name = await register(proxy, "fake", "http://elsewhere:1")
    address = await register(proxy, "other", proxy.adapter.base_url)
    assert (name.status_code, address.status_code) == (409, 409)
    assert "'fake' is registered at http://127.0.0.1:1" in name.json()["detail"]
    assert "is registered as 'fake'" in address.json()["detail"]
    assert await names(proxy) == {"fake"}


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"name": "a b", "url": "http://a:1"}, "name: String should match pattern"),
        ({"name": "a", "url": "a:1"}, "is no address of an engine"),
        ({"name": "a", "url": "http://user:word@a:1"}, "is no address of an engine"),
        ({"name": "a", "url": "http://a:1/v1"}, "ends with /v1"),
        ({"name": "a", "url": "http://localhost:8001"}, "where the proxy itself listens for operators"),
        ({"name": "a", "url": "http://127.0.0.1:8000/"}, "where the proxy itself listens for clients"),
        ({"name": "a", "url": "http://a:1", "weight": 0}, "weight: Input should be greater than 0"),
        ({"name": "a"}, "url: Field required"),
        ({"name": "a", "url": "http://a:1", "key": "x"}, "key: Extra inputs are not permitted"),
    ],
)
async def test_a_bad_engine_is_refused_and_nothing_changed(
    proxy: Proxy, body: dict[str, object], says: str
) -> None:
    refused = await proxy.client.post(ENGINES, json=body)
    assert refused.status_code == 422
    assert refused.headers["content-type"] == "application/problem+json"
    assert says in refused.json()["detail"]
    assert await names(proxy) == {"fake"}


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_an_unknown_engine_is_not_found(proxy: Proxy, method: str) -> None:
    answer = await proxy.client.request(method, f"{ENGINES}/nobody")
    assert (answer.status_code, answer.json()["engine"]) == (404, "nobody")


async def test_an_engine_with_calls_drains_and_is_shown_with_what_runs(proxy: Proxy) -> None:
    call(proxy, "Ann")
    drains = await proxy.client.delete(f"{ENGINES}/fake")
    assert drains.status_code == 202
    assert (drains.json()["state"], drains.json()["calls"]) == ("draining", 1)
    ready = await proxy.client.get("/readyz")
    assert (ready.status_code, ready.json()["engines"]) == (503, {"fake": "draining"})
    assert (await register(proxy, "fake", proxy.adapter.base_url)).status_code == 200
    async with asyncio.timeout(PATIENCE_S):
        while (await proxy.client.get("/readyz")).status_code != 200:
            pass
    proxy.fleet.end(EngineId("fake"), "Ann", 100)


async def test_an_engine_can_be_removed_at_once(proxy: Proxy) -> None:
    await register(proxy, "gpu-2")
    proxy.fleet.answered(EngineId("gpu-2"), "boot-1", 1000, proxy.runtime.now())
    running = [call(proxy) for _ in range(2)]
    assert "gpu-2" in running
    assert (await proxy.client.delete(f"{ENGINES}/gpu-2?drain=false")).status_code == 204
    assert await names(proxy) == {"fake"}
    for engine in running:
        proxy.fleet.end(engine)
    assert proxy.fleet.sizes()["leaving_engines"] == 0
    assert (await proxy.client.delete(f"{ENGINES}/gpu-2?drain=perhaps")).status_code == 422


async def test_placement_is_told_with_its_reasons(proxy: Proxy) -> None:
    before = (await proxy.client.get("/admin/v1/placement")).json()
    for _ in range(2):
        proxy.fleet.end(call(proxy, "Bob"), "Bob", 700)
    call(proxy, "Bob")
    told = (await proxy.client.get("/admin/v1/placement")).json()
    metrics = (await proxy.client.get("/metrics")).text
    proxy.fleet.end(EngineId("fake"), "Bob", 700)
    assert told["rule"] == "by_memory"
    assert told["calls"]["new"] == before["calls"].get("new", 0) + 1
    assert told["calls"]["home"] == before["calls"].get("home", 0) + 2
    (engine,) = told["engines"]
    assert (engine["engine"], engine["calls"]) == ("fake", 1)
    assert engine["held_tokens"] >= 700
    assert 'scalesim_placed_calls_total{why="home"}' in metrics
    assert 'scalesim_engine_state{engine="fake",state="up"} 1' in metrics
    assert 'scalesim_engine_breaker_open{engine="fake"} 0' in metrics
    assert 'scalesim_engine_calls{engine="fake"} 1' in metrics


async def test_an_engine_whose_calls_fail_is_shown_to_be_left_alone(proxy: Proxy) -> None:
    name, now = EngineId("broken"), proxy.runtime.now
    await register(proxy, name)
    breaker = proxy.fleet.breakers.of(name)
    for _ in range(5):
        given = breaker.begin(now())
        assert given is not None
        breaker.end(given, now(), Verdict.FAILED)
    told = (await proxy.client.get(f"{ENGINES}/{name}")).json()
    metrics = (await proxy.client.get("/metrics")).text
    await proxy.client.delete(f"{ENGINES}/{name}")
    assert told["breaker"] == "open"
    assert f'scalesim_engine_breaker_open{{engine="{name}"}} 1' in metrics
    assert proxy.fleet.sizes()["breakers"] == 1, "of the one that is left"


async def test_probes_need_no_key(locked: Proxy) -> None:
    for path in ("/healthz", "/readyz"):
        assert (await locked.client.get(path)).status_code == 200
    assert (await locked.client.get(ENGINES)).status_code == 401
    assert (await locked.client.post(ENGINES, json={"name": "a", "url": "http://a:1"})).status_code == 401
    assert (await locked.client.delete(f"{ENGINES}/fake")).status_code == 401
