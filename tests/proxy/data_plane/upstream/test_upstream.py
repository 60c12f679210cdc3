"""The way to the engine by itself; what it does to bytes and headers is seen through the relay."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Mapping
from pathlib import Path

import pytest

from scalesim.proxy.data_plane.upstream import Answer, Upstream
from scalesim.proxy.errors import (
    UpstreamBroke,
    UpstreamOverran,
    UpstreamSilent,
    UpstreamStalled,
    UpstreamUnreachable,
)

from ..rig import SOON_S, raw_engine
from .engines import OK, Talk, always, engine, request

pytestmark = pytest.mark.anyio


async def test_it_must_be_opened_first() -> None:
    upstream = Upstream(connect_timeout_s=1, max_connections=1)
    with pytest.raises(RuntimeError, match="async with"):
        await upstream.send("GET", "http://127.0.0.1:1", "/", [], b"")


async def test_the_environments_proxies_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 Fine\r\nContent-Length: 0\r\n\r\n")

    async with raw_engine(talk) as url, Upstream(connect_timeout_s=1, max_connections=1) as upstream:
        answer = await upstream.send("GET", url, "/", [], b"")
        assert answer.status == 200
        assert [chunk async for chunk in answer] == []
        answer.close()


async def test_closing_an_answer_that_was_not_read_closes_its_connection_at_once() -> None:
    closed = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
        await reader.read()
        closed.set()

    async with raw_engine(talk) as url, Upstream(connect_timeout_s=1, max_connections=1) as upstream:
        answer = await upstream.send("GET", url, "/", [], b"")
        answer.close()
        await asyncio.wait_for(closed.wait(), SOON_S)


async def test_an_answer_that_breaks_off_gives_what_came_and_then_says_so() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfirst")

    async with raw_engine(talk) as url, Upstream(connect_timeout_s=1, max_connections=1) as upstream:
        answer = await upstream.send("GET", url, "/", [], b"")
        seen = b""
        while len(seen) < 5:
            seen += await anext(answer)
        assert seen == b"first"
        with pytest.raises(UpstreamBroke):
            await anext(answer)
        answer.close()


async def test_headers_of_many_kilobytes_are_taken() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 30_000 + b"\r\nContent-Length: 0\r\n\r\n")

    async with raw_engine(talk) as url, Upstream(connect_timeout_s=1, max_connections=1) as upstream:
        answer = await upstream.send("GET", url, "/", [], b"")
        assert len(dict(answer.headers)[b"X-Long"]) == 30_000
        answer.close()


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

    async with raw_engine(talk) as url, Upstream(connect_timeout_s=1, max_connections=1) as upstream:
        with pytest.raises(UpstreamBroke, match=reason):
            await upstream.send("GET", url, "/", [], b"")
        await asyncio.wait_for(closed.wait(), SOON_S)


async def read(answer: Answer) -> bytes:
    try:
        return b"".join([chunk async for chunk in answer])
    finally:
        answer.close()


class Dying:
    """An engine that cuts each connection at its second request (or as many), before or after it has read it."""

    def __init__(self, *, at: int = 2, words: bytes = b"") -> None:
        self.at = at
        self.words = words
        self.requests: list[bytes] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for count in range(1, self.at + 1):
            self.requests.append(await request(reader))
            writer.write(self.words if count == self.at else OK)


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
async def test_a_request_that_does_no_harm_is_sent_again_where_a_used_connection_dies(method: str) -> None:
    dying = Dying()
    ok = b"" if method == "HEAD" else b"ok"
    async with engine(dying) as url, Upstream(connect_timeout_s=1, max_connections=1) as upstream:
        assert await read(await upstream.send("GET", url, "/1", [], b"")) == b"ok"
        answer = await upstream.send(method, url, "/2", [], b"")
        if method != "HEAD":
            assert await read(answer) == ok
        answer.close()
    assert [said.split(b" ")[1] for said in dying.requests] == [b"/1", b"/2", b"/2"]


async def test_a_post_is_never_sent_again() -> None:
    """The engine may have begun to work on it, however its connection ended."""
    dying = Dying()
    async with engine(dying) as url, Upstream(connect_timeout_s=1, max_connections=1) as upstream:
        assert await read(await upstream.send("POST", url, "/1", [], b"")) == b"ok"
        with pytest.raises(UpstreamBroke, match="before it answered"):
            await upstream.send("POST", url, "/2", [], b"")
    assert len(dying.requests) == 2


async def test_a_request_on_a_new_connection_is_not_sent_again() -> None:
    dying = Dying(at=1)
    async with engine(dying) as url, Upstream(connect_timeout_s=1, max_connections=1) as upstream:
        with pytest.raises(UpstreamBroke):
            await upstream.send("GET", url, "/", [], b"")
    assert len(dying.requests) == 1


async def test_a_request_of_which_an_answer_began_is_not_sent_again() -> None:
    dying = Dying(words=b"H")
    async with engine(dying) as url, Upstream(connect_timeout_s=1, max_connections=1) as upstream:
        await read(await upstream.send("GET", url, "/1", [], b""))
        with pytest.raises(UpstreamBroke, match="in the middle of its answer"):
            await upstream.send("GET", url, "/2", [], b"")
    assert len(dying.requests) == 2


@pytest.mark.parametrize("unasked", [b"", b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"])
async def test_a_connection_that_the_engine_has_closed_is_not_used_even_if_nobody_has_heard_of_it_yet(
    unasked: bytes,
) -> None:
    """The kernel knows it before the loop does: a POST must not be lost between the two."""
    idle: list[asyncio.StreamWriter] = []
    connections = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        idle.append(writer)
        while True:
            await request(reader)
            writer.write(OK)

    async with engine(talk) as url, Upstream(connect_timeout_s=1, max_connections=1) as upstream:
        for n in range(1, 4):
            assert await read(await upstream.send("POST", url, "/", [], b"")) == b"ok"
            sock = idle[-1].get_extra_info("socket")
            # Past the engine's loop, and so in the middle of a turn of ours.
            with socket.socket(fileno=os.dup(sock.fileno())) as past:
                if unasked:
                    past.send(unasked)
                else:
                    past.shutdown(socket.SHUT_RDWR)
            assert connections == n


async def test_a_phase_without_a_limit_lasts_as_long_as_it_takes() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        for piece in (b"HTTP/1.1 200 OK\r\n", b"Content-Length: 2\r\n\r\n", b"o", b"k"):
            await asyncio.sleep(0.02)
            writer.write(piece)
        await reader.read()

    async with engine(talk) as url, Upstream(connect_timeout_s=1, max_connections=1) as upstream:
        assert await read(await upstream.send("GET", url, "/", [], b"")) == b"ok"


def drip(start: bytes, piece: bytes) -> Talk:
    """Says `start` at once, and goes on with `piece` every few milliseconds for ever."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(start)
        while not writer.transport.is_closing():
            writer.write(piece)
            await asyncio.sleep(0.005)

    return talk


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 200 OK\r\nX-Slow: x"])
@pytest.mark.parametrize("dripping", [b"", b"x"])
async def test_an_answer_that_does_not_begin_in_time_is_an_error_of_its_own(
    said: bytes, dripping: bytes
) -> None:
    """Single bytes of a head are no beginning."""
    talk = drip(said, dripping if said.endswith(b"x") else b"")
    async with engine(talk) as url:
        upstream = Upstream(connect_timeout_s=1, max_connections=1, first_byte_timeout_s=0.05)
        async with upstream:
            with pytest.raises(UpstreamSilent, match=r"no answer began within 0\.05 s"):
                await asyncio.wait_for(upstream.send("GET", url, "/", [], b""), 2)
            await until_closed(upstream)


@pytest.mark.parametrize("dripping", [b"", b"x"])
async def test_an_answer_that_stops_in_the_middle_is_an_error_of_its_own(dripping: bytes) -> None:
    """What is no byte of its body does not keep it going: here an extension of a chunk that never ends."""
    chunk = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n5;x="
    async with engine(drip(chunk, dripping)) as url:
        upstream = Upstream(connect_timeout_s=1, max_connections=1, between_chunks_timeout_s=0.05)
        async with upstream:
            answer = await upstream.send("GET", url, "/", [], b"")
            assert await anext(answer) == b"ok"
            with pytest.raises(UpstreamStalled, match=r"nothing more of the answer came for 0\.05 s"):
                await asyncio.wait_for(anext(answer), 2)
            await until_closed(upstream)


@pytest.mark.slow
async def test_a_slow_client_is_no_slow_engine() -> None:
    async with (
        engine(always(b"HTTP/1.1 200 OK\r\nContent-Length: 500000\r\n\r\n" + b"x" * 500_000)) as url,
        Upstream(connect_timeout_s=1, max_connections=1, between_chunks_timeout_s=0.5) as upstream,
    ):
        answer = await upstream.send("GET", url, "/", [], b"")
        size = len(await anext(answer))
        await asyncio.sleep(0.6)  # longer than the engine may be silent: it is the client that is awaited
        assert size + len(await read(answer)) == 500_000


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)
async def test_a_call_that_takes_too_long_in_all_is_an_error_of_its_own(said: bytes) -> None:
    piece = b"1\r\nx\r\n" if b"chunked" in said else b"x" if said else b""
    async with engine(drip(said, piece)) as url:
        upstream = Upstream(
            connect_timeout_s=1, max_connections=1, between_chunks_timeout_s=1, total_timeout_s=0.1
        )
        async with upstream:
            with pytest.raises(UpstreamOverran, match=r"not there whole within 0\.1 s"):
                await asyncio.wait_for(_whole(upstream, url), 2)
            await until_closed(upstream)


async def test_waiting_for_a_connection_counts_too() -> None:
    async with engine(drip(b"", b"")) as url:
        upstream = Upstream(connect_timeout_s=1, max_connections=1, total_timeout_s=0.1)
        async with upstream:
            calls = [asyncio.create_task(upstream.send("GET", url, "/", [], b"")) for _ in range(2)]
            results = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 2)
            assert [type(result) for result in results] == [UpstreamOverran, UpstreamOverran]
            assert upstream.sizes()["calls_waiting_for_a_connection"] == 0
            await until_closed(upstream)


@pytest.mark.slow
async def test_a_call_that_was_in_time_is_not_disturbed_later() -> None:
    async with (
        engine(always(OK)) as url,
        Upstream(connect_timeout_s=1, max_connections=1, total_timeout_s=0.5) as upstream,
    ):
        assert await read(await upstream.send("POST", url, "/", [], b"")) == b"ok"
        await asyncio.sleep(0.6)
        assert upstream.sizes()["connections_open"] == 1


def _tls(*, server: bool) -> ssl.SSLContext:
    own = Path(__file__).with_name("localhost.pem")
    if not server:
        return ssl.create_default_context(cafile=own)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own)
    return context


@pytest.mark.slow
async def test_an_engine_behind_tls_is_spoken_to_in_tls() -> None:
    seen: list[bytes] = []
    body = bytes(range(256)) * 8000
    async with (
        engine(always(OK, seen), tls=_tls(server=True)) as url,
        Upstream(connect_timeout_s=5, max_connections=1, tls=_tls(server=False)) as upstream,
    ):
        for _ in range(3):
            assert await read(await upstream.send("POST", url, "/x", [], body)) == b"ok"
        assert upstream.sizes()["connections_idle"] == 1
    assert all(said.endswith(body) for said in seen)


@pytest.mark.slow
async def test_an_engine_that_cannot_prove_who_it_is_is_not_spoken_to() -> None:
    seen: list[bytes] = []
    async with (
        engine(always(OK, seen), tls=_tls(server=True)) as url,
        Upstream(connect_timeout_s=5, max_connections=1) as upstream,
    ):
        with pytest.raises(UpstreamUnreachable, match="certificate"):
            await upstream.send("POST", url, "/x", [], b"secret")
    assert seen == []


@pytest.mark.slow
async def test_a_large_body_reaches_an_engine_that_reads_slowly() -> None:
    body = bytes(range(256)) * 40_000
    got = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal got
        await reader.readuntil(b"\r\n\r\n")
        while got < len(body):
            got += len(await reader.read(100_000))
            await asyncio.sleep(0)
        writer.write(OK)
        await reader.read()

    async with engine(talk) as url, Upstream(connect_timeout_s=1, max_connections=1) as upstream:
        assert await read(await upstream.send("POST", url, "/", [], body)) == b"ok"
        assert upstream.sizes()["connections_idle"] == 1
    assert got == len(body)


@pytest.mark.slow
async def test_an_answer_nobody_takes_holds_the_engine_up() -> None:
    """What piles up in between is the kernel's buffers and a few hundred kilobytes of ours."""
    sent = 0
    full = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 65_536)
            sent += 65_536
            drained = asyncio.ensure_future(writer.drain())
            done, _ = await asyncio.wait({drained}, timeout=0.2)
            if not done:
                full.set()
            await drained

    async with engine(talk) as url, Upstream(connect_timeout_s=1, max_connections=1) as upstream:
        answer = await upstream.send("GET", url, "/", [], b"")
        await asyncio.wait_for(full.wait(), 5)
        held = sent
        assert len(await anext(answer)) < 400_000
        assert held < 20_000_000
        while sent == held:
            await anext(answer)  # and it goes on
        answer.close()


@pytest.mark.parametrize("answers", [{"first_byte_timeout_s": 5.0}, {"total_timeout_s": 5.0}, {}])
async def test_cancelling_closes_the_connection_at_once(answers: Mapping[str, float]) -> None:
    closed, arrived = asyncio.Event(), asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        arrived.set()
        await reader.read()
        closed.set()

    upstream = Upstream(connect_timeout_s=1, max_connections=1, **answers)
    async with engine(talk) as url, upstream:
        sending = asyncio.create_task(upstream.send("POST", url, "/", [], b""))
        await arrived.wait()
        sending.cancel()
        await asyncio.wait_for(closed.wait(), SOON_S)
        await until_closed(upstream)


async def until_closed(upstream: Upstream) -> None:
    async with asyncio.timeout(1):
        while upstream.sizes()["connections_open"]:  # noqa: ASYNC110 - in the next turns
            await asyncio.sleep(0)


async def _whole(upstream: Upstream, url: str) -> bytes:
    return await read(await upstream.send("GET", url, "/", [], b""))
