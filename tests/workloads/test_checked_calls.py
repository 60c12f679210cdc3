from __future__ import annotations

import asyncio
from contextlib import suppress

import httpx
import pytest

from scalesim.engine_adapters.emulated import EmulatedEngine
from scalesim.workloads.asking import Asker, Manner, Place
from scalesim.workloads.bench_proxy.http1 import Message
from scalesim.workloads.checked_calls import RIGHT, Kind, checked_call, ending_of
from tests.support.asking import ask_once
from tests.support.patience import PATIENCE_S, soon
from tests.support.serve import serve

pytestmark = pytest.mark.anyio

OK = b"http/1.1 200 ok"


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("tokens", [1, 24])
async def test_the_emulated_engine_says_what_is_expected_of_it_again_and_again(
    streams: bool, tokens: int
) -> None:
    async with serve(EmulatedEngine().app) as url, Asker(Place.of(url)) as asker:
        call = checked_call("engine", "ann", "What now?", tokens, streams=streams)
        for _ in range(3):
            assert await asker.ask(call, PATIENCE_S) == RIGHT


async def test_an_answer_to_another_call_is_wrong() -> None:
    ann, bob = (checked_call("engine", name, "What now?", 8, streams=False) for name in ("ann", "bob"))
    async with serve(EmulatedEngine().app) as url, httpx.AsyncClient(trust_env=False) as http:
        body = bob.request.partition(b"\r\n\r\n")[2]
        answer = await http.post(f"{url}/v1/chat/completions", content=body)
    assert ending_of(bob, Message(OK, answer.content, False)) == RIGHT
    assert ending_of(ann, Message(OK, answer.content, False)).kind is Kind.WRONG


@pytest.mark.parametrize("body", [b"", b"{}", b"data: [DONE]\n\n", b'data: {"choices": []}\n\n'])
def test_what_is_no_answer_is_wrong_and_no_crash(body: bytes) -> None:
    for streams in (False, True):
        call = checked_call("engine", "ann", "What now?", 8, streams=streams)
        assert ending_of(call, Message(OK, body, False)).kind is Kind.WRONG


def test_an_error_is_a_refusal_with_its_status() -> None:
    call = checked_call("engine", "ann", "What now?", 8, streams=False)
    ending = ending_of(call, Message(b"http/1.1 502 bad gateway", b"gone", False))
    assert (ending.kind, ending.status, ending.told) == (Kind.REFUSED, 502, "gone")


async def test_nobody_there_and_half_an_answer_are_told_apart() -> None:
    call = checked_call("engine", "ann", "What now?", 8, streams=False)

    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")
        writer.close()

    server = await asyncio.start_server(half, "127.0.0.1", 0)
    place = Place("127.0.0.1", server.sockets[0].getsockname()[1])
    async with server:
        assert (await ask_once(place, call, PATIENCE_S)).kind is Kind.BROKEN
    assert (await ask_once(place, call, PATIENCE_S)).kind is Kind.UNREACHED


async def test_who_gets_no_answer_in_time_has_waited_in_vain() -> None:
    call = checked_call("engine", "ann", "What now?", 8, streams=False)

    left = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            await reader.read()
        writer.transport.abort()
        left.set()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with server:
        ending = await ask_once(Place("127.0.0.1", server.sockets[0].getsockname()[1]), call, 0.02)
        await soon(left.wait(), PATIENCE_S)
    assert ending.kind is Kind.LATE


@pytest.mark.parametrize("manner", [Manner.LEAVES_BEFORE, Manner.LEAVES_AMID])
async def test_a_client_that_leaves_ends_its_call_in_the_engine(manner: Manner) -> None:
    engine = EmulatedEngine(decode_s_per_token=0.005)
    async with serve(engine.app) as url, Asker(Place.of(url)) as asker:
        call = checked_call("engine", "ann", "What now?", 2000, streams=True)
        assert (await asker.ask(call, PATIENCE_S, manner)).kind is Kind.LEFT

        async def idle() -> None:
            while not engine.scheduler.idle:  # noqa: ASYNC110 - the engine has no event for it
                await asyncio.sleep(0.001)

        await soon(idle(), 1.0)


async def test_a_slow_reader_gets_it_all_in_the_end() -> None:
    async with serve(EmulatedEngine().app) as url, Asker(Place.of(url)) as asker:
        call = checked_call("engine", "ann", "What now?", 4, streams=True)
        assert await asker.ask(call, PATIENCE_S, Manner.READS_SLOWLY) == RIGHT
        assert await asker.ask(call, PATIENCE_S) == RIGHT
