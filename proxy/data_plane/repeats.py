"""Requests that their client may send again: the first is generated, and whoever comes with the same name gets that answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from .asgi import ClientGone, Message, Receive, Scope, Send, tell
from .headers import Headers
from .joining import First, Joined, Kept, Name, Shared, name_of
from .leaving import while_there
from .request import Request
from .sharing import Sharing

Generate = Callable[[Request, Send], Awaitable[None]]
"""Answers a request from beginning to end. Cancelled: nobody waits for it any more."""


def named(request: Request) -> Name | None:
    """None: it has nothing to do with any other. Raises `CallRefused`."""
    if not request.is_call:
        return None
    client = "" if request.key is None else request.key.name
    target = f"{request.raw_path}?{request.query}"
    return name_of(client, request.method, target, request.headers, request.body, request.parsed)


class Repeats:
    def __init__(self, sharing: Sharing, generate: Generate) -> None:
        self._sharing = sharing
        self._generate = generate

    def sizes(self) -> dict[str, int]:
        return self._sharing.sizes()

    async def answer(self, name: Name, request: Request, scope: Scope, receive: Receive, send: Send) -> bool:
        """False: it is to be served like any other, and nothing has happened. Raises `CallRefused` and `ClientGone`."""
        while True:
            match self._sharing.come(name):
                case First(call):
                    await self._first(call, request, scope, receive, send)
                case Joined(call):
                    kept = await while_there(scope, receive, self._sharing.answer(call))
                    if kept is None:
                        continue  # that failed, so this one may be the first now
                    await _give(kept, send)
                case Kept() as kept:
                    await _give(kept, send)
                case None:
                    return False
            return True

    async def _first(
        self, call: Shared, request: Request, scope: Scope, receive: Receive, send: Send
    ) -> None:
        client = _Client(send, self._sharing, call)
        generating = asyncio.create_task(self._generated(call, client, request))
        try:
            # In a task of its own: it may go on without this client, for who has joined or comes back.
            await while_there(scope, receive, asyncio.wait((generating,)))
        except ClientGone:
            client.is_gone = True
            await self._sharing.until_unwanted(call)
        finally:
            generating.cancel()
            await asyncio.wait((generating,))
        if not generating.cancelled():
            generating.result()

    async def _generated(self, call: Shared, client: _Client, request: Request) -> None:
        try:
            await self._generate(request, client.send)
        finally:
            if client.is_whole:
                self._sharing.ended(call, client.status, client.headers)
            else:
                self._sharing.ended(call)


class _Client:
    """The first, who may leave before its answer is there."""

    def __init__(self, send: Send, sharing: Sharing, call: Shared) -> None:
        self.is_gone = False
        self.is_whole = False
        self.status = 0
        self.headers: Headers = []
        self._send = send
        self._sharing = sharing
        self._call = call

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], message["headers"]
        else:
            self._sharing.see(self._call, message["body"])
            self.is_whole = not message.get("more_body", False)
        if not self.is_gone:
            try:
                await self._send(message)
            except OSError:  # as ASGI servers may tell that nobody listens
                self.is_gone = True


async def _give(kept: Kept, send: Send) -> None:
    await tell(send, {"type": "http.response.start", "status": kept.status, "headers": kept.headers})
    await tell(send, {"type": "http.response.body", "body": kept.body})
