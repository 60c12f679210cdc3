"""One connection to an engine: a request at a time, and the bytes of its answer as they come.

Whoever owns it sees to it that nobody asks while it is busy. A connection that has said anything beyond its answer is never
used again: the next caller would be given what was meant for somebody else, or for nobody.
"""

from __future__ import annotations

import asyncio
import re
import select
import socket
from collections.abc import Callable
from typing import cast

import httptools

from scalesim.proxy.errors import UpstreamBroke

from ..headers import Headers, shown, text_of
from .answer import Answer

MAX_HEAD_BYTES = 64 * 1024
"""Of an answer's head, with all interim ones before it; and of what may come without a byte of body: trailers, extensions."""

ENGINE_SILENT_S = 60
"""An engine whose machine does not answer, or takes nothing of what was sent, for so long is gone."""

_JOINED_BYTES = 16 * 1024
"""Up to here a body is copied behind its head: that is cheaper than a second write."""

_PIECE_BYTES = 256 * 1024
"""Of a body, handed over at a time."""

_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


class _Unfit(Exception):
    """Stops the parser: the answer cannot be passed on."""


class Connection(asyncio.Protocol):
    """`freed` is told each time when an answer has come whole and another request may follow, `lost` once, at the end."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        freed: Callable[[Connection], None],
        lost: Callable[[Connection], None],
    ) -> None:
        self.requests = 0
        """Sent so far."""
        self.idle_since = 0.0
        """Kept by the owner."""
        self._loop = loop
        self._freed = freed
        self._lost = lost
        self._transport: asyncio.Transport | None = None
        self._poll = select.poll()
        self._parser: httptools.HttpResponseParser | None = None
        self._answer: Answer | None = None
        self._headers: Headers = []
        self._unsent: memoryview | None = None
        self._writes_full = False
        self._reads_paused = False
        self._is_head = False
        self._complete = False
        self._has_excess = False
        self._keeps_alive = False
        self._engine_ended = False
        self._withheld_bytes = 0
        """What came since the last byte of a body."""

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def is_quiet(self) -> bool:
        """Whether a request may be sent on an idle one. Asks the kernel: an engine that has just closed it, or has said
        something unasked, may have been heard by nobody yet."""
        return self.is_open and not self._poll.poll(0)

    def ask(self, head: bytes, body: bytes, *, is_head: bool, between_s: float | None) -> Answer:
        """Sends a request. `is_head`: its method is HEAD, whose answers have no body, whatever they say."""
        assert self._transport is not None
        answer = self._answer = Answer(self._loop, self, between_s)
        self.requests += 1
        self._is_head = is_head
        self._complete = self._has_excess = False
        self._withheld_bytes = 0
        if self._parser is None:
            self._parser = httptools.HttpResponseParser(self)
        if len(body) <= _JOINED_BYTES:
            self._transport.write(head + body)
        else:
            self._transport.write(head)
            self._unsent = memoryview(body)
            self._send_on()
        return answer

    def close(self) -> None:
        """At once: what is still to be sent is not, and an answer that is under way fails."""
        self.give_up(UpstreamBroke("its connection was closed from here"))

    # For the answer.

    def resume(self) -> None:
        if self._reads_paused and self.is_open:
            self._reads_paused = False
            cast(asyncio.Transport, self._transport).resume_reading()

    def give_up(self, fault: UpstreamBroke) -> None:
        answer, self._answer = self._answer, None
        self._unsent = None
        if self._transport is not None:
            self._transport.abort()
            # It holds this object, and of one that was given up while it was opened no loop says that it is lost: both would
            # stay until the collector comes round to them.
            self._transport = None
        if answer is not None:
            answer.finish(fault)

    # For the loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        sock = transport.get_extra_info("socket")
        self._poll.register(sock.fileno(), select.POLLIN)
        _notice_the_vanished(sock)

    def connection_lost(self, exc: Exception | None) -> None:
        answer, self._answer = self._answer, None
        if answer is not None:
            if self._engine_ended and exc is None and answer.status and not _has_length(answer.headers):
                answer.finish()  # its end is that of the connection
            else:
                where = "in the middle of its answer" if answer.heard else "before it answered"
                why = f"{where}: {exc}" if exc is not None and str(exc) else where
                answer.finish(UpstreamBroke(f"the connection was closed {why}"))
        # The first two hold this object, and this object them.
        self._parser = self._transport = self._unsent = None
        self._lost(self)

    def data_received(self, data: bytes) -> None:
        answer = self._answer
        if answer is None or self._parser is None:
            self.close()  # nobody asked
            return
        answer.heard = True
        self._withheld_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as exc:
            if not self._complete:
                self.give_up(_no_http(self._reason(exc, data)))
                return
            self._has_excess = True
        if self._complete:
            self._finish(answer)
        elif self._withheld_bytes > MAX_HEAD_BYTES:
            self.give_up(_no_http(f"more than {MAX_HEAD_BYTES} bytes of headers"))
        elif answer.is_full and not self._reads_paused:
            self._reads_paused = True
            cast(asyncio.Transport, self._transport).pause_reading()

    def eof_received(self) -> None:
        self._engine_ended = True

    def pause_writing(self) -> None:
        self._writes_full = True

    def resume_writing(self) -> None:
        self._writes_full = False
        self._send_on()

    # For the parser.

    def on_message_begin(self) -> None:
        if self._complete:
            self._has_excess = True
        self._headers = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        parser, answer = self._parser, self._answer
        assert parser is not None
        assert answer is not None
        status = parser.get_status_code()
        if self._complete or (100 <= status < 200 and status != 101):
            return  # an interim answer, or what comes after the answer: both are nobody's
        if not 200 <= status <= 599:
            raise _Unfit(f"the status {status}")
        headers, self._headers = self._headers, []  # what follows are trailers
        if self._withheld_bytes > MAX_HEAD_BYTES:
            # With some of its body, or else it is too large.
            size = sum(len(name) + len(value) for name, value in headers)
            if size > MAX_HEAD_BYTES:
                raise _Unfit(f"more than {MAX_HEAD_BYTES} bytes of headers")
        if (coding := _strange_coding(headers)) is not None:
            raise _Unfit(f"the transfer coding {shown(text_of(coding))}, for which nobody asked")
        self._withheld_bytes = 0
        self._keeps_alive = parser.should_keep_alive()
        answer.begin(status, headers)
        if self._is_head:
            self._complete = True

    def on_body(self, body: bytes) -> None:
        if self._complete:
            self._has_excess = True
        elif self._answer is not None and self._answer.status:
            self._withheld_bytes = 0
            self._answer.feed(body)

    def on_message_complete(self) -> None:
        if self._answer is not None and self._answer.status:
            self._complete = True

    def _finish(self, answer: Answer) -> None:
        """Not before all that came with its end was looked at."""
        self._answer = None
        if self._is_head:
            self._parser = None  # it still waits for the body
        answer.finish()
        self.resume()
        if self._keeps_alive and not self._has_excess and self._unsent is None and self.is_open:
            self._freed(self)
        else:
            self.close()

    def _send_on(self) -> None:
        while self._unsent is not None and not self._writes_full and self.is_open:
            piece, rest = self._unsent[:_PIECE_BYTES], self._unsent[_PIECE_BYTES:]
            self._unsent = rest if len(rest) else None
            cast(asyncio.Transport, self._transport).write(piece)

    def _reason(self, exc: Exception, data: bytes) -> str:
        if isinstance(exc.__context__, _Unfit):
            return str(exc.__context__)
        if self._answer is None or self._answer.status:
            return str(exc)
        # The parser says what is wrong, and not where.
        for line in data.split(b"\r\n"):
            name, colon, value = line.partition(b":")
            if colon and _CONTROL.search(value):
                return f"control characters in the header {shown(text_of(name))}"
        return str(exc)


def _no_http(reason: str) -> UpstreamBroke:
    return UpstreamBroke(f"what came is no HTTP: {reason}")


def _has_length(headers: Headers) -> bool:
    return any(name.lower() in (b"content-length", b"transfer-encoding") for name, _ in headers)


def _strange_coding(headers: Headers) -> bytes | None:
    """Other than `chunked`: the client would be given its bytes without being told."""
    for name, value in headers:
        # Of names that long there are few, and most answers have none of them.
        if len(name) == 17 and name.lower() == b"transfer-encoding" and value.strip().lower() != b"chunked":
            return value
    return None


def _notice_the_vanished(sock: socket.socket) -> None:
    """A machine that vanished without a word must not hold its calls for ever."""
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    # Not every system has them.
    for name, value in (("TCP_KEEPIDLE", ENGINE_SILENT_S), ("TCP_USER_TIMEOUT", ENGINE_SILENT_S * 1000)):
        if (option := getattr(socket, name, None)) is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
