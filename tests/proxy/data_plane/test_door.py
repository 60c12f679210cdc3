"""Connections that are too many or too slow, through real sockets; time is told to the door."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvicorn
from uvicorn.server import ServerState

from scalesim.proxy.access.connections import BODY_S, HEAD_S, Connections
from scalesim.proxy.data_plane.asgi import Receive, Scope, Send
from scalesim.proxy.data_plane.door import Door
from scalesim.proxy.data_plane.http_protocol import BoundedHttpProtocol

from .rig import Stuck, raw_client, start, whole_body

pytestmark = pytest.mark.anyio

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"


class Guarded:
    def __init__(self, door: Door, port: int) -> None:
        self.door = door
        self.port = port

    async def until(self, connections: int) -> None:
        async with asyncio.timeout(2):
            while self.door.sizes()["client_connections"] != connections:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0)


class Reader:
    """Reads a body, and keeps how much of it there was."""

    def __init__(self) -> None:
        self.size = 0
        self.gone = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.gone.set()
                return
            self.size += len(message["body"])
            if not message["more_body"]:
                await start(send, 200, [(b"content-length", b"0")])
                await send({"type": "http.response.body"})
                return

    async def until(self, size: int) -> None:
        async with asyncio.timeout(2):
            while self.size < size:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0)


async def at_once(scope: Scope, receive: Receive, send: Send) -> None:
    await whole_body(receive)
    await start(send, 200, [(b"content-length", b"2")])
    await send({"type": "http.response.body", "body": b"ok"})


@asynccontextmanager
async def guarded(app: object, *, most: int = 10, most_of_one: int = 10) -> AsyncIterator[Guarded]:
    door = Door(Connections(most=most, most_of_one=most_of_one))
    config = uvicorn.Config(app, http="httptools", log_level="error", access_log=False)  # type: ignore[arg-type]
    config.load()
    state = ServerState()

    def protocol() -> asyncio.Protocol:
        return BoundedHttpProtocol(config=config, server_state=state, app_state={}, door=door)

    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
    async with server:
        inside = Guarded(door, server.sockets[0].getsockname()[1])
        yield inside
        await inside.until(0)
        assert door.sizes() == {"client_connections": 0, "client_addresses": 0}


async def told(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(2):
        return await reader.read()


async def until_cut(reader: asyncio.StreamReader) -> None:
    """What was sent too late makes the system cut the connection before its answer was read."""
    try:
        assert (await told(reader)).startswith(b"HTTP/1.1 408")
    except ConnectionResetError:
        return


@pytest.mark.parametrize(("most", "most_of_one", "why"), [(2, 9, b"takes no more"), (9, 2, b"this address")])
async def test_one_connection_too_many_is_told_when_to_come_again(
    most: int, most_of_one: int, why: bytes
) -> None:
    async with guarded(at_once, most=most, most_of_one=most_of_one) as g:
        async with raw_client(g.port, b"") as _, raw_client(g.port, b""):
            await g.until(2)
            async with raw_client(g.port, b"") as (reader, _):
                answer = await told(reader)
                assert answer.startswith(b"HTTP/1.1 503")
                assert b"\r\nretry-after: 1\r\n" in answer
                assert why in answer
            await g.until(2)
        await g.until(0)
        async with raw_client(g.port, GET) as (reader, _):
            assert await reader.readuntil(b"ok")


@pytest.mark.parametrize("said", [b"", b"G", b"GET / HTTP/1.1\r\nHost: x\r\n"])
async def test_a_head_that_does_not_come_to_an_end_is_given_up(said: bytes) -> None:
    async with guarded(at_once) as g, raw_client(g.port, said) as (reader, writer):
        await g.until(1)
        g.door.look(HEAD_S)
        writer.write(b"X" if said else b"")
        g.door.look(1)
        await until_cut(reader)
        await g.until(0)


async def test_empty_lines_hold_no_connection() -> None:
    """After an answer the server's own time-out ends with whatever comes."""
    async with guarded(at_once) as g, raw_client(g.port, GET) as (reader, writer):
        await reader.readuntil(b"ok")
        async with asyncio.timeout(2):
            while g.door.sizes()["client_connections"]:
                writer.write(b"\r\n")
                g.door.look(HEAD_S)
                await asyncio.sleep(0)
        await until_cut(reader)


async def test_a_connection_that_is_idle_between_two_requests_is_left_to_the_servers_own_time_out() -> None:
    """A 408 would cross with the next request."""
    async with guarded(at_once) as g, raw_client(g.port, GET) as (reader, writer):
        await reader.readuntil(b"ok")
        g.door.look(HEAD_S)
        g.door.look(1)
        writer.write(GET)
        assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200")


async def test_a_body_that_drips_is_given_up_and_one_that_is_slow_is_not() -> None:
    app = Reader()
    async with guarded(app) as g, raw_client(g.port, POST) as (reader, writer):
        for minute in range(1, 3):
            writer.write(b"x" * 30_000)
            await app.until(30_000 * minute)
            g.door.look(60)
        writer.write(b"x")
        await app.until(60_001)
        g.door.look(BODY_S + 1)
        assert (await told(reader)).startswith(b"HTTP/1.1 408")
        async with asyncio.timeout(2):
            await app.gone.wait()


async def test_whoever_waits_for_an_answer_may_wait_for_ever() -> None:
    app = Stuck(first=b"data: 1\n\n")
    async with guarded(app) as g, raw_client(g.port, GET) as (reader, writer):
        await reader.readuntil(b"data: 1\n\n")
        writer.write(b"GET /half")
        g.door.look(86_400)
        await asyncio.sleep(0)
        assert not reader.at_eof()
        assert g.door.sizes()["client_connections"] == 1


async def test_each_request_has_its_own_time() -> None:
    async with guarded(at_once) as g, raw_client(g.port, b"") as (reader, writer):
        for _ in range(3):
            await g.until(1)
            g.door.look(HEAD_S - 1)
            writer.write(GET)
            assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200")


async def test_who_is_watched_is_looked_at_until_the_door_is_shut(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[float] = []
    enough = asyncio.Event()

    class Watched(Door):
        def look(self, passed_s: float) -> None:
            looks.append(passed_s)
            enough.set()

    monkeypatch.setattr("scalesim.proxy.data_plane.door.LOOKS_EVERY_S", 0.001)
    watching = asyncio.create_task(Watched(Connections(most=1, most_of_one=1)).watch())
    await asyncio.wait_for(enough.wait(), 2)
    watching.cancel()
    assert looks[0] == 0.001
