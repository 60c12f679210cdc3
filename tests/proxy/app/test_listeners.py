from __future__ import annotations

import asyncio
import socket
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
import uvloop
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from scalesim.proxy.access.connections import Connections
from scalesim.proxy.app.listeners import Listener, listening_socket, url_of
from scalesim.proxy.data_plane.door import Door
from tests.support.patience import PATIENCE_S

pytestmark = [pytest.mark.anyio, pytest.mark.slow]  # every server takes a quarter of a second to stop


async def nothing(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers nobody."""


def listener_of(app: ASGIApp, **options: Any) -> Listener:
    return Listener(app, Door(Connections(most=10, most_of_one=10)), None, **options)


def client() -> httpx.AsyncClient:
    return httpx.AsyncClient(trust_env=False, timeout=PATIENCE_S)


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="only Linux has it")
def test_clients_that_vanish_are_noticed() -> None:
    with (
        listening_socket("127.0.0.1", 0) as listener,
        socket.create_connection(listener.getsockname()),
        listener.accept()[0] as accepted,
    ):
        assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 60_000


def test_clients_close_idle_connections_first() -> None:
    """Else a request may cross with our closing, and fail for nothing."""
    kept_by_clients_s = httpx.Limits().keepalive_expiry
    assert kept_by_clients_s is not None
    assert listener_of(nothing).config.timeout_keep_alive > 2 * kept_by_clients_s


async def test_while_calls_run_open_connections_are_answered_and_new_ones_refused() -> None:
    """Else who sends a request on a connection that it has open would be left without an answer."""
    held, started = asyncio.Event(), asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/long":
            started.set()
            await held.wait()
        await Response(scope["path"])(scope, receive, send)

    with listening_socket("127.0.0.1", 0) as socket_:
        url = url_of(socket_, None)
        listener = listener_of(app)
        serving = asyncio.create_task(listener.serve([socket_]))
        async with client() as one, client() as other, client() as late:
            await listener.listening.wait()
            assert (await other.get(f"{url}/first")).status_code == 200
            long = asyncio.create_task(one.get(f"{url}/long"))
            await started.wait()
            ending = asyncio.create_task(listener.end(serving, asyncio.Event()))
            async with asyncio.timeout(PATIENCE_S):
                while not await is_refused(late, url):
                    pass
            assert (await other.get(f"{url}/again")).text == "/again", "its connection is open still"
            held.set()
            assert (await long).text == "/long"
            await ending
        assert serving.done()


async def test_what_runs_for_too_long_is_cut_off() -> None:
    started = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        started.set()
        await asyncio.Event().wait()

    with listening_socket("127.0.0.1", 0) as socket_:
        listener = listener_of(app, drain_s=0.05)
        serving = asyncio.create_task(listener.serve([socket_]))
        async with client() as one:
            await listener.listening.wait()
            call = asyncio.create_task(one.get(url_of(socket_, None)))
            await started.wait()
            async with asyncio.timeout(PATIENCE_S):
                await listener.end(serving, asyncio.Event())
            with pytest.raises(httpx.HTTPError):
                (await call).raise_for_status()


def test_clients_that_come_together_do_not_wait_for_a_turn_each() -> None:
    """A turn is as long as all requests that are there."""
    clients = 64

    async def turns() -> int:
        door = Door(Connections(most=clients, most_of_one=clients))
        with listening_socket("127.0.0.1", 0) as socket_, ExitStack() as stack:
            listener = Listener(nothing, door, None)
            serving = asyncio.create_task(listener.serve([socket_]))
            await listener.listening.wait()
            for _ in range(clients):
                stack.enter_context(socket.create_connection(socket_.getsockname()))
            taken = 0
            while door.sizes()["client_connections"] < clients:
                await asyncio.sleep(0)
                taken += 1
            await listener.end(serving, asyncio.Event())
        return taken

    assert uvloop.run(turns()) < clients / 2


async def is_refused(client: httpx.AsyncClient, url: str) -> bool:
    try:
        await client.get(url, headers={"connection": "close"})
    except httpx.ConnectError:
        return True
    return False
