"""Who gets a connection, and in which order."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

import pytest

from scalesim.proxy.data_plane.upstream import Answer, Upstream
from scalesim.proxy.data_plane.upstream.connection import Connection
from scalesim.proxy.errors import UpstreamBusy, UpstreamTimedOut, UpstreamUnreachable

from .engines import OK, always, engine, request

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def upstream(**settings: object) -> AsyncIterator[Upstream]:
    async with Upstream(**{"connect_timeout_s": 1.0, "max_connections": 10} | settings) as one:  # type: ignore[arg-type]
        yield one


async def read(answer: Answer) -> bytes:
    try:
        return b"".join([chunk async for chunk in answer])
    finally:
        answer.close()


class Gate:
    """An engine that answers a request when it is let through, in any order."""

    def __init__(self) -> None:
        self.came: list[bytes] = []
        self.gates: dict[bytes, asyncio.Event] = {}
        self.connections = 0
        self._changed = asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while True:
            target = (await request(reader)).split(b" ")[1]
            self.came.append(target)
            gate = self.gates.setdefault(target, asyncio.Event())
            self._changed.set()
            await gate.wait()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(target), target))

    async def until(self, requests: int) -> None:
        async with asyncio.timeout(2):
            while len(self.came) < requests:
                self._changed.clear()
                await self._changed.wait()

    def let(self, target: bytes) -> None:
        self.gates.setdefault(target, asyncio.Event()).set()


async def until_waiting(one: Upstream, calls: int) -> None:
    async with asyncio.timeout(2):
        while one.sizes()["calls_waiting_for_a_connection"] != calls:  # noqa: ASYNC110 - within the next turns
            await asyncio.sleep(0)


async def test_who_waits_longest_is_served_next_and_newcomers_overtake_nobody() -> None:
    gate = Gate()
    async with engine(gate) as url, upstream(max_connections=2) as one:

        async def call(n: int) -> bytes:
            return await read(await one.send("POST", url, f"/{n}", [], b""))

        calls = []
        for n in range(2):
            calls.append(asyncio.create_task(call(n)))
            await gate.until(n + 1)
        for n in range(2, 20):
            calls.append(asyncio.create_task(call(n)))
            await until_waiting(one, n - 1)
        for n in range(20):
            gate.let(b"/%d" % n)
            # One more at each turn, which asks in the moment in which a connection gets free.
            calls.append(asyncio.create_task(call(20 + n)))
            await gate.until(min(n + 3, 20))
        for n in range(20, 40):
            gate.let(b"/%d" % n)
        assert await asyncio.gather(*calls) == [b"/%d" % n for n in range(40)]
    assert gate.came == [b"/%d" % n for n in range(40)]
    assert gate.connections == 2


async def test_no_more_may_wait_than_are_allowed() -> None:
    gate = Gate()
    async with engine(gate) as url, upstream(max_connections=1, max_waiting=2) as one:
        calls = [asyncio.create_task(one.send("POST", url, f"/{n}", [], b"")) for n in range(3)]
        await until_waiting(one, 2)
        with pytest.raises(UpstreamBusy, match="all 1 connections are in use, and 2 calls wait for one"):
            await one.send("POST", url, "/3", [], b"")
        for n in range(3):
            gate.let(b"/%d" % n)
        for n in range(3):
            assert await read(await calls[n]) == b"/%d" % n


async def test_each_engine_has_connections_of_its_own() -> None:
    gate, other = Gate(), always(OK)
    async with engine(gate) as busy, engine(other) as free, upstream(max_connections=1) as one:
        stuck = asyncio.create_task(one.send("POST", busy, "/0", [], b""))
        await gate.until(1)
        assert await read(await one.send("POST", free, "/", [], b"")) == b"ok"
        gate.let(b"/0")
        await read(await stuck)


async def test_who_stops_waiting_leaves_its_place_to_the_next() -> None:
    gate = Gate()
    async with engine(gate) as url, upstream(max_connections=1) as one:
        calls = [asyncio.create_task(one.send("POST", url, f"/{n}", [], b"")) for n in range(4)]
        await gate.until(1)
        await until_waiting(one, 3)
        calls[1].cancel()
        await until_waiting(one, 2)
        gate.let(b"/0")
        await read(await calls[0])
        # It was told that it is its turn, and is cancelled before it can hear of it.
        calls[2].cancel()
        gate.let(b"/3")
        assert await read(await calls[3]) == b"/3"
        assert one.sizes()["connections_open"] == 1
        assert b"/1" not in gate.came


async def test_who_is_cancelled_while_it_is_served_frees_its_place() -> None:
    gate = Gate()
    async with engine(gate) as url, upstream(max_connections=1) as one:
        first = asyncio.create_task(one.send("POST", url, "/0", [], b""))
        await gate.until(1)
        second = asyncio.create_task(one.send("POST", url, "/1", [], b""))
        await until_waiting(one, 1)
        first.cancel()
        gate.let(b"/1")
        assert await read(await second) == b"/1"
    assert gate.connections == 2


async def test_who_cannot_connect_frees_its_place() -> None:
    async with upstream(max_connections=1) as one:
        for _ in range(3):
            with pytest.raises(UpstreamUnreachable):
                await one.send("GET", "http://127.0.0.1:1", "/", [], b"")
        assert one.sizes() == {
            "connections_open": 0,
            "connections_idle": 0,
            "calls_waiting_for_a_connection": 0,
        }


async def test_those_who_wait_for_an_engine_that_died_are_told() -> None:
    gate = Gate()
    async with upstream(max_connections=1) as one:
        async with engine(gate) as url:
            calls = [asyncio.create_task(one.send("POST", url, f"/{n}", [], b"")) for n in range(3)]
            await gate.until(1)
            await until_waiting(one, 2)
        results = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 2)
        assert all(isinstance(result, Exception) for result in results)
        assert one.sizes()["connections_open"] == 0


async def test_who_waits_when_the_proxy_closes_is_told() -> None:
    gate = Gate()
    async with engine(gate) as url:
        async with upstream(max_connections=1) as one:
            calls = [asyncio.create_task(one.send("POST", url, f"/{n}", [], b"")) for n in range(2)]
            await gate.until(1)
            await until_waiting(one, 1)
        with pytest.raises(UpstreamUnreachable, match="closing"):
            await asyncio.wait_for(calls[1], 1)
        results = await asyncio.gather(calls[0], return_exceptions=True)
        assert isinstance(results[0], Exception)


async def test_sizes_tell_what_is_held() -> None:
    gate = Gate()
    async with engine(gate) as url, upstream(max_connections=1) as one:
        calls = [asyncio.create_task(one.send("POST", url, f"/{n}", [], b"")) for n in range(2)]
        await gate.until(1)
        await until_waiting(one, 1)
        assert one.sizes() == {
            "connections_open": 1,
            "connections_idle": 0,
            "calls_waiting_for_a_connection": 1,
        }
        for n in range(2):
            gate.let(b"/%d" % n)
            await read(await calls[n])
        assert one.sizes() == {
            "connections_open": 1,
            "connections_idle": 1,
            "calls_waiting_for_a_connection": 0,
        }


async def test_an_idle_connection_is_given_up_before_engines_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scalesim.proxy.data_plane.upstream.pool.KEEP_ALIVE_S", 0.05)
    closed = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(OK)
        assert await reader.read() == b""
        closed.set()

    async with engine(talk) as url, upstream() as one:
        await read(await one.send("GET", url, "/", [], b""))
        await asyncio.wait_for(closed.wait(), 1)
        while one.sizes()["connections_open"]:  # noqa: ASYNC110 - in the next turn
            await asyncio.sleep(0)


@pytest.mark.slow
async def test_of_many_callers_none_starves() -> None:
    """Each makes its calls one after the other; with as many rounds as that, nobody may lag behind by more than a few."""
    served = [0] * 64
    worst = 0
    async with engine(always(OK)) as url, upstream(max_connections=16) as one:

        async def call(n: int) -> None:
            nonlocal worst
            for _ in range(20):
                await read(await one.send("POST", url, "/", [], b"x" * 100))
                served[n] += 1
                worst = max(worst, max(served) - min(served))

        await asyncio.gather(*(call(n) for n in range(64)))
    assert worst <= 3


@contextmanager
def without_the_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def held() -> int:
    return sum(isinstance(one, Connection) for one in gc.get_objects())


async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await request(reader)
    writer.write(OK[:-1])
    await reader.read()


async def test_a_connection_is_gone_without_the_collector_wherever_its_call_was_given_up() -> None:
    with without_the_collector():
        async with engine(half) as url, upstream() as one:

            async def call() -> None:
                await read(await one.send("POST", url, "/", [], b""))

            for turns in range(30):
                calling = asyncio.create_task(call())
                for _ in range(turns):
                    await asyncio.sleep(0)
                calling.cancel()
                with suppress(asyncio.CancelledError):
                    await calling
                del calling
            async with asyncio.timeout(2):
                while one.sizes()["connections_open"]:  # noqa: ASYNC110 - within the next turns
                    await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert held() == 0


async def test_a_connection_is_gone_without_the_collector_wherever_the_time_to_open_it_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limits: list[asyncio.Timeout] = []
    connect_timeout_s = 12.5

    def timeout(
        delay: float | None, real: Callable[[float | None], asyncio.Timeout] = asyncio.timeout
    ) -> asyncio.Timeout:
        limit = real(delay)
        if delay == connect_timeout_s:
            limits.append(limit)
        return limit

    monkeypatch.setattr(asyncio, "timeout", timeout)
    loop, timed_out = asyncio.get_running_loop(), 0
    with without_the_collector():
        async with engine(half) as url, upstream(connect_timeout_s=connect_timeout_s) as one:

            async def call() -> None:
                nonlocal timed_out
                try:
                    (await one.send("POST", url, "/", [], b"")).close()
                except UpstreamTimedOut:
                    timed_out += 1

            for turns in range(30):
                calling = asyncio.create_task(call())
                for _ in range(turns):
                    await asyncio.sleep(0)
                while limits:
                    with suppress(RuntimeError):  # it is open already
                        limits.pop().reschedule(loop.time())
                await calling
                del calling
            async with asyncio.timeout(2):
                while one.sizes()["connections_open"]:  # noqa: ASYNC110 - within the next turns
                    await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert held() == 0
    assert timed_out
