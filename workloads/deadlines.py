"""How much of what a link has to move could be there in time: earliest deadline first, a bound for any way to load ahead. Pure.

A relaxation: each load may begin as soon as it could have been known to be needed, may be interrupted at any time at no cost, what does not
get there in time is given up where it stands, and there is room for all of it. Nothing can have more of it there in time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from heapq import heappop, heappush


@dataclass(frozen=True, slots=True)
class Load:
    release: float
    """From when on it may be under way."""
    deadline: float
    """When it is needed."""
    seconds: float
    """Of the link."""


def in_time(loads: Iterable[Load]) -> float:
    """Seconds of the loads that one link can have moved by their deadlines, at most."""
    coming = sorted((load for load in loads if load.seconds > 0), key=lambda load: load.release)
    open_: list[tuple[float, float]] = []
    """Deadlines, and seconds that are left."""
    now, moved, index = 0.0, 0.0, 0
    while open_ or index < len(coming):
        if not open_:
            now = max(now, coming[index].release)
        while index < len(coming) and coming[index].release <= now:
            heappush(open_, (coming[index].deadline, coming[index].seconds))
            index += 1
        deadline, left = heappop(open_)
        until = min(deadline, now + left)
        if index < len(coming):
            until = min(until, coming[index].release)
        if until <= now:
            # Its deadline has passed; a release at this moment was taken in above.
            continue
        moved += until - now
        if until < deadline and left > until - now:
            heappush(open_, (deadline, left - (until - now)))
        now = until
    return moved
