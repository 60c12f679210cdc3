"""A simulation's own clock: its steps, and how long one takes."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from statistics import median

_INTERVALS = 8


@dataclass(slots=True)
class StepClock:
    """Counts the steps that have passed. It never goes back, whatever the simulation calls its steps.

    A simulation that starts over says step 0 after step 90: the count then stands still and goes on from there, so that
    distances told before keep their meaning.
    """

    passed: float = 0.0
    """Steps since the clock was made; moments on `Clock.STEPS` are values of this."""
    step: float = 0.0
    """What the simulation calls its current step."""
    ticked: bool = False
    pace_s: float | None = None
    """Seconds per step, None until two steps were seen. The median: one long pause does not slow the future down."""
    _ticked_at: float = 0.0
    _intervals: deque[float] = field(default_factory=lambda: deque(maxlen=_INTERVALS))

    @property
    def foresees_at(self) -> float:
        """When the middle of the current step is expected; inf as long as there is no pace."""
        return math.inf if self.pace_s is None else self._ticked_at + self.pace_s / 2

    def foreseen(self, at: float) -> float:
        """The step whose calls make room next: this one, and from its middle on the one after it."""
        return self.passed + (at >= self.foresees_at)

    def tick(self, at: float, step: float | None) -> None:
        if step is None:
            step = self.step + 1.0
        elif not math.isfinite(step):
            return
        elapsed = max(0.0, step - self.step)
        if not self.ticked:
            # We may have come in the middle of a run: the first number heard says where it is, not how far it came.
            elapsed = min(elapsed, 1.0)
        if not math.isfinite(self.passed + elapsed):
            return
        if self.ticked and elapsed > 0.0:
            interval = (at - self._ticked_at) / elapsed
            if 0.0 < interval < math.inf:
                self._intervals.append(interval)
                self.pace_s = median(self._intervals)
        self.passed += elapsed
        self.step = step
        self._ticked_at = at
        self.ticked = True
