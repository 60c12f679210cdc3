from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from scalesim.proxy.admin.passing import Passing, is_of_the_group
from scalesim.proxy.group_status import MemberStatus
from tests.support.patience import PATIENCE_S
from tests.support.serve import serve

pytestmark = [pytest.mark.anyio, pytest.mark.slow]  # every server takes a quarter of a second to stop

FOLLOWS = MemberStatus(1, False, None, None, "", 0, 0, 0, 0, 0, None, 0.0, None)


class Group:
    """Two proxies whose admin API tells what it was asked."""

    def __init__(self) -> None:
        self.of_follower, self.of_leader = FOLLOWS, replace(FOLLOWS, leads=True)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[tuple[str, str]]:
        """The follower's and the leader's URLs."""
        async with (
            httpx.AsyncClient(trust_env=False) as client,
            serve(Passing(said_by("leader"), lambda: self.of_leader, client)) as leader,
            serve(Passing(said_by("follower"), lambda: self.of_follower, client)) as follower,
        ):
            self.of_follower = replace(FOLLOWS, leader_url=leader)
            yield follower, leader


def said_by(who: str) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        told = {
            "by": who,
            "what": f"{request.method} {scope['raw_path'].decode()}?{request.url.query}",
            "body": len(await request.body()),
            "key": request.headers.get("x-admin-key"),
            "type": request.headers.get("content-type"),
        }
        await JSONResponse(told, 207, headers={"x-told": "yes"})(scope, receive, send)

    return app


async def asked(url: str, path: str, method: str = "GET", **options: object) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE_S) as client:
        return await client.request(method, f"{url}{path}", **options)  # type: ignore[arg-type]


def test_what_concerns_simulations_adapters_and_engines_is_the_leaders_and_each_process_tells_of_itself() -> (
    None
):
    for path in (
        "/v1/update",
        "/admin/v1/simulations",
        "/admin/v1/simulations/a/mode",
        "/admin/v1/engines/x",
    ):
        assert is_of_the_group(path)
    own = ("status", "placement", "configuration/reload", "recipes/oasis", "traces", "keys/client/ann")
    for path in ("/metrics", "/healthz", "/readyz", "/docs", "/", *(f"/admin/v1/{one}" for one in own)):
        assert not is_of_the_group(path)


async def test_who_follows_passes_on_what_it_is_asked_and_told_as_it_is() -> None:
    group = Group()
    async with group.running() as (follower, _):
        answer = await asked(
            follower,
            "/admin/v1/simulations/a%2Fb/distances?x=1&y=%20",
            "POST",
            content=b"x" * 3_000_000,
            headers={"x-admin-key": "secret", "content-type": "application/x-ndjson"},
        )
        own = await asked(follower, "/admin/v1/status")
        empty = await asked(follower, "/admin/v1/simulations/a", "DELETE")
    assert (answer.status_code, answer.headers["x-told"]) == (207, "yes")
    assert answer.json() == {
        "by": "leader",
        "what": "POST /admin/v1/simulations/a%2Fb/distances?x=1&y=%20",
        "body": 3_000_000,
        "key": "secret",
        "type": "application/x-ndjson",
    }
    assert own.json()["by"] == "follower"
    assert (empty.json()["by"], empty.json()["body"]) == ("leader", 0)


async def test_while_nobody_leads_it_is_to_be_told_again() -> None:
    group = Group()
    async with group.running() as (follower, leader):
        group.of_leader = replace(FOLLOWS, leader_url=leader, problem="no route")  # it ended a moment ago
        stale = await asked(follower, "/admin/v1/simulations")
        group.of_follower = replace(FOLLOWS, leader_url="http://127.0.0.1:9")
        dead = await asked(follower, "/admin/v1/simulations")
        group.of_follower = FOLLOWS
        nobody = await asked(follower, "/admin/v1/simulations")
    for one in (stale, dead, nobody):
        assert (one.status_code, one.headers["retry-after"]) == (503, "2")
        assert one.headers["content-type"] == "application/problem+json"
    assert "no route" in stale.json()["detail"]
    assert "does not answer" in dead.json()["detail"]
    assert all("nothing was changed" in one.json()["detail"] for one in (stale, dead, nobody))


async def test_whether_a_leader_that_broke_off_took_it_is_said_to_be_unknown() -> None:
    async def breaks_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    group = Group()
    async with (
        group.running() as (follower, _),
        await asyncio.start_server(breaks_off, "127.0.0.1", 0) as server,
    ):
        group.of_follower = replace(
            FOLLOWS, leader_url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        )
        answer = await asked(follower, "/admin/v1/simulations/a", "DELETE")
    assert answer.status_code == 503
    assert "not known" in answer.json()["detail"]
