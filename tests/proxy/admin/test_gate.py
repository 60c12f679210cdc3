from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from scalesim.proxy.admin.gate import BODY_LIMIT, SMALL_LIMIT

from .conftest import Proxy

pytestmark = pytest.mark.anyio
STATUS = "/admin/v1/status"


@pytest.mark.parametrize("key", ["first-key", "second-key"])
async def test_every_key_opens_in_either_header(locked: Proxy, key: str) -> None:
    for headers in (
        {"authorization": f"Bearer {key}"},
        {"Authorization": f"bearer {key}"},
        {"x-admin-key": key},
    ):
        assert (await locked.client.get(STATUS, headers=headers)).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-admin-key": ""},
        {"x-admin-key": "first"},
        {"x-admin-key": "first-key-and-more"},
        {"x-admin-key": "schlüssel".encode()},
        {"authorization": "Bearer"},
        {"authorization": "Bearer first"},
        {"authorization": "Basic first-key"},
    ],
)
async def test_without_a_key_nothing_is_told_or_changed(locked: Proxy, headers: dict[str, str]) -> None:
    town = locked.simulation("Ann")
    for method, path in [("GET", STATUS), ("GET", "/metrics"), ("DELETE", f"/admin/v1/simulations/{town}")]:
        answer = await locked.client.request(method, path, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["www-authenticate"] == "Bearer"
    assert locked.controller.knows(town)


@pytest.mark.parametrize("path", ["/health", "/ready", "/docs", "/openapi.json"])
async def test_orchestrators_and_browsers_need_no_key(locked: Proxy, path: str) -> None:
    assert (await locked.client.get(path)).status_code == 200


async def test_no_key_is_needed_where_none_is_set(proxy: Proxy) -> None:
    assert (await proxy.client.get(STATUS)).status_code == 200


@pytest.mark.parametrize(
    "host", ["localhost", "LocalHost:8001", "127.0.0.1", "127.0.0.1:1", "[::1]", "[::1]:8001"]
)
async def test_without_keys_those_who_name_loopback_are_answered(proxy: Proxy, host: str) -> None:
    assert (await proxy.client.get(STATUS, headers={"host": host})).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8001",
        "127.0.0.1.evil.example",
        "localhost:evil.example",
        "10.0.0.7",
        "0.0.0.0:8001",
        "[::1",
        "[::1]evil.example",
        "",
    ],
)
async def test_without_keys_a_name_that_was_made_to_point_here_is_refused(proxy: Proxy, host: str) -> None:
    town = proxy.simulation("Ann")
    headers = {"host": host, "origin": f"http://{host}"}
    path = f"/admin/v1/simulations/{town}"
    for answer in [
        await proxy.client.get(STATUS, headers={"host": host}),
        await proxy.client.delete(path, headers=headers),
    ]:
        assert answer.status_code == 403
        assert answer.headers["content-type"] == "application/problem+json"
        assert "Host" in answer.json()["detail"]
    assert proxy.controller.knows(town)


async def test_with_a_key_any_name_will_do(locked: Proxy) -> None:
    headers = {"host": "admin.example", "x-admin-key": "first-key"}
    assert (await locked.client.get(STATUS, headers=headers)).status_code == 200


async def test_a_body_over_the_limit_is_refused(proxy: Proxy) -> None:
    town = proxy.simulation("Ann")
    answer = await proxy.client.post(
        f"/admin/v1/simulations/{town}/distances",
        content=b" " * (BODY_LIMIT + 1),
        headers={"content-type": "application/json"},
    )
    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_body_over_the_limit_is_refused_without_an_announced_length(proxy: Proxy) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(11):
            yield b" " * (BODY_LIMIT // 10)

    answer = await proxy.client.post(
        "/v1/update", content=chunks(), headers={"content-type": "application/json"}
    )
    assert answer.status_code == 413


@pytest.mark.slow
async def test_a_large_body_within_the_limit_is_taken(proxy: Proxy) -> None:
    distances = {f"agent-{number:06}": number for number in range(20_000)}
    answer = await proxy.client.post(
        "/v1/update", json={"agent_data": distances}, headers={"x-simulation-id": "big"}
    )
    assert answer.status_code == 200


async def test_a_body_that_is_not_announced_as_json_is_refused(proxy: Proxy) -> None:
    answer = await proxy.client.post("/v1/update", content=b'{"agent_data":{"1":1}}')
    assert answer.status_code == 415
    assert "Content-Type: application/json" in answer.json()["detail"]


async def test_what_tells_of_many_may_also_be_lines_and_that_is_said(proxy: Proxy) -> None:
    town = proxy.simulation("Ann")
    path = f"/admin/v1/simulations/{town}/distances"
    answer = await proxy.client.post(path, content=b"{}", headers={"content-type": "text/plain"})
    assert answer.status_code == 415
    assert "application/x-ndjson" in answer.json()["detail"]


async def test_several_types_of_one_body_are_refused(proxy: Proxy) -> None:
    town = proxy.simulation("Ann")
    types = [("content-type", "application/json"), ("content-type", "application/x-ndjson")]
    for headers in (types, types[::-1]):
        answer = await proxy.client.put(
            f"/admin/v1/simulations/{town}/graph", content=b'{"edges": []}', headers=headers
        )
        assert answer.status_code == 400
        assert "several Content-Type" in answer.json()["detail"]
    assert proxy.controller.graph_size(town) is None


async def test_what_tells_of_one_thing_is_small(proxy: Proxy) -> None:
    town = proxy.simulation("Ann")
    body = b'{"mode": "on"' + b" " * SMALL_LIMIT + b"}"
    answer = await proxy.client.put(
        f"/admin/v1/simulations/{town}/mode", content=body, headers={"content-type": "application/json"}
    )
    assert answer.status_code == 413
    assert f"longer than {SMALL_LIMIT} bytes" in answer.json()["detail"]


async def test_a_page_of_another_origin_may_not_command(proxy: Proxy) -> None:
    town = proxy.simulation("Ann")
    path = f"/admin/v1/simulations/{town}/agents/Ann/leave"
    refused = await proxy.client.post(path, headers={"origin": "https://evil.example"})
    own = await proxy.client.post(path, headers={"origin": str(proxy.client.base_url).rstrip("/")})
    assert (refused.status_code, own.status_code) == (403, 200)
