"""What a load queue knows of one load in flight, of one that rests, and of those that fly one way together."""

from __future__ import annotations

from dataclasses import dataclass

from .actions import Load
from .kinds import Way


@dataclass(slots=True)
class Flight:
    load: Load
    way: Way
    size_bytes: int
    distance: float
    """By the last plan that wanted it."""
    plan: int
    """The number of the plan that started it."""
    stopping: bool = False
    seen_whole: int = 0
    """Reports in a row that show all of its memory on the device."""


@dataclass(slots=True)
class Rest:
    """Why a memory is not loaded again at once."""

    until: float = 0.0
    failures: int = 0
    """In a row."""
    for_good: bool = False
    """Until it is renewed."""
    refusals: int = 0
    """For want of room, in a row."""


@dataclass(slots=True)
class Lane:
    """What flies one way. Copies share a link; recomputations share the engine, which does one at a time."""

    max_count: int
    max_bytes: float
    count: int = 0
    bytes: int = 0

    def fits(self, size_bytes: int) -> bool:
        """A single one may be of any size, or it would never be loaded."""
        return self.count == 0 or (self.count < self.max_count and self.bytes + size_bytes <= self.max_bytes)

    def add(self, size_bytes: int) -> None:
        self.count += 1
        self.bytes += size_bytes

    def within(self) -> bool:
        return self.count <= self.max_count and (self.count <= 1 or self.bytes <= self.max_bytes)
