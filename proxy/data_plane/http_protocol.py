"""uvicorn's HTTP protocol with what it does not have itself: limits on a request's head and on the time that it takes, and
no doubt about where a request ends.

Without the first a header that never ends fills the memory before the app hears of the request; without the second a
handful of machines that say a byte a minute hold all connections. Of doubts lives who smuggles a request past somebody in
front of us who reads it otherwise.
"""

from __future__ import annotations

import asyncio
from enum import Enum
from http import HTTPStatus
from typing import Any, cast

import orjson
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from scalesim.proxy.access.connections import body_is_late, head_is_late
from scalesim.proxy.access.rates import origin_of

from .asgi import Scope
from .door import Door
from .head_first import HeadFirst
from .leaving import LEAVING, Leaving

MAX_HEAD_BYTES = 64 * 1024
MAX_HEADERS = 256
RETRY_AFTER_S = 1
"""Said to those who find no room: connections end all the time."""


def _answer(status: HTTPStatus, kind: str, message: str, *headers: bytes) -> bytes:
    body = orjson.dumps({"error": {"message": message, "type": kind, "code": status.value}})
    lines = [b"content-type: application/json", b"connection: close", *headers]
    return (
        STATUS_LINE[status]
        + b"".join(line + b"\r\n" for line in lines)
        + b"content-length: %d\r\n\r\n" % len(body)
        + body
    )


def _malformed(message: str, status: HTTPStatus = HTTPStatus.BAD_REQUEST) -> bytes:
    return _answer(status, "invalid_request_error", message)


_TOO_LARGE = _answer(
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    "request_too_large",
    f"the request's headers have more than the limit of {MAX_HEAD_BYTES} bytes",
)
_TOO_MANY = _answer(
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    "request_too_large",
    f"the request has more than the limit of {MAX_HEADERS} headers",
)
_TOO_SLOW = _answer(HTTPStatus.REQUEST_TIMEOUT, "request_timed_out", "the request did not come in time")
_VERSION = _malformed("only HTTP/1.1 and HTTP/1.0 are spoken here", HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)
_TUNNEL = _malformed("CONNECT: nothing is tunnelled here", HTTPStatus.METHOD_NOT_ALLOWED)
_HOST = _malformed("there must be one Host header")
_CODING = _malformed(
    "Transfer-Encoding: nothing but chunked, once and over HTTP/1.1, is taken", HTTPStatus.NOT_IMPLEMENTED
)
_UPGRADE = _malformed(
    "a request that wants to upgrade its connection cannot have a body; send it without the Upgrade header, "
    "over HTTP/1.1 (in Java: HttpClient.Version.HTTP_1_1)",
    HTTPStatus.NOT_IMPLEMENTED,
)


class _Awaited(Enum):
    """What we wait for from the client."""

    HEAD = 1
    BODY = 2
    NOTHING = 3


class _BadHead(Exception):
    """Stops the parser."""


class _Early(Exception):
    """Stops the parser: a request came before the answer to the one before it.

    It is not served, and the connection ends with that answer (RFC 9112, 9.3.2 has the client send it again). uvicorn would
    stop reading until then, and so hear too late, or never, that the client of the running call has left.
    """


class BoundedHttpProtocol(HttpToolsProtocol):
    """To be given to `uvicorn.Config` as `http`, with its `door` if there is one. Refuses and closes; trailers count like
    headers, bodies do not."""

    def __init__(self, *args: Any, door: Door | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._door = door
        self._withheld_bytes = 0
        """What the parser was fed since it last completed a head or gave out some body."""
        self._refusal: bytes | None = None
        self._awaited = _Awaited.HEAD
        self._waited_s = 0.0
        self._body_bytes = 0
        self._leaving: Leaving | None = None
        """Of who waits for the answer to the last request that came whole."""
        self._is_last = False
        """Nothing more is read but the end of the connection."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if self._door is None:
            return
        refusal = self._door.enter(self, origin_of(self.client[0]) if self.client else "")
        if refusal is not None:
            retry = b"retry-after: %d" % RETRY_AFTER_S
            answer = _answer(HTTPStatus.SERVICE_UNAVAILABLE, "too_many_connections", refusal, retry)
            self.transport.write(answer)
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._door is not None:
            self._door.leave(self)
        super().connection_lost(exc)
        if self._leaving is not None:
            self._leaving.tell()

    def data_received(self, data: bytes) -> None:
        if self._is_last or self.transport.is_closing():  # what still comes of one that was refused
            return
        self._withheld_bytes += len(data)
        super().data_received(data)
        if self._withheld_bytes > MAX_HEAD_BYTES and not (self._is_last or self.transport.is_closing()):
            self._refuse(_TOO_LARGE)

    def on_message_begin(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._is_last = True
            raise _Early
        self._await(_Awaited.HEAD)
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._refusal = self._fault()
        if self._refusal is not None:
            raise _BadHead
        self._withheld_bytes = 0
        self._await(_Awaited.BODY)
        self._leaving = Leaving()
        cast(Scope, self.scope)[LEAVING] = self._leaving
        super().on_headers_complete()
        # All that it does with it is to write, to close, and to ask whether it closes.
        self.cycle.transport = cast(asyncio.Transport, HeadFirst(self.transport, self.loop))
        # The scope has them. What comes behind a body in chunks is no header, and must not become one of a request whose
        # headers may have been looked at.
        self.headers = []
        if self.parser.should_upgrade():
            # The parser drops what comes with such a request: nobody could say where the next one begins.
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        self._withheld_bytes = 0
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._withheld_bytes = 0
        self._awaited = _Awaited.NOTHING
        super().on_message_complete()

    def waited(self, passed_s: float) -> None:
        """Told by the door."""
        if self.transport.is_closing():
            return
        is_answering = self.cycle is not None and not self.cycle.response_complete
        if self._awaited is _Awaited.BODY:
            if self.flow.read_paused:  # it is we who keep the client waiting
                return
            self._waited_s += passed_s
            if body_is_late(self._waited_s, self._body_bytes):
                self._refuse(_TOO_SLOW)
        elif not is_answering and (self._awaited is _Awaited.HEAD or self._withheld_bytes):
            # uvicorn sees to the time between two requests, but takes an empty line for the next one.
            self._waited_s += passed_s
            if head_is_late(self._waited_s):
                self._refuse(_TOO_SLOW)

    def send_400_response(self, msg: str) -> None:
        """uvicorn's way out when the parser stops."""
        if self._is_last:
            # Who waits for an answer to what came early sees its connection end.
            self.cycle.keep_alive = False
        elif self._refusal is not None:
            self._refuse(self._refusal)
        elif self._may_answer():
            super().send_400_response(msg)
        else:
            self.transport.close()

    def _await(self, what: _Awaited) -> None:
        self._awaited = what
        self._waited_s = 0.0
        self._body_bytes = 0

    def _fault(self) -> bytes | None:
        """Why this head is not taken. A whole head may come in one piece, with some of its body."""
        size, hosts, coding, has_body = len(self.url), 0, None, False
        for name, value in self.headers:
            size += len(name) + len(value)
            if name == b"host":
                hosts += 1
            elif name == b"transfer-encoding":
                coding, has_body = value.strip().lower(), True
            elif name == b"content-length":
                has_body = value.strip(b"0 ") != b""
        version = self.parser.get_http_version()
        if size > MAX_HEAD_BYTES:
            return _TOO_LARGE
        if len(self.headers) > MAX_HEADERS:
            return _TOO_MANY
        if version not in ("1.1", "1.0"):
            return _VERSION
        if self.parser.get_method() == b"CONNECT":
            return _TUNNEL
        if hosts > 1 or (not hosts and version == "1.1"):
            return _HOST
        if coding is not None and (coding != b"chunked" or version == "1.0"):
            return _CODING
        if has_body and self.parser.should_upgrade():
            return _UPGRADE
        return None

    def _may_answer(self) -> bool:
        """In the middle of an answer there is no place for another one. Before it has begun there is, as long as it is the
        one to the request that we are reading."""
        if self.cycle is None or self.cycle.response_complete:
            return True
        return self._awaited is _Awaited.BODY and not self.cycle.response_started and not self.pipeline

    def _refuse(self, answer: bytes) -> None:
        if self._may_answer():
            self.transport.write(answer)
        self.transport.close()
