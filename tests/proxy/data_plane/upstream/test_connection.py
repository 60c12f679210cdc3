"""Bytes in, an answer out: whatever an engine says, and wherever its bytes are cut."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalesim.proxy.data_plane.upstream.answer import MAX_HELD_BYTES, Answer
from scalesim.proxy.data_plane.upstream.connection import MAX_HEAD_BYTES, Connection
from scalesim.proxy.errors import UpstreamBroke

T = TypeVar("T")


class Wire(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self._socket = socket.socket()
        self.written = bytearray()
        self.writes: list[int] = []
        self.full: Callable[[], None] | None = None
        """Called after each write."""
        self.reading = True
        self.closed = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._socket if name == "socket" else default

    def write(self, data: Any) -> None:
        self.written += data
        self.writes.append(len(data))
        if self.full is not None:
            self.full()

    def is_closing(self) -> bool:
        return self.closed

    def abort(self) -> None:
        self.closed = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def done(self) -> None:
        self._socket.close()


class Scene:
    """A connection of which everything is done by the test. Nothing here ever waits, so there is no loop behind it."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.freed: list[Connection] = []
        self.lost: list[Connection] = []
        self.connection = Connection(asyncio.AbstractEventLoop(), self.freed.append, self.lost.append)
        self.connection.connection_made(wire)

    def ask(self, method: str = "POST", body: bytes = b"") -> Answer:
        return self.connection.ask(b"HEAD\r\n\r\n", body, is_head=method == "HEAD", between_s=None)

    def hear(self, *pieces: bytes) -> None:
        for piece in pieces:
            if not self.wire.closed:
                self.connection.data_received(piece)

    def end(self, exc: Exception | None = None) -> None:
        self.connection.eof_received()
        self.connection.connection_lost(exc)

    def body(self, answer: Answer) -> bytes:
        """All that came. Raises what it failed by."""

        async def whole() -> bytes:
            return b"".join([chunk async for chunk in answer])

        return at_once(whole())


def at_once(doing: Awaitable[T]) -> T:
    """Its result. What waits for anything fails the test."""
    steps = doing.__await__()
    try:
        next(steps)
    except StopIteration as end:
        result: T = end.value
        return result
    raise AssertionError("it waits")


@contextmanager
def opened() -> Iterator[Scene]:
    wire = Wire()
    try:
        yield Scene(wire)
    finally:
        wire.done()


@pytest.fixture
def scene() -> Iterator[Scene]:
    with opened() as one:
        yield one


# One answer of each framing: its bytes, status, body, whether another request may follow, and whether it ends with the connection.
ANSWERS: list[tuple[bytes, int, bytes, bool, bool]] = [
    (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, b"hello", True, False),
    (b"HTTP/1.1 404 \r\nContent-Length: 0\r\n\r\n", 404, b"", True, False),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n", 200, b"hello", True, False),
    (b"HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Trailer: 1\r\nB:\r\n\r\n", 200, b"hello", True, False),
    (b"HTTP/1.1 200 OK\r\nContent-Type: a/b\r\n\r\nhello", 200, b"hello", False, True),
    (b"HTTP/1.0 200 OK\r\n\r\nhello", 200, b"hello", False, True),
    (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello", 200, b"hello", False, False),
    (b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, b"hello", False, False),
    (b"HTTP/1.1 204 No Content\r\nX: y\r\n\r\n", 204, b"", True, False),
    (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n", 304, b"", True, False),
    (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, b"ok", True, False),
]  # fmt: skip


@pytest.mark.parametrize("answer", ANSWERS, ids=range(len(ANSWERS)))
@given(cuts=st.lists(st.integers(0, 300)))
@settings(max_examples=25, deadline=None)
def test_an_answer_is_the_same_wherever_its_bytes_are_cut(
    answer: tuple[bytes, int, bytes, bool, bool], cuts: list[int]
) -> None:
    said, status, body, keeps, until_closed = answer
    with opened() as scene:
        given_ = scene.ask()
        scene.hear(*cut(said, cuts))
        if until_closed:
            scene.end()
        assert given_.status == status
        assert scene.body(given_) == body
        assert scene.freed == ([scene.connection] if keeps else [])
        assert scene.wire.closed or keeps or until_closed


@pytest.mark.parametrize("answer", ANSWERS, ids=range(len(ANSWERS)))
def test_an_answer_may_come_a_byte_at_a_time(
    scene: Scene, answer: tuple[bytes, int, bytes, bool, bool]
) -> None:
    said, status, body, keeps, until_closed = answer
    given_ = scene.ask()
    scene.hear(*(said[at : at + 1] for at in range(len(said))))
    if until_closed:
        scene.end()
    assert (given_.status, scene.body(given_), bool(scene.freed)) == (status, body, keeps)


@pytest.mark.parametrize("answer", [one for one in ANSWERS if not one[4]], ids=range(9))
def test_an_answer_that_was_cut_off_is_never_whole(
    scene: Scene, answer: tuple[bytes, int, bytes, bool, bool]
) -> None:
    said = answer[0]
    for length in range(len(said)):
        with opened() as one:
            given_ = one.ask()
            one.hear(*cut(said[:length], []))
            one.end()
            with pytest.raises(UpstreamBroke, match="closed"):
                one.body(given_)
            assert one.freed == []
            assert given_.heard is (length > 0)


def test_an_answer_until_the_end_of_the_connection_needs_a_proper_end(scene: Scene) -> None:
    answer = scene.ask()
    scene.hear(b"HTTP/1.1 200 OK\r\n\r\nhalf of")
    scene.end(ConnectionResetError("reset by peer"))
    with pytest.raises(UpstreamBroke, match="reset by peer"):
        scene.body(answer)


@pytest.mark.parametrize("we_closed", [True, False])
def test_an_answer_until_the_end_of_the_connection_is_whole_only_if_the_engine_ended_it(
    scene: Scene, we_closed: bool
) -> None:
    answer = scene.ask()
    scene.hear(b"HTTP/1.1 200 OK\r\n\r\nhalf of")
    if we_closed:
        scene.connection.close()
    scene.connection.connection_lost(None)
    with pytest.raises(UpstreamBroke, match="closed"):
        scene.body(answer)


@pytest.mark.parametrize("length", [b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b""])
def test_an_answer_to_head_has_no_body_whatever_it_says(scene: Scene, length: bytes) -> None:
    answer = scene.ask("HEAD")
    scene.hear(b"HTTP/1.1 200 OK\r\n" + length + b"\r\n")
    assert scene.body(answer) == b""
    assert dict(answer.headers) == (dict([length.strip().split(b": ")]) if length else {})
    if scene.freed:
        second = scene.ask()
        scene.hear(b"HTTP/1.1 201 OK\r\nContent-Length: 2\r\n\r\nok")
        assert (second.status, scene.body(second)) == (201, b"ok")
    assert bool(scene.freed) is bool(length)


def test_headers_keep_their_order_their_case_and_their_bytes(scene: Scene) -> None:
    answer = scene.ask()
    scene.hear(b"HTTP/1.1 200 OK\r\nX-b: 2\r\nx-A:  \xff\r\nX-b: 1\r\nEmpty:\r\nContent-length: 0\r\n\r\n")
    assert answer.headers == [
        (b"X-b", b"2"),
        (b"x-A", b"\xff"),
        (b"X-b", b"1"),
        (b"Empty", b""),
        (b"Content-length", b"0"),
    ]


def test_trailers_are_no_headers(scene: Scene) -> None:
    answer = scene.ask()
    scene.hear(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Trailer: 1\r\n\r\n")
    assert answer.headers == [(b"Transfer-Encoding", b"chunked")]


def test_chunks_that_wait_are_given_as_one(scene: Scene) -> None:
    answer = scene.ask()
    scene.hear(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n", b"2\r\nlo\r\n")
    assert at_once(anext(answer)) == b"hello"


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"no HTTP at all\r\n\r\n", "Expected HTTP/"),
        (b"\x16\x03\x01\x02\x00\x01", "Expected HTTP/"),
        (b"HTTP/2 200\r\n\r\n", "no HTTP"),
        (b"HTTP/1.1 999 Odd\r\n\r\n", "the status 999"),
        (b"HTTP/1.1 099 Odd\r\n\r\n", "the status 99"),
        (b"HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n", "the status 101"),
        (b"HTTP/1.1 101 Switching\r\n\r\n", "the status 101"),
        (b"HTTP/1.1 200 OK\r\nX-Odd: a\x01b\r\n\r\n", "control characters in the header 'X-Odd'"),
        (b"HTTP/1.1 200 OK\r\nX-Odd: a\rb: c\r\n\r\n", "no HTTP"),
        (b"HTTP/1.1 200 OK\r\nX Odd: a\r\n\r\n", "no HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", "Content-Length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", "Content-Length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", "Transfer-Encoding"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "the transfer coding 'gzip, chunked'"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "the transfer coding 'gzip'"),
    ],
)  # fmt: skip
def test_what_cannot_be_passed_on_fails_the_answer_and_the_connection(
    scene: Scene, said: bytes, reason: str
) -> None:
    answer = scene.ask()
    scene.hear(said)
    with pytest.raises(UpstreamBroke, match="what came is no HTTP") as told:
        at_once(answer.begun(None))
    assert reason in str(told.value)
    assert scene.wire.closed
    assert scene.freed == []


def test_a_chunk_that_is_none_fails_the_answer_after_what_came(scene: Scene) -> None:
    answer = scene.ask()
    scene.hear(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n", b"zz\r\nlo\r\n")
    assert at_once(anext(answer)) == b"hel"
    with pytest.raises(UpstreamBroke, match="no HTTP"):
        scene.body(answer)
    assert scene.wire.closed


ENDLESS = [
    (b"HTTP/1.1 200 OK\r\nX: ", b"x" * 1000),
    (b"HTTP/1.1 200 OK\r\n", b"X: x\r\n" * 200),
    (b"HTTP/1.1 200 ", b"x" * 1000),
    (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 40),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X: x\r\n" * 200),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ", b"x" * 1000),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=", b"x" * 1000),
]


@pytest.mark.parametrize(("start", "again"), ENDLESS, ids=range(len(ENDLESS)))
def test_a_head_that_never_ends_is_cut_off(scene: Scene, start: bytes, again: bytes) -> None:
    answer = scene.ask()
    scene.hear(start)
    times = 0
    while not scene.wire.closed:
        scene.hear(again)
        times += 1
        assert times * len(again) <= MAX_HEAD_BYTES + len(again)
    with pytest.raises(UpstreamBroke, match="bytes of headers"):
        scene.body(answer)


def test_the_limit_of_a_head_does_not_depend_on_how_it_is_cut(scene: Scene) -> None:
    said = b"HTTP/1.1 200 OK\r\nX: " + b"x" * MAX_HEAD_BYTES + b"\r\nContent-Length: 2\r\n\r\nok"
    answer = scene.ask()
    scene.hear(said)
    with pytest.raises(UpstreamBroke, match="bytes of headers"):
        at_once(answer.begun(None))


def test_a_large_body_behind_a_small_head_is_no_large_head(scene: Scene) -> None:
    answer = scene.ask()
    scene.hear(b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + b"x" * 200_000)
    assert len(scene.body(answer)) == 200_000


@pytest.mark.parametrize("excess", [b"x", b"HTTP", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno", b"\x00", b"HTTP/1.1 101 x\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"])  # fmt: skip
@pytest.mark.parametrize("method", ["POST", "HEAD"])
def test_what_comes_after_an_answer_is_nobodys(scene: Scene, method: str, excess: bytes) -> None:
    """Were the connection used again, the next caller would be given it."""
    answer = scene.ask(method)
    scene.hear(
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n" + (b"ok" if method == "POST" else b"") + excess
    )
    assert scene.body(answer) == (b"ok" if method == "POST" else b"")
    assert scene.freed == []
    assert scene.wire.closed


def test_what_an_idle_connection_says_closes_it(scene: Scene) -> None:
    scene.ask()
    scene.hear(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert scene.freed == [scene.connection]
    scene.hear(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno")
    assert scene.wire.closed


def test_an_answer_nobody_takes_stops_the_reading(scene: Scene) -> None:
    answer = scene.ask()
    scene.hear(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    taken = held = 0
    for _ in range(10):
        while scene.wire.reading:
            scene.hear(b"x" * 1000)
            held += 1000
            assert held <= MAX_HELD_BYTES + 1000
        taken += len(at_once(anext(answer)))
        held = 0
        assert scene.wire.reading
    assert taken > 10 * MAX_HELD_BYTES


def test_a_connection_reads_on_for_its_next_caller(scene: Scene) -> None:
    scene.ask()
    scene.hear(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * 99_999)
    assert not scene.wire.reading
    scene.hear(b"x")  # was on its way
    assert scene.wire.reading
    assert scene.freed == [scene.connection]


def test_a_large_body_is_sent_as_fast_as_it_is_taken(scene: Scene) -> None:
    body = bytes(range(256)) * 8000
    scene.wire.full = scene.connection.pause_writing
    scene.ask(body=body)
    pieces = 0
    while len(scene.wire.written) < len(body):
        scene.wire.writes.clear()
        scene.connection.resume_writing()
        pieces += 1
        assert len(scene.wire.writes) == 1
    assert pieces > 4
    assert scene.wire.written.endswith(body)


def test_an_answer_before_the_end_of_its_request_is_taken_and_the_connection_closed(scene: Scene) -> None:
    scene.connection.pause_writing()
    answer = scene.ask(body=b"x" * 10_000_000)
    scene.hear(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
    assert (answer.status, scene.body(answer)) == (413, b"no")
    assert scene.freed == []
    assert scene.wire.closed


@given(said=st.binary(max_size=200), cuts=st.lists(st.integers(0, 200)), ends=st.booleans())
@settings(max_examples=300, deadline=None)
def test_no_garbage_is_ever_an_answer(said: bytes, cuts: list[int], ends: bool) -> None:
    with opened() as scene:
        answer = scene.ask()
        scene.hear(*cut(said, cuts))
        scene.end()
        with pytest.raises(UpstreamBroke):
            at_once(answer.begun(None))
        assert scene.lost == [scene.connection]


@given(
    at=st.integers(0, 120),
    byte=st.integers(0, 255),
    answer=st.sampled_from(ANSWERS),
    cuts=st.lists(st.integers(0, 200)),
)
@settings(max_examples=300, deadline=None)
def test_a_changed_byte_gives_an_answer_or_an_error_and_nothing_else(
    at: int, byte: int, answer: tuple[bytes, int, bytes, bool, bool], cuts: Sequence[int]
) -> None:
    said = bytearray(answer[0])
    said[at % len(said)] = byte
    with opened() as scene:
        given_ = scene.ask()
        scene.hear(*cut(bytes(said), cuts))
        scene.end()
        try:
            scene.body(given_)
        except UpstreamBroke:
            assert scene.freed == []
        assert scene.lost == [scene.connection]


def cut(said: bytes, cuts: Sequence[int]) -> list[bytes]:
    """Into pieces, none of them empty."""
    at = sorted({0, *(one for one in cuts if one < len(said)), len(said)})
    return [said[begin:end] for begin, end in itertools.pairwise(at)]
