"""A running mean that forgets slowly: how well something held of late. `Average` follows a habit faster."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Mean:
    """Exponentially weighted, of about the last `1 / weight` samples."""

    weight: float
    value: float = 0.0
    count: int = 0

    def add(self, sample: float) -> None:
        self.count += 1
        # Few samples are averaged plainly, or the first one would dominate.
        weight, plain = self.weight, 1 / self.count
        self.value += (weight if weight > plain else plain) * (sample - self.value)
