"""How long tests wait. What a machine is too slow or too busy for is no failure of what is tested."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

Answer = TypeVar("Answer")

PATIENCE_S = 30.0
"""For what must come at some time. Only a test that fails waits so long."""
BEAT_S = 0.001
MOST_OF_A_BEAT_S = 0.005


async def soon(awaited: Awaitable[Answer], limit_s: float) -> Answer:
    """What is promised within `limit_s` seconds of a loop that runs. Raises `TimeoutError`.

    While the machine is away with other work, or takes long over a turn of the loop, the limit hardly moves: it is
    measured in beats of the very loop in which everything that is waited for happens.
    """
    coming = asyncio.ensure_future(awaited)
    limit = asyncio.create_task(_running(limit_s))
    try:
        await asyncio.wait({coming, limit}, return_when=asyncio.FIRST_COMPLETED)
        if not coming.done():
            raise TimeoutError(f"not within {limit_s:g} s")
        return coming.result()
    finally:
        for one in (coming, limit):
            one.cancel()
        await asyncio.gather(coming, limit, return_exceptions=True)


async def _running(seconds: float) -> None:
    """Ends when this loop has run for so long. Of a beat that comes late only the beginning counts."""
    clock = asyncio.get_running_loop().time
    while seconds > 0:
        before = clock()
        await asyncio.sleep(BEAT_S)
        seconds -= min(clock() - before, MOST_OF_A_BEAT_S)
