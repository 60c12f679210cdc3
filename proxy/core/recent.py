"""How often something happened of late: a count that forgets by the passing of time."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Recent:
    half_life_s: float
    _count: float = 0.0
    _at: float = 0.0

    def add(self, at: float) -> None:
        self._count = self.count(at) + 1.0
        self._at = at

    def count(self, at: float) -> float:
        """What was added as long ago as the half-life counts as a half."""
        return float(self._count * 2.0 ** (-max(0.0, at - self._at) / self.half_life_s))
