"""Agents of one simulation that fit what somebody looks for, in the order in which they became known.

A place in that order is the number of an agent, so a list may be read on however many came and left meanwhile.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from operator import attrgetter

from .agent import Agent
from .estimate import Estimator, distance_s
from .model import Source
from .simulation import Simulation

_NUMBER = attrgetter("number")


@dataclass(frozen=True, slots=True)
class AgentFilter:
    """All that is set must hold."""

    name_begins: str = ""
    engine: str | None = None
    """Where its memory is."""
    adapter: str | None = None
    """On which its next call is expected to run, as it was registered or as engines call it."""
    running: bool | None = None
    """In an activation."""
    pinned: bool | None = None
    """By an operator."""
    source: Source | None = None
    nearer_than_s: float | None = None

    def fits(self, agent: Agent, estimate: Estimator, at: float) -> bool:
        """What costs least is asked first."""
        if not agent.name.startswith(self.name_begins):
            return False
        if self.engine is not None and (agent.engine is None or agent.engine.id != self.engine):
            return False
        if self.adapter is not None and not self._is_on_adapter(agent):
            return False
        if self.pinned is not None and agent.pinned is not self.pinned:
            return False
        if self.running is not None and agent.in_activation(at) is not self.running:
            return False
        if self.source is None and self.nearer_than_s is None:
            return True
        known = estimate(agent, at)
        if known is None or self.source not in (None, known.source):
            return False
        return self.nearer_than_s is None or distance_s(known, agent.simulation, at) < self.nearer_than_s

    def _is_on_adapter(self, agent: Agent) -> bool:
        assigned = agent.assigned
        return agent.adapter is not None and (
            agent.adapter == self.adapter
            or (assigned is not None and (assigned.key, assigned.name) == (agent.adapter, self.adapter))
        )


def agents_after(simulation: Simulation, number: int) -> Iterator[Agent]:
    """Those that are known now and became known after the one of that number; without those that leave meanwhile. To begin
    costs a millisecond per 100,000 agents."""
    agents = list(simulation.agents.values())
    for place in range(bisect_right(agents, number, key=_NUMBER), len(agents)):
        if not agents[place].gone:
            yield agents[place]
