"""How late the event loop is: what every call waits for while something else holds it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from .histogram import MOMENTS, Histogram

EVERY_S = 0.1
"""Between two looks: ten timers a second cost some hundred microseconds of a core."""
WINDOW_S = 60.0


class LoopLag:
    """`lags`: of a timer that is due every tenth of a second. What holds the loop for less than that may be missed, and what holds
    it for long is seen once, at its full length or nearly."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.lags = Histogram(MOMENTS)
        self._clock = clock
        self._worst = 0.0
        self._worst_before = 0.0
        self._window_ends = clock() + WINDOW_S

    def worst_s(self) -> float:
        """Of the last one to two minutes. A scrape each quarter of a minute would hardly ever meet a loop that is held."""
        self._turn(self._clock())
        return max(self._worst, self._worst_before)

    async def watch(self) -> None:
        """Until cancelled."""
        while True:
            due = self._clock() + EVERY_S
            await asyncio.sleep(EVERY_S)
            self.see(due, self._clock())

    def see(self, due: float, now: float) -> None:
        lag = max(0.0, now - due)
        self.lags.note(lag)
        self._turn(now)
        self._worst = max(self._worst, lag)

    def _turn(self, now: float) -> None:
        if now < self._window_ends:
            return
        # Of a window in which nobody looked nothing is known.
        self._worst_before = self._worst if now < self._window_ends + WINDOW_S else 0.0
        self._worst = 0.0
        self._window_ends = now + WINDOW_S
