"""The limit on a request's head, through real sockets; the rig's servers run this protocol."""

from __future__ import annotations

import asyncio
import json

import pytest

from scalesim.proxy.core.model import Outcome
from scalesim.proxy.data_plane.http_protocol import MAX_HEAD_BYTES
from tests.support.patience import PATIENCE_S

from .rig import Recorder, Stuck, raw_client, raw_post, rig

pytestmark = pytest.mark.anyio

CHAT = "/v1/chat/completions"
GET = b"GET /v1/models HTTP/1.1\r\nHost: x\r\n"
CLOSE = b"Connection: close\r\n\r\n"
TOO_MUCH = b"x" * (MAX_HEAD_BYTES + 1)


async def answer(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """The head and the body of all there is until the connection closes."""
    async with asyncio.timeout(PATIENCE_S):
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    return head, body


def check_refusal(head: bytes, body: bytes) -> None:
    assert head.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")
    error = json.loads(body)["error"]
    assert (error["type"], error["code"]) == ("request_too_large", 431)
    assert str(MAX_HEAD_BYTES) in error["message"]


@pytest.mark.parametrize(
    "endless", [GET + b"X-Endless: ", b"GET /", GET + b"X"], ids=["value", "url", "name"]
)
async def test_what_never_ends_gets_a_431_and_the_connection_closes(endless: bytes) -> None:
    async with rig(Recorder()) as r, raw_client(r.port, endless) as (reader, writer):
        writer.write(b"x" * (MAX_HEAD_BYTES - len(endless)))
        await writer.drain()
        writer.write(b"x")
        check_refusal(*await answer(reader))


async def test_many_headers_without_an_end_get_a_431() -> None:
    async with rig(Recorder()) as r, raw_client(r.port, GET) as (reader, writer):
        writer.write(b"X-Many: 1\r\n" * (MAX_HEAD_BYTES // 11))
        check_refusal(*await answer(reader))


@pytest.mark.parametrize("rest", [b"", b"more"])
async def test_a_whole_head_that_is_too_large_gets_a_431(rest: bytes) -> None:
    engine = Recorder()
    request = GET + b"X-Long: " + TOO_MUCH + b"\r\nContent-Length: %d\r\n\r\n" % len(rest) + rest
    async with rig(engine) as r, raw_client(r.port, request) as (reader, _):
        check_refusal(*await answer(reader))
    assert engine.scopes == []


@pytest.mark.parametrize("endless", [b"0\r\nX-Endless: ", b"2;"], ids=["trailer", "chunk extension"])
async def test_what_never_ends_behind_a_body_gets_a_431_and_nothing_goes_on(endless: bytes) -> None:
    """By then the request is with the app, which reads on."""
    engine = Recorder()
    request = b"POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n" + endless
    async with rig(engine) as r, raw_client(r.port, request) as (reader, writer):
        while not r.relay.sizes()["requests_in_flight"]:  # noqa: ASYNC110 - as soon as the head was read
            await asyncio.sleep(0)
        writer.write(TOO_MUCH)
        check_refusal(*await answer(reader))
    assert engine.scopes == []


async def test_a_head_just_below_the_limit_is_served() -> None:
    engine = Recorder()
    long = b"x" * (MAX_HEAD_BYTES - 1000)
    async with (
        rig(engine) as r,
        raw_client(r.port, GET + b"Cookie: " + long + b"\r\n" + CLOSE) as (reader, _),
    ):
        assert (await answer(reader))[0].startswith(b"HTTP/1.1 200")
    assert engine.header(b"cookie") == [long]


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_large_body_is_not_counted(chunked: bool) -> None:
    content = bytes(range(256)) * 2000
    if chunked:
        head = b"Transfer-Encoding: chunked\r\n"
        body = b"".join(
            b"%x\r\n" % 1000 + content[at : at + 1000] + b"\r\n" for at in range(0, len(content), 1000)
        )
        body += b"0\r\n\r\n"
    else:
        head, body = b"Content-Length: %d\r\n" % len(content), content
    engine = Recorder()
    request = b"POST /x HTTP/1.1\r\nHost: x\r\n" + head + CLOSE + body
    async with rig(engine) as r, raw_client(r.port, request) as (reader, _):
        assert (await answer(reader))[0].startswith(b"HTTP/1.1 200")
    assert engine.bodies == [content]


async def test_a_connection_may_carry_more_than_the_limit_in_all() -> None:
    engine = Recorder()
    request = GET + b"X-Long: " + b"x" * (MAX_HEAD_BYTES // 2) + b"\r\n\r\n"
    async with rig(engine) as r, raw_client(r.port, b"") as (reader, writer):
        for _ in range(5):
            writer.write(request)
            head = await asyncio.wait_for(reader.readuntil(b"0\r\n\r\n"), PATIENCE_S)
            assert head.startswith(b"HTTP/1.1 200")
    assert len(engine.scopes) == 5


async def test_a_request_that_comes_before_the_answer_to_the_last_is_not_served() -> None:
    engine = Recorder()
    request = raw_post(CHAT, b'{"a": "' + b"x" * 50_000 + b'"}', "X-Long: " + "x" * 20_000)
    async with rig(engine) as r, raw_client(r.port, request * 7 + GET + CLOSE) as (reader, _):
        head, rest = await answer(reader)
        assert (head + rest).count(b"HTTP/1.1 200") == 1
        assert b"connection: close" in head.lower()
        await r.log.until_ended()
    assert len(engine.scopes) == 1


async def test_a_client_that_leaves_with_another_request_behind_its_call_ends_it() -> None:
    engine = Stuck(first=b"data: 1\n\n")
    async with rig(engine) as r, raw_client(r.port, raw_post(CHAT, b"{}")) as (reader, writer):
        await reader.readuntil(b"data: 1\n\n")
        writer.write(GET)
        writer.write(b"X-Endless: " + TOO_MUCH)
        await writer.drain()
        writer.close()
        assert (await r.log.until_ended()).outcome is Outcome.CLIENT_GONE


async def test_what_is_no_http_still_gets_its_400() -> None:
    async with rig(Recorder()) as r, raw_client(r.port, b"no http at all\r\n\r\n") as (reader, _):
        assert (await answer(reader))[0].startswith(b"HTTP/1.1 400")
