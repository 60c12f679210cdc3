"""Engines that fail: what is sent again, and where; what is not; and how long they are left alone."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

import httpx
import pytest

from scalesim.proxy.core.events import CallEnded, CallSent, CallStarted
from scalesim.proxy.core.model import EngineId, Outcome
from scalesim.proxy.data_plane.asgi import Receive, Scope, Send
from scalesim.proxy.data_plane.retrying import RetryRules
from scalesim.proxy.engines.breaker import BreakerRules, State

from .rig import SOON_S, Recorder, client, raw_client, raw_engine, raw_post, rig

pytestmark = pytest.mark.anyio

CHAT = "/v1/chat/completions"
AT_ONCE = RetryRules(backoff_s=0.0)
ANN = {"X-Agent-ID": "Ann", "X-Simulation-ID": "town"}


class Time:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Answers:
    """An engine that answers each request by the next of these heads, and by the last one ever after."""

    def __init__(self, *heads: tuple[int, dict[str, str]]) -> None:
        self.heads = list(heads)
        self.bodies: list[bytes] = []
        self._all_like = Recorder()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        status, headers = self.heads.pop(0) if len(self.heads) > 1 else self.heads[0]
        pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
        self._all_like.head = (status, pairs)
        self._all_like.chunks = (b'{"status": %d}' % status,)
        await self._all_like(scope, receive, send)
        self.bodies = self._all_like.bodies


def nobody() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


async def broken(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Closes the connection once it has read the request."""


async def test_another_engine_answers_for_one_that_is_not_there_and_nothing_is_generated_twice() -> None:
    b = Recorder(b'{"by": "b"}')
    async with rig({"a": nobody(), "b": b}, retries=AT_ONCE) as r, client() as c:
        response = await c.post(r.url + CHAT, json={"model": "m"})
        await r.log.until_ended()
    assert (response.status_code, response.json()) == (200, {"by": "b"})
    assert len(b.bodies) == 1
    started, sent, ended = r.log.events
    assert isinstance(started, CallStarted)
    assert isinstance(sent, CallSent)
    assert isinstance(ended, CallEnded)
    assert (started.engine, sent.engine, ended.outcome) == ("a", "b", Outcome.DONE)
    assert r.fleet.registry.get(EngineId("a")).silences == 1  # type: ignore[union-attr]


async def test_without_retries_the_client_is_told_of_the_engine_that_is_not_there() -> None:
    b = Recorder()
    async with rig({"a": nobody(), "b": b}) as r, client() as c:
        response = await c.post(r.url + CHAT, json={"model": "m"})
        await r.log.until_ended()
    assert (response.status_code, response.json()["error"]["type"]) == (502, "engine_unreachable")
    assert response.headers["retry-after"] == "1"
    assert b.bodies == []


async def test_what_the_first_engine_alone_would_understand_is_written_anew_for_the_second() -> None:
    b = Recorder()
    async with rig({"a": nobody(), "b": b}, retries=AT_ONCE) as r, client() as c:
        r.adapters["b"].capabilities = type(r.adapters["b"].capabilities)("fake", "1", extended=False)
        raw = b'{"model": "m"}'
        await c.post(r.url + CHAT, content=raw, headers={"content-type": "application/json"})
        await r.log.until_ended()
    assert b.bodies == [raw]


@pytest.mark.parametrize("body", [b'{"model": "m"}', b'{"model": "m", "stream": true}'])
async def test_a_post_that_may_have_been_received_is_not_sent_again(body: bytes) -> None:
    b = Recorder()
    async with (
        raw_engine(broken) as a,
        rig({"a": a, "b": b}, retries=AT_ONCE) as r,
        client() as c,
    ):
        response = await c.post(r.url + CHAT, content=body, headers={"content-type": "application/json"})
        await r.log.until_ended()
    assert (response.status_code, response.json()["error"]["type"]) == (502, "engine_broke_off")
    assert "retry-after" not in response.headers
    assert r.log.ended[0].outcome is Outcome.ENGINE_FAILED
    assert b.bodies == []


async def test_a_get_may_be_sent_again() -> None:
    b = Recorder(b"from b")
    async with (
        raw_engine(broken) as a,
        rig({"a": a, "b": b}, retries=AT_ONCE) as r,
        client() as c,
    ):
        assert (await c.get(r.url + "/any")).text == "from b"
    assert r.log.events == []


async def test_half_an_answer_is_not_made_whole_by_another_engine() -> None:
    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nthe first ")

    b = Recorder()
    async with raw_engine(half) as a, rig({"a": a, "b": b}, retries=AT_ONCE) as r, client() as c:
        async with c.stream("POST", r.url + CHAT, json={"model": "m"}) as response:
            with pytest.raises(httpx.RemoteProtocolError):
                await response.aread()
        ended = await r.log.until_ended()
    assert ended.outcome is Outcome.ENGINE_FAILED
    assert b.bodies == []


async def test_an_engine_that_refuses_a_call_has_it_answered_by_another() -> None:
    a, b = Answers((503, {"retry-after": "60"})), Recorder(b'{"by": "b"}')
    async with rig({"a": a, "b": b}, retries=AT_ONCE) as r, client() as c:
        response = await c.post(r.url + CHAT, json={"model": "m"})
        await r.log.until_ended()
    assert response.json() == {"by": "b"}
    assert (len(a.bodies), len(b.bodies)) == (1, 1)


async def test_the_only_engine_is_asked_again() -> None:
    engine = Answers((503, {}), (429, {"retry-after": "0"}), (200, {}))
    async with rig(engine, retries=AT_ONCE) as r, client() as c:
        response = await c.post(r.url + CHAT, json={"model": "m"})
        await r.log.until_ended()
    assert response.status_code == 200
    assert len(engine.bodies) == 3
    assert len(r.log.started) == 1
    assert r.log.sent == []


@pytest.mark.parametrize("status", [429, 503])
async def test_a_refusal_that_is_not_sent_again_comes_through_as_it_is(status: int) -> None:
    engine = Answers((status, {"retry-after": "77", "x-own": "1", "content-type": "application/json"}))
    async with rig(engine, retries=AT_ONCE) as r, client() as c:
        response = await c.post(r.url + CHAT, json={"model": "m"})
        await r.log.until_ended()
    assert (response.status_code, response.json()) == (status, {"status": status})
    assert (response.headers["retry-after"], response.headers["x-own"]) == ("77", "1")
    assert len(engine.bodies) == 1


async def test_an_engine_that_fails_gets_no_more_retries_than_its_share() -> None:
    engine = Answers((503, {}))
    rules = RetryRules(backoff_s=0.0, share=0.0, least_per_s=0.0, most_saved=3.0)
    async with rig(engine, retries=rules, breaker=BreakerRules(failures_in_a_row=99)) as r, client() as c:
        for _ in range(5):
            assert (await c.post(r.url + CHAT, json={})).json() == {"status": 503}
        await r.log.until_ended(5)
    assert len(engine.bodies) == 5 + 3


async def test_leaving_while_it_waits_to_be_sent_again_ends_the_call_at_once() -> None:
    engine = Answers((503, {"retry-after": "5"}))
    async with rig(engine, retries=RetryRules()) as r:
        async with raw_client(r.port, raw_post(CHAT, b"{}")) as (_, writer):
            while not engine.bodies:  # noqa: ASYNC110 - the engine has no event for it
                await asyncio.sleep(0)
            writer.close()
            assert (await r.log.until_ended(1, SOON_S)).outcome is Outcome.CLIENT_GONE
        await r.relay.drained()
        assert r.adapter.aborts == []
    assert len(engine.bodies) == 1


async def test_an_engine_that_fails_is_left_alone_for_a_while_and_used_again() -> None:
    time, engine = Time(), Answers((503, {}))
    rules = BreakerRules(failures_in_a_row=2, rest_s=4.0, trials_to_close=2)
    async with rig(engine, breaker=rules, clock=time) as r, client() as c:

        async def call() -> httpx.Response:
            return await c.post(r.url + CHAT, json={"model": "m"})

        for _ in range(2):
            assert (await call()).json() == {"status": 503}
        time.now += 1.5
        refused = await call()
        error = refused.json()["error"]
        assert (refused.status_code, error["type"]) == (503, "no_engine")
        assert "'fake' at http://127.0.0.1:" in error["message"]
        assert refused.headers["retry-after"] == "3"
        assert len(engine.bodies) == 2, "nobody was sent there"
        assert len(r.log.started) == 2, "what has no place never starts"
        engine.heads = [(200, {})]
        time.now += 2.5
        for _ in range(2):
            assert (await call()).status_code == 200
        assert r.fleet.breakers.of(EngineId("fake")).state(time.now) is State.CLOSED
        await r.log.until_ended(4)


async def test_an_open_breaker_sends_an_agent_elsewhere_and_its_memory_stays_where_it_is() -> None:
    time = Time()
    engines = {"a": Recorder(), "b": Recorder()}
    async with rig(engines, clock=time, breaker=BreakerRules(failures_in_a_row=1)) as r, client() as c:
        await c.post(r.url + CHAT, json={}, headers=ANN)
        home = r.log.started[0].engine
        assert r.log.started[0].moves
        engines[home].head = (503, [])
        await c.post(r.url + CHAT, json={}, headers=ANN)
        await c.post(r.url + CHAT, json={}, headers=ANN)
        await r.log.until_ended(3)
    detour = r.log.started[2]
    assert detour.engine != home
    assert not detour.moves


async def test_who_waited_for_an_engine_that_is_left_alone_by_then_goes_to_another() -> None:
    held = asyncio.Event()

    async def fails_when_told(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await held.wait()
            await Recorder(status=503)(scope, receive, send)

    b: Any = Recorder(b'{"by": "b"}')
    rules = BreakerRules(failures_in_a_row=1)
    engines = {"a": fails_when_told, "b": b}
    async with rig(engines, breaker=rules, concurrency=1, clock=Time()) as r, client() as c:
        names = [f"agent-{n}" for n in range(40)]
        async with asyncio.TaskGroup() as calls:
            held_calls = []
            for name in names:
                headers = {"X-Agent-ID": name}
                held_calls.append(calls.create_task(c.post(r.url + CHAT, json={"n": name}, headers=headers)))
                while len(r.log.started) < len(held_calls):  # noqa: ASYNC110 - within the next turns of the loop
                    await asyncio.sleep(0)
            assert r.running("a") > 1
            held.set()
        answers = [call.result().status_code for call in held_calls]
        await r.log.until_ended(len(names))
    assert sorted(answers) == [200] * 39 + [503]
    assert sorted(json.loads(body)["n"] for body in b.bodies) == sorted(
        name for name, status in zip(names, answers, strict=True) if status == 200
    )
