"""The moment at which the agent comes within reach of another one, with whom it may interact: later by what those cost that were
foreseen like that and never came."""

from __future__ import annotations

import math

from ..agent import Agent
from ..estimate import Estimate, Source
from ..model import Moment


def estimate(agent: Agent, at: float) -> Estimate | None:
    space = agent.simulation.space
    meeting = None if space is None else space.meeting(agent.name)
    if space is None or meeting is None:
        return None
    expected = meeting + space.costs(meeting)
    if expected == math.inf:
        return None
    until = math.inf if space.is_late(meeting) else space.due(meeting)
    return Estimate(Moment(space.rules.clock, expected), 0.0, Source.SPATIAL, until=until)
