"""Virtual time: what happens next, and when. At the same moment, what was asked for first happens first."""

from __future__ import annotations

from collections.abc import Callable

import simpy
from simpy.events import Event


class Clock:
    def __init__(self) -> None:
        self._environment = simpy.Environment()

    @property
    def now(self) -> float:
        return float(self._environment.now)

    def after(self, seconds: float, do: Callable[[], None]) -> None:
        """Raises `ValueError` for a time that has passed."""

        def happened(_: Event) -> None:
            do()

        timeout = self._environment.timeout(seconds)
        assert timeout.callbacks is not None, "it has not happened yet"
        timeout.callbacks.append(happened)

    def at(self, moment: float, do: Callable[[], None]) -> None:
        """A moment that rounding puts a little before now is now."""
        self.after(max(0.0, moment - self.now), do)

    def run_until(self, done: Callable[[], bool]) -> None:
        """Raises `Stuck` if nothing is to happen any more before that."""
        while not done():
            try:
                self._environment.step()
            except simpy.core.EmptySchedule as exc:
                raise Stuck("nothing is left to happen, and somebody still waits") from exc


class Stuck(RuntimeError):
    """A fault of the model: whoever waits will wait for ever."""
