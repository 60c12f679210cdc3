"""How long a call may take, by phases, and what becomes of answers that nobody reads."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from scalesim.proxy.core.model import Outcome
from scalesim.proxy.data_plane.asgi import Receive, Scope, Send
from tests.support.patience import soon

from .rig import SOON_S, Recorder, Stuck, client, raw_client, raw_post, rig, start, whole_body

pytestmark = pytest.mark.anyio

CHAT = "/v1/chat/completions"
STREAM = raw_post(CHAT, b'{"stream": true}')
SHORT_S = 0.02


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        ("first_byte_timeout_s", "no answer began within 0.02 s"),
        ("total_timeout_s", "not there whole within 0.02 s"),
    ],
)
async def test_an_engine_that_does_not_answer_in_time_is_a_504_that_says_what_took_too_long(
    limit: str, words: str
) -> None:
    engine = Stuck()
    times = {limit: SHORT_S}
    async with rig(engine, **times) as r, client() as c:  # type: ignore[arg-type]
        response = await c.post(r.url + CHAT, json={})
        assert (await r.log.until_ended()).outcome is Outcome.ENGINE_FAILED
        await engine.was_left()
        await r.adapter.until(lambda adapter: len(adapter.aborts) == 1)
    error = response.json()["error"]
    assert (response.status_code, error["type"]) == (504, "engine_timed_out")
    assert error["message"].startswith(f"engine 'fake' at {r.adapter.base_url} did not answer in time: ")
    assert words in error["message"]
    assert "retry-after" not in response.headers, "it may have been generated"


@pytest.mark.parametrize("limit", ["chunk_timeout_s", "total_timeout_s"])
async def test_an_answer_that_stops_in_the_middle_is_broken_off_and_aborted(limit: str) -> None:
    engine = Stuck(first=b"data: 1\n\n")
    times = {limit: SHORT_S}
    async with rig(engine, **times) as r, client() as c:  # type: ignore[arg-type]
        async with c.stream("POST", r.url + CHAT, json={"stream": True}) as response:
            with pytest.raises(httpx.RemoteProtocolError):
                await response.aread()
        assert (await r.log.until_ended()).outcome is Outcome.ENGINE_FAILED
        await engine.was_left()
        await r.adapter.until(lambda adapter: len(adapter.aborts) == 1)


async def test_limits_that_are_not_reached_change_nothing() -> None:
    times = {"first_byte_timeout_s": 30.0, "chunk_timeout_s": 30.0, "total_timeout_s": 30.0}
    async with rig(Recorder(b"as ", b"ever"), **times) as r, client() as c:  # type: ignore[arg-type]
        assert (await c.post(r.url + CHAT, json={})).text == "as ever"
        await r.log.until_ended()
        assert r.adapter.aborts == []


class Fountain:
    """An engine that streams without end."""

    def __init__(self) -> None:
        self.sent_bytes = 0
        self.progress = asyncio.Event()
        self.left = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        await whole_body(receive)
        await start(send, 200, [(b"content-type", b"text/event-stream")])
        chunk = b"data: " + b"x" * 65_000 + b"\n\n"
        leaving = asyncio.ensure_future(receive())
        while not leaving.done():
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
            self.sent_bytes += len(chunk)
            self.progress.set()
            await asyncio.sleep(0)
        self.left.set()

    async def until_it_stands_still(self) -> None:
        before = self.sent_bytes
        while True:
            assert self.sent_bytes - before < 64_000_000, "whatever the system's buffers hold is less"
            self.progress.clear()
            try:
                await soon(self.progress.wait(), SOON_S)
            except TimeoutError:
                return


@pytest.mark.slow
async def test_an_engine_is_not_read_faster_than_its_client_reads_and_hears_when_it_leaves() -> None:
    engine = Fountain()
    async with rig(engine) as r:
        async with raw_client(r.port, STREAM) as (reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            # From here on nobody reads but the system's buffers, and those of this test's reader.
            await engine.until_it_stands_still()
            stood_at = engine.sent_bytes
            for _ in range(600):
                await reader.read(65_536)
            await soon(engine.progress.wait(), 4 * SOON_S)
            await engine.until_it_stands_still()
            assert engine.sent_bytes > stood_at
            writer.transport.abort()
            await soon(engine.left.wait(), SOON_S)
        await r.adapter.until(lambda adapter: len(adapter.aborts) == 1, SOON_S)
        assert (await r.log.until_ended()).outcome is Outcome.CLIENT_GONE
