"""Mock and load generator against each other, over real sockets."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import cast

import pytest

from scalesim.workloads.bench_proxy.figures import Sample
from scalesim.workloads.bench_proxy.generator import Order, measure
from scalesim.workloads.bench_proxy.http1 import Messages
from scalesim.workloads.bench_proxy.loads import JSON_ANSWER, Load
from scalesim.workloads.bench_proxy.mock import MockEngine
from scalesim.workloads.servers import free_port

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc"),
]

HOST = "127.0.0.1"
JSON = Load("JSON", 4096, False, 4)
SSE = Load("SSE", 4096, True, 4)
LONG = Load("long", 65536, False, 2)


class Answers(asyncio.Protocol):
    """An engine that gives one answer to everything, in these pieces; an empty one closes the connection."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = pieces
        self._messages = Messages()
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._messages.feed(data) is None:
            return
        for piece in self._pieces:
            if piece:
                self._transport.write(piece)
            else:
                self._transport.close()


@asynccontextmanager
async def serving(protocol: Callable[[], asyncio.Protocol]) -> AsyncIterator[int]:
    server = await asyncio.get_running_loop().create_server(protocol, HOST, 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def measured(
    port: int,
    load: Load,
    *,
    to_the_byte: bool = True,
    seconds: float = 0.05,
    grace_s: float = 5.0,
    store_pid: int | None = None,
) -> Sample:
    return await measure(
        Order(
            host=HOST,
            port=port,
            load=load,
            seed=1,
            named=False,
            to_the_byte=to_the_byte,
            warm_up_s=0.0,
            seconds=seconds,
            grace_s=grace_s,
            proxy_pid=os.getpid(),
            mock_pid=os.getpid(),
            store_pid=store_pid,
        )
    )


def test_an_order_arrives_as_it_was_sent() -> None:
    order = Order(
        host=HOST,
        port=1,
        load=SSE,
        seed=1,
        named=True,
        to_the_byte=False,
        warm_up_s=0.5,
        seconds=3.0,
        grace_s=30.0,
        proxy_pid=None,
        mock_pid=7,
    )
    assert Order.from_json(order.to_json()) == order


@pytest.mark.parametrize("load", [JSON, SSE, LONG], ids=lambda load: load.name)
@pytest.mark.parametrize("to_the_byte", [True, False])
async def test_every_answer_of_the_mock_is_right(load: Load, to_the_byte: bool) -> None:
    async with serving(MockEngine) as port:
        sample = await measured(port, load, to_the_byte=to_the_byte)
    assert sample.errors == {}
    assert sample.rps > 0.0
    assert 0.0 < sample.p50_ms <= sample.p99_ms
    assert sample.rss_mb > 0.0


async def test_what_the_store_of_several_proxies_uses_is_told_as_well() -> None:
    async with serving(MockEngine) as port:
        assert (await measured(port, JSON, seconds=0.01)).store_busy == 0.0
        assert (await measured(port, JSON, seconds=0.1, store_pid=os.getpid())).store_busy > 0.0


@pytest.mark.parametrize(
    ("pieces", "error"),
    [
        ((b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n",), "status 503"),
        ((b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nwrong",), "5 bytes for 1024"),
        ((JSON_ANSWER[:-2] + b"!}",), "other bytes"),
        ((JSON_ANSWER + b"more",), "4 bytes behind the end of a message"),
        ((JSON_ANSWER[:200], b""), "the connection was closed before the answer's end"),
        ((b"nonsense\r\n\r\n" + JSON_ANSWER,), f"{len(JSON_ANSWER)} bytes behind the end of a message"),
    ],
)
async def test_a_wrong_answer_is_an_error_and_no_call(pieces: tuple[bytes, ...], error: str) -> None:
    async with serving(lambda: Answers(*pieces)) as port:
        sample = await measured(port, JSON)
    assert list(sample.errors) == [error]
    assert sample.rps == 0.0


async def test_an_answer_that_never_comes_is_an_error() -> None:
    async with serving(lambda: Answers(JSON_ANSWER[:200])) as port:
        sample = await measured(port, JSON, grace_s=0.05)
    assert sample.errors == {"no answer within 0.05 s": JSON.connections}


async def test_nobody_there_is_an_error() -> None:
    sample = await measured(free_port(), JSON)
    assert list(sample.errors) == ["no connection: Connection refused"]


async def test_a_connection_that_is_closed_after_its_answer_is_opened_again() -> None:
    answer = JSON_ANSWER.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1)
    connections = 0

    def counted() -> Answers:
        nonlocal connections
        connections += 1
        return Answers(answer, b"")

    async with serving(counted) as port:
        sample = await measured(port, JSON)
    assert sample.errors == {}
    assert connections > JSON.connections


async def test_the_window_waits_for_the_slow_until_each_connection_had_an_answer() -> None:
    class Slow(Answers):
        """The first answer takes longer than the window."""

        def data_received(self, data: bytes) -> None:
            asyncio.get_running_loop().call_later(0.1, super().data_received, data)

    async with serving(lambda: Slow(JSON_ANSWER)) as port:
        sample = await measured(port, JSON, seconds=0.01)
    assert sample.errors == {}
    assert sample.rps > 0.0
    assert sample.p50_ms >= 100.0
