"""The way to the engine by itself; what it does to bytes and headers is seen through the relay."""

from __future__ import annotations

import asyncio

import pytest

from scalesim.proxy.data_plane.upstream import Upstream
from scalesim.proxy.errors import UpstreamBroke
from tests.support.patience import PATIENCE_S, soon

from .rig import SOON_S, raw_engine

pytestmark = pytest.mark.anyio


async def test_it_must_be_opened_first() -> None:
    upstream = Upstream(connect_timeout_s=PATIENCE_S, max_connections=1)
    with pytest.raises(RuntimeError, match="async with"):
        await upstream.send("GET", "http://127.0.0.1:1", "/", [], b"")


async def test_the_environments_proxies_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 Fine\r\nContent-Length: 0\r\n\r\n")

    async with raw_engine(talk) as url, Upstream(connect_timeout_s=PATIENCE_S, max_connections=1) as upstream:
        answer = await upstream.send("GET", url, "/", [], b"")
        assert answer.status == 200
        assert [chunk async for chunk in answer] == []
        await answer.aclose()


async def test_closing_an_answer_that_was_not_read_closes_its_connection_at_once() -> None:
    closed = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
        await reader.read()
        closed.set()

    async with raw_engine(talk) as url, Upstream(connect_timeout_s=PATIENCE_S, max_connections=1) as upstream:
        answer = await upstream.send("GET", url, "/", [], b"")
        await soon(answer.aclose(), SOON_S)
        await soon(closed.wait(), SOON_S)


async def test_an_answer_that_breaks_off_gives_what_came_and_then_says_so() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfirst")

    async with raw_engine(talk) as url, Upstream(connect_timeout_s=PATIENCE_S, max_connections=1) as upstream:
        answer = await upstream.send("GET", url, "/", [], b"")
        seen = b""
        while len(seen) < 5:
            seen += await anext(answer)
        assert seen == b"first"
        with pytest.raises(UpstreamBroke):
            await anext(answer)
        await answer.aclose()


async def test_headers_of_many_kilobytes_are_taken() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 30_000 + b"\r\nContent-Length: 0\r\n\r\n")

    async with raw_engine(talk) as url, Upstream(connect_timeout_s=PATIENCE_S, max_connections=1) as upstream:
        answer = await upstream.send("GET", url, "/", [], b"")
        assert len(dict(answer.headers)[b"X-Long"]) == 30_000
        await answer.aclose()


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (b"HTTP/1.1 999 Odd\r\n", "the status 999"),
        (b"HTTP/1.1 600 Odd\r\n", "the status 600"),
        (b"HTTP/1.1 200 OK\r\nX-Odd: a\x01b\r\n", "control characters in the header 'X-Odd'"),
        (b"HTTP/1.1 200 OK\r\nX-Odd: a\x7fb\r\n", "control characters in the header 'X-Odd'"),
    ],
)
async def test_an_answer_that_no_server_would_pass_on_is_broken(head: bytes, reason: str) -> None:
    closed = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(head + b"Content-Length: 9\r\n\r\n")
        await reader.read()
        closed.set()

    async with raw_engine(talk) as url, Upstream(connect_timeout_s=PATIENCE_S, max_connections=1) as upstream:
        with pytest.raises(UpstreamBroke, match=reason):
            await upstream.send("GET", url, "/", [], b"")
        await soon(closed.wait(), SOON_S)
