"""Where a request begins and ends, through real sockets: what somebody in front of us may read otherwise is not served."""

from __future__ import annotations

import asyncio
import re

import pytest

from scalesim.proxy.data_plane.http_protocol import MAX_HEADERS

from .rig import Recorder, raw_client, rig

pytestmark = pytest.mark.anyio

POST = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
ANSWER = re.compile(rb"HTTP/1\.1 \d\d\d")
CHUNKED = b"Transfer-Encoding: chunked\r\n"


async def all_of(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(2):
        return await reader.read()


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(POST + b"Content-Length: 5\r\n" + CHUNKED + b"\r\n0\r\n\r\n", id="length and chunks"),
        pytest.param(POST + CHUNKED + b"Content-Length: 5\r\n\r\n0\r\n\r\n", id="chunks and length"),
        pytest.param(POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{} ", id="two lengths"),
        pytest.param(POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", id="a length twice"),
        pytest.param(POST + b"Content-Length: 2, 2\r\n\r\n{}", id="a list of lengths"),
        pytest.param(POST + b"Content-Length: +2\r\n\r\n{}", id="a signed length"),
        pytest.param(POST + b"Content-Length: -2\r\n\r\n{}", id="a negative length"),
        pytest.param(POST + b"Content-Length: 0x2\r\n\r\n{}", id="a hexadecimal length"),
        pytest.param(POST + b"Content-Length : 2\r\n\r\n{}", id="space before the colon"),
        pytest.param(POST + b"X-A: b\r\n Content-Length: 2\r\n\r\n{}", id="a folded header"),
        pytest.param(POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", id="a folded coding"),
        pytest.param(POST.replace(b"\r\n", b"\n") + b"Content-Length: 2\n\n{}", id="bare line feeds"),
        pytest.param(POST + b"X-A: b\nContent-Length: 2\r\n\r\n{}", id="one bare line feed"),
        pytest.param(POST + b"X-A: b\rContent-Length: 2\r\n\r\n{}", id="a bare carriage return"),
        pytest.param(POST + b"X-A: b\0c\r\nContent-Length: 2\r\n\r\n{}", id="a zero byte"),
        pytest.param(POST + b"Transfer-Encoding: identity\r\n\r\n", id="identity"),
        pytest.param(POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", id="an unknown coding"),
        pytest.param(POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", id="chunks within"),
        pytest.param(POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", id="two codings"),
        pytest.param(POST + CHUNKED + CHUNKED + b"\r\n0\r\n\r\n", id="chunked twice"),
        pytest.param(POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", id="a vertical tab"),
        pytest.param(POST.replace(b"1.1", b"1.0") + CHUNKED + b"\r\n0\r\n\r\n", id="chunks in HTTP/1.0"),
        pytest.param(POST + CHUNKED + b"\r\n2\n{}\n0\n\n", id="line feeds around chunks"),
        pytest.param(POST + CHUNKED + b"\r\n0x2\r\n{}\r\n0\r\n\r\n", id="a hexadecimal chunk"),
        pytest.param(POST + CHUNKED + b"\r\n2 x\r\n{}\r\n0\r\n\r\n", id="something behind a chunk's size"),
        pytest.param(POST + CHUNKED + b"\r\n2\r\n{}{}\r\n0\r\n\r\n", id="a chunk too long"),
        pytest.param(POST + CHUNKED + b"\r\n" + b"f" * 17 + b"\r\n{}", id="a chunk without an end"),
        pytest.param(POST + b"Host: y\r\nContent-Length: 2\r\n\r\n{}", id="two hosts"),
        pytest.param(POST.replace(b"Host: x\r\n", b"") + b"\r\n", id="no host"),
        pytest.param(b"GET /v1/models\r\n\r\n", id="HTTP/0.9"),
        pytest.param(b"GET /v1/models HTTP/2.0\r\nHost: x\r\n\r\n", id="HTTP/2 in words of HTTP/1"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", id="HTTP/2"),
        pytest.param(b"CONNECT evil:80 HTTP/1.1\r\nHost: x\r\n\r\n", id="a tunnel"),
        pytest.param(
            POST + b"Connection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\n{}",
            id="a body to upgrade",
        ),
    ],
)
async def test_what_can_be_read_in_two_ways_is_refused_and_so_is_what_follows(request_: bytes) -> None:
    engine = Recorder()
    async with rig(engine) as r, raw_client(r.port, request_ + SMUGGLED) as (reader, _):
        told = await all_of(reader)
        assert told == b"" or told.startswith((b"HTTP/1.1 4", b"HTTP/1.1 501", b"HTTP/1.1 505"))
        assert len(ANSWER.findall(told)) <= 1
    assert engine.scopes == []


async def test_an_upgrade_is_not_made_and_its_connection_carries_nothing_else() -> None:
    engine = Recorder()
    request = b"GET /v1/models HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n"
    async with rig(engine) as r, raw_client(r.port, request + SMUGGLED) as (reader, writer):
        writer.write(SMUGGLED)
        told = await all_of(reader)
        assert told.startswith(b"HTTP/1.1 200")
        assert len(ANSWER.findall(told)) == 1
    assert [scope["path"] for scope in engine.scopes] == ["/v1/models"]
    assert b"upgrade" not in engine.header_names()


async def test_too_many_headers_get_a_431() -> None:
    request = b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * MAX_HEADERS + b"\r\n"
    async with rig(Recorder()) as r, raw_client(r.port, request) as (reader, _):
        assert (await all_of(reader)).startswith(b"HTTP/1.1 431")


@pytest.mark.parametrize("in_pieces", [False, True])
async def test_what_comes_behind_a_body_is_no_header(in_pieces: bool) -> None:
    """Keys and names were looked at by then."""
    engine = Recorder()
    request = POST + CHUNKED + b"Connection: close\r\n\r\n2\r\n{}\r\n0\r\n"
    trailers = b"X-Agent-ID: eve\r\nAuthorization: Bearer x\r\nContent-Length: 9\r\n\r\n"
    async with rig(engine) as r:
        async with raw_client(r.port, request + (b"" if in_pieces else trailers)) as (reader, writer):
            if in_pieces:
                while not r.relay.sizes()["requests_in_flight"]:  # noqa: ASYNC110 - as soon as the head was read
                    await asyncio.sleep(0)
                writer.write(trailers)
            await all_of(reader)
        # Some trailers make the parser stop: then nothing went on.
        assert [event.agent for event in r.log.started] in ([], [None])
    assert all({b"authorization", b"x-agent-id"}.isdisjoint(dict(one["headers"])) for one in engine.scopes)


async def test_the_engine_is_told_the_length_that_we_counted() -> None:
    engine = Recorder()
    request = POST + CHUNKED + b"Connection: close\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\nX-Trailer: 1\r\n\r\n"
    async with rig(engine) as r, raw_client(r.port, request) as (reader, _):
        assert (await all_of(reader)).startswith(b"HTTP/1.1 200")
    assert (engine.header(b"content-length"), engine.header(b"transfer-encoding")) == ([b"2"], [])
    assert b"x-trailer" not in engine.header_names()
    assert engine.bodies == [b"{}"]


# --- no field of a request chooses where it goes -------------------------------------------------------------------


@pytest.mark.parametrize(
    "target",
    [
        "http://{evil}/v1/models",
        "//{evil}/v1/models",
        "/@{evil}/",
        "/http://{evil}/",
        "/sim/town//{evil}/",
        "/sim/town/agent/ann/@{evil}/",
        "/%2f%2f{evil}/",
        "/\\{evil}/",
        "/..//{evil}",
        "/?url=http://{evil}/",
        "*",
    ],
)
async def test_no_address_leads_anywhere_but_to_the_engine(target: str) -> None:
    engine, evil = Recorder(), Recorder()
    async with rig(evil) as other, rig(engine) as r:
        address = other.adapter.base_url.removeprefix("http://")
        asked = target.format(evil=address)
        request = f"GET {asked} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n".encode()
        async with raw_client(r.port, request) as (reader, _):
            status = (await all_of(reader)).partition(b"\r\n")[0]
        assert evil.scopes == []
        assert status.startswith((b"HTTP/1.1 200", b"HTTP/1.1 4"))
        assert len(engine.scopes) == status.startswith(b"HTTP/1.1 200")
        assert all(scope["headers"] for scope in engine.scopes)
        assert address.encode() not in engine.header(b"host", -1) if engine.scopes else True


async def test_no_header_and_no_field_leads_anywhere_but_to_the_engine() -> None:
    engine, evil = Recorder(), Recorder()
    async with rig(evil) as other, rig(engine) as r:
        address = other.adapter.base_url
        names = (
            *("Host", "X-Forwarded-Host", "X-Forwarded-For", "Forwarded", "X-Original-URL", "X-Rewrite-URL"),
            *("X-Upstream", "X-Engine", "X-Target-URL", "X-Base-URL", "Referer", "Location", "Destination"),
        )
        headers = "".join(f"{name}: {address}\r\n" for name in names)
        fields = ("engine", "url", "base_url", "api_base", "upstream", "host", "proxy", "model", "endpoint")
        body = "{" + ",".join(f'"{name}": "{address}"' for name in fields) + "}"
        request = (
            f"POST /v1/chat/completions HTTP/1.1\r\n{headers}Content-Type: application/json\r\n"
            f"Connection: close\r\nContent-Length: {len(body)}\r\n\r\n{body}"
        )
        async with raw_client(r.port, request.encode()) as (reader, _):
            assert (await all_of(reader)).startswith(b"HTTP/1.1 200")
        await r.log.until_ended()
    assert (len(engine.scopes), evil.scopes) == (1, [])


async def test_an_engine_that_sends_elsewhere_is_not_followed() -> None:
    evil = Recorder()
    async with rig(evil) as other:
        location = f"{other.adapter.base_url}/v1/models".encode()
        async with rig(Recorder(status=307, headers=((b"location", location),))) as r:
            request = b"GET /v1/models HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            async with raw_client(r.port, request) as (reader, _):
                assert (await all_of(reader)).startswith(b"HTTP/1.1 307")
    assert evil.scopes == []
