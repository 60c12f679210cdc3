"""What the simulation told: how soon the agent calls next."""

from __future__ import annotations

from ..agent import Agent
from ..estimate import Estimate, Source

_SOURCE = Source.HINTED


def estimate(agent: Agent, at: float) -> Estimate | None:
    told = agent.standing(agent.hinted)
    return None if told is None else Estimate(told.moment, 0.0, _SOURCE)
