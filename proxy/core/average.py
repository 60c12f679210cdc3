"""A running average that forgets, and how far samples stray from it."""

from __future__ import annotations

from dataclasses import dataclass

_WEIGHT = 0.25
"""Of the newest sample. A quarter follows a change of habit within a handful of samples and still damps one outlier."""


@dataclass(slots=True)
class Average:
    """Exponentially weighted mean and mean absolute deviation."""

    mean: float = 0.0
    deviation: float = 0.0
    count: int = 0

    def add(self, sample: float) -> None:
        self.count += 1
        if self.count == 1:
            # One sample says nothing of the spread: half of it is the cautious guess of TCP's round-trip estimator.
            self.mean, self.deviation = sample, sample / 2
            return
        # Few samples are averaged plainly, or the first one would dominate.
        weight, strays = 1 / self.count, sample - self.mean
        if weight < _WEIGHT:
            weight = _WEIGHT
        self.deviation += weight * (abs(strays) - self.deviation)
        self.mean += weight * strays
