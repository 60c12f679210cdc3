"""The little of ASGI that the data plane needs: its types, reading a body, and a whole JSON answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import orjson

from ..errors import BodyTooLarge
from .headers import Headers, single

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class ClientGone(Exception):
    """The client closed its connection: nobody is left to answer."""


async def read_body(headers: Headers, receive: Receive, max_bytes: int) -> bytes:
    """The whole body. Raises `BodyTooLarge` as soon as it is certain, and `ClientGone`."""
    declared = single(headers, b"content-length")
    if declared is not None and declared.isdecimal() and int(declared) > max_bytes:
        raise BodyTooLarge(f"the request body has {declared} bytes; the limit is {max_bytes}")
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > max_bytes:
            raise BodyTooLarge(f"the request body has more than the limit of {max_bytes} bytes")
        chunks.append(chunk)
        if not message.get("more_body", False):
            return b"".join(chunks)


async def raise_when_gone(receive: Receive) -> None:
    """Never returns: raises `ClientGone`. To be started once the body was read."""
    while (await receive())["type"] != "http.disconnect":
        pass
    raise ClientGone


async def answer_error(send: Send, status: int, kind: str, message: str, *more: tuple[bytes, bytes]) -> None:
    """A whole answer in the form that OpenAI's clients show to their users. `more`: headers besides."""
    body = orjson.dumps({"error": {"message": message, "type": kind, "code": status}})
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *more]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def refuse_websocket(receive: Receive, send: Send) -> None:
    """Answers the handshake with a 403: engines are spoken to over HTTP only."""
    await receive()
    await send({"type": "websocket.close", "code": 1008, "reason": "only HTTP is relayed"})
