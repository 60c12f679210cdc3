"""The law of the gaps: how long agents of a simulation stay away, all of them together, and how far somebody is who has been
away for so long.

How far is the least time for which memory has to be kept, per agent that comes back to it meanwhile: of all who are away as
long, each is waited for until it comes or some moment is over, and the moment is chosen that makes it least. Of agents that
come back exactly on time that is the time until they do. Where most come back soon and the others very late, whoever is late
is far, and comes nearer again later on. No order by one number for each agent finds more of them (an index of Gittins).

Gaps are counted in classes that grow with their length, so that a law takes the same room for seconds and for years.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import NamedTuple

CLASSES_PER_OCTAVE = 8
"""Up to 8 all whole numbers have classes of their own: steps."""
_SHORTEST, _LONGEST = -10, 30
"""Octaves: a thousandth of a second, 34 years. What is shorter or longer shares the classes at the ends."""
CLASSES = (_LONGEST - _SHORTEST) * CLASSES_PER_OCTAVE + 1
_MOST_OCTAVES = 30
"""Away for so many times two times longer than anybody before, an agent is not expected any more."""
_KEPT = 2048.0
"""Gaps. Beyond it all count half, so that the law follows a simulation that changes."""
_FRESH = 9 / 8
"""It is worked out anew whenever there are so many times more gaps than before."""


class Expected(NamedTuple):
    """Since the agent's last activation began."""

    after: float
    """When its next one is expected to begin."""
    until: float
    """If it has not begun by then, something else is expected. Never more than `after`."""


class Residuals:
    """Of one simulation, on one clock. A gap costs the same however many agents there are."""

    __slots__ = ("_classes", "_count", "_due", "_moments", "_points")

    def __init__(self) -> None:
        self._classes: dict[int, tuple[float, float]] = {}
        """How many gaps, and the longest of them."""
        self._count = 0.0
        self._due = 1.0
        """At how many gaps it is worked out."""
        self._points: list[float] = []
        """The longest gap of each class, rising: from each to the next, the same is expected."""
        self._moments: list[float] = []
        """What is expected of those who were away for longer than the point before, and not for as long as this."""

    def sizes(self) -> dict[str, int]:
        return {"gap_classes": len(self._classes)}

    @property
    def known(self) -> bool:
        return bool(self._points)

    def add(self, gap: float) -> None:
        """An agent was away for so long. What is no time above 0 is left out."""
        if not 0.0 < gap < math.inf:
            return
        gap = max(gap, 2.0**_SHORTEST)
        octave = min(math.log2(gap), _LONGEST)
        number = math.floor(octave * CLASSES_PER_OCTAVE)
        gaps, longest = self._classes.get(number, (0.0, 0.0))
        self._classes[number] = gaps + 1.0, max(gap, longest)
        self._count += 1.0
        if self._count >= self._due:
            self._work_out()

    def expected(self, away: float) -> Expected | None:
        """Of an agent that has been away for so long; None as long as there is no law."""
        points = self._points
        if not points:
            return None
        place = bisect_right(points, away)
        if place < len(points):
            return Expected(self._moments[place], points[place])
        # Nobody was ever away for so long: it is expected to be away for about as long again.
        octaves = math.log2(away) - math.log2(points[-1])
        until = points[-1] * 2.0 ** (1 + math.floor(octaves)) if octaves < _MOST_OCTAVES else math.inf
        return Expected(until, until)

    def _work_out(self) -> None:
        if self._count > _KEPT:
            self._classes = {
                number: (gaps / 2, longest)
                for number, (gaps, longest) in self._classes.items()
                if gaps >= 0.5
            }
            self._count = sum(gaps for gaps, _ in self._classes.values())
        self._due = self._count * _FRESH
        counted = [(longest, gaps) for _, (gaps, longest) in sorted(self._classes.items())]
        self._points = [point for point, _ in counted]
        self._moments = _moments(counted)


def _moments(counted: list[tuple[float, float]]) -> list[float]:
    """Of each point: what is expected from the one before it on, of those who did not come back by then."""
    # Of all together, at each point: who came back by then, and for how long all of them were waited for until then.
    came, waited = [0.0], [0.0]
    left, before = sum(gaps for _, gaps in counted), 0.0
    for point, gaps in counted:
        waited.append(waited[-1] + left * (point - before))
        came.append(came[-1] + gaps)
        left, before = left - gaps, point
    # The least slope from each of these to a later one: the later ones that may have it lie on a convex line.
    moments = []
    line: list[int] = []
    for place in range(len(counted), -1, -1):

        def slope(later: int, place: int = place) -> float:
            return (waited[later] - waited[place]) / (came[later] - came[place])

        while len(line) > 1 and slope(line[-1]) >= slope(line[-2]):
            line.pop()
        if line:
            start = counted[place - 1][0] if place else 0.0
            moments.append(start + slope(line[-1]))
        line.append(place)
    moments.reverse()
    return moments
