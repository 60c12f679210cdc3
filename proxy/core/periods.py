"""A day that shows in the traffic: agents begin again so many steps after they did before, each at hours of its own.

How many steps a day has is learned of all agents together, and whom it fits of each by itself: of how many of its beginnings
there was one at the same hour on one of the two days before, so that who is late once does not count as one without hours.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import fmean, median

from .mean import Mean

LONGEST = 64
"""Steps, of a day."""
KEPT = 8
"""The last beginnings of an agent, among which those of the last two days are looked for."""

_PEAK = 2.5
"""A day is told by so many times more beginnings that follow another one after just as long as after any other time."""
_SHARP = 2.5
"""... and by so many times more than after two or three steps less or more: agents without hours also begin most often after
some time, but after a little more or less nearly as often. One step is left out, since hours are kept a step late."""
_FEWEST = 32
_LOOKED_AT = 64
"""Beginnings after which it is looked for anew."""
_COUNTED = 4096
"""Beginnings. Beyond it all count half, so that a day may change."""

_CHECKS = 2
_FITS = 0.6
"""Of the beginnings of an agent, at least so many follow another one after just a day or two: by chance less than half do."""


@dataclass(slots=True, eq=False)
class Hours:
    """Of one agent."""

    steps: tuple[int, ...] = ()
    """Of its last beginnings, the newest last."""
    fits: Mean = field(default_factory=lambda: Mean(0.25))
    """How often there was one a day or two before."""


class Period:
    """Of one simulation. A beginning costs the same however many agents there are."""

    __slots__ = ("_beginnings", "_fits", "_lags", "day")

    def __init__(self) -> None:
        self.day: int | None = None
        """In steps; None as long as no day shows."""
        self._lags = [0.0] * (LONGEST + 1)
        """How often an agent began so many steps after one of its last beginnings."""
        self._beginnings = 0
        self._fits = False
        """A day fitted some agent so far."""

    def began(self, hours: Hours, step: int) -> bool:
        """An agent begins. True if the day is another one now, and that may make a difference to any agent."""
        if self.day is not None and hours.steps and step - hours.steps[0] >= self.day:
            hours.fits.add(step - self.day in hours.steps or step - 2 * self.day in hours.steps)
            self._fits = self._fits or _fits(hours)
        for before in hours.steps:
            if 0 < step - before <= LONGEST:
                self._lags[step - before] += 1.0
        hours.steps = (*hours.steps[1 - KEPT :], step)
        self._beginnings += 1
        return self._beginnings % _LOOKED_AT == 0 and self._look() and self._fits

    def due(self, hours: Hours, step: int) -> int | None:
        """In which step the agent is expected next, seen from this one: it may be late by one. None if no day fits it, or
        it did not come when it was due."""
        if self.day is None or not _fits(hours):
            return None
        # The least that it may be in: after its last beginning, and not before now.
        least = max(hours.steps[-1] + 1, step)
        for one in hours.steps:
            if one + self.day >= least and (due := self._again(hours, one)) >= least:
                return due
        return None

    def _again(self, hours: Hours, step: int) -> int:
        """A day after that beginning, or a step sooner if that one was late: it came a step sooner on the day before."""
        assert self.day is not None, "asked only where there is a day"
        steps, sooner = hours.steps, step - 1
        late = sooner - self.day in steps and sooner not in steps and step - self.day not in steps
        return step + self.day - late

    def _look(self) -> bool:
        lags, before = self._lags, self.day
        day = max(range(2, LONGEST + 1), key=lags.__getitem__)
        beside = fmean(lags[one] for one in _beside(day))
        shows = lags[day] >= max(_FEWEST, _PEAK * median(lags[2:]), _SHARP * beside)
        self.day = day if shows else None
        if self._beginnings >= _COUNTED:
            self._beginnings //= 2
            self._lags = [lag / 2 for lag in lags]
        return self.day != before


def _beside(day: int) -> list[int]:
    return [one for one in (day - 3, day - 2, day + 2, day + 3) if 0 < one <= LONGEST and one % day]


def _fits(hours: Hours) -> bool:
    return hours.fits.count >= _CHECKS and hours.fits.value >= _FITS
