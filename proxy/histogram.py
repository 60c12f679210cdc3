"""How often something took how long, in buckets that are made once: to note a value is a search among a dozen numbers and two sums.

Nothing is allocated per value and there is no lock: it is for one event loop. Whoever publishes it reads `counts` and `total`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

MOMENTS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
"""Seconds of what should take next to nothing: what the proxy itself does."""
WAITS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
"""Seconds of what an engine does, or what waits for one."""


class Histogram:
    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        """`bounds` rise; a value equal to one belongs below it, as in Prometheus."""
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        """Of each bucket alone; the last one is for all that is larger."""
        self.total = 0.0

    def note(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    @property
    def count(self) -> int:
        return sum(self.counts)
