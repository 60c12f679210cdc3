"""The moment at which the agent comes within reach of another one, with whom it may interact."""

from __future__ import annotations

from ..estimate import Estimate, Source
from ..model import Moment
from ..tables import Agent


def estimate(agent: Agent, at: float) -> Estimate | None:
    space = agent.simulation.space
    meeting = None if space is None else space.meeting(agent.name)
    if space is None or meeting is None:
        return None
    return Estimate(Moment(space.rules.clock, meeting), 0.0, Source.SPATIAL)
