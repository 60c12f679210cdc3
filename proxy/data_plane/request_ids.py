"""The ASGI app in front of all others for clients: each request has an id, by which its client, our log and its engine mean the same.

The client's own (`X-Request-ID`) is taken where it is fit for a log; else one is made. The engine is sent it, and whatever we
answer carries it. An engine that gives its answers ids of its own keeps them, under another name.
"""

from __future__ import annotations

import re
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable

from scalesim.proxy.logs import request_id

from .asgi import Message, Receive, Scope, Send

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
        headers = scope["headers"]
        given = [value for name, value in headers if name == REQUEST_ID]
        if len(given) == 1 and _FIT.fullmatch(given[0]):
            own = given[0]
        else:
            own = secrets.token_hex(16).encode()
            kept = [one for one in headers if one[0] != REQUEST_ID] if given else headers
            scope["headers"] = [*kept, (REQUEST_ID, own)]
        request_id.set(own.decode())
        answers = self._answers

        async def send_named(message: Message) -> None:
            if message["type"] == "http.response.start":
                answers[message["status"]] += 1
                message["headers"] = _named(message["headers"], own)
            await send(message)

        await self._app(scope, receive, send_named)


def _named(headers: list[tuple[bytes, bytes]], own: bytes) -> list[tuple[bytes, bytes]]:
    """A new list: the one that is given may be kept for others."""
    named = [
        (OF_THE_ENGINE if name == REQUEST_ID else name, value)
        for name, value in headers
        if name != REQUEST_ID or value != own
    ]
    named.append((REQUEST_ID, own))
    return named
