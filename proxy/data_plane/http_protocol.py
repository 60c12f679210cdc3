"""uvicorn's HTTP protocol with a limit on the bytes of a request's head, which it does not have itself.

Without it a header that never ends fills the memory before the app hears of the request.
"""

from __future__ import annotations

from typing import Any

import orjson
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

MAX_HEAD_BYTES = 64 * 1024

_MESSAGE = f"the request's headers have more than the limit of {MAX_HEAD_BYTES} bytes"
_BODY = orjson.dumps({"error": {"message": _MESSAGE, "type": "request_too_large", "code": 431}})
_ANSWER = (
    STATUS_LINE[431]
    + b"content-type: application/json\r\nconnection: close\r\n"
    + b"content-length: %d\r\n\r\n" % len(_BODY)
    + _BODY
)


class _HeadTooLarge(Exception):
    """Stops the parser."""


class BoundedHttpProtocol(HttpToolsProtocol):
    """To be given to `uvicorn.Config` as `http`. Answers 431 and closes; trailers count like headers, bodies do not."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._withheld_bytes = 0
        """What the parser was fed since it last completed a head or gave out some body."""
        self._head_is_too_large = False

    def data_received(self, data: bytes) -> None:
        self._withheld_bytes += len(data)
        super().data_received(data)
        if self._withheld_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self._refuse()

    def on_headers_complete(self) -> None:
        # A whole head may come in one piece, with some of its body.
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if size > MAX_HEAD_BYTES:
            self._head_is_too_large = True
            raise _HeadTooLarge
        self._withheld_bytes = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._withheld_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._withheld_bytes = 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """uvicorn's way out when the parser stops."""
        if self._head_is_too_large:
            self._refuse()
        else:
            super().send_400_response(msg)

    def _refuse(self) -> None:
        # In the middle of an earlier request's answer there is no place for another one.
        if self.cycle is None or self.cycle.response_complete:
            self.transport.write(_ANSWER)
        self.transport.close()
