from __future__ import annotations

import asyncio

import pytest

from scalesim.proxy.data_plane.head_first import HeadFirst

pytestmark = pytest.mark.anyio

LARGE = b"x" * 100_000


class Wire(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.writes: list[object] = []
        self.closed = False

    def write(self, data: object) -> None:
        assert not self.closed
        self.writes.append(data)

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


def on(wire: Wire) -> HeadFirst:
    return HeadFirst(wire, asyncio.get_running_loop())


async def test_a_short_answer_is_one_write() -> None:
    wire = Wire()
    answer = on(wire)
    answer.write(b"head ")
    answer.write(b"body")
    await asyncio.sleep(0)
    assert wire.writes == [b"head body"]


async def test_a_head_without_a_body_yet_goes_out_in_the_same_turn_and_chunks_as_they_come() -> None:
    wire = Wire()
    answer = on(wire)
    answer.write(b"head")
    await asyncio.sleep(0)
    assert wire.writes == [b"head"]
    answer.write(b"1")
    answer.write(b"2")
    assert wire.writes == [b"head", b"1", b"2"]


async def test_a_large_body_is_not_copied() -> None:
    wire = Wire()
    answer = on(wire)
    answer.write(b"head")
    answer.write(LARGE)
    assert wire.writes == [b"head", LARGE]
    assert wire.writes[1] is LARGE


async def test_a_head_alone_is_not_lost_when_its_connection_is_closed_after_it() -> None:
    wire = Wire()
    answer = on(wire)
    answer.write(b"head")
    answer.close()
    assert wire.writes == [b"head"]
    assert answer.is_closing()


async def test_nothing_is_written_to_a_connection_that_somebody_else_has_closed() -> None:
    wire = Wire()
    on(wire).write(b"head")
    wire.close()
    await asyncio.sleep(0)
    assert wire.writes == []
