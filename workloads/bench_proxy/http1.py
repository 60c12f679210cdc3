"""As much of HTTP/1.1 as mock and load generator need: whole messages out of what comes. Pure.

No library is in it, since both ends have to be faster than the proxies between them. One message is under way at a time:
nobody pipelines here, so more bytes than one message has are an error.
"""

from __future__ import annotations

from typing import NamedTuple

LAST_CHUNK = b"0\r\n\r\n"
MAX_HEAD_BYTES = 64 * 1024


class Malformed(Exception):
    """It is not HTTP as it is spoken here; the text says what came."""


class Message(NamedTuple):
    start: bytes
    """The first line, in small letters."""
    body: bytes
    closes: bool
    """Whether the sender closes the connection after it."""


class _Head(NamedTuple):
    start: bytes
    length: int | None
    """None if the body is chunked."""
    size: int
    closes: bool


class Messages:
    """What comes on one connection, cut into messages."""

    __slots__ = ("_head", "_held", "_least")

    def __init__(self) -> None:
        self._held = bytearray()
        self._head: _Head | None = None
        self._least = 0
        """Bytes below which the message cannot be whole."""

    def feed(self, data: bytes) -> Message | None:
        """The message, once it is whole. Raises `Malformed`, after which nothing more can be fed."""
        whole: bytes | bytearray = data  # the usual case is that one read has all, and nothing is copied
        if self._held:
            self._held += data
            whole = self._held
        message = self._cut(whole) if len(whole) >= self._least else None
        if message is not None:
            self._held = bytearray()
            self._head = None
            self._least = 0
        elif not self._held:
            self._held += data
        return message

    def _cut(self, whole: bytes | bytearray) -> Message | None:
        if self._head is None:
            self._head = _head_of(whole)
            if self._head is None:
                return None
            length = self._head.length
            self._least = self._head.size + (len(LAST_CHUNK) if length is None else length)
            if len(whole) < self._least:
                return None
        start, length, size, closes = self._head
        if length is None:
            body = dechunked(whole, size) if whole.endswith(LAST_CHUNK) else None
            return None if body is None else Message(start, body, closes)
        if len(whole) > self._least:
            raise Malformed(f"{len(whole) - self._least} bytes behind the end of a message")
        return Message(start, bytes(whole[size:]), closes)


def dechunked(data: bytes | bytearray, at: int) -> bytes | None:
    """The body whose chunks begin `at`; None if its end is not there yet. Raises `Malformed`."""
    if (body := _dechunked_by_lines(bytes(data[at:]))) is not None:
        return body
    parts: list[bytes] = []
    while True:
        line_end = data.find(b"\r\n", at)
        if line_end < 0:
            return None
        try:
            size = int(data[at:line_end].partition(b";")[0], 16)
        except ValueError:
            raise Malformed(f"{bytes(data[at:line_end])!r:.64} is no size of a chunk") from None
        begin = line_end + 2
        at = begin + size + 2
        if at > len(data):
            return None
        if data[at - 2 : at] != b"\r\n":
            raise Malformed(f"a chunk of {size} bytes does not end there")
        if size == 0:
            if at < len(data):
                raise Malformed(f"{len(data) - at} bytes behind the last chunk")
            return b"".join(parts)
        parts.append(bytes(data[begin : begin + size]))


def _dechunked_by_lines(data: bytes) -> bytes | None:
    """The same for bodies that hold no CRLF themselves, in a fifth of the time; None if it may be another one."""
    lines = data.split(b"\r\n")
    if lines[-3:] != [b"0", b"", b""]:
        return None
    parts = lines[1:-3:2]
    try:
        sizes = [int(size, 16) for size in lines[:-3:2]]
    except ValueError:
        return None
    return b"".join(parts) if sizes == list(map(len, parts)) and 0 not in sizes else None


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _head_of(data: bytes | bytearray) -> _Head | None:
    end = data.find(b"\r\n\r\n")
    if end < 0:
        if len(data) > MAX_HEAD_BYTES:
            raise Malformed(f"no head ends within {MAX_HEAD_BYTES} bytes")
        return None
    head = bytes(data[:end]).lower()
    start, _, _ = head.partition(b"\r\n")
    closes = b"\r\nconnection: close" in head
    length: int | None
    if (told := _value_of(b"content-length", head)) is not None:
        if not told.isdigit():
            raise Malformed(f"{told!r:.64} is no length")
        length = int(told)
    elif b"chunked" in (_value_of(b"transfer-encoding", head) or b""):
        length = None
    elif start.startswith(b"http/"):
        raise Malformed("an answer that tells no length")
    else:
        length = 0
    return _Head(start, length, end + 4, closes)


def _value_of(name: bytes, head: bytes) -> bytes | None:
    at = head.find(b"\r\n%b:" % name)
    if at < 0:
        return None
    at += len(name) + 3
    end = head.find(b"\r\n", at)
    return head[at : end if end >= 0 else len(head)].strip()
