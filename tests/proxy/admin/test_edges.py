from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from scalesim.proxy.admin.edges import LINE_LIMIT, Edges
from scalesim.proxy.admin.problems import Problem

pytestmark = pytest.mark.anyio


async def read(*chunks: bytes, limit: int = 100, agent_limit: int = 100) -> Edges:
    async def stream() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    edges = Edges(limit, agent_limit)
    await edges.read(stream())
    return edges


@pytest.mark.parametrize(
    "chunks",
    [
        [b'["Ann","Bob"]\n["Bob","C\xc3\xa9line"]\n'],
        [b'["Ann","Bob"]\n["Bob","C\xc3', b'\xa9line"]'],
        [b'\r\n["Ann", "Bob"]\r\n\n', b"", b'[" Bob","C\\u00e9line "]\n\n'],
        [bytes([byte]) for byte in b'["Ann","Bob"]\n["Bob","C\xc3\xa9line"]'],
    ],
)
async def test_lines_are_edges_however_they_are_cut(chunks: Sequence[bytes]) -> None:
    edges = await read(*chunks)
    assert list(edges) == [("Ann", "Bob"), ("Bob", "Céline")]
    assert list(edges.names) == ["Ann", "Bob", "Céline"]
    assert len(edges) == 2


async def test_nothing_is_no_edge() -> None:
    assert list(await read()) == []
    assert list(await read(b"\n \n")) == []


@pytest.mark.parametrize(
    "line",
    [
        b'["Ann"]',
        b'["Ann", "Bob", "Cem"]',
        b'["Ann", 7]',
        b'["Ann", null]',
        b'["Ann", ""]',
        b'["Ann", "B\\nb"]',
        b'{"Ann": "Bob"}',
        b'["Ann", "Bob"',
        b'["Ann", NaN]',
        b'"Ann"',
        b"\xff",
        b'["Ann", "' + b"b" * 257 + b'"]',
        b'["Ann", "' + b"b" * LINE_LIMIT + b'"]',
    ],
)
@pytest.mark.parametrize("end", [b"", b'\n["Ann", "Bob"]\n'])
async def test_the_first_bad_line_is_named(line: bytes, end: bytes) -> None:
    with pytest.raises(Problem, match=r"^line 3: .*; nothing was changed$") as refused:
        await read(b'["Ann", "Bob"]\n\n' + line + end)
    assert refused.value.status == 422


async def test_a_line_that_never_ends_is_not_held() -> None:
    told = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal told
        while True:
            told += 1000
            yield b"x" * 1000

    with pytest.raises(Problem, match="line 1: it is longer"):
        await Edges(1, 1).read(endless())
    assert told <= LINE_LIMIT + 1000


async def test_more_edges_than_there_is_room_for_are_refused_before_they_are_read() -> None:
    with pytest.raises(Problem, match="room for 2 edges") as refused:
        await read(b'["Ann", "Bob"]\n' * 3 + b"bad", limit=2)
    assert refused.value.status == 413


async def test_more_agents_than_there_can_be_are_refused_before_the_rest_is_read() -> None:
    with pytest.raises(Problem, match="room for 2 agents") as refused:
        await read(b'["Ann", "Bob"]\n["Bob", "Cem"]\nbad', agent_limit=2)
    assert refused.value.status == 413


async def test_others_get_their_turn_while_it_reads() -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(count())
    await read(b'["Ann", "Bob"]\n' * 2000, limit=2000)
    other.cancel()
    assert turns >= 9
