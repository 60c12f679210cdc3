"""The end of the action that the agent is busy with in the simulated world."""

from __future__ import annotations

from ..agent import Agent
from ..estimate import Estimate, Source

_SOURCE = Source.PLAN


def estimate(agent: Agent, at: float) -> Estimate | None:
    told = agent.standing(agent.action)
    return None if told is None else Estimate(told.moment, 0.0, _SOURCE)
