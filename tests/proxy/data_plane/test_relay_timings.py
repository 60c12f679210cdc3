"""How long calls are said to take. The clock stands still unless a test, or its engine, moves it."""

from __future__ import annotations

import asyncio

import pytest

from scalesim.proxy.core.model import EngineId, Outcome
from scalesim.proxy.data_plane.asgi import Receive, Scope, Send
from scalesim.proxy.data_plane.retrying import RetryRules
from scalesim.proxy.histogram import Histogram
from scalesim.proxy.timings import EngineTimings, Timings

from .rig import Rig, client, rig, start, whole_body
from .test_relay_queue import until

pytestmark = pytest.mark.anyio

CHAT = "/v1/chat/completions"
FAKE = EngineId("fake")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Engine:
    """The clock goes on by 2 s before its answer begins, and by 4 s before its second piece."""

    def __init__(self, clock: Clock, *, status: int = 200) -> None:
        self._clock = clock
        self._status = status
        self.calls = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        await whole_body(receive)
        self.calls += 1
        self._clock.now += 2.0
        await start(send, self._status if self.calls == 1 else 200, [(b"content-type", b"text/event-stream")])
        await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
        await asyncio.sleep(0.01)  # the first piece has gone by
        self._clock.now += 4.0
        await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})


async def asked(r: Rig, **body: object) -> EngineTimings:
    async with client() as c:
        await c.post(r.url + CHAT, json=body)
    await r.log.until_ended()
    await until(lambda: r.timings.of(FAKE).calls[Outcome.DONE].count)
    return r.timings.of(FAKE)


def noted(histogram: Histogram) -> tuple[int, float]:
    return histogram.count, histogram.total


async def test_a_streamed_call_has_a_first_token_and_an_end() -> None:
    clock = Clock()
    async with rig(Engine(clock), clock=clock) as r:
        timings = await asked(r, stream=True)
    assert noted(timings.first_token) == (1, 2.0)
    assert noted(timings.calls[Outcome.DONE]) == (1, 6.0)
    assert noted(r.timings.added) == (1, 0.0)


async def test_of_a_call_that_is_not_streamed_nobody_can_tell_the_first_token() -> None:
    clock = Clock()
    async with rig(Engine(clock), clock=clock) as r:
        timings = await asked(r)
    assert timings.first_token.count == 0
    assert noted(timings.calls[Outcome.DONE]) == (1, 6.0)


async def test_what_is_sent_again_is_counted_where_it_failed() -> None:
    clock = Clock()
    async with rig(Engine(clock, status=503), clock=clock, retries=RetryRules(attempts=2)) as r:
        timings = await asked(r)
    assert timings.sent_again == 1


async def test_the_wait_for_a_place_is_no_time_that_the_proxy_adds() -> None:
    clock = Clock()
    let_go = asyncio.Event()

    async def engine(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await whole_body(receive)
            await let_go.wait()
            await start(send, 200, [(b"content-type", b"application/json")])
            await send({"type": "http.response.body", "body": b"{}"})

    async with rig(engine, clock=clock, concurrency=1) as r, client() as c:
        first = asyncio.create_task(c.post(r.url + CHAT, json={"user": "1"}))
        await until(lambda: r.timings.added.count)
        second = asyncio.create_task(c.post(r.url + CHAT, json={"user": "2"}))
        await until(lambda: r.relay.sizes()["queue_waiters"])
        clock.now += 7.0
        let_go.set()
        await first
        await second
        await r.log.until_ended(2)
    assert noted(r.timings.of(FAKE).queue_wait) == (2, 7.0)
    assert noted(r.timings.added) == (2, 0.0)


async def test_an_engine_that_has_left_is_timed_no_more() -> None:
    timings = Timings()
    timings.of(FAKE)
    assert timings.sizes() == {"timed_engines": 1}
    timings.forget(FAKE)
    timings.forget(FAKE)
    assert timings.sizes() == {"timed_engines": 0}
