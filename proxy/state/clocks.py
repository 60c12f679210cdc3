"""The clock of a group: Redis's. Each process knows how far its own monotonic clock is from it; clocks of two processes are never
compared. Pure.

It may jump, as any wall clock: moments that were written before are then off by that, and whoever reads them lets none lie in the
future, nor before what it knows already.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

_SAMPLES = 16
_JUMP_S = 0.5
"""More than measuring can be off."""


class _Sample(NamedTuple):
    error_s: float
    shift: float


class GroupClock:
    def __init__(self, shift: float) -> None:
        """`shift`: a first guess, by the wall clock of this machine."""
        self.shift = shift
        """What is to be added to a moment of our own clock."""
        self.error_s: float | None = None
        """It is off by no more than that; None as long as it is a guess."""
        self._samples: deque[_Sample] = deque(maxlen=_SAMPLES)

    def measured(self, asked_at: float, answered_at: float, theirs: float) -> bool:
        """Redis said its time at some moment between these two. True if its clock has jumped."""
        error_s = (answered_at - asked_at) / 2
        sample = _Sample(error_s, theirs - (asked_at + answered_at) / 2)
        known = self._samples
        jumped = bool(known) and abs(sample.shift - self.shift) > _JUMP_S + error_s + (self.error_s or 0.0)
        if jumped:
            known.clear()
        known.append(sample)
        self.error_s, self.shift = min(known)
        return jumped
