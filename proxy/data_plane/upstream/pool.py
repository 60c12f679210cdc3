"""The connections to one engine: bounded, used again while they are young, and shared out in the order of asking.

Nobody overtakes: a connection that gets free, and a place for a new one, go to whoever has waited longest, and not to
whoever asks next. (Where newcomers may take what was meant for those who wait, some of 256 callers wait for seconds.)
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable

from scalesim.proxy.errors import UpstreamBusy, UpstreamTimedOut, UpstreamUnreachable

from .connection import Connection
from .origin import Origin

KEEP_ALIVE_S = 2.0
"""Less than the 5 s after which engines on uvicorn close idle connections: a POST on a connection that is just being
closed fails, and cannot be sent again without knowing whether it was received."""


class Pool:
    """`emptied` is told when it holds nothing any more, and nobody waits."""

    def __init__(
        self,
        origin: Origin,
        loop: asyncio.AbstractEventLoop,
        *,
        connect_timeout_s: float,
        max_connections: int,
        max_waiting: int,
        tls: ssl.SSLContext | None,
        emptied: Callable[[], None],
    ) -> None:
        self.origin = origin
        self._loop = loop
        self._connect_timeout_s = connect_timeout_s
        self._max_connections = max_connections
        self._max_waiting = max_waiting
        self._tls = tls
        self._emptied = emptied
        self._open = 0
        """With those that are being opened, or may be by who was told so."""
        self._connections: set[Connection] = set()
        self._idle: dict[Connection, None] = {}
        """The longest idle first. Only while nobody waits."""
        self._waiters: deque[asyncio.Future[Connection | None]] = deque()
        self._sweep: asyncio.TimerHandle | None = None
        self._is_closed = False

    def configure(self, *, connect_timeout_s: float, max_connections: int) -> None:
        """Connections beyond a lower number are not cut: it holds as they go. Those who wait for one are first served by what
        becomes free."""
        self._connect_timeout_s, self._max_connections = connect_timeout_s, max_connections

    @property
    def open(self) -> int:
        return self._open

    @property
    def idle(self) -> int:
        return len(self._idle)

    @property
    def waiting(self) -> int:
        return len(self._waiters)

    def take(self) -> Connection | None:
        """An idle connection that is good, if there is one: the one used last."""
        while self._idle:
            connection, _ = self._idle.popitem()
            if self._is_young(connection) and connection.is_quiet():
                return connection
            connection.close()
        return None

    async def get(self) -> Connection:
        """A connection, waiting for one if need be. Raises `UpstreamBusy`, `UpstreamTimedOut` and `UpstreamUnreachable`."""
        first_in_line = False
        while True:
            if (connection := self.take()) is not None:
                return connection
            if self._open < self._max_connections:
                self._open += 1
                return await self._connect()
            given = await self._turn(first_in_line)
            if given is None:
                return await self._connect()
            if given.is_quiet():
                return given
            given.close()
            first_in_line = True  # it was its turn

    def give_back(self, connection: Connection) -> None:
        """Its answer has come whole; another request may follow on it."""
        if self._is_closed:
            connection.close()
        elif (waiter := self._next_in_line()) is not None:
            waiter.set_result(connection)
        else:
            connection.idle_since = self._loop.time()
            self._idle[connection] = None
            if self._sweep is None:
                self._sweep = self._loop.call_later(KEEP_ALIVE_S, self._close_the_old)

    def drop_idle(self) -> None:
        while self._idle:
            self._idle.popitem()[0].close()

    def close(self) -> None:
        """At once. Who waits is told that the engine is unreachable."""
        self._is_closed = True
        if self._sweep is not None:
            self._sweep.cancel()
        while (waiter := self._next_in_line()) is not None:
            waiter.set_exception(UpstreamUnreachable("the proxy is closing"))
        for connection in self._connections:
            connection.close()

    async def _connect(self) -> Connection:
        """On a place that was counted already."""
        connection = Connection(self._loop, self.give_back, self._lost)
        try:
            async with asyncio.timeout(self._connect_timeout_s) as limit:
                await self._loop.create_connection(
                    lambda: connection,
                    self.origin.host,
                    self.origin.port,
                    ssl=self._tls,
                )
        except (OSError, UnicodeError) as exc:
            connection.close()
            self._vacate()
            if limit.expired():
                raise UpstreamTimedOut(f"no connection within {self._connect_timeout_s:g} s") from exc
            raise UpstreamUnreachable(str(exc) or type(exc).__name__) from exc
        except BaseException:
            connection.close()
            self._vacate()
            raise
        if self._is_closed or not connection.is_open:
            connection.close()
            self._vacate()
            raise UpstreamUnreachable("the connection was closed as soon as it was open")
        self._connections.add(connection)
        return connection

    async def _turn(self, first_in_line: bool) -> Connection | None:
        """Waits for a free connection; None: for a place to open one, counted already."""
        if len(self._waiters) >= self._max_waiting:
            raise UpstreamBusy(
                f"all {self._max_connections} connections are in use, and {self._max_waiting} calls wait for one"
            )
        waiter: asyncio.Future[Connection | None] = self._loop.create_future()
        if first_in_line:
            self._waiters.appendleft(waiter)
        else:
            self._waiters.append(waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
            elif not waiter.cancelled() and waiter.exception() is None:
                # It was its turn in the very moment in which it was cancelled.
                given = waiter.result()
                if given is None:
                    self._vacate()
                elif given.is_open:
                    self.give_back(given)
            raise

    def _next_in_line(self) -> asyncio.Future[Connection | None] | None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                return waiter
        return None

    def _vacate(self) -> None:
        """A place for a connection is free."""
        if not self._is_closed and (waiter := self._next_in_line()) is not None:
            waiter.set_result(None)
            return
        self._open -= 1
        if not self._open:
            self._emptied()

    def _lost(self, connection: Connection) -> None:
        self._idle.pop(connection, None)
        if connection in self._connections:  # else it was lost while it was opened
            self._connections.remove(connection)
            self._vacate()

    def _is_young(self, connection: Connection) -> bool:
        return self._loop.time() - connection.idle_since < KEEP_ALIVE_S

    def _close_the_old(self) -> None:
        self._sweep = None
        for connection in [one for one in self._idle if not self._is_young(one)]:
            del self._idle[connection]
            connection.close()
        if self._idle:
            oldest = next(iter(self._idle))
            self._sweep = self._loop.call_at(oldest.idle_since + KEEP_ALIVE_S, self._close_the_old)
