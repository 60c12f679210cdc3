"""The ASGI app in front of all others for clients: each request has an id, by which its client, our log and its engine mean the same.

The client's own (`X-Request-ID`) is taken where it is fit for a log; else one is made. The engine is sent it, and whatever we
answer carries it. An engine that gives its answers ids of its own keeps them, under another name.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Awaitable, Callable

from scalesim.proxy.logs import request_id

from .asgi import Message, Receive, Scope, Send
from .headers import Headers

REQUEST_ID = b"x-request-id"
OF_THE_ENGINE = b"x-engine-request-id"
_FIT = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")
"""Nothing that ends a line, or that a terminal would act on."""


class RequestIds:
    """`answers` counts what clients were answered, by status."""

    def __init__(
        self, app: Callable[[Scope, Receive, Send], Awaitable[None]], answers: Counter[int] | None = None
    ) -> None:
        self._app = app
        self._answers = Counter[int]() if answers is None else answers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # The headers stay as they are: a client that names its retries is not to be taken for one by what is made here.
        given = [value for name, value in scope["headers"] if name == REQUEST_ID]
        fits = len(given) == 1 and _FIT.fullmatch(given[0]) is not None
        own = given[0] if fits else os.urandom(16).hex().encode()
        request_id.set(own.decode())
        answers = self._answers

        async def send_named(message: Message) -> None:
            if message["type"] == "http.response.start":
                answers[message["status"]] += 1
                message["headers"] = _named(message["headers"], own)
            await send(message)

        await self._app(scope, receive, send_named)


def carried(headers: Headers) -> Headers:
    """For the engine, of the request that is served: with its id in place of what the client sent."""
    own = request_id.get()
    if not own:
        return headers
    return [*(one for one in headers if one[0] != REQUEST_ID), (REQUEST_ID, own.encode())]


def _named(headers: Headers, own: bytes) -> Headers:
    """A new list: the one that is given may be kept for others."""
    named = [
        (OF_THE_ENGINE if name == REQUEST_ID else name, value)
        for name, value in headers
        if name != REQUEST_ID or value != own
    ]
    named.append((REQUEST_ID, own))
    return named
