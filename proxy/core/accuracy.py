"""How often each source of distances told the right order, and how far off its times were: measured on what came.

When an agent begins, what was told of it is compared with what was told of others that have not begun yet: it should
have been nearer. Only a small sample of agents is followed, which a place is taken in as soon as one falls free.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from .mean import Mean
from .model import AgentName

PLACES = 16
SOURCE_LIMIT = 16
"""Further sources are not measured."""

PATIENCE = 4096
"""After so many predictions that found no place, the longest in the sample makes way: it may never begin again."""

_MEMORY = 1 / 32
_COIN = 0.5


@dataclass(frozen=True, slots=True)
class Score:
    order: float
    """Of the pairs that it told of, those in the right order: 1 always right, .5 no better than a coin. Equal counts half."""
    time_error: float
    """Mean distance between the moment told and the one that came, on the clock it was told in; inf if none was finite."""
    count: int
    """Beginnings by which its order was measured. `order` and `time_error` forget all but the last few dozen."""


@dataclass(slots=True, eq=False)
class _Measured:
    order: Mean = field(default_factory=lambda: Mean(_MEMORY))
    time_error: Mean = field(default_factory=lambda: Mean(_MEMORY))


class Accuracy:
    """Of one simulation. Moments of a source are on one clock, the same in `predicted` and in `began`.

    A beginning costs at most `PLACES` comparisons per source, and of an agent that is not in the sample none.
    """

    __slots__ = ("_refused", "_sample", "_sources")

    def __init__(self) -> None:
        self._sample: dict[AgentName, dict[str, float]] = {}
        """What was told last of each agent in it, by source; the longest in it first."""
        self._sources: dict[str, _Measured] = {}
        self._refused = 0

    def sizes(self) -> dict[str, int]:
        return {"accuracy_agents": len(self._sample), "accuracy_sources": len(self._sources)}

    def predicted(self, source: str, agent: AgentName, moment: float) -> None:
        """The source says that the agent's next activation begins then (inf: never). The last word before it counts."""
        if math.isnan(moment) or (source not in self._sources and len(self._sources) >= SOURCE_LIMIT):
            return
        told = self._sample.get(agent)
        if told is None:
            if len(self._sample) >= PLACES:
                self._refused += 1
                if self._refused < PATIENCE:
                    return
                self._refused = 0
                del self._sample[next(iter(self._sample))]
            told = self._sample[agent] = {}
        if source not in self._sources:
            self._sources[source] = _Measured()
        told[source] = moment

    def began(self, agent: AgentName, at: float) -> None:
        """An activation of the agent begins, and what was told of it is used up."""
        for source, moment in self._sample.pop(agent, {}).items():
            measured = self._sources[source]
            others = [told[source] for told in self._sample.values() if source in told]
            if others:
                right = sum(1.0 if moment < other else _COIN * (moment == other) for other in others)
                measured.order.add(right / len(others))
            error = abs(moment - at)
            if math.isfinite(error):
                measured.time_error.add(error)

    def forget(self, agent: AgentName) -> None:
        """It left: that it did not begin says nothing."""
        self._sample.pop(agent, None)

    def score(self, source: str) -> Score:
        measured = self._sources.get(source)
        if measured is None:
            return Score(_COIN, math.inf, 0)
        order, time_error = measured.order, measured.time_error
        return Score(
            order.value if order.count else _COIN,
            time_error.value if time_error.count else math.inf,
            order.count,
        )
