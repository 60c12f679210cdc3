"""Which source of distances goes before which: by default in the order of authority, told before learned, and else whoever
is measured to tell the order better.

Nobody goes before a source that never told the wrong order: ties may be chance, and what is told sees ahead.
"""

from __future__ import annotations

import math

from .accuracy import Accuracy, Score
from .model import Clock, Source

JUDGED = 64
"""Beginnings by which both must have been measured."""

LEAD = 0.05
"""By so much a source must be better in its order to go before another one..."""
LEAD_KEPT = 0.02
"""... and by so much to stay there."""

_MAY_HAPPEN = frozenset({Source.PLAN, Source.ANSWERS, Source.SPATIAL, Source.PATH})
"""Of these the first to happen counts: none of them speaks where another one does."""

_TIMED = 8
"""Beginnings after which a source's error in time is believed."""

_AUTHORITY = {source: place for place, source in enumerate(Source)}


class Authority:
    """Of one simulation."""

    __slots__ = ("before", "errors")

    def __init__(self) -> None:
        self.before: dict[Source, tuple[Source, ...]] = {}
        """Of a source, those whose word goes before its own, the best first. Of most there are none."""
        self.errors: dict[Source, tuple[Clock, float]] = {}
        """How far off a source usually is, where it is at all."""

    @property
    def in_charge(self) -> Source | None:
        """Whose word goes before that of the highest source that lost its authority; None in the default order."""
        return next((self.before[source][0] for source in Source if source in self.before), None)

    def weigh(self, accuracy: Accuracy) -> None:
        """Its scores changed. The cost depends on the number of sources alone."""
        scores = accuracy.scores
        self.errors = {
            source: (score.clock, score.time_error)
            for source, score in scores.items()
            if score.clock is not None and score.count >= _TIMED and 0.0 < score.time_error < math.inf
        }
        judged = {source: score for source, score in scores.items() if score.count >= JUDGED}
        before = {source: self._better(source, judged) for source in judged}
        self.before = {source: better for source, better in before.items() if better}

    def _better(self, source: Source, judged: dict[Source, Score]) -> tuple[Source, ...]:
        were = self.before.get(source, ())
        # Whoever ties two that come one after the other was not wrong: it is measured by its best, the others by their own.
        best = 1.0 - judged[source].wrong
        better = [
            other
            for other, score in judged.items()
            if _AUTHORITY[other] > _AUTHORITY[source]
            and not {source, other} <= _MAY_HAPPEN
            and score.order - best >= (LEAD_KEPT if other in were else LEAD)
        ]
        return tuple(sorted(better, key=lambda other: -judged[other].order))
