"""A wire between two processes that can be cut: a TCP proxy in this process, under the test's command."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

READ_BYTES = 1 << 16
BEAT_S = 0.02
"""Between two pieces of what is throttled."""
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER for no time: closing sends a reset."""


@dataclass(slots=True, eq=False)
class _Pair:
    near: asyncio.StreamWriter
    far: asyncio.StreamWriter


class Cutter:
    """Carries bytes both ways between whoever connects and `port`, as its attributes say at the moment.

    `delay_s` is added to each piece, `bytes_per_s` limits what comes back, and after `drop_after_bytes` of it a
    connection is reset.
    """

    def __init__(self, port: int) -> None:
        self.delay_s = 0.0
        self.bytes_per_s: float | None = None
        self.drop_after_bytes: int | None = None
        self.carried = 0
        """Connections that were accepted."""
        self._target = port
        self._open = asyncio.Event()
        self._open.set()
        self._is_cut = False
        self._pairs: set[_Pair] = set()
        self._carrying: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        self.reset()
        for task in list(self._carrying):
            task.cancel()
        await asyncio.gather(*self._carrying, return_exceptions=True)

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def open_connections(self) -> int:
        return len(self._pairs)

    def cut(self) -> None:
        """Resets all connections, and every new one, until `heal`."""
        self._is_cut = True
        self.reset()

    def reset(self) -> None:
        """All connections there are, once."""
        for pair in list(self._pairs):
            for writer in (pair.near, pair.far):
                _reset(writer)

    def stall(self) -> None:
        """Nothing passes any more, and nobody is told: as a cable that was pulled. New connections are accepted, and silent."""
        self._open.clear()

    def heal(self) -> None:
        self._is_cut = False
        self._open.set()

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.carried += 1
        task = asyncio.create_task(self._carry(reader, writer))
        self._carrying.add(task)
        task.add_done_callback(self._carrying.discard)
        task.add_done_callback(lambda _: writer.transport.abort())

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._open.wait()
        if self._is_cut:
            _reset(writer)
            return
        try:
            far_reader, far = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            _reset(writer)
            return
        pair = _Pair(writer, far)
        self._pairs.add(pair)
        try:
            async with asyncio.TaskGroup() as ways:
                ways.create_task(self._way(reader, far, comes_back=False))
                ways.create_task(self._way(far_reader, writer, comes_back=True))
        finally:
            self._pairs.discard(pair)
            far.transport.abort()

    async def _way(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, comes_back: bool
    ) -> None:
        passed = 0
        with suppress(OSError):  # the other way ends it, too
            while data := await reader.read(READ_BYTES):
                await self._open.wait()
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                if comes_back and self.drop_after_bytes is not None:
                    data = data[: max(0, self.drop_after_bytes - passed)]
                passed += len(data)
                await self._write(writer, data, self.bytes_per_s if comes_back else None)
                if comes_back and self.drop_after_bytes is not None and passed >= self.drop_after_bytes:
                    _reset(writer)
                    return
        # What one side has ended, the other learns of.
        writer.close()

    async def _write(self, writer: asyncio.StreamWriter, data: bytes, bytes_per_s: float | None) -> None:
        if bytes_per_s is None:
            writer.write(data)
            await writer.drain()
            return
        piece = max(1, int(bytes_per_s * BEAT_S))
        for at in range(0, len(data), piece):
            writer.write(data[at : at + piece])
            await writer.drain()
            await asyncio.sleep(piece / bytes_per_s)


def _reset(writer: asyncio.StreamWriter) -> None:
    sock: socket.socket | None = writer.get_extra_info("socket")
    with suppress(OSError):  # it is closed already
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
