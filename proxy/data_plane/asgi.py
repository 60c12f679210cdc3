"""The little of ASGI that the data plane needs: its types, reading a body, and a whole JSON answer."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

import orjson

from ..errors import BodyTooLarge, CallRefused, error_body
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


async def tell(send: Send, message: Message) -> None:
    """Sends it. Raises `ClientGone`."""
    try:
        await send(message)
    except OSError as exc:  # ASGI servers may raise it when nobody listens
        raise ClientGone from exc


async def answer_error(send: Send, status: int, kind: str, message: str, *more: tuple[bytes, bytes]) -> None:
    """A whole answer in the form that OpenAI's clients show to their users. `more`: headers besides."""
    await answer_json(send, status, error_body(status, kind, message), *more)


async def answer_refusal(send: Send, refusal: CallRefused) -> None:
    await answer_json(send, refusal.status, refusal.body(), *retry_after(refusal.retry_after_s))


def retry_after(wait_s: float | None) -> list[tuple[bytes, bytes]]:
    """The header, if there is anything to say: in whole seconds, and none too early."""
    return [] if wait_s is None else [(b"retry-after", b"%d" % max(1, math.ceil(wait_s)))]


async def answer_json(
    send: Send, status: int, content: Mapping[str, object], *more: tuple[bytes, bytes]
) -> None:
    body = orjson.dumps(content)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *more]
    await tell(send, {"type": "http.response.start", "status": status, "headers": headers})
    await tell(send, {"type": "http.response.body", "body": body})


async def refuse_websocket(receive: Receive, send: Send) -> None:
    """Answers the handshake with a 403: engines are spoken to over HTTP only."""
    await receive()
    await send({"type": "websocket.close", "code": 1008, "reason": "only HTTP is relayed"})
