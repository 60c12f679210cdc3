"""A client that asks checked calls over a connection of its own, and may misbehave: leave early, or read slowly."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass
from enum import Enum
from types import TracebackType
from typing import Self

from .bench_proxy.http1 import Malformed, Message, Messages
from .checked_calls import CheckedCall, Ending, Kind, ending_of

READ_BYTES = 1 << 16
SLOW_READ_BYTES = 256
SLOW_PAUSE_S = 0.02
SLOW_WINDOW_BYTES = 4096


class Manner(Enum):
    """How a client behaves while it is answered."""

    PLAIN = "plain"
    LEAVES_BEFORE = "leaves before the first byte"
    LEAVES_AMID = "leaves after the first byte"
    READS_SLOWLY = "reads slowly"


@dataclass(frozen=True, slots=True)
class Place:
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> Place:
        host, _, port = url.removeprefix("http://").rpartition(":")
        return cls(host, int(port))

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class Asker:
    """One after the other, on one connection as long as it lasts. To be left when it is not needed any more."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._slow = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.drop()

    def drop(self) -> None:
        """The connection is gone at once, whatever is under way on it."""
        if self._writer is not None:
            self._writer.transport.abort()
        self._reader = self._writer = None

    async def ask(
        self,
        call: CheckedCall,
        patience_s: float,
        manner: Manner = Manner.PLAIN,
        *,
        leaves_after_s: float = 0.01,
    ) -> Ending:
        """Never raises, whatever the other side does. `leaves_after_s` is for those who leave before the first byte."""
        try:
            async with asyncio.timeout(patience_s):
                return await self._ask(call, manner, leaves_after_s)
        except TimeoutError:
            self.drop()
            return Ending(Kind.LATE, f"no whole answer within {patience_s:g} s")
        except asyncio.CancelledError:
            self.drop()
            raise

    async def _ask(self, call: CheckedCall, manner: Manner, leaves_after_s: float) -> Ending:
        slow = manner is Manner.READS_SLOWLY
        if self._slow != slow:
            self.drop()
        if self._writer is None or self._reader is None or self._reader.at_eof():
            try:
                self._reader, self._writer = await _connected(self._place, slow=slow)
            except OSError as exc:
                return Ending(Kind.UNREACHED, str(exc))
            self._slow = slow
        try:
            self._writer.write(call.request)
            await self._writer.drain()
            if manner is Manner.LEAVES_BEFORE:
                await asyncio.sleep(leaves_after_s)
                self.drop()
                return Ending(Kind.LEFT)
            if manner is Manner.LEAVES_AMID:
                await self._reader.read(1)
                self.drop()
                return Ending(Kind.LEFT)
            message = await self._answer(self._reader, slow=slow)
        except (OSError, EOFError) as exc:
            self.drop()
            return Ending(Kind.BROKEN, str(exc) or type(exc).__name__)
        except Malformed as exc:
            self.drop()
            return Ending(Kind.WRONG, str(exc))
        if message.closes:
            self.drop()
        return ending_of(call, message)

    async def _answer(self, reader: asyncio.StreamReader, *, slow: bool) -> Message:
        messages = Messages()
        while True:
            data = await reader.read(SLOW_READ_BYTES if slow else READ_BYTES)
            if not data:
                raise EOFError("the connection was closed before the answer's end")
            if (message := messages.feed(data)) is not None:
                return message
            if slow:
                await asyncio.sleep(SLOW_PAUSE_S)


async def _connected(place: Place, *, slow: bool) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if not slow:
        return await asyncio.open_connection(place.host, place.port)
    # So little is taken ahead that the other side notices.
    sock = socket.socket()
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SLOW_WINDOW_BYTES)
    try:
        await asyncio.get_running_loop().sock_connect(sock, (place.host, place.port))
    except BaseException:
        sock.close()
        raise
    return await asyncio.open_connection(sock=sock, limit=SLOW_WINDOW_BYTES)
