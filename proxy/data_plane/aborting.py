"""Tells engines of calls for which nobody waits any more: they do not notice it themselves where an answer is not streamed.

An engine that does not answer must not keep others, or orders and questions to itself, from being sent: so each is told of a few
calls at a time, and of none that was given up long ago.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field

from scalesim.engine_adapters.base import EngineAdapter, EngineError

AT_ONCE = 8
"""To one engine."""
MOST = 4096
"""That are under way or wait, to all engines together."""
TIMEOUT_S = 5.0
"""From when it was asked for. By then most answers have ended by themselves."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Line:
    """To one engine."""

    places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))
    tasks: int = 0


class Aborts:
    def __init__(self, *, timeout_s: float = TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        self._running: set[asyncio.Task[None]] = set()
        self._lines: dict[EngineAdapter, _Line] = {}

    def sizes(self) -> dict[str, int]:
        return {"aborts_in_flight": len(self._running)}

    def soon(self, to: EngineAdapter, request_id: str) -> None:
        """Nobody waits for it."""
        if len(self._running) >= MOST:
            _log.warning("a call for which nobody waits was not aborted: %d others are to be", MOST)
            return
        task = asyncio.create_task(self._abort(to, request_id))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def drained(self) -> None:
        """Waits (a few seconds at most) for those that are under way: to be called before adapters are closed."""
        if self._running:
            await asyncio.wait(self._running)

    async def _abort(self, to: EngineAdapter, request_id: str) -> None:
        line = self._lines.setdefault(to, _Line())
        line.tasks += 1
        try:
            async with asyncio.timeout(self._timeout_s), line.places:
                await to.abort(request_id)
        except (EngineError, TimeoutError) as exc:
            _log.warning("a call for which nobody waits could not be aborted: %s", exc or "no answer in time")
        finally:
            line.tasks -= 1
            if not line.tasks:
                del self._lines[to]
