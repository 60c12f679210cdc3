"""Which simulations have a name of their own in the metrics: each is a time series for ever, and clients name simulations.

The first so many do, for as long as they are known; all others are one, `other`. Whoever is in it stays there: whoever came out of
it would take what was counted of it along, and a counter that falls is taken for one that began anew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from scalesim.proxy.core.model import SimulationId

MOST_NAMED = 64
OTHER = "other"


class SimulationLabels:
    def __init__(self, most_named: int = MOST_NAMED) -> None:
        self._most_named = most_named
        self._named: set[SimulationId] = set()
        self._others: dict[SimulationId, Mapping[str, float]] = {}
        """What was last counted of each."""
        self._gone: Counter[str] = Counter()
        """What was last counted of those that were among the others, and are not known any more."""

    def label(self, simulation: SimulationId) -> str:
        """Of one that `update` was told of."""
        return simulation if simulation in self._named else OTHER

    def update(self, counted: Mapping[SimulationId, Mapping[str, float]]) -> Mapping[str, float]:
        """`counted`: of each simulation that is known now, sums that only grow. Answers those of all others together, which only
        grow too."""
        self._named &= counted.keys()
        for simulation in self._others.keys() - counted.keys():
            self._gone.update(self._others.pop(simulation))
        for simulation, sums in counted.items():
            if simulation in self._named:
                continue
            if simulation in self._others:
                self._others[simulation] = self._unbroken(self._others[simulation], sums)
            elif simulation == OTHER or len(self._named) >= self._most_named:
                self._others[simulation] = sums
            else:
                self._named.add(simulation)
        totals = Counter(self._gone)
        for sums in self._others.values():
            totals.update(sums)
        return totals

    def _unbroken(self, before: Mapping[str, float], now: Mapping[str, float]) -> Mapping[str, float]:
        """It may have been forgotten and come back between two looks."""
        if any(now.get(name, 0) < count for name, count in before.items()):
            self._gone.update(before)
        return now

    def sizes(self) -> dict[str, int]:
        return {"labelled_simulations": len(self._named) + len(self._others)}
