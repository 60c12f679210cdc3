"""Requests that are sent again under the same key: generated once, and answered as often as somebody asks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import httpx
import pytest

from scalesim.proxy.core.model import Outcome
from scalesim.proxy.data_plane.asgi import Receive, Scope, Send
from scalesim.proxy.data_plane.joining import JoinRules
from tests.support.patience import soon

from .rig import SOON_S, Recorder, Rig, client, raw_client, raw_post, rig, start, whole_body

pytestmark = pytest.mark.anyio

CHAT = "/v1/chat/completions"
KEY = {"Idempotency-Key": "one"}
SOME_S = 4 * SOON_S


class Time:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Gate:
    """An engine that answers the n-th request with its number, when told to."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.open = asyncio.Event()
        self.arrived = asyncio.Event()
        self.left = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        self.bodies.append(await whole_body(receive))
        number = len(self.bodies)
        self.arrived.set()
        leaving = asyncio.ensure_future(receive())
        opening = asyncio.ensure_future(self.open.wait())
        await asyncio.wait({leaving, opening}, return_when=asyncio.FIRST_COMPLETED)
        opening.cancel()
        if leaving.done():
            self.left.set()
            return
        leaving.cancel()
        await start(send, 200, [(b"content-type", b"application/json"), (b"x-number", b"%d" % number)])
        await send({"type": "http.response.body", "body": b'{"number": %d}' % number})


async def until(condition: Callable[[], object]) -> None:
    async def met() -> None:
        while not condition():  # noqa: ASYNC110 - within the next turns of the loop
            await asyncio.sleep(0)

    await soon(met(), SOME_S)


def same(r: Rig, c: httpx.AsyncClient, **headers: str) -> asyncio.Task[httpx.Response]:
    return asyncio.ensure_future(c.post(r.url + CHAT, json={"model": "m"}, headers=KEY | headers))


async def test_a_request_that_joins_another_gets_the_same_answer_generated_once() -> None:
    engine = Gate()
    async with rig(engine) as r, client() as c:
        first = same(r, c)
        await engine.arrived.wait()
        second = same(r, c)
        await until(lambda: r.relay.sizes()["joined_waiters"])
        assert (r.running("fake"), len(r.log.started)) == (1, 1), "it is no call of its own"
        engine.open.set()
        answers = [await first, await second]
        later = await same(r, c)
        await r.log.until_ended()
    assert [one.content for one in (*answers, later)] == [b'{"number": 1}'] * 3
    assert {one.headers["x-number"] for one in (*answers, later)} == {"1"}
    assert len(engine.bodies) == 1


async def test_without_a_key_each_is_generated() -> None:
    engine = Recorder()
    async with rig(engine) as r, client() as c:
        for _ in range(2):
            await c.post(r.url + CHAT, json={"model": "m"})
        await r.log.until_ended(2)
    assert len(engine.bodies) == 2


async def test_the_same_key_with_another_request_is_refused() -> None:
    async with rig(Recorder()) as r, client() as c:
        await same(r, c)
        other = await c.post(r.url + CHAT, json={"model": "other"}, headers=KEY)
        await r.log.until_ended()
    assert (other.status_code, other.json()["error"]["type"]) == (422, "idempotency_key_reused")


async def test_more_than_may_wait_for_one_answer_are_told_when_to_come_again() -> None:
    engine = Gate()
    async with rig(engine, joins=JoinRules(most_clients=1)) as r, client() as c:
        first = same(r, c)
        await engine.arrived.wait()
        refused = await same(r, c)
        engine.open.set()
        await first
        await r.log.until_ended()
    assert (refused.status_code, refused.headers["retry-after"]) == (409, "1")


async def test_a_call_with_a_key_goes_on_for_the_client_that_comes_back() -> None:
    engine, request = Gate(), raw_post(CHAT, b'{"model": "m"}', "Idempotency-Key: one")
    async with rig(engine, clock=Time()) as r:
        async with raw_client(r.port, request) as (_, writer):
            await engine.arrived.wait()
            writer.close()
            await until(lambda: r.relay.sizes()["joined_alone"])
        async with raw_client(r.port, request) as (reader, _):
            await until(lambda: r.relay.sizes()["joined_waiters"] and not r.relay.sizes()["joined_alone"])
            engine.open.set()
            assert (await reader.readuntil(b'{"number": 1}')).startswith(b"HTTP/1.1 200")
        assert (await r.log.until_ended()).outcome is Outcome.DONE
        await r.relay.drained()
        assert r.adapter.aborts == []
    assert len(engine.bodies) == 1


async def test_a_call_with_a_key_goes_on_for_who_has_joined_when_the_first_leaves() -> None:
    engine, request = Gate(), raw_post(CHAT, b'{"model": "m"}', "Idempotency-Key: one")
    async with rig(engine, joins=JoinRules(grace_s=0.0)) as r, raw_client(r.port, request) as (_, writer):
        await engine.arrived.wait()
        async with raw_client(r.port, request) as (reader, _):
            await until(lambda: r.relay.sizes()["joined_waiters"])
            writer.close()
            # The first one's watcher waits besides the second.
            await until(lambda: r.relay.sizes()["joined_waiters"] == 2)
            engine.open.set()
            assert (await reader.readuntil(b'{"number": 1}')).startswith(b"HTTP/1.1 200")
        assert (await r.log.until_ended()).outcome is Outcome.DONE
    assert len(engine.bodies) == 1


async def test_a_call_with_a_key_for_which_nobody_comes_back_is_stopped_after_its_grace() -> None:
    engine, request = Gate(), raw_post(CHAT, b'{"model": "m"}', "Idempotency-Key: one")
    async with rig(engine, joins=JoinRules(grace_s=0.01)) as r:
        async with raw_client(r.port, request) as (_, writer):
            await engine.arrived.wait()
            writer.close()
            await soon(engine.left.wait(), SOME_S)
        assert (await r.log.until_ended()).outcome is Outcome.CLIENT_GONE
        await r.adapter.until(lambda adapter: len(adapter.aborts) == 1, SOON_S)


async def test_who_leaves_an_answer_that_it_joined_leaves_the_others_alone() -> None:
    engine, request = Gate(), raw_post(CHAT, b'{"model": "m"}', "Idempotency-Key: one")
    async with rig(engine) as r, raw_client(r.port, request) as (reader, _):
        await engine.arrived.wait()
        async with raw_client(r.port, request) as (_, writer):
            await until(lambda: r.relay.sizes()["joined_waiters"])
            writer.close()
            await until(lambda: not r.relay.sizes()["joined_waiters"])
        engine.open.set()
        await reader.readuntil(b'{"number": 1}')
        await r.log.until_ended()


async def test_a_request_that_joined_one_that_fails_is_generated() -> None:
    answers = [500, 200]
    held = asyncio.Event()
    arrived = asyncio.Event()

    async def fails_first(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            arrived.set()
            await held.wait()
            await Recorder(status=answers.pop(0))(scope, receive, send)

    async with rig(fails_first) as r, client() as c:
        first = same(r, c)
        await arrived.wait()
        second = same(r, c)
        await until(lambda: r.relay.sizes()["joined_waiters"])
        held.set()
        assert ((await first).status_code, (await second).status_code) == (500, 200)
        await r.log.until_ended(2)


async def test_a_refused_request_under_a_key_may_come_again() -> None:
    async with rig(Recorder()) as r, client() as c:
        for _ in range(2):
            refused = await same(r, c, **{"X-Simulation-ID": "no such name!"})
            assert refused.status_code == 400
    assert r.log.events == []


async def test_a_streamed_request_is_stopped_at_once_whatever_its_key() -> None:
    engine = Gate()
    async with rig(engine) as r:
        request = raw_post(CHAT, b'{"stream": true}', "Idempotency-Key: one")
        async with raw_client(r.port, request) as (_, writer):
            await engine.arrived.wait()
            writer.close()
            await soon(engine.left.wait(), SOME_S)
        await r.adapter.until(lambda adapter: len(adapter.aborts) == 1, SOON_S)


async def test_a_server_that_shuts_down_stops_what_runs_for_nobody() -> None:
    engine = Gate()
    async with rig(engine) as r:
        body = [{"type": "http.request", "body": b'{"model": "m"}'}]

        async def receive() -> dict[str, object]:
            return body.pop() if body else await asyncio.Event().wait()  # type: ignore[return-value]

        async def send(message: object) -> None:
            raise AssertionError("there is nothing to answer")

        headers = [(b"content-type", b"application/json"), (b"idempotency-key", b"one")]
        scope: Scope = {
            "type": "http",
            "method": "POST",
            "path": CHAT,
            "query_string": b"",
            "headers": headers,
        }
        running = asyncio.create_task(r.relay(scope, receive, send))  # type: ignore[arg-type]
        await engine.arrived.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert (await r.log.until_ended()).outcome is Outcome.CLIENT_GONE
        await engine.left.wait()
        await r.relay.drained()
        assert len(r.adapter.aborts) == 1
