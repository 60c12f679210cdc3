"""One answer on its way: filled by its connection, emptied by whoever relays it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol, Self

from scalesim.proxy.errors import UpstreamBroke, UpstreamOverran, UpstreamSilent, UpstreamStalled

from ..headers import Headers

MAX_HELD_BYTES = 64 * 1024
"""Of an answer whose client does not take it, before its connection is not read from any more. One read of up to 256 KB may
come on top."""


class Source(Protocol):
    """Where an answer comes from, until it is there whole."""

    def resume(self) -> None:
        """Reads on."""
        ...

    def close(self) -> None:
        """At once."""
        ...

    def give_up(self, fault: UpstreamBroke) -> None:
        """Closes, and has the answer fail by `fault`."""
        ...


class Answer:
    """An engine's answer, begun. Iterate over its raw bytes once, and close it whatever happens.

    Bytes that have come since the last look are given as one chunk.
    """

    __slots__ = (
        "_between_s",
        "_chunks",
        "_ended",
        "_fault",
        "_held_bytes",
        "_loop",
        "_source",
        "_total",
        "_waiter",
        "headers",
        "heard",
        "status",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, source: Source, between_s: float | None) -> None:
        """`between_s`: the longest silence between two chunks; None: for ever."""
        self.status = 0
        """0 until it has begun."""
        self.headers: Headers = []
        """As they were sent, in their order."""
        self.heard = False
        """Whether a single byte has come, be it of an answer or not."""
        self._loop = loop
        self._source: Source | None = source
        self._between_s = between_s
        self._chunks: list[bytes] = []
        self._held_bytes = 0
        self._ended = False
        self._fault: UpstreamBroke | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._total: asyncio.TimerHandle | None = None

    @property
    def is_whole(self) -> bool:
        """Whether what was given out is all of it."""
        return self._ended and self._fault is None and not self._chunks

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """Raises `UpstreamBroke` once all is taken that came."""
        chunks = self._chunks
        while not chunks:
            if self._fault is not None:
                raise self._fault
            if self._ended:
                raise StopAsyncIteration
            await self._news(self._between_s, self._stalled)
        chunk = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        was_held, self._held_bytes = self._held_bytes, 0
        if was_held > MAX_HELD_BYTES and self._source is not None:
            self._source.resume()
        return chunk

    def close(self) -> None:
        """Does not wait for anybody: what has not come by now closes the connection to the engine."""
        if self._source is not None:
            self._source.close()

    async def begun(self, first_byte_s: float | None) -> None:
        """Waits for the status and the headers. Raises `UpstreamBroke`."""
        while not self.status:
            if self._fault is not None:
                raise self._fault
            await self._news(first_byte_s, self._silent)

    def end_at(self, due_at: float, total_s: float) -> None:
        """Fails then, on the loop's clock, if it is not there whole; `total_s` is told as the reason."""
        self._total = self._loop.call_at(due_at, self._overran, total_s)

    # What follows is for its source.

    def begin(self, status: int, headers: Headers) -> None:
        self.status, self.headers = status, headers
        self._wake()

    def feed(self, chunk: bytes) -> None:
        self._chunks.append(chunk)
        self._held_bytes += len(chunk)
        self._wake()

    @property
    def is_full(self) -> bool:
        return self._held_bytes > MAX_HELD_BYTES

    def finish(self, fault: UpstreamBroke | None = None) -> None:
        """Nothing follows. `fault`: why not, if it is not whole."""
        self._ended, self._fault, self._source = True, fault, None
        if self._total is not None:
            self._total.cancel()
        self._wake()

    def _wake(self) -> None:
        """Tells who waits that there is something new. Nobody else may, or bytes that are no news would put off time-outs."""
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def _news(self, limit_s: float | None, expired: Callable[[float], None]) -> None:
        self._waiter = self._loop.create_future()
        if limit_s is None:
            await self._waiter
            return
        timer = self._loop.call_later(limit_s, expired, limit_s)
        try:
            await self._waiter
        finally:
            timer.cancel()

    def _silent(self, limit_s: float) -> None:
        self._give_up(UpstreamSilent(f"no answer began within {limit_s:g} s"))

    def _stalled(self, limit_s: float) -> None:
        self._give_up(UpstreamStalled(f"nothing more of the answer came for {limit_s:g} s"))

    def _overran(self, limit_s: float) -> None:
        self._give_up(UpstreamOverran(f"the answer was not there whole within {limit_s:g} s"))

    def _give_up(self, fault: UpstreamBroke) -> None:
        if self._source is not None:
            self._source.give_up(fault)
