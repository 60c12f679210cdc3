"""Clients that leave in ways of their own."""

from __future__ import annotations

import asyncio

import pytest

from tests.faults.town import Town, calls_to, leaked, load_of, until, until_idle

pytestmark = [pytest.mark.anyio, pytest.mark.faults, pytest.mark.slow]

NEXT = b"GET /health HTTP/1.1\r\nhost: proxy\r\n\r\n"
LONG_TOKENS = 2_000
SOON_S = 2.0
"""Generous: the call would run for 100 s."""


async def left(town: Town, behind: bytes) -> dict[str, int]:
    """A client sends a long call and something behind it, and goes. What the proxy holds afterwards; raises `TimeoutError` where
    the engine works on."""
    engine = await town.engine("--decode-s-per-token", "0.05")
    proxy = await town.proxy(engine.url)
    call = calls_to(proxy.place, 1, LONG_TOKENS)[0]
    _, writer = await asyncio.open_connection(proxy.place.host, proxy.place.port)
    writer.write(call.request + behind)
    await until(lambda: load_of(engine), lambda load: load == 1, "call in the engine")
    writer.transport.abort()
    await until_idle(engine, SOON_S)
    return await leaked(proxy)


async def test_a_client_that_leaves_ends_its_call(town: Town) -> None:
    assert await left(town, b"") == {}


async def test_a_client_that_leaves_ends_its_call_also_if_another_request_waits_behind_it(town: Town) -> None:
    assert await left(town, NEXT) == {}
