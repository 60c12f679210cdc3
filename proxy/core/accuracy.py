"""How often each source of distances told the right order, and how far off its times were: measured on what came.

When an agent begins, what was told of it is compared with what was told of others that have not begun yet: it should
have been nearer. Only a small sample of agents is followed, in which a place is taken as soon as one falls free.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from .mean import Mean
from .model import AgentName, Clock, Moment, Source

PLACES = 16

PATIENCE = 64
"""After so many beginnings in a row of agents that found no place, the longest in a full sample makes way: it may be full
of such as never begin. For the next one it takes twice as many, and half as many after each beginning in the sample: where
there are many agents, one of the sample begins but seldom."""

WAITS = 64
"""Whoever has not begun by so many beginnings of others in the sample leaves it: one that died in silence would be told
wrong for ever."""

_MEMORY = 1 / 32
_COIN = 0.5

_OUTLIER = 8.0
"""An error counts as at most this many usual ones: a simulation that pauses an hour makes no source an hour worse."""
_USUAL = 8
"""Errors after which it is known what is usual."""


@dataclass(frozen=True, slots=True)
class Score:
    order: float
    """Of the pairs that it told of, those in the right order: 1 always right, .5 no better than a coin. Equal counts half."""
    wrong: float
    """Of the same, those in the wrong order. Equal counts as not wrong."""
    count: int
    """Beginnings by which its order was measured. All but this forgets all but the last few dozen."""
    time_error: float
    """Mean distance between the moment told and the one that came, on `clock`; inf if none was finite."""
    clock: Clock | None
    """On which it told last; None if it never did."""


UNKNOWN = Score(_COIN, 0.0, 0, math.inf, None)


@dataclass(slots=True, eq=False)
class Measured:
    clock: Clock
    order: Mean = field(default_factory=lambda: Mean(_MEMORY))
    wrong: Mean = field(default_factory=lambda: Mean(_MEMORY))
    time_error: Mean = field(default_factory=lambda: Mean(_MEMORY))


@dataclass(slots=True, eq=False)
class Followed:
    since: int
    """Beginnings in the sample by the time it came in."""
    told: dict[Source, Moment] = field(default_factory=dict)
    """What each source told last of it."""


class Accuracy:
    """Of one simulation. A beginning costs at most `PLACES` comparisons per source, and of an agent that is not in the
    sample nothing."""

    __slots__ = ("_began", "_patience", "_refused", "_sample", "_sources")

    def __init__(self) -> None:
        self._sample: dict[AgentName, Followed] = {}
        """The longest in it first."""
        self._sources: dict[Source, Measured] = {}
        self._refused = 0
        """Beginnings since the last one in the sample, or since somebody made way."""
        self._patience = PATIENCE
        self._began = 0

    def sizes(self) -> dict[str, int]:
        return {"accuracy_agents": len(self._sample)}

    @property
    def sample(self) -> tuple[AgentName, ...]:
        return tuple(self._sample)

    def has(self, agent: AgentName) -> bool:
        """Whether it is in the sample."""
        return agent in self._sample

    @property
    def scores(self) -> dict[Source, Score]:
        """Of those that ever told anything of an agent in the sample."""
        return {source: self.score(source) for source in Source if source in self._sources}

    def follows(self, agent: AgentName) -> bool:
        """Whether what is told of the agent now is of use: it is in the sample, or there is a place."""
        return agent in self._sample or len(self._sample) < PLACES

    def predicted(self, agent: AgentName, told: Iterable[tuple[Source, Moment]]) -> None:
        """Each source says that the agent's next activation begins then (inf: never). The last word before it counts. Of
        whom nothing is said yet something may be said later: it takes a place too."""
        sound = [(source, moment) for source, moment in told if not math.isnan(moment.value)]
        if not self.follows(agent):
            return
        followed = self._sample.get(agent)
        if followed is None:
            followed = self._sample[agent] = Followed(self._began)
        for source, moment in sound:
            if source not in self._sources:
                self._sources[source] = Measured(moment.clock)
            followed.told[source] = moment

    def began(self, agent: AgentName, now: Callable[[Clock], float]) -> bool:
        """An activation of the agent begins, and what was told of it is used up. True if that changed any score."""
        followed = self._sample.pop(agent, None)
        if followed is None:
            self._refused += len(self._sample) >= PLACES
            if self._refused >= self._patience:
                self._refused, self._patience = 0, 2 * self._patience
                del self._sample[next(iter(self._sample))]
            return False
        self._began += 1
        self._refused, self._patience = 0, max(PATIENCE, self._patience // 2)
        for source, moment in followed.told.items():
            self._measure(source, moment, now)
        while self._sample:
            longest = next(iter(self._sample))
            if self._began - self._sample[longest].since <= WAITS:
                break
            del self._sample[longest]
        return True

    def forget(self, agent: AgentName) -> None:
        """It left: that it did not begin says nothing."""
        self._sample.pop(agent, None)

    def score(self, source: Source) -> Score:
        measured = self._sources.get(source)
        if measured is None:
            return UNKNOWN
        order, error = measured.order, measured.time_error
        return Score(
            order.value if order.count else _COIN,
            measured.wrong.value,
            order.count,
            error.value if error.count else math.inf,
            measured.clock,
        )

    def _measure(self, source: Source, moment: Moment, now: Callable[[Clock], float]) -> None:
        measured = self._sources[source]
        # What was told on different clocks has no order of its own.
        others = [
            told.value
            for one in self._sample.values()
            if (told := one.told.get(source)) is not None and told.clock is moment.clock
        ]
        if others:
            wrong = sum(other < moment.value for other in others)
            equal = others.count(moment.value)
            measured.wrong.add(wrong / len(others))
            measured.order.add((len(others) - wrong - _COIN * equal) / len(others))
        if measured.clock is not moment.clock:
            measured.clock, measured.time_error = moment.clock, Mean(_MEMORY)
        error, usual = abs(moment.value - now(moment.clock)), measured.time_error
        if math.isfinite(error):
            is_known = usual.count >= _USUAL and usual.value > 0.0
            usual.add(min(error, _OUTLIER * usual.value) if is_known else error)
