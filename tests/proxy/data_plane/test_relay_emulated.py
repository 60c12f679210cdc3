"""Clients that leave, seen from the engine: it stops what was generated for them, and generates nothing for nobody."""

from __future__ import annotations

import asyncio
import json

import pytest

from scalesim.engine_adapters.emulated import EmulatedEngine
from scalesim.proxy.core.model import Outcome
from tests.support.patience import soon

from .rig import SOON_S, client, raw_client, raw_post, rig

pytestmark = pytest.mark.anyio

CHAT = "/v1/chat/completions"
JSON = {"content-type": "application/json"}


def endless() -> EmulatedEngine:
    """It takes no time for a prompt, and a minute for an answer."""
    return EmulatedEngine(decode_s_per_token=0.001, max_running=64)


def asking(*, stream: bool, tokens: int = 50_000) -> bytes:
    messages = [{"role": "user", "content": "Tell me all."}]
    return json.dumps(
        {
            "model": "emulated",
            "messages": messages,
            "max_tokens": tokens,
            "ignore_eos": True,
            "stream": stream,
        }
    ).encode()


async def until_it_runs(engine: EmulatedEngine, calls: int) -> None:
    while len(engine.scheduler.running) != calls:  # noqa: ASYNC110 - the engine has no event for it
        await asyncio.sleep(0)


@pytest.mark.parametrize("stream", [False, True])
async def test_leaving_stops_what_the_engine_generates(stream: bool) -> None:
    engine = endless()
    async with rig(engine.app) as r:
        async with raw_client(r.port, raw_post(CHAT, asking(stream=stream))) as (
            reader,
            writer,
        ):
            await until_it_runs(engine, 1)
            if stream:
                await reader.readuntil(b"data: ")
            writer.close()
            await soon(until_it_runs(engine, 0), SOON_S)
        assert (await r.log.until_ended()).outcome is Outcome.CLIENT_GONE
        await r.adapter.until(lambda adapter: len(adapter.aborts) == 1, SOON_S)
        assert engine.scheduler.idle


@pytest.mark.parametrize("stream", [False, True])
async def test_who_leaves_the_queue_is_never_generated_for(stream: bool) -> None:
    engine = endless()
    async with rig(engine.app, concurrency=1) as r, client() as c:
        async with raw_client(r.port, raw_post(CHAT, asking(stream=False))) as (_, first):
            await until_it_runs(engine, 1)
            async with raw_client(r.port, raw_post(CHAT, asking(stream=stream))) as (_, second):
                while len(r.log.started) < 2:  # noqa: ASYNC110 - within the next turns of the loop
                    await asyncio.sleep(0)
                second.close()
                await r.log.until_ended(1, SOON_S)
            first.close()
            await r.log.until_ended(2, SOON_S)
        answer = await c.post(r.url + CHAT, content=asking(stream=False, tokens=1), headers=JSON)
        await r.log.until_ended(3)
    assert answer.status_code == 200
    assert [ended.call for ended in r.log.ended] == [r.log.started[n].call for n in (1, 0, 2)]
