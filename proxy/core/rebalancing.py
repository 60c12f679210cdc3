"""Which agents get another home while nobody waits for them: from engines that hold too much, the farthest first.

An agent that calls soon stays where its memory is. One that is far is about to lose it anyway: a call after so long would
find little, wherever it goes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from .model import AgentName, SimulationId
from .placing import Asked, Bounds, Site, drawn_together, is_crowded


class Far(NamedTuple):
    """An agent that does not call soon."""

    simulation: SimulationId
    agent: AgentName
    away_s: float
    """Its distance."""


class Allowance:
    """So many moves a second at most, and no more than `burst` at once. Time is told, on any clock that does not go back."""

    def __init__(self, per_s: float, burst: int) -> None:
        if not (0 <= per_s < math.inf and burst >= 0):
            raise ValueError(
                f"{per_s} moves a second and {burst} at once: both have to be at least 0, and finite"
            )
        self._per_s = per_s
        self._burst = burst
        self._left = float(burst)
        self._at = -math.inf

    def left(self, at: float) -> int:
        if at > self._at:
            if self._at > -math.inf:
                self._left = min(self._burst, self._left + (at - self._at) * self._per_s)
            self._at = at
        return int(self._left)

    def take(self) -> None:
        """One that was left."""
        self._left -= 1


def better_home(asked: Asked, home: Site, sites: Sequence[Site], bounds: Bounds) -> Site | None:
    """Where the memory of an agent that does not call should be instead. None: it is well where it is.

    Only engines below their fair share take anybody in, so that nobody is sent on from there.
    """
    if home not in sites or not is_crowded(home, sites, bounds):
        return None
    fair = sum(site.held_tokens for site in sites) / sum(site.part for site in sites)
    roomy = [site for site in sites if site.held_tokens + asked.size_tokens <= fair * site.part]
    return drawn_together(asked, roomy) if roomy else None
