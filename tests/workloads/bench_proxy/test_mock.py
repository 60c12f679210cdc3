"""What a proxy asks of the mock engine besides answers."""

from __future__ import annotations

import asyncio
import json
import socket

import httpx
import pytest

from scalesim.engine_adapters.base import Fence
from scalesim.engine_adapters.control_calls import ControlCalls
from scalesim.engine_adapters.sglang import SGLangAdapter
from scalesim.proxy.core.actions import Order, Pin, Renew
from scalesim.proxy.core.model import EngineId, Owner
from scalesim.workloads.bench_proxy.http1 import Messages, chunk
from scalesim.workloads.bench_proxy.loads import JSON_BODY, MODEL, SSE_BODY
from scalesim.workloads.bench_proxy.mock import MockEngine
from tests.workloads.bench_proxy.test_generator import HOST, serving

pytestmark = pytest.mark.anyio


async def test_our_adapter_takes_it_for_an_engine_with_our_plugin() -> None:
    async with serving(MockEngine) as port, httpx.AsyncClient() as client:
        adapter = SGLangAdapter(ControlCalls(EngineId("bench"), f"http://{HOST}:{port}", client))
        known = await adapter.probe()
        assert known.extended
        assert {"order", "pin"} <= known.features
        owner = Owner("town/anna")
        for number, action in enumerate(
            (
                Order(EngineId("bench"), distances=((owner, 1.0),)),
                Pin(EngineId("bench"), (owner,)),
                Renew(EngineId("bench")),
            )
        ):
            await adapter.carry_out(action, Fence(1, number))
        report = await adapter.report()
        assert report.plan_in_force
        assert report.capacity_tokens == known.capacity_tokens


async def test_it_says_its_model_and_knows_what_it_does_not_have() -> None:
    async with serving(MockEngine) as port, httpx.AsyncClient(base_url=f"http://{HOST}:{port}") as client:
        assert (await client.get("/v1/models")).json()["data"][0]["id"] == MODEL
        assert (await client.get("/health?x=1")).status_code == 200
        assert (await client.get("/nowhere")).status_code == 404


@pytest.mark.parametrize("streams", [False, True])
async def test_it_answers_bodies_however_they_are_written(streams: bool) -> None:
    body = {"model": MODEL, "messages": [], "stream": streams}
    expected = SSE_BODY if streams else JSON_BODY
    async with serving(MockEngine) as port, httpx.AsyncClient(base_url=f"http://{HOST}:{port}") as client:
        for separators in ((",", ":"), (", ", ": ")):
            content = json.dumps(body, separators=separators).encode()
            assert (await client.post("/v1/chat/completions", content=content)).content == expected
        reader, writer = await asyncio.open_connection(HOST, port)
        head = (
            b"POST /v1/chat/completions HTTP/1.1\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
        )
        writer.write(head + chunk(content) + b"0\r\n\r\n")
        answer = Messages().feed(await reader.read())  # to the end: it closes the connection
        assert answer is not None
        assert answer.body == expected
        writer.close()


async def test_what_is_no_http_ends_the_connection() -> None:
    async with serving(MockEngine) as port:
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(b"POST / HTTP/1.1\r\ncontent-length: x\r\n\r\n")
        assert await reader.read() == b""
        writer.close()


async def test_a_client_that_reads_late_gets_the_whole_stream_too() -> None:
    """What does not fit into the socket's buffers at once is written later."""
    buffers_full = asyncio.Event()

    class Seen(MockEngine):
        def pause_writing(self) -> None:
            buffers_full.set()

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
            self._transport.set_write_buffer_limits(high=0)

    content = b'{"stream":true}'
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        async with serving(Seen) as port:
            client.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(client, (HOST, port))
            head = b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % len(content)
            await loop.sock_sendall(client, head + content)
            await buffers_full.wait()
            messages, answer = Messages(), None
            while answer is None:
                answer = messages.feed(await loop.sock_recv(client, 1 << 16))
    assert answer.body == SSE_BODY
