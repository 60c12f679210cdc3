"""Answers that several requests wait for: what `joining` decides, for tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from .headers import Headers
from .joining import First, Joined, Joins, Kept, Name, Shared


class Sharing:
    """`come` says what a request is. The task of the `First` generates the answer, and tells of it:

    copying = create_task(copy())             # calls `see` with each chunk, `ended` in its `finally`
    # once the first client has gone:
    await sharing.until_unwanted(call)        # nobody came back for it, or it has ended
    copying.cancel()

    A `Joined` one awaits `answer`; None means: `come` again.
    """

    def __init__(self, joins: Joins, clock: Callable[[], float]) -> None:
        self._joins = joins
        self._clock = clock
        self._waiting: dict[Shared, set[asyncio.Future[None]]] = {}

    def sizes(self) -> dict[str, int]:
        return {**self._joins.sizes(), "joined_waiters": sum(map(len, self._waiting.values()))}

    def come(self, name: Name) -> First | Joined | Kept | None:
        """None: it has nothing to do with any other. Raises `KeyReused` and `KeyInUse`."""
        came = self._joins.come(name, self._clock())
        if isinstance(came, Joined):
            self._wake(came.call)
        return came

    def see(self, call: Shared, chunk: bytes) -> None:
        self._joins.see(call, chunk)
        if not call.is_shared:
            self._wake(call)

    def ended(self, call: Shared, status: int | None = None, headers: Headers | None = None) -> None:
        """With the head of its answer, if that came whole."""
        self._joins.ended(call, self._clock(), status, headers)
        self._wake(call)

    async def answer(self, call: Shared) -> Kept | None:
        """Of a call that was joined; None if it gave none that could be shared. Cancelling leaves it."""
        try:
            while call.runs and call.is_shared:
                await self._changed(call, None)
        finally:
            self._joins.leave(call, self._clock())
            self._wake(call)
        return call.answer

    async def until_unwanted(self, call: Shared) -> None:
        """The first client has gone. Returns once nobody has waited for the answer for as long as is allowed, or it has come."""
        self._joins.leave(call, self._clock())
        while call.runs:
            left_s = None if call.wanted_until is None else call.wanted_until - self._clock()
            if left_s is not None and left_s <= 0:
                return
            await self._changed(call, left_s)

    async def _changed(self, call: Shared, timeout_s: float | None) -> None:
        woken = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(call, set()).add(woken)
        try:
            await asyncio.wait((woken,), timeout=timeout_s)
        finally:
            waiting = self._waiting.get(call)
            if waiting is not None:
                waiting.discard(woken)
                if not waiting:
                    del self._waiting[call]

    def _wake(self, call: Shared) -> None:
        for woken in self._waiting.pop(call, ()):
            if not woken.done():
                woken.set_result(None)
