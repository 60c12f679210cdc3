"""The head of an answer goes out with the beginning of its body, if that is there in the same turn of the loop.

A server writes one after the other, and a write is the dearest thing that is done for a call: for a short answer the second one
cost as much as all that is done for its connection to the engine.
"""

from __future__ import annotations

import asyncio

_JOINED_BYTES = 64 * 1024
"""More is not copied behind a head: that would cost more than a second write."""


class HeadFirst:
    """Stands in front of the transport, for one answer. The first thing that is written waits for the second, until the loop's
    turn is over; all else goes on as it comes."""

    __slots__ = ("_head", "_loop", "_transport", "_writes_on")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._head: bytes = b""
        self._writes_on = False
        """The first has come."""

    def write(self, data: bytes) -> None:
        if not self._writes_on:
            self._writes_on = True
            self._head = data
            self._loop.call_soon(self._flush)
        elif self._head and len(data) <= _JOINED_BYTES:
            head, self._head = self._head, b""
            self._transport.write(head + data)
        else:
            self._flush()
            self._transport.write(data)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def _flush(self) -> None:
        head, self._head = self._head, b""
        if head and not self._transport.is_closing():
            self._transport.write(head)
