"""Requests and answers that come through as they were sent, and the errors the relay answers itself."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import socket
from collections.abc import AsyncIterator

import httpx
import pytest

from scalesim.proxy.core.model import Clock, Mode, Outcome, Usage
from tests.support.fake_adapter import EXTENDED
from tests.support.patience import PATIENCE_S

from .rig import Echo, Recorder, Stuck, client, raw_client, raw_engine, raw_post, rig

pytestmark = pytest.mark.anyio

CHAT = "/v1/chat/completions"


async def raw_chunks(response: httpx.Response) -> bytes:
    return b"".join([chunk async for chunk in response.aiter_raw()])


@pytest.mark.parametrize(
    ("chunks", "headers"),
    [
        ((b'{"a": 1,  "b":\n2}',), ((b"content-type", b"application/json"),)),
        (
            (b"da", b'ta: {"x"', b": 1}\n", b"\n", b"data: [DO", b"NE]\n\n"),
            ((b"content-type", b"text/event-stream"),),
        ),
        (
            (gzip.compress(b"{}" * 999),),
            ((b"content-type", b"application/json"), (b"content-encoding", b"gzip")),
        ),
        ((b"not gzip at all",), ((b"content-type", b"text/plain"), (b"content-encoding", b"gzip"))),
        ((bytes(range(256)) * 600,), ((b"content-type", b"application/octet-stream"),)),
        ((b"12345",), ((b"content-type", b"text/plain"), (b"content-length", b"5"))),
    ],
    ids=["json", "sse", "gzip", "broken gzip", "binary", "with length"],
)
async def test_an_answer_keeps_its_bytes(
    chunks: tuple[bytes, ...], headers: tuple[tuple[bytes, bytes], ...]
) -> None:
    engine = Recorder(*chunks, headers=headers)
    async with rig(engine) as r, client() as c, c.stream("POST", r.url + CHAT, json={}) as response:
        assert await raw_chunks(response) == b"".join(chunks)
        for name, value in headers:
            assert response.headers[name.decode()] == value.decode()


@pytest.mark.parametrize("status", [200, 204, 307, 400, 404, 429, 500, 503])
async def test_an_answer_keeps_its_status(status: int) -> None:
    body = b"" if status == 204 else b'{"error": "so said the engine"}'
    engine = Recorder(body, status=status, headers=((b"location", b"/elsewhere"), (b"retry-after", b"3")))
    async with rig(engine) as r, client() as c:
        response = await c.post(r.url + CHAT, json={"model": "m"})
        assert response.status_code == status
        assert response.content == body
        assert response.headers["retry-after"] == "3"
        assert (await r.log.until_ended()).outcome is Outcome.DONE
    assert len(engine.scopes) == 1


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "POST"])
async def test_every_other_path_passes_with_its_method_and_query(method: str) -> None:
    engine = Recorder(b"ok")
    target = "/any/%2e%2E/p%7Eath%2Fx//y;z?q=a%20b&q=%C3%A9+1&&empty=&%7E"
    async with rig(engine) as r:
        request = f"{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
        async with raw_client(r.port, request) as (reader, _):
            assert (await reader.read()).startswith(b"HTTP/1.1 200")
        assert r.log.events == []
    scope = engine.scopes[0]
    assert scope["method"] == method
    assert scope["raw_path"] + b"?" + scope["query_string"] == target.encode()


async def test_a_body_that_is_no_json_object_goes_to_the_engine_as_it_is() -> None:
    engine = Recorder(b"so what", status=400)
    bodies = [b"{not json", b"[1, 2]", b'"text"', b"", b"\xff\xfe\x00", b'{"a": NaN}']
    async with rig(engine) as r, client() as c:
        for body in bodies:
            response = await c.post(r.url + CHAT, content=body, headers={"content-type": "application/json"})
            assert response.status_code == 400
        compressed = gzip.compress(b'{"a": 1}')
        await c.post(
            r.url + CHAT,
            content=compressed,
            headers={"content-type": "application/json", "content-encoding": "gzip"},
        )
        await c.post(r.url + CHAT, content=b'{"a": 1}', headers={"content-type": "text/plain"})
        await r.log.until_ended(len(bodies) + 2)
    assert engine.bodies == [*bodies, compressed, b'{"a": 1}']


async def test_a_base_url_with_a_path_is_kept() -> None:
    engine = Recorder()
    async with rig(engine) as r, client() as c:
        r.adapter.base_url += "/under/this/"
        await c.get(r.url + "/v1/models")
    assert engine.scopes[0]["raw_path"] == b"/under/this/v1/models"


async def test_the_engine_sees_the_clients_headers_and_no_others() -> None:
    engine = Recorder()
    async with rig(engine) as r:
        request = raw_post(
            CHAT,
            b"{}",
            "Connection: close, X-Private",
            "X-Private: 1",
            "Keep-Alive: 5",
            "TE: trailers",
            "Upgrade: h2c",
            "Proxy-Authorization: secret",
            "X-Agent-ID: Ann",
            "X-Agent-Acts-For: 1 step",
            "X-Simulation-ID: town",
            "X-Session-ID: s1",
            "Authorization: Bearer key",
            "X-Twice: 1",
            "X-Twice: 2",
            "X-Name: Jos\u00e9",
        )
        async with raw_client(r.port, request) as (reader, _):
            await reader.read()
        adapter_port = r.adapter.base_url.rpartition(":")[2].encode()
    assert sorted(engine.header_names()) == sorted(
        [
            b"host",
            b"content-type",
            b"content-length",
            b"authorization",
            b"x-session-id",
            b"x-twice",
            b"x-twice",
            b"x-name",
        ]
    )
    assert engine.header(b"host") == [b"127.0.0.1:" + adapter_port]
    assert engine.header(b"x-twice") == [b"1", b"2"]
    assert engine.header(b"x-name") == ["Jos\u00e9".encode()]
    assert engine.header(b"content-length") == [str(len(engine.bodies[0])).encode()]


async def test_a_get_gains_no_headers() -> None:
    engine = Recorder()
    async with rig(engine) as r:
        request = b"GET /v1/models HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        async with raw_client(r.port, request) as (reader, _):
            await reader.read()
    assert engine.header_names() == [b"host"]


async def test_hop_by_hop_headers_of_the_engine_stay_behind() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(
            b"HTTP/1.1 200 OK\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 9\r\nSet-Cookie: a=1\r\n"
            b"Set-Cookie: b=2\r\nX-Stays: yes\r\nContent-Length: 2\r\n\r\nok"
        )

    async with raw_engine(talk) as engine, rig(engine) as r, client() as c:
        response = await c.get(r.url + "/x")
        assert response.text == "ok"
        assert response.headers.get_list("set-cookie") == ["a=1", "b=2"]
        assert response.headers["x-stays"] == "yes"
        assert not {"x-hop", "keep-alive", "connection"} & set(response.headers)


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
async def test_the_length_of_a_body_that_is_not_sent_breaks_no_answer(status: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 " + status + b"\r\nETag: x\r\nContent-Length: 99\r\n\r\n")

    async with raw_engine(talk) as engine, rig(engine) as r, client() as c:
        response = await c.get(r.url + "/x")
        assert response.status_code == int(status[:3])
        assert response.headers["etag"] == "x"


async def test_cookies_of_one_client_are_not_sent_for_another() -> None:
    engine = Recorder(headers=((b"set-cookie", b"who=ann; Path=/"),))
    async with rig(engine) as r:
        r.adapter.base_url = r.adapter.base_url.replace(
            "127.0.0.1", "localhost"
        )  # cookie jars shun addresses
        for _ in range(2):
            async with client() as c:
                await c.get(r.url + "/x")
    assert b"cookie" not in engine.header_names()


async def test_a_known_agents_call_carries_its_owner_and_an_id() -> None:
    engine = Recorder()
    raw = b' {"model": "m",  "messages": []}\n'
    async with rig(engine) as r, client() as c:
        headers = {"content-type": "application/json", "X-Agent-ID": "Ann", "X-Simulation-ID": "town"}
        await c.post(r.url + CHAT, content=raw, headers=headers)
        await r.log.until_ended()
        started = r.log.started[0]
    assert (started.simulation, started.agent, started.engine) == ("town", "Ann", "fake")
    sent = engine.bodies[0]
    assert sent.startswith(raw.rstrip()[:-1])
    assert sent.endswith(b"}\n")
    fields = json.loads(sent)
    assert fields["owner"] == "town/Ann"
    assert len(fields["rid"]) == 32


async def test_the_url_prefix_names_the_agent_and_is_not_passed_on() -> None:
    engine = Recorder()
    async with rig(engine) as r, client() as c:
        await c.post(r.url + "/sim/town/agent/Ann%20Lee%2F2/v1/completions?x=1", json={})
        await r.log.until_ended()
        assert (r.log.started[0].simulation, r.log.started[0].agent) == ("town", "Ann Lee/2")
    assert engine.scopes[0]["raw_path"] == b"/v1/completions"
    assert engine.scopes[0]["query_string"] == b"x=1"


@pytest.mark.parametrize(("mode", "fields"), [(Mode.OFF, {"rid"}), (Mode.SHADOW, {"rid", "owner"})])
async def test_an_owner_is_sent_unless_the_mode_is_off(mode: Mode, fields: set[str]) -> None:
    engine = Recorder()
    async with rig(engine, mode=mode) as r, client() as c:
        await c.post(r.url + CHAT, json={}, headers={"X-Agent-ID": "Ann"})
        await r.log.until_ended()
        assert r.log.started[0].agent == "Ann"
    assert json.loads(engine.bodies[0]).keys() == fields


async def test_an_engine_without_features_gets_the_bytes_as_they_came() -> None:
    engine = Recorder()
    async with rig(engine) as r, client() as c:
        r.adapter.capabilities = type(EXTENDED)(kind="fake", version="1", extended=False)
        raw = b'{"model" : "m", "rid": ["one", "each"]}'
        headers = {"content-type": "application/json", "X-Agent-ID": "Ann"}
        await c.post(r.url + CHAT, content=raw, headers=headers)
        await r.log.until_ended()
    assert engine.bodies == [raw]


@pytest.mark.parametrize("rid", ["mine", ["one", "each"]])
async def test_a_request_id_of_the_client_stays(rid: object) -> None:
    engine = Recorder()
    raw = json.dumps({"rid": rid}).encode()
    async with rig(engine) as r, client() as c:
        await c.post(r.url + CHAT, content=raw, headers={"content-type": "application/json"})
        await r.log.until_ended()
    assert engine.bodies == [raw]


async def test_the_usage_of_an_answer_ends_the_call() -> None:
    usage = b'{"usage": {"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 4}}}'
    async with rig(Recorder(usage[:20], usage[20:])) as r, client() as c:
        await c.post(r.url + CHAT, json={}, headers={"X-Agent-Acts-For": "7 steps"})
        ended = await r.log.until_ended()
        assert ended.usage == Usage(prompt=9, cached=4, output=2)
        assert ended.acts_for == (7.0, Clock.STEPS)


async def test_the_usage_of_a_stream_ends_the_call() -> None:
    engine = Recorder(
        b'data: {"choices": [1]}\n\ndata: {"usa',
        b'ge": {"prompt_tokens": 9, "completion_tokens": 2}}\n\ndata: [DONE]\n\n',
        headers=((b"content-type", b"text/event-stream; charset=utf-8"),),
    )
    async with rig(engine) as r, client() as c:
        await c.post(r.url + CHAT, json={"stream": True})
        assert (await r.log.until_ended()).usage == Usage(prompt=9, cached=None, output=2)


async def test_a_call_has_ended_before_the_client_can_make_its_next() -> None:
    async with rig(Recorder()) as r, client() as c:
        for _ in range(5):
            await c.post(r.url + CHAT, json={})
        await r.log.until_ended(5)
        kinds = [type(event).__name__ for event in r.log.events]
    assert kinds == ["CallStarted", "CallEnded"] * 5


async def test_an_unreachable_engine_is_a_502_that_names_it(caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{free.getsockname()[1]}"
    with caplog.at_level(logging.WARNING):
        async with rig(dead) as r, client() as c:
            response = await c.post(r.url + CHAT, json={})
            assert (await r.log.until_ended()).outcome is Outcome.ENGINE_FAILED
    assert response.status_code == 502
    error = response.json()["error"]
    assert error["message"].startswith(f"engine 'fake' at {dead} is unreachable: ")
    assert (error["type"], error["code"]) == ("engine_unreachable", 502)
    assert "unreachable" in caplog.text


async def test_an_engine_that_does_not_accept_is_a_503() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        waiting = [socket.socket() for _ in range(3)]  # more than the queue holds: the next one hangs
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(address)
        try:
            async with rig(f"http://127.0.0.1:{address[1]}", connect_timeout_s=0.05) as r, client() as c:
                response = await c.post(r.url + CHAT, json={})
                assert (await r.log.until_ended()).outcome is Outcome.ENGINE_FAILED
        finally:
            for one in waiting:
                one.close()
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    assert "unreachable: no connection within 0.05 s" in response.json()["error"]["message"]
    assert response.json()["error"]["code"] == 503


@pytest.mark.parametrize("first_words", [b"", b"HTTP/1.1 200 OK\r\nConte", b"this is no HTTP\r\n\r\n"])
async def test_an_engine_that_breaks_off_before_its_answer_is_a_502(first_words: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(first_words)

    async with raw_engine(talk) as engine, rig(engine) as r, client() as c:
        response = await c.post(r.url + CHAT, json={})
        assert response.status_code == 502
        assert response.json()["error"]["type"] == "engine_broke_off"
        assert f"engine 'fake' at {engine} broke off" in response.json()["error"]["message"]
        assert (await r.log.until_ended()).outcome is Outcome.ENGINE_FAILED


@pytest.mark.parametrize("head", [b"HTTP/1.1 999 Odd\r\n", b"HTTP/1.1 200 OK\r\nX-Odd: a\x01b\r\n"])
async def test_garbage_from_the_engine_is_a_502_that_names_it(head: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(head + b"Content-Length: 2\r\n\r\nok")

    async with raw_engine(talk) as engine, rig(engine) as r, client() as c:
        response = await c.post(r.url + CHAT, json={})
        assert response.status_code == 502
        assert response.json()["error"]["type"] == "engine_broke_off"
        assert f"engine 'fake' at {engine}" in response.json()["error"]["message"]
        assert (await r.log.until_ended()).outcome is Outcome.ENGINE_FAILED


@pytest.mark.parametrize(
    "framing", [b"Transfer-Encoding: chunked\r\n\r\n5\r\nda", b"Content-Length: 99\r\n\r\nda"]
)
async def test_a_broken_stream_is_never_ended_as_if_it_were_whole(framing: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n" + framing)

    async with raw_engine(talk) as engine, rig(engine) as r, client() as c:
        async with c.stream("POST", r.url + CHAT, json={"stream": True}) as response:
            assert response.status_code == 200
            with pytest.raises(httpx.RemoteProtocolError):
                await response.aread()
        assert (await r.log.until_ended()).outcome is Outcome.ENGINE_FAILED


async def test_a_body_over_the_limit_is_a_413_and_never_sent() -> None:
    engine = Recorder()
    async with rig(engine, max_body_bytes=1000) as r, client() as c:
        declared = await c.post(r.url + CHAT, content=b"x" * 1001)

        async def endless() -> AsyncIterator[bytes]:
            for _ in range(11):
                yield b"x" * 100

        chunked = await c.post(r.url + CHAT, content=endless())
        fits = await c.post(r.url + CHAT, content=b"x" * 1000)
        await r.log.until_ended()
    assert (declared.status_code, chunked.status_code, fits.status_code) == (413, 413, 200)
    assert "the limit is 1000" in declared.json()["error"]["message"]
    assert declared.json()["error"]["type"] == "request_too_large"
    assert len(engine.bodies) == 1


@pytest.mark.parametrize(
    ("path", "header", "value", "words"),
    [
        (CHAT, "X-Agent-ID", "n" * 257, ["X-Agent-ID", "nnn"]),
        (CHAT, "X-Agent-ID", "a\tb", ["X-Agent-ID", "'a\\tb'"]),
        (CHAT, "X-Simulation-ID", "my town", ["X-Simulation-ID", "'my town'"]),
        (CHAT, "X-Agent-Acts-For", "-1 steps", ["X-Agent-Acts-For", "'-1 steps'"]),
        ("/sim/a%00b/v1/models", "X-Any", "1", ["/sim/", "'a\\x00b'"]),
        ("/sim/town/agent//v1/models", "X-Any", "1", ["/agent/"]),
    ],
)
async def test_absurd_names_and_durations_are_a_400_that_says_which(
    path: str, header: str, value: str, words: list[str]
) -> None:
    engine = Recorder()
    async with rig(engine) as r, client() as c:
        response = await c.post(r.url + path, json={}, headers={header: value})
        assert response.status_code == 400
        error = response.json()["error"]
        assert (error["type"], error["code"]) == ("invalid_request_error", 400)
        for word in words:
            assert word in error["message"]
        assert r.log.events == []
    assert engine.bodies == []


@pytest.mark.parametrize(
    "path",
    [
        "/scalesim/v1/plan",
        "/scalesim",
        "//scalesim/v1/plan",
        "/%73cale%73im%2Fv1/plan",
        "/%2Fscalesim/v1/plan",
        "/v1/../scalesim/v1/plan",
        "/./%2e/scalesim/v1/plan",
        "/scalesim/v1/plan%0A?a=b",
        "/sim/town/scalesim/v1/plan",
        "/sim/town/agent/Ann//scalesim/v1/plan",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_the_engines_control_routes_are_out_of_reach(method: str, path: str) -> None:
    engine = Recorder()
    request = f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{{}}"
    async with rig(engine) as r:
        async with raw_client(r.port, request.encode()) as (reader, _):
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 403 ")
        error = json.loads(body)["error"]
        assert (error["type"], error["code"]) == ("permission_error", 403)
        assert "the engine's control routes (/scalesim/...) are not served here" in error["message"]
        assert r.log.events == []
    assert engine.scopes == []


@pytest.mark.parametrize(
    "path", ["/scalesimulation", "/ScaleSim/v1/plan", "/v1/scalesim", "/%2573calesim/v1"]
)
async def test_what_the_engine_would_not_take_for_a_control_route_passes(path: str) -> None:
    engine = Recorder()
    async with rig(engine) as r, client() as c:
        assert (await c.get(r.url + path)).status_code == 200
    assert engine.scopes[0]["raw_path"] == path.encode()


@pytest.mark.slow
async def test_fifty_calls_at_once_each_get_their_own_answer() -> None:
    engine = Echo(together=50)
    async with rig(engine) as r, client() as c:
        async with asyncio.timeout(PATIENCE_S):
            answers = await asyncio.gather(
                *(c.post(r.url + CHAT, json={"n": i}, headers={"X-Agent-ID": f"a{i}"}) for i in range(50))
            )
        await r.log.until_ended(50)
        assert {ended.outcome for ended in r.log.ended} == {Outcome.DONE}
    assert [answer.json()["n"] for answer in answers] == list(range(50))
    assert [answer.json()["owner"] for answer in answers] == [f"default/a{i}" for i in range(50)]


async def test_connections_to_the_engine_are_used_again() -> None:
    engine = Recorder(b"some", b"thing")
    async with rig(engine) as r, client() as c:
        for _ in range(10):
            await c.post(r.url + CHAT, json={})
    assert len({scope["client"] for scope in engine.scopes}) == 1


async def test_calls_beyond_the_connections_wait_for_one() -> None:
    engine = Recorder()
    async with rig(engine, max_connections=2) as r, client() as c:
        answers = await asyncio.gather(*(c.post(r.url + CHAT, json={}) for _ in range(20)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({scope["client"] for scope in engine.scopes}) <= 2


async def test_sizes_tell_what_is_held() -> None:
    engine = Stuck()
    async with rig(engine) as r:
        body = b'{"user": "ann"}'
        async with raw_client(r.port, raw_post(CHAT, body)):
            await engine.arrived.wait()
            assert (
                r.relay.sizes().items()
                >= {
                    "requests_in_flight": 1,
                    "calls_in_flight": 1,
                    "aborts_in_flight": 0,
                    "identity_fields": 1,
                }.items()
            )
        await r.log.until_ended()
