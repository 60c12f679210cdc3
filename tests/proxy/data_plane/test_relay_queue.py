"""Calls that wait for their turn at an engine: in which order they go, and which are refused."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import pytest

from scalesim.proxy.core.model import Outcome
from scalesim.proxy.data_plane.asgi import Receive, Scope, Send
from tests.support.patience import soon

from .rig import SOON_S, Rig, client, raw_client, raw_post, rig, start, whole_body

pytestmark = pytest.mark.anyio

CHAT = "/v1/chat/completions"
SOME_S = 4 * SOON_S


class Turns:
    """An engine that answers a call when it is told to, and keeps the order in which they came."""

    def __init__(self) -> None:
        self.came: list[str] = []
        self._may_answer = asyncio.Semaphore(0)
        self._changed = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        self.came.append(json.loads(await whole_body(receive))["user"])
        self._changed.set()
        await self._may_answer.acquire()
        await start(send, 200, [(b"content-type", b"application/json")])
        await send({"type": "http.response.body", "body": b"{}"})

    def answer(self, calls: int = 1) -> None:
        for _ in range(calls):
            self._may_answer.release()

    async def until_there(self, calls: int) -> None:
        while len(self.came) < calls:
            self._changed.clear()
            await soon(self._changed.wait(), SOME_S)


async def until(condition: Callable[[], object]) -> None:
    async def met() -> None:
        while not condition():  # noqa: ASYNC110 - within the next turns of the loop
            await asyncio.sleep(0)

    await soon(met(), SOME_S)


async def started(r: Rig, calls: int) -> None:
    await until(lambda: len(r.log.started) >= calls)


async def test_a_burst_of_one_simulation_does_not_keep_another_waiting() -> None:
    engine = Turns()
    order = ["X1", "X2", "X3", "X4", "Y1", "Y2"]
    async with rig(engine, concurrency=1) as r, client() as c:
        async with asyncio.TaskGroup() as calls:
            for n, name in enumerate(order, 1):
                url = f"{r.url}/sim/{name[0]}{CHAT}"
                calls.create_task(c.post(url, json={"user": name}))
                await started(r, n)
            assert r.relay.sizes()["queue_waiting"] == 5
            for n in range(1, 7):
                await engine.until_there(n)
                assert len(engine.came) == n, "one at a time"
                engine.answer()
        await r.log.until_ended(6)
        # Each that had to wait tells when it was sent.
        late = [event.call for event in r.log.sent]
        assert late == [r.log.started[order.index(name)].call for name in engine.came[1:]]
    assert engine.came == ["X1", "Y1", "X2", "Y2", "X3", "X4"]


async def test_without_a_limit_nobody_waits() -> None:
    engine = Turns()
    async with rig(engine) as r, client() as c:
        async with asyncio.TaskGroup() as calls:
            for n in range(5):
                calls.create_task(c.post(r.url + CHAT, json={"user": str(n)}))
            await engine.until_there(5)
            engine.answer(5)
        await r.log.until_ended(5)
    assert r.log.sent == []


async def test_a_full_queue_refuses_and_says_when_to_come_again() -> None:
    engine = Turns()
    async with rig(engine, concurrency=1, queue_limit=1) as r, client() as c:
        async with asyncio.TaskGroup() as calls:
            for n in (1, 2):
                calls.create_task(c.post(r.url + CHAT, json={"user": str(n)}))
                await started(r, n)
            refused = await c.post(r.url + CHAT, json={"user": "3"})
            assert r.running("fake") == 2
            engine.answer(2)
        await r.log.until_ended(2)
    error = refused.json()["error"]
    assert (refused.status_code, error["type"], error["code"]) == (429, "engine_full", 429)
    assert int(refused.headers["retry-after"]) >= 1
    assert engine.came == ["1", "2"]
    assert len(r.log.started) == 2


async def test_who_has_more_waiting_makes_room_for_who_has_less() -> None:
    engine = Turns()
    async with rig(engine, concurrency=1, queue_limit=2) as r, client() as c:
        async with asyncio.TaskGroup() as calls:
            sent = []
            for n, name in enumerate(("X1", "X2", "X3", "Y1"), 1):
                url = f"{r.url}/sim/{name[0]}{CHAT}"
                sent.append(calls.create_task(c.post(url, json={"user": name})))
                await started(r, n)
            assert (await sent[2]).status_code == 429
            engine.answer(3)
        await r.log.until_ended(4)
    assert engine.came == ["X1", "Y1", "X2"]
    assert [ended.outcome for ended in r.log.ended].count(Outcome.ENGINE_FAILED) == 1


async def test_who_waited_for_too_long_is_refused() -> None:
    engine = Turns()
    async with rig(engine, concurrency=1, queue_wait_s=0.01) as r, client() as c:
        async with asyncio.TaskGroup() as calls:
            calls.create_task(c.post(r.url + CHAT, json={"user": "1"}))
            await engine.until_there(1)
            late = await c.post(r.url + CHAT, json={"user": "2"})
            engine.answer()
        await r.log.until_ended(2)
    assert (late.status_code, "retry-after" in late.headers) == (429, True)
    assert "within 0.01 s" in late.json()["error"]["message"]
    assert engine.came == ["1"]


async def test_leaving_the_queue_ends_the_call_at_once_and_the_engine_never_hears_of_it() -> None:
    engine = Turns()
    async with rig(engine, concurrency=1) as r, client() as c:
        async with asyncio.TaskGroup() as calls:
            calls.create_task(c.post(r.url + CHAT, json={"user": "1"}))
            await engine.until_there(1)
            async with raw_client(r.port, raw_post(CHAT, b'{"user": "2"}')) as (_, writer):
                await started(r, 2)
                calls.create_task(c.post(r.url + CHAT, json={"user": "3"}))
                await started(r, 3)
                writer.close()
                ended = await r.log.until_ended(1, SOON_S)
            assert (ended.call, ended.outcome) == (r.log.started[1].call, Outcome.CLIENT_GONE)
            engine.answer(2)
        await r.log.until_ended(3)
        await r.relay.drained()
        assert r.adapter.aborts == []
    assert engine.came == ["1", "3"]


async def test_a_client_that_does_not_read_its_answer_keeps_nobody_from_the_engine() -> None:
    came: list[bytes] = []

    async def generous(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            came.append(await whole_body(receive))
            await start(send, 200, [(b"content-type", b"text/plain"), (b"content-length", b"60000")])
            await send({"type": "http.response.body", "body": bytes(60000)})

    stuck = asyncio.Event()
    async with rig(generous, concurrency=1) as r, client() as c:
        body = [{"type": "http.request", "body": b"{}"}]

        async def receive() -> dict[str, object]:
            return body.pop() if body else await asyncio.Event().wait()  # type: ignore[return-value]

        async def send(message: object) -> None:
            if message["type"] == "http.response.body":  # type: ignore[index]
                stuck.set()
                await asyncio.Event().wait()

        scope: Scope = {"type": "http", "method": "POST", "path": CHAT, "query_string": b"", "headers": []}
        slow = asyncio.create_task(r.relay(scope, receive, send))  # type: ignore[arg-type]
        await stuck.wait()
        await until(lambda: not r.relay.sizes()["queue_running"])  # as soon as the engine has said all
        assert (await c.post(r.url + CHAT, json={})).status_code == 200
        slow.cancel()
        await asyncio.wait((slow,))
        await r.log.until_ended(2)
    assert len(came) == 2
