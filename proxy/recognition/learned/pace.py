"""Which calls are lessons: all in the beginning, then a sample, and all again when another simulation has come."""

from __future__ import annotations

FIRST_CALLS = 32
"""Lessons in a row where a place is settled on by then."""

_UNSETTLED = ((96, 1), (256, 2), (512, 4), (1024, 16))
"""Until so many calls one of so many is a lesson, where no place is: values must come back to be known, and the longer none
does, the less it looks as if any would."""

_SELDOM, _RARELY = 256, 128
"""One call of so many is a lesson where callers are known, for what comes later; and where they never were."""

_LATELY = 32
"""Calls over which it is smoothed how many were not understood."""

_MISSED, _STRANGE = 0.2, 0.5
"""The share of calls not understood from which on more are read, and from which on another simulation has come."""

_WAIT, _MOST_WAITS = 256, 4
"""Calls before learning may begin again: twice as many each time that it was in vain, up to 2^4 times."""


class Pace:
    def __init__(self) -> None:
        self.calls = 0
        self.opened = 0
        """The call with which learning began, or began again."""
        self.settled = False
        """The best place is sure of itself."""
        self._missed = 1.0
        self._reopened = 0

    def understood(self, is_understood: bool) -> None:
        self._missed += ((not is_understood) - self._missed) / _LATELY

    def is_lesson(self) -> bool:
        calls = self.calls - self.opened
        if self.settled:
            if self._missed < _MISSED:
                return calls <= FIRST_CALLS or calls % _SELDOM == 0
            if self._missed > _STRANGE and calls > (wait := _WAIT << self._reopened):
                # Not for each of the simulations that come and go.
                self._reopened = (
                    max(0, self._reopened - 1) if calls > 8 * wait else min(_MOST_WAITS, self._reopened + 1)
                )
                self.opened, self.settled, calls = self.calls, False, 0
        every = next((every for until, every in _UNSETTLED if calls <= until), _RARELY)
        return calls % every == 0
