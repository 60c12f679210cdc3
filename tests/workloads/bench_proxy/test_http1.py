from __future__ import annotations

import pytest

from scalesim.workloads.bench_proxy.http1 import Malformed, Message, Messages, chunk, dechunked

WITH_LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n1;x=y\r\n!\r\n0\r\n\r\n"
REQUEST = b"GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (WITH_LENGTH, Message(b"http/1.1 200 ok", b"hello", False)),
        (CHUNKED, Message(b"http/1.1 200 ok", b"hello!", False)),
        (REQUEST, Message(b"get /health http/1.1", b"", True)),
    ],
)
def test_a_message_is_whole_at_its_last_byte_however_it_is_cut(raw: bytes, message: Message) -> None:
    for cut in range(len(raw)):
        messages = Messages()
        assert messages.feed(raw[:cut]) is None or cut == 0
        assert messages.feed(raw[cut:]) == message
    messages = Messages()
    assert [messages.feed(raw[at : at + 1]) for at in range(len(raw))][-1] == message


def test_one_message_comes_after_the_other() -> None:
    messages = Messages()
    for raw in (WITH_LENGTH, CHUNKED, WITH_LENGTH):
        assert messages.feed(raw[:30]) is None
        assert messages.feed(raw[30:]) is not None


def test_a_chunk_that_looks_like_the_last_one_is_not() -> None:
    data = b"x\r\n0\r\n\r\n"
    messages = Messages()
    first = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(data)[:-2]
    assert first.endswith(b"\r\n0\r\n\r\n")
    assert messages.feed(first) is None
    assert messages.feed(b"\r\n0\r\n\r\n") == Message(b"http/1.1 200 ok", data, False)


def test_chunks_with_line_ends_in_them_are_read_as_those_without() -> None:
    parts = [b"a\r\nb", b"plain", b"\r\n", b"0\r\n\r\nc"]
    wire = b"".join(map(chunk, parts)) + b"0\r\n\r\n"
    assert dechunked(wire, 0) == b"".join(parts)
    assert dechunked(b"in front" + wire, 8) == b"".join(parts)


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (WITH_LENGTH + b"more", "4 bytes behind the end"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "tells no length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "is no length"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nhello\r\n0\r\n\r\n", "is no size of a chunk"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhello\r\n0\r\n\r\n",
            "does not end there",
        ),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n0\r\n\r\n", "behind the last chunk"),
        (b"x" * 70_000, "no head ends"),
    ],
)
def test_what_is_no_message_is_refused(raw: bytes, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        Messages().feed(raw)
