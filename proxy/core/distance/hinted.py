"""What the simulation told: how soon the agent calls next."""

from __future__ import annotations

from ..estimate import Estimate, Source
from ..tables import Agent


def estimate(agent: Agent, at: float) -> Estimate | None:
    return None if agent.hinted is None else Estimate(agent.hinted.moment, 0.0, Source.HINTED)
