"""The sockets on which clients and operators reach us, and how serving them ends."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

import uvicorn
from starlette.types import ASGIApp

from scalesim.proxy.data_plane.door import Door
from scalesim.proxy.data_plane.http_protocol import BoundedHttpProtocol
from scalesim.proxy.errors import ScaleSimError

log = logging.getLogger(__name__)

CLOSING_S = 2.0
"""For calls that were cut off to tell the engine so."""
CLIENT_SILENT_S = 60
"""A client whose machine does not answer, or that takes nothing of what waits for it, for so long is gone."""
CLIENT_IDLE_S = 75
"""Idle connections of clients are kept so long: longer than clients keep them (httpx 5 s). Who closes first must be the client: a
request that crosses with our closing is lost, and it cannot know whether it was received."""

TAKEN_AT_ONCE = 16
"""New connections, in a turn of the loop. uvloop takes one for each socket that listens (libuv does since 1.45), so each is listened
on under so many descriptors. With one a turn, and a turn as long as all requests that are there, the last of 256 clients that
come together waits for seconds."""


class CannotListen(ScaleSimError):
    """A listener could not be opened: choose another port, or stop who has it."""


class Listener(uvicorn.Server):
    """One of several in a process: signals are left to `serve`, and who waits for it can tell when it listens."""

    def __init__(
        self, app: ASGIApp, door: Door, context: ssl.SSLContext | None, *, drain_s: float = 20.0
    ) -> None:
        """`drain_s`: so long running requests may take to end."""
        super().__init__(
            uvicorn.Config(
                app,
                # All that uvicorn does with it is to call it.
                http=cast("Any", partial(BoundedHttpProtocol, door=door)),
                ssl_context_factory=None if context is None else lambda *_: context,
                timeout_keep_alive=CLIENT_IDLE_S,
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="warning",
                access_log=False,
                proxy_headers=False,
                server_header=False,  # the engine's own headers go through
                date_header=False,
            )
        )
        self.listening = asyncio.Event()
        self.drain_s = drain_s

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        more = [one.dup() for one in sockets or () for _ in range(TAKEN_AT_ONCE - 1)]
        await super().startup(None if sockets is None else [*sockets, *more])
        self.listening.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """New connections are refused from now on: who starts in our place may have the port. Those that are open stay until
        nothing runs any more, so that who sends a request on one is answered, and not left without a word."""
        for server in self.servers:
            server.close()
        for one in sockets or ():
            one.close()
        while self.server_state.tasks:
            await asyncio.wait(self.server_state.tasks)
        await super().shutdown(sockets)

    async def end(self, serving: asyncio.Task[None], hurry: asyncio.Event) -> None:
        """Takes no more connections and lets running requests finish, within `drain_s` and until `hurry`."""
        self.should_exit = True
        hurried = asyncio.create_task(hurry.wait())
        await asyncio.wait({serving, hurried}, timeout=self.drain_s, return_when=asyncio.FIRST_COMPLETED)
        hurried.cancel()
        if serving.done():
            return
        requests = list(self.server_state.tasks)
        log.warning("%d requests are cut off", len(requests))
        for request in requests:
            request.cancel()
        self.force_exit = True
        await asyncio.wait({serving}, timeout=CLOSING_S)
        serving.cancel()


def listening_socket(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """It listens here and not only in the server, so that a port in use is an error with a name (two sockets may be
    bound to a port of which only one can listen), and port 0 can be looked up. `shared`: with other processes that say so, too.
    Raises `CannotListen`."""
    listener = bound_socket(host, port, shared=shared)
    try:
        listener.listen()
    except OSError as exc:
        listener.close()
        raise CannotListen(f"cannot listen on {host}, port {port}: {exc.strerror}") from exc
    return listener


def bound_socket(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """It has the port, and takes no connections. Raises `CannotListen`."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as exc:
        raise CannotListen(f"cannot listen on {host}, port {port}: {exc.strerror}") from exc
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        _notice_the_vanished(listener)
        listener.bind(address)
    except OSError as exc:
        listener.close()
        raise CannotListen(f"cannot listen on {host}, port {port}: {exc.strerror}") from exc
    return listener


def _notice_the_vanished(listener: socket.socket) -> None:
    """Accepted connections inherit it: a client that vanished without a word must not hold its call for ever."""
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    # Not every system has them. Without the first, two hours of silence go by before anybody asks.
    for name, value in (("TCP_KEEPIDLE", CLIENT_SILENT_S), ("TCP_USER_TIMEOUT", CLIENT_SILENT_S * 1000)):
        if (option := getattr(socket, name, None)) is not None:
            listener.setsockopt(socket.IPPROTO_TCP, option, value)


def url_of(listener: socket.socket, context: ssl.SSLContext | None) -> str:
    host, port = listener.getsockname()[:2]
    scheme = "http" if context is None else "https"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
