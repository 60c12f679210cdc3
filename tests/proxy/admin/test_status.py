from __future__ import annotations

import asyncio
import re

import pytest

from scalesim.proxy.core.model import Part
from tests.support.fake_adapter import EXTENDED
from tests.support.patience import PATIENCE_S

from .conftest import Proxy

pytestmark = pytest.mark.anyio


async def until(proxy: Proxy, *, up: bool) -> None:
    """The loop probes or looks every few milliseconds; each round trip to the proxy lets it go on."""
    async with asyncio.timeout(PATIENCE_S):
        while proxy.fleet.is_ready is not up:
            await proxy.client.get("/health")


async def test_a_proxy_with_an_engine_is_alive_and_ready(proxy: Proxy) -> None:
    assert (await proxy.client.get("/health")).json() == {"status": "alive", "engines": {"fake": "up"}}
    assert (await proxy.client.get("/ready")).status_code == 200


async def test_a_proxy_without_an_engine_is_alive_but_not_ready(proxy: Proxy) -> None:
    proxy.adapter.down = "connection refused"
    await until(proxy, up=False)
    health, ready = await proxy.client.get("/health"), await proxy.client.get("/ready")
    engines = (await proxy.client.get("/admin/v1/engines")).json()["engines"]
    proxy.adapter.down = None
    await until(proxy, up=True)
    assert (health.status_code, health.json()["engines"]) == (200, {"fake": "lost"})
    assert (ready.status_code, ready.json()["detail"]) == (503, "no engine is up")
    assert ready.headers["content-type"] == "application/problem+json"
    assert (engines[0]["up"], engines[0]["problem"]) == (False, "fake: connection refused")


async def test_engines_are_told_with_what_they_can_do(proxy: Proxy) -> None:
    (engine,) = (await proxy.client.get("/admin/v1/engines")).json()["engines"]
    assert engine["engine"] == "fake"
    assert engine["url"] == "http://127.0.0.1:1"
    assert (engine["up"], engine["commanded"], engine["extended"]) == (True, True, True)
    assert engine["features"] == sorted(EXTENDED.features)
    assert engine["capacity_tokens"] == 1000


async def test_an_engine_tells_who_decides_what_leaves_its_cache(proxy: Proxy) -> None:
    town = proxy.simulation("Ann")
    proxy.call(town, "Ann")
    (engine,) = (await proxy.client.get("/admin/v1/engines")).json()["engines"]
    guard = engine["guard"]
    assert (guard["in_charge"], guard["since_calls"], guard["switches"]) == ("distance", 0, 0)
    assert guard["reason"] == "from the beginning, until recency does better"
    assert guard["hits"]["lru"] == guard["hits"]["distance"] == guard["hits"]["guarded"] >= 1
    assert guard["calls"] >= 2


async def test_the_status_shows_everything_at_a_glance(proxy: Proxy) -> None:
    town = proxy.simulation("Ann")
    status = (await proxy.client.get("/admin/v1/status")).json()
    assert status["mode"] == "on"
    assert status["policy"] == "nearest_first"
    assert status["parts"] == sorted(Part)
    assert [one["engine"] for one in status["engines"]] == ["fake"]
    assert town in [one["simulation"] for one in status["simulations"]]
    assert status["sizes"].keys() >= {"agents", "calls", "actions_waiting", "requests_in_flight"}
    assert status["up_s"] >= 0
    assert status["failures"] == {}


async def test_an_unknown_path_is_a_problem_too(proxy: Proxy) -> None:
    answer = await proxy.client.get("/admin/v1/nothing")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    wrong_method = await proxy.client.delete("/health")
    assert wrong_method.status_code == 405
    assert wrong_method.headers["allow"] == "GET"


async def test_every_endpoint_is_described_with_an_example(proxy: Proxy) -> None:
    described = (await proxy.client.get("/openapi.json")).json()
    schemas = described["components"]["schemas"]

    def has_example(content: dict[str, dict[str, object]]) -> bool:
        return all(shows(told) for told in content.values())

    def shows(told: dict[str, object]) -> bool:
        if "example" in told:
            return True
        names = re.findall(r"#/components/schemas/(\w+)", repr(told["schema"]))
        return any("example" in schemas[name] for name in names)

    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            answers = [
                a for status, a in operation["responses"].items() if status.startswith("2") and "content" in a
            ]
            assert all(has_example(answer["content"]) for answer in answers), (method, path)
            if "requestBody" in operation:
                assert has_example(operation["requestBody"]["content"]), (method, path)
