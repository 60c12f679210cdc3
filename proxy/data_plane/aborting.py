"""Tells engines of calls for which nobody waits any more: they do not notice it themselves where an answer is not streamed."""

from __future__ import annotations

import asyncio
import logging

from scalesim.engine_adapters.base import EngineAdapter, EngineError

_TIMEOUT_S = 5.0

_log = logging.getLogger(__name__)


class Aborts:
    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()

    def sizes(self) -> dict[str, int]:
        return {"aborts_in_flight": len(self._running)}

    def soon(self, to: EngineAdapter, request_id: str) -> None:
        """Nobody waits for it."""
        task = asyncio.create_task(_abort(to, request_id))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def drained(self) -> None:
        """Waits (a few seconds at most) for those that are under way: to be called before adapters are closed."""
        if self._running:
            await asyncio.wait(self._running)


async def _abort(to: EngineAdapter, request_id: str) -> None:
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            await to.abort(request_id)
    except (EngineError, TimeoutError) as exc:
        _log.warning("a call for which nobody waits could not be aborted: %s", exc or "no answer in time")
