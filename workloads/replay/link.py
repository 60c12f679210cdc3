"""The link between host memory and the device: one transfer at a time, in virtual time."""

from __future__ import annotations

from collections.abc import Callable

from .clock import Clock

SLICE_S = 1e-3
"""A load ahead moves so much at a time: whoever is waited for waits for one slice at most."""


class Link:
    def __init__(self, clock: Clock, seconds: Callable[[float, int, int], float]) -> None:
        """`seconds`: what so many bytes take, with which so many loads begin, and so many of these are of adapters."""
        self._clock = clock
        self.seconds = seconds
        self.free_at = 0.0
        self.busy_s = 0.0

    def take(self, size_bytes: int, loads: int, adapters: int = 0) -> float:
        """A transfer behind what is on it now; returns the moment of its end."""
        seconds = self.seconds(size_bytes, loads, adapters)
        self.free_at = max(self._clock.now, self.free_at) + seconds
        self.busy_s += seconds
        return self.free_at
